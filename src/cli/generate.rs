//! `evanesce generate`: synthetic FHIR data, the same for the same arguments.

use std::path::PathBuf;
use std::time::Instant;

use indicatif::{HumanBytes, ProgressBar};

use super::CliError;
use crate::generate::{Options, generate};

/// The arguments of `evanesce generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many patients.
    #[arg(long, default_value_t = 100)]
    patients: u32,
    /// What the data follows from: the same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder to write to; it must not hold NDJSON files yet.
    #[arg(long)]
    out: PathBuf,
}

/// Generates and says what was written.
pub fn run(args: &Args) -> Result<(), CliError> {
    let options = Options { patients: args.patients, seed: args.seed, out: args.out.clone() };
    let began = Instant::now();
    let bar = ProgressBar::new(u64::from(args.patients));
    let summary =
        generate(&options, &mut |done| bar.set_position(u64::from(done))).map_err(CliError::usage)?;
    bar.finish_and_clear();
    for file in &summary.files {
        println!("{:>10}  {:>12}  {}", file.resources, file.bytes, file.resource_type);
    }
    let rate = summary.bytes() as f64 / began.elapsed().as_secs_f64();
    let (bytes, rate) = (HumanBytes(summary.bytes()), HumanBytes(rate as u64));
    println!("{} resources, {bytes}, {rate}/s", summary.resources());
    Ok(())
}
