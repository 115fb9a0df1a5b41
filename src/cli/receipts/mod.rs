//! `evanesce receipts`: reads the chain, for people and for programs. It only reads the file, so a
//! server may be running. It checks every link on the way, so what it shows is what was appended.

mod export;
mod list;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::CliError;
use super::chain::DataDirArgs;
use super::output::{WalkError, finish};
use crate::job::JobId;
use crate::plain_file::{self, LinkPolicy};
use crate::receipts::{self, ChainHash, ChainHead, FILE_NAME, ReceiptSummary, ReceiptsError};

/// The arguments of `evanesce receipts`.
#[derive(Debug, clap::Args)]
pub struct ReceiptsArgs {
    #[command(flatten)]
    place: DataDirArgs,
    #[command(subcommand)]
    command: ReceiptsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ReceiptsCommand {
    /// List the entries, one a line.
    List(list::ReceiptsListArgs),
    /// Show all that the chain says of a job.
    Show {
        /// The id at the end of its polling URL.
        job: JobId,
    },
    /// Check the whole chain, and whether it goes through a head that was written down earlier.
    Verify {
        /// A head that the chain had, such as the log tells at each append.
        #[arg(long, value_name = "HASH")]
        head: Option<ChainHash>,
        /// The count that the chain had then.
        #[arg(long, value_name = "N", requires = "head")]
        count: Option<u64>,
    },
    /// Write all entries for other programs.
    Export(export::ReceiptsExportArgs),
}

/// Returns the path of the receipts. The file may not exist yet, but its directory must.
fn file_in(data_dir: &Path) -> Result<PathBuf, CliError> {
    let file = data_dir.join(FILE_NAME);
    match plain_file::open(&file, LinkPolicy::Refuse) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(CliError::usage(format!("cannot open {}: {e}", file.display())))
        }
        _ => Ok(file),
    }
}

/// Runs `evanesce receipts`.
pub fn run(args: &ReceiptsArgs) -> Result<(), CliError> {
    let file = file_in(&args.place.data_dir()?)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let done = match &args.command {
        ReceiptsCommand::List(options) => list::list(&file, options, &mut out),
        ReceiptsCommand::Show { job } => return show(&file, *job),
        ReceiptsCommand::Verify { head, count } => return verify(&file, *head, *count),
        ReceiptsCommand::Export(options) => return export::export(&file, options),
    };
    finish(done, &mut out)
}

fn show(file: &Path, job: JobId) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found = false;
    let walked = receipts::walk(file, |item| {
        if item.entry.job() == Some(job) {
            found = true;
            writeln!(out, "entry {} of the chain, hash {}", item.head.count, item.head.hash)?;
            serde_json::to_writer_pretty(&mut out, &item.entry).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Ok::<_, WalkError>(())
    });
    finish(walked.map(drop), &mut out)?;
    if found { Ok(()) } else { Err(CliError::failed(format!("the receipts say nothing of a job {job}"))) }
}

fn verify(file: &Path, hash: Option<ChainHash>, count: Option<u64>) -> Result<(), CliError> {
    let is_expected =
        |head: ChainHead| Some(head.hash) == hash && count.is_none_or(|count| count == head.count);
    let mut found = None;
    let walked = receipts::walk(file, |item| {
        found = found.or(Some(item.head).filter(|head| is_expected(*head)));
        Ok::<_, ReceiptsError>(())
    });
    let chain = walked.and_then(|chain| chain.confirm().map(|()| chain)).map_err(CliError::failed)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = print(&chain, &mut out);
    finish(printed, &mut out)?;
    let Some(hash) = hash else { return Ok(()) };
    let start = chain.checkpoint.unwrap_or(ChainHead::EMPTY);
    if found.is_some() || is_expected(start) {
        return Ok(());
    }
    Err(CliError::failed(match count {
        Some(count) if count < start.count => {
            format!("the head {hash} is of a part that was pruned; it cannot be looked for any more")
        }
        _ => format!("the chain does not go through the head {hash}"),
    }))
}

fn print(chain: &ReceiptSummary, out: &mut impl Write) -> Result<(), WalkError> {
    let none = || "none".to_string();
    let instant = |at: Option<Timestamp>| at.map_or_else(none, |at| at.to_string());
    let checkpoint = chain.checkpoint.map_or_else(none, |cut| format!("{} {}", cut.count, cut.hash));
    writeln!(out, "count       {}", chain.head.count)?;
    writeln!(out, "head        {}", chain.head.hash)?;
    writeln!(out, "first       {}", instant(chain.first))?;
    writeln!(out, "last        {}", instant(chain.last))?;
    writeln!(out, "erasures    {}", chain.erasures)?;
    writeln!(out, "checkpoint  {checkpoint}")?;
    writeln!(out, "gaps        {}", chain.gaps)?;
    Ok(())
}
