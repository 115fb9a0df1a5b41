//! `evanesce fsck`: checks the data directory of a stopped server. Exit codes: 0 it is in order, 1
//! it was repaired, 2 it could not be checked (a server uses it, or it is not a data directory), 4
//! it is not in order.

use jiff::Timestamp;

use super::CliError;
use super::data_dir::DataDirArgs;
use super::output::{OutputArgs, complain, print_all};
use super::table::{TextTone, counted, toned};
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

/// What nobody can tell without a witness.
const UNKNOWN: &str = "receipts.witness is not set: nobody can know whether this is the newest data directory; if it was \
                       restored, replay a newer copy of the receipts before the start (receipts replay --from FILE)";

/// Checks, and repairs if asked to.
pub fn run(args: &FsckArgs) -> Result<(), CliError> {
    let config = args.place.config()?;
    let leave = match args {
        FsckArgs { rebuild: true, .. } => RepairMode::Rebuild,
        FsckArgs { repair: true, .. } => RepairMode::Repair,
        _ => RepairMode::Look,
    };
    let data_dir = &config.storage.data_dir;
    let findings = check(&config, leave, Timestamp::now()).map_err(CliError::usage)?;
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let (repaired, left) = (count(FindingOutcome::Repaired), count(FindingOutcome::Left));
    let (code, tone, verdict) = match (repaired, left) {
        (0, 0) => (0, TextTone::Good, "is as it should be"),
        (_, 0) => (1, TextTone::Warning, "is as it should be now"),
        _ => (4, TextTone::Bad, "is not as it should be"),
    };
    let notes = count(FindingOutcome::Note);
    let summary = format!("{repaired} repaired, {left} left, {}", counted(notes as u64, "note"));
    let place = data_dir.display();
    if args.output.is_json() {
        print_all(findings.iter().map(json).collect::<Result<Vec<_>, _>>()?)?;
    } else {
        let first = format!("{place} {}: {summary}", toned(tone, verdict));
        let unknown = config.receipts.witness.is_none().then(|| UNKNOWN.to_owned());
        print_all([first].into_iter().chain(findings.iter().map(text)).chain(unknown))?;
    }
    let message = format!("{place} {verdict}: {summary}");
    match code {
        0 if args.output.is_json() => complain(message),
        0 => {}
        _ => return Err(CliError { code, message }),
    }
    Ok(())
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
