//! `evanesce receipts`: reads the chain, for people and for programs. It only reads files, so a
//! server may be running. It checks every link on the way, so what it shows is what was appended.

mod export;
mod list;
mod proofs;
mod replay;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::CliError;
use super::chain::verdict;
use super::data_dir::DataDirArgs;
use super::output::{OutputArgs, WalkError, finish};
use super::table::{FieldList, TextTone, size, toned};
use crate::job::JobId;
use crate::plain_file::{self, LinkPolicy};
use crate::receipts::{self, ChainHash, ChainHead, FILE_NAME, ReceiptEntry, ReceiptSummary, ReceiptsError};

/// The arguments of `evanesce receipts`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evanesce receipts list --since 2026-01-31T00:00:00Z --reason deleted
  evanesce receipts verify
  evanesce receipts export --format fhir --out receipts.json
  evanesce receipts prove JOB --out proof.json
  evanesce receipts check proof.json --key KEY
  evanesce receipts replay --from /mnt/elsewhere/receipts.ndjson")]
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
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check the whole chain, and whether it goes through a head that was written down earlier.
    Verify {
        /// A head that the chain had, such as the log tells at each append.
        #[arg(long, value_name = "HASH")]
        head: Option<ChainHash>,
        /// The count that the chain had then.
        #[arg(long, value_name = "N", requires = "head")]
        count: Option<u64>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Write all entries for other programs.
    Export(export::ReceiptsExportArgs),
    /// Print the public key that checks proofs and tree heads.
    Key {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Write the proof of a job's erasure: its receipt, and the signed tree head that commits to it.
    Prove(proofs::ProveArgs),
    /// Check a proof, on any machine: no data directory and no server is needed.
    Check(proofs::CheckArgs),
    /// List the signed tree heads.
    Heads(proofs::HeadsArgs),
    /// Prove that one tree head goes on from an earlier one.
    Consistency(proofs::ConsistencyArgs),
    /// Put back the erasures that a restored data directory does not know. The server must be stopped.
    Replay(replay::ReplayArgs),
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
    let data_dir = || args.place.existing();
    let file = || file_in(&data_dir()?);
    match &args.command {
        ReceiptsCommand::List(options) => {
            let file = file()?;
            let mut out = BufWriter::new(io::stdout().lock());
            finish(list::list(&file, options, &mut out), &mut out)
        }
        ReceiptsCommand::Show { job, output } => show(&file()?, *job, output),
        ReceiptsCommand::Verify { head, count, output } => verify(&file()?, *head, *count, output),
        ReceiptsCommand::Export(options) => export::export(&file()?, options),
        ReceiptsCommand::Key { output } => proofs::key(&data_dir()?, output),
        ReceiptsCommand::Prove(options) => proofs::prove(&data_dir()?, options),
        ReceiptsCommand::Check(options) => proofs::check(options),
        ReceiptsCommand::Heads(options) => proofs::heads(&data_dir()?, options),
        ReceiptsCommand::Consistency(options) => proofs::consistency(&data_dir()?, options),
        ReceiptsCommand::Replay(options) => replay::replay(&args.place.config()?, &data_dir()?, options),
    }
}

fn show(file: &Path, job: JobId, output: &OutputArgs) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found = false;
    let walked = receipts::walk(file, |item| {
        if item.entry.job() == Some(job) {
            let ChainHead { count, hash } = item.head;
            if output.is_json() {
                writeln!(out, r#"{{"count":{count},"hash":"{hash}","entry":{}}}"#, item.text)?;
            } else {
                let title = format!("Entry {count} of the chain, hash {hash}");
                let gap = if found { "\n" } else { "" };
                writeln!(out, "{gap}{}\n{}", toned(TextTone::Strong, title), fields(item.entry)?)?;
            }
            found = true;
        }
        Ok::<_, WalkError>(())
    });
    finish(walked.map(drop), &mut out)?;
    if found { Ok(()) } else { Err(CliError::failed(format!("the receipts say nothing of a job {job}"))) }
}

/// The fields that stand first, in the order of a story; the others follow by name.
const STORY: [&str; 15] = [
    "kind",
    "job",
    "tenant",
    "owner",
    "at",
    "by",
    "reason",
    "request_id",
    "was",
    "submitted_at",
    "marked_at",
    "hidden_at",
    "last_byte_at",
    "gone_at",
    "files",
];

/// Returns what an entry says, but for what it does not know.
fn fields(entry: &ReceiptEntry) -> Result<FieldList, WalkError> {
    let entry = serde_json::to_value(entry).map_err(io::Error::from)?;
    let mut fields: Vec<_> = entry.as_object().into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| STORY.iter().position(|first| first == name).unwrap_or(STORY.len()));
    let mut list = FieldList::new();
    for (name, value) in fields {
        let text = match (name.as_str(), value) {
            (_, Value::Null) => continue,
            ("bytes", value) => value.as_u64().map_or_else(|| value.to_string(), size),
            (_, Value::String(text)) => text.escape_debug().to_string(),
            (_, value) => value.to_string(),
        };
        list.field(&name.replace('_', " "), text);
    }
    Ok(list)
}

fn verify(
    file: &Path,
    hash: Option<ChainHash>,
    count: Option<u64>,
    output: &OutputArgs,
) -> Result<(), CliError> {
    let is_expected =
        |head: ChainHead| Some(head.hash) == hash && count.is_none_or(|count| count == head.count);
    let mut found = None;
    let walked = receipts::walk(file, |item| {
        found = found.or(Some(item.head).filter(|head| is_expected(*head)));
        Ok::<_, ReceiptsError>(())
    });
    let chain = walked.and_then(|chain| chain.confirm().map(|()| chain)).map_err(CliError::failed)?;
    let start = chain.checkpoint.unwrap_or(ChainHead::EMPTY);
    let missed = match hash {
        Some(_) if found.is_some() || is_expected(start) => None,
        Some(hash) if count.is_some_and(|count| count < start.count) => {
            Some(format!("the head {hash} is of a part that was pruned; it cannot be looked for any more"))
        }
        Some(hash) => Some(format!("the chain does not go through the head {hash}")),
        None => None,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let verdict = verdict(chain.head.count, missed.as_deref());
    let printed = print(&chain, &verdict, output, &mut out);
    finish(printed, &mut out)?;
    missed.map_or(Ok(()), |missed| Err(CliError::failed(missed)))
}

fn print(
    chain: &ReceiptSummary,
    verdict: &str,
    output: &OutputArgs,
    out: &mut impl Write,
) -> Result<(), WalkError> {
    let ReceiptSummary { head, checkpoint, erasures, gaps, first, last, .. } = chain;
    if output.is_json() {
        let document = json!({
            "count": head.count, "head": head.hash, "first": first, "last": last, "erasures": erasures,
            "checkpoint": checkpoint.map(|cut| json!({"count": cut.count, "head": cut.hash})), "gaps": gaps,
        });
        return Ok(writeln!(out, "{document}")?);
    }
    let none = || "none".to_string();
    let instant = |at: Option<Timestamp>| at.map_or_else(none, |at| at.to_string());
    let checkpoint = checkpoint.map_or_else(none, |cut| format!("{} {}", cut.count, cut.hash));
    writeln!(out, "{verdict}")?;
    writeln!(out, "count       {}", head.count)?;
    writeln!(out, "head        {}", head.hash)?;
    writeln!(out, "first       {}", instant(*first))?;
    writeln!(out, "last        {}", instant(*last))?;
    writeln!(out, "erasures    {erasures}")?;
    writeln!(out, "checkpoint  {checkpoint}")?;
    writeln!(out, "gaps        {gaps}")?;
    Ok(())
}
