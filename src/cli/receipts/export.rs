//! `evanesce receipts export`: writes all entries for other programs while reading them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::value::to_raw_value;

use crate::cli::CliError;
use crate::cli::chain::BundleWriter;
use crate::cli::output::{WalkError, write_to};
use crate::receipts::{self, audit_event};

/// The arguments of `evanesce receipts export`.
#[derive(Debug, clap::Args)]
pub struct ReceiptsExportArgs {
    /// How entries are written.
    #[arg(long, value_enum)]
    format: ReceiptsFormat,
    /// The file to write to; it must not be there yet. Default: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ReceiptsFormat {
    /// The entries as they are in the file, one JSON object a line.
    Ndjson,
    /// One FHIR R4 Bundle of AuditEvents.
    Fhir,
}

/// Exports the entries. A file that could not be written to its end is removed.
pub fn export(file: &Path, args: &ReceiptsExportArgs) -> Result<(), CliError> {
    write_to(args.out.as_deref(), |out| match args.format {
        ReceiptsFormat::Ndjson => receipts::walk(file, |item| Ok(writeln!(out, "{}", item.text)?)).map(drop),
        ReceiptsFormat::Fhir => bundle(file, out),
    })
}

fn bundle(file: &Path, out: &mut dyn Write) -> Result<(), WalkError> {
    let mut bundle = BundleWriter::begin(out)?;
    receipts::walk(file, |item| {
        let event = audit_event(item.entry, &item.head);
        let resource = to_raw_value(&event).map_err(io::Error::from)?;
        Ok::<_, WalkError>(bundle.add(event.id(), &resource)?)
    })?;
    Ok(bundle.end()?)
}
