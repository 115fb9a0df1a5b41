//! `evanesce audit`: reads the audit log and checks its chain. It only reads files, so a server may
//! be running.

mod export;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use jiff::Timestamp;

use super::CliError;
use super::chain::DataDirArgs;
use super::output::{WalkError, finish};
use crate::audit::{self, AuditError, AuditSummary, FOLDER};
use crate::receipts::{ChainHash, ChainHead};

/// The arguments of `evanesce audit`.
#[derive(Debug, clap::Args)]
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
    },
    /// Write events as FHIR R4 AuditEvents, for other programs.
    Export(export::AuditExportArgs),
}

/// Runs `evanesce audit`.
pub fn run(args: &AuditArgs) -> Result<(), CliError> {
    let folder = args.place.data_dir()?.join(FOLDER);
    match &args.command {
        AuditCommand::Verify { head } => verify(&folder, *head),
        AuditCommand::Export(options) => export::export(&folder, options),
    }
}

fn verify(folder: &Path, hash: Option<ChainHash>) -> Result<(), CliError> {
    let mut is_found = false;
    let walked = audit::walk(folder, |item| {
        is_found |= Some(item.head.hash) == hash;
        Ok::<_, AuditError>(())
    });
    let summary = walked.map_err(CliError::usage)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = print(&summary, &mut out);
    finish(printed, &mut out)?;
    check(&summary)?;
    match hash {
        Some(hash) if !is_found && hash != summary.start.hash => Err(CliError::failed(format!(
            "the chain does not go through the head {hash}: its end was cut off, or that part is removed"
        ))),
        _ => Ok(()),
    }
}

/// Fails if the chain is broken anywhere.
fn check(summary: &AuditSummary) -> Result<(), CliError> {
    if summary.breaks.is_empty() {
        return Ok(());
    }
    let breaks: Vec<_> = summary.breaks.iter().map(ToString::to_string).collect();
    Err(CliError::failed(format!("the audit log is broken: {}", breaks.join("; "))))
}

fn print(summary: &AuditSummary, out: &mut impl Write) -> Result<(), WalkError> {
    let instant = |at: Option<Timestamp>| at.map_or_else(|| "none".to_string(), |at| at.to_string());
    let ChainHead { count, hash } = summary.head;
    writeln!(out, "files    {}", summary.files)?;
    writeln!(out, "count    {count}")?;
    writeln!(out, "head     {hash}")?;
    writeln!(out, "first    {}", instant(summary.first))?;
    writeln!(out, "last     {}", instant(summary.last))?;
    writeln!(out, "removed  {}", summary.start.count)?;
    Ok(())
}
