//! `evanesce receipts export`: all entries for other programs, written as they are read.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use super::{Failure, finish};
use crate::cli::CliError;
use crate::receipts::{self, audit_event};

/// The arguments of `evanesce receipts export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How entries are written.
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write to; it must not be there yet. Default: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// The entries as they are in the file, one JSON object a line.
    Ndjson,
    /// One FHIR R4 Bundle of AuditEvents.
    Fhir,
}

/// Exports the entries. A file that could not be written to its end is removed.
pub fn export(file: &Path, args: &Args) -> Result<(), CliError> {
    let Some(path) = &args.out else {
        let mut out = BufWriter::new(io::stdout().lock());
        let done = write(file, args.format, &mut out);
        return finish(done, &mut out);
    };
    let cannot = |e: io::Error| CliError::usage(format!("cannot write {}: {e}", path.display()));
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut out = BufWriter::new(options.map_err(cannot)?);
    let done = write(file, args.format, &mut out);
    let done = finish(done, &mut out).and_then(|()| sync(out).map_err(CliError::failed));
    if done.is_err() {
        // Half of an export would be taken for all of it.
        std::fs::remove_file(path).map_err(cannot)?;
    }
    done
}

fn sync(out: BufWriter<File>) -> io::Result<()> {
    out.into_inner()?.sync_all()
}

fn write(file: &Path, format: Format, out: &mut impl Write) -> Result<(), Failure> {
    match format {
        Format::Ndjson => receipts::walk(file, |item| Ok(writeln!(out, "{}", item.text)?)).map(drop),
        Format::Fhir => bundle(file, out),
    }
}

/// A Bundle of any length: only one of its entries is in memory at a time.
fn bundle(file: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let now = Timestamp::now();
    write!(out, r#"{{"resourceType":"Bundle","type":"collection","timestamp":"{now}""#)?;
    let mut before = ",\"entry\":[\n";
    receipts::walk(file, |item| {
        let event = audit_event(&item.entry, &item.head);
        let url = format!("urn:uuid:{}", event["id"].as_str().unwrap_or_default());
        write!(out, "{before}{}", json!({"fullUrl": url, "resource": event}))?;
        before = ",\n";
        Ok::<_, Failure>(())
    })?;
    writeln!(out, "{}}}", if before == ",\n" { "\n]" } else { "" })?;
    Ok(())
}
