//! `evanesce audit`: reads the audit log and checks its chain. It only reads files, so a server may
//! be running.

mod export;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;

use super::CliError;
use super::chain::verdict;
use super::data_dir::DataDirArgs;
use super::output::{OutputArgs, WalkError, finish};
use crate::audit::{self, AuditError, AuditSummary, FOLDER};
use crate::receipts::{ChainHash, ChainHead};

/// The arguments of `evanesce audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evanesce audit verify
  evanesce audit export --kind delete --kind erase --since 2026-01-31T00:00:00Z")]
pub struct AuditArgs {
    #[command(flatten)]
    place: DataDirArgs,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    /// Check the whole chain, over all files; exit code 1 if it is broken, with file and line.
    Verify {
        /// A head that the chain had, such as an earlier `verify` showed: one that it does not go
        /// through any more is a sign that its end was cut off.
        #[arg(long, value_name = "HASH")]
        head: Option<ChainHash>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Write events as FHIR R4 AuditEvents, for other programs.
    Export(export::AuditExportArgs),
}

/// Runs `evanesce audit`.
pub fn run(args: &AuditArgs) -> Result<(), CliError> {
    let folder = args.place.existing()?.join(FOLDER);
    match &args.command {
        AuditCommand::Verify { head, output } => verify(&folder, *head, output),
        AuditCommand::Export(options) => export::export(&folder, options),
    }
}

fn verify(folder: &Path, hash: Option<ChainHash>, output: &OutputArgs) -> Result<(), CliError> {
    let mut is_found = false;
    let walked = audit::walk(folder, |item| {
        is_found |= Some(item.head.hash) == hash;
        Ok::<_, AuditError>(())
    });
    let summary = walked.map_err(CliError::usage)?;
    let checked = check(&summary).and_then(|()| match hash {
        Some(hash) if !is_found && hash != summary.start.hash => Err(CliError::failed(format!(
            "the chain does not go through the head {hash}: its end was cut off, or that part is removed"
        ))),
        _ => Ok(()),
    });
    let wrong = checked.as_ref().err().map(|error| error.message.as_str());
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = print(&summary, &verdict(summary.head.count, wrong), output, &mut out);
    finish(printed, &mut out)?;
    checked
}

/// Fails if the chain is broken anywhere.
fn check(summary: &AuditSummary) -> Result<(), CliError> {
    if summary.breaks.is_empty() {
        return Ok(());
    }
    let breaks: Vec<_> = summary.breaks.iter().map(ToString::to_string).collect();
    Err(CliError::failed(format!("the audit log is broken: {}", breaks.join("; "))))
}

fn print(
    summary: &AuditSummary,
    verdict: &str,
    output: &OutputArgs,
    out: &mut impl Write,
) -> Result<(), WalkError> {
    if output.is_json() {
        let AuditSummary { head, first, last, start, files, breaks, .. } = summary;
        let breaks: Vec<_> = breaks.iter().map(ToString::to_string).collect();
        let document = json!({
            "files": files, "count": head.count, "head": head.hash, "first": first, "last": last,
            "removed": start.count, "breaks": breaks,
        });
        return Ok(writeln!(out, "{document}")?);
    }
    let instant = |at: Option<Timestamp>| at.map_or_else(|| "none".to_string(), |at| at.to_string());
    let ChainHead { count, hash } = summary.head;
    writeln!(out, "{verdict}")?;
    writeln!(out, "files    {}", summary.files)?;
    writeln!(out, "count    {count}")?;
    writeln!(out, "head     {hash}")?;
    writeln!(out, "first    {}", instant(summary.first))?;
    writeln!(out, "last     {}", instant(summary.last))?;
    writeln!(out, "removed  {}", summary.start.count)?;
    Ok(())
}
