//! `evanesce fsck`: checks the data directory of a stopped server. Exit codes: 0 it is in order, 1
//! it was repaired, 2 it could not be checked (a server uses it, or it is not a data directory), 4
//! it is not in order.

use jiff::Timestamp;

use super::CliError;
use super::data_dir::DataDirArgs;
use super::output::{OutputArgs, complain, print_all};
use crate::fsck::{FindingOutcome, FsckFinding, RepairMode, check};

/// The arguments of `evanesce fsck`.
#[derive(Debug, clap::Args)]
pub struct FsckArgs {
    #[command(flatten)]
    place: DataDirArgs,
    /// Change nothing, only say what is wrong; the default.
    #[arg(long, conflicts_with_all = ["repair", "rebuild"])]
    dry_run: bool,
    /// Put right what the witnesses agree on how to: what the start of a server would do, modes,
    /// jobs whose files are not what was recorded.
    #[arg(long)]
    repair: bool,
    /// As --repair; and a store or receipts that cannot be used are moved aside, never removed,
    /// and made again from what the other witnesses say.
    #[arg(long)]
    rebuild: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Checks, and repairs if asked to.
pub fn run(args: &FsckArgs) -> Result<(), CliError> {
    let config = args.place.config()?;
    let leave = match args {
        FsckArgs { rebuild: true, .. } => RepairMode::Rebuild,
        FsckArgs { repair: true, .. } => RepairMode::Repair,
        _ => RepairMode::Look,
    };
    let data_dir = &config.storage.data_dir;
    let findings = check(data_dir, leave, Timestamp::now(), &config.retention).map_err(CliError::usage)?;
    let line = |finding| if args.output.is_json() { json(finding) } else { Ok(text(finding)) };
    print_all(findings.iter().map(line).collect::<Result<Vec<_>, _>>()?)?;
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let (repaired, left) = (count(FindingOutcome::Repaired), count(FindingOutcome::Left));
    let summary = format!("{repaired} repaired, {left} left, {} notes", count(FindingOutcome::Note));
    match (repaired, left) {
        (0, 0) => {
            complain(format_args!("{} is as it should be: {summary}", data_dir.display()));
            Ok(())
        }
        (_, 0) => Err(CliError {
            code: 1,
            message: format!("{} is as it should be now: {summary}", data_dir.display()),
        }),
        _ => Err(CliError {
            code: 4,
            message: format!("{} is not as it should be: {summary}", data_dir.display()),
        }),
    }
}

fn json(finding: &FsckFinding) -> Result<String, CliError> {
    serde_json::to_string(finding).map_err(CliError::failed)
}

fn text(finding: &FsckFinding) -> String {
    let FsckFinding { what, cause, cure, outcome } = finding;
    let outcome = match outcome {
        FindingOutcome::Note => "note",
        FindingOutcome::Repaired => "repaired",
        FindingOutcome::Left => "left",
    };
    format!("{outcome}: {what}\n    cause: {cause}\n    cure:  {cure}")
}
