//! `evanesce audit export`: writes events for other programs, filtered by time, kind, client or
//! job.

use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::check;
use crate::audit::{self, AuditSummary, LineFacts};
use crate::cli::CliError;
use crate::cli::chain::BundleWriter;
use crate::cli::output::{WalkError, write_to};
use crate::job::{ClientId, JobId};

/// The arguments of `evanesce audit export`. Events that can be verified are written, those behind a
/// break in another file too; then the exit code is 1.
#[derive(Debug, clap::Args)]
pub struct AuditExportArgs {
    /// How events are written.
    #[arg(long, value_enum, default_value_t = AuditFormat::Ndjson)]
    format: AuditFormat,
    /// The file to write to; it must not be there yet. Default: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only what was recorded at this instant or later, such as 2026-01-31T08:30:00Z.
    #[arg(long, value_name = "INSTANT")]
    since: Option<Timestamp>,
    /// Only what was recorded before this instant.
    #[arg(long, value_name = "INSTANT")]
    until: Option<Timestamp>,
    /// Only events of this kind, such as kick-off, download-end or erase; may be repeated.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only events that this client asked for, whose job it owns, or that are about it.
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    /// Only events of this job.
    #[arg(long, value_name = "ID")]
    job: Option<JobId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AuditFormat {
    /// The events as they are in the files, one AuditEvent a line.
    Ndjson,
    /// One FHIR R4 Bundle of AuditEvents.
    Fhir,
}

#[derive(Deserialize)]
struct EventId {
    id: String,
}

impl AuditExportArgs {
    fn wants(&self, facts: &LineFacts) -> bool {
        let job = self.job.map(|job| format!("urn:uuid:{job}"));
        self.since.is_none_or(|since| facts.recorded() >= since)
            && self.until.is_none_or(|until| facts.recorded() < until)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == facts.kind()))
            && self.client.as_ref().is_none_or(|client| facts.concerns(client.as_str()))
            && job.is_none_or(|job| facts.job() == Some(job.as_str()))
    }
}

/// Exports the matching events.
pub fn export(folder: &Path, args: &AuditExportArgs) -> Result<(), CliError> {
    let mut seen = None;
    write_to(args.out.as_deref(), |out| {
        let summary = match args.format {
            AuditFormat::Ndjson => each(folder, args, |text| Ok(writeln!(out, "{text}")?)),
            AuditFormat::Fhir => bundle(folder, args, out),
        };
        seen = Some(summary?);
        Ok(())
    })?;
    // A broken file stays broken until it expires, so what can be verified is exported anyway.
    seen.map_or(Ok(()), |summary| check(&summary))
}

fn each(
    folder: &Path,
    args: &AuditExportArgs,
    mut write: impl FnMut(&str) -> Result<(), WalkError>,
) -> Result<AuditSummary, WalkError> {
    audit::walk(folder, |item| match LineFacts::read(item.text) {
        Some(facts) if args.wants(&facts) => write(item.text),
        _ => Ok(()),
    })
}

fn bundle(folder: &Path, args: &AuditExportArgs, out: &mut dyn Write) -> Result<AuditSummary, WalkError> {
    let mut bundle = BundleWriter::begin(out)?;
    let summary = each(folder, args, |text| {
        let not_json = |e: serde_json::Error| WalkError::Chain(e.to_string());
        let EventId { id } = serde_json::from_str(text).map_err(not_json)?;
        let resource: &RawValue = serde_json::from_str(text).map_err(not_json)?;
        Ok(bundle.add(&id, resource)?)
    })?;
    bundle.end()?;
    Ok(summary)
}
