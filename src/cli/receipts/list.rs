//! `evanesce receipts list`: one line per entry.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;

use crate::cli::output::{OutputArgs, WalkError};
use crate::cli::table::{TextTone, fitted, size, toned};
use crate::job::{MarkReason, Receipt};
use crate::receipts::{self, ReceiptEntry};

/// The arguments of `evanesce receipts list`.
#[derive(Debug, clap::Args)]
pub struct ReceiptsListArgs {
    /// Only what happened at this instant or later, such as 2026-01-31T08:30:00Z.
    #[arg(long, value_name = "INSTANT")]
    since: Option<Timestamp>,
    /// Only erasures for this reason: cancelled, deleted, expired, orphan, lost,
    /// recovered or revoked.
    #[arg(long, value_parser = reason)]
    reason: Option<MarkReason>,
    #[command(flatten)]
    output: OutputArgs,
}

fn reason(text: &str) -> Result<MarkReason, Error> {
    MarkReason::deserialize(text.into_deserializer())
}

impl ReceiptsListArgs {
    fn wants(&self, entry: &ReceiptEntry) -> bool {
        let of_reason = |reason| matches!(entry, ReceiptEntry::Erasure(receipt) if receipt.reason == reason);
        self.since.is_none_or(|since| entry.at() >= since) && self.reason.is_none_or(of_reason)
    }
}

/// Writes the matching entries while reading them, because a chain may be long (P13). With JSON they are
/// as they are in the file, one object a line.
pub fn list(file: &Path, args: &ReceiptsListArgs, out: &mut impl Write) -> Result<(), WalkError> {
    let is_json = args.output.is_json();
    if !is_json {
        let header = format!("{:>8}  {:<24}  {:<7}  ABOUT", "ENTRY", "WHEN", "KIND");
        writeln!(out, "{}", toned(TextTone::Faint, header))?;
    }
    receipts::walk(file, |item| {
        if !args.wants(item.entry) {
            return Ok(());
        }
        if is_json {
            writeln!(out, "{}", item.text)?;
        } else {
            let (at, kind) = (item.entry.at(), item.entry.kind());
            // Milliseconds keep the columns aligned.
            let line = format!("{:>8}  {at:.3}  {kind:<7}  {}", item.head.count, summary(item.entry));
            writeln!(out, "{}", fitted(&line))?;
        }
        Ok(())
    })
    .map(drop)
}

fn summary(entry: &ReceiptEntry) -> String {
    match entry {
        ReceiptEntry::Erasure(receipt) => erasure(receipt),
        ReceiptEntry::Hold(hold) => format!("{}  by {}: {}", hold.job, hold.by, hold.reason.escape_debug()),
        ReceiptEntry::Release { job, by, .. } => format!("{job}  by {by}"),
        ReceiptEntry::Pause(pause) => format!("the reaper  by {}: {}", pause.by, pause.reason.escape_debug()),
        ReceiptEntry::Resume { by, .. } => format!("the reaper  by {by}"),
        ReceiptEntry::Prune { cut, .. } => format!("the first {} entries", cut.count),
        ReceiptEntry::Epoch { epoch, .. } => format!("the key of epoch {epoch} was destroyed"),
        ReceiptEntry::Gap { expected, found, .. } => {
            format!("{} entries expected, {} found", expected.count, found.count)
        }
    }
}

fn erasure(receipt: &Receipt) -> String {
    let Receipt { job, reason, files, bytes, .. } = receipt;
    let by = receipt.by.as_ref().map(|by| format!("  by {by}")).unwrap_or_default();
    let bytes = size(*bytes);
    format!("{job}  {:<9}  {files:>6} files  {bytes:>11}{by}", reason.as_str())
}
