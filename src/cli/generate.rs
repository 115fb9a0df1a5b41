//! `evanesce generate`: synthetic FHIR data, the same for the same arguments.

use std::path::PathBuf;
use std::time::Instant;

use indicatif::{HumanBytes, ProgressBar};
use serde_json::json;

use super::CliError;
use super::output::{OutputArgs, report_as};
use crate::generate::{FileSummary, GenerateOptions, ResourceShare, generate};

/// The arguments of `evanesce generate`.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// How many patients; each is about 47 kB.
    #[arg(long, default_value_t = 100)]
    patients: u32,
    /// What the data follows from: the same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder to write to; it must not hold NDJSON files yet.
    #[arg(long)]
    out: PathBuf,
    /// How many Groups cohort-1, cohort-2, ... of one patient in ten, besides the other Groups (to 65535).
    #[arg(long, default_value_t = 0)]
    groups: u16,
    /// How many Observations a patient, besides those of the record (about 29); to 65535.
    #[arg(long, default_value_t = 0)]
    observations: u16,
    /// The share of the resources without meta.lastUpdated, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value = "0")]
    undated: ResourceShare,
    /// The share of the dated resources last updated after 2026-01-01T00:00:00Z (and before 2026-06-30,
    /// all others before 2026), from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value = "0")]
    recent: ResourceShare,
    /// Make lines longer by a narrative with a text of this mean length in bytes, exponentially
    /// distributed; 0 = no narratives.
    #[arg(long, value_name = "MEAN", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1 << 20))]
    notes: u32,
    /// Make a mess: broken and blank lines, CRLF, a byte order mark, a giant line, duplicates, a file
    /// of several types.
    #[arg(long)]
    mess: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Generates the data, and prints what was written.
pub fn run(args: &GenerateArgs) -> Result<(), CliError> {
    let options = GenerateOptions {
        groups: args.groups,
        observations: args.observations,
        undated: args.undated,
        recent: args.recent,
        notes: args.notes,
        mess: args.mess,
        ..GenerateOptions::new(args.patients, args.seed, &args.out)
    };
    let began = Instant::now();
    let bar = ProgressBar::new(u64::from(args.patients));
    let summary =
        generate(&options, &mut |done| bar.set_position(u64::from(done))).map_err(CliError::usage)?;
    bar.finish_and_clear();
    let line = |file: &FileSummary| format!("{:>10}  {:>12}  {}", file.resources, file.bytes, file.name);
    let mut lines: Vec<_> = summary.files.iter().map(line).collect();
    let rate = summary.bytes() as f64 / began.elapsed().as_secs_f64();
    let (bytes, rate) = (HumanBytes(summary.bytes()), HumanBytes(rate as u64));
    lines.push(format!("{} resources, {bytes}, {rate}/s", summary.resources()));
    if args.mess {
        lines.push(format!("{} broken lines", summary.broken_lines()));
    }
    let file = |file: &FileSummary| json!({"name": format!("{}.ndjson", file.name), "resources": file.resources, "bytes": file.bytes});
    let document = json!({
        "files": summary.files.iter().map(file).collect::<Vec<_>>(), "resources": summary.resources(),
        "bytes": summary.bytes(), "broken_lines": summary.broken_lines(),
    });
    report_as(&args.output, lines.join("\n"), &document)
}
