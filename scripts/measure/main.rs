//! Measures the release binary over HTTP against named baselines in the same run. These
//! machines are shared and noisy: subject and baseline take turns, what counts is the ratio.

mod auth;
mod baseline;
mod contest;
mod copy;
mod deletes;
mod encryption;
mod endings;
mod exports;
mod forms;
mod growth;
mod host;
mod index;
mod memory;
mod neighbours;
mod planning;
mod scan;
mod server;
mod slow;
mod source;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use source::Source;

/// Measurements of a release binary.
#[derive(Debug, Parser)]
pub struct Args {
    /// The binary.
    #[arg(long)]
    server: PathBuf,
    /// A folder on the file system to measure.
    #[arg(long, default_value = "/tmp")]
    dir: PathBuf,
    /// A tenth of the rounds and a quarter of the data.
    #[arg(long)]
    quick: bool,
    /// The warm start of 10 GB as well, which takes 12 GB of disk for a while.
    #[arg(long)]
    large: bool,
    /// Only these, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Subject>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// DELETE to its 202, to the last byte, to the empty disk.
    Deletes,
    /// The last byte, idle and busy; few and many files; downloads beside a sweep.
    Endings,
    /// Unfiltered exports.
    Exports,
    /// Exports of a group and of what is new.
    Selections,
    /// Files stored encrypted, and their deletion.
    Encryption,
    /// Files stored compressed, and downloads in each form.
    Forms,
    /// Building the index, and loading it.
    Index,
    /// Peaks of the memory of a server.
    Memory,
    /// A small export beside huge ones.
    Neighbours,
    /// Kick-off to plan.
    Planning,
    /// The store over a million jobs.
    Growth,
    /// Access tokens, and what they cost a status request.
    Auth,
    /// Honest clients beside slow ones.
    Slow,
}

impl Subject {
    /// Whether it is measured on the large source.
    fn is_large(self) -> bool {
        !matches!(self, Self::Deletes | Self::Endings | Self::Growth | Self::Auth | Self::Slow)
    }
}

fn main() {
    let args = Args::parse();
    let mut subjects = Subject::value_variants().to_vec();
    if !args.only.is_empty() {
        subjects.retain(|subject| args.only.contains(subject));
    }
    let large = subjects.iter().any(|subject| subject.is_large()).then(|| Source::of_4_gb(&args));
    if let Some(large) = &large {
        println!("\nThe source: {}, {} resources", large.size(), large.resources);
    }
    for subject in subjects {
        match (subject, &large) {
            (Subject::Exports, Some(large)) => exports::everything(&args, large),
            (Subject::Selections, Some(large)) => exports::selections(&args, large),
            (Subject::Encryption, Some(large)) => encryption::all(&args, large),
            (Subject::Forms, Some(large)) => forms::all(&args, large),
            (Subject::Index, Some(large)) => index::all(&args, large),
            (Subject::Memory, Some(large)) => memory::peaks(&args, large),
            (Subject::Neighbours, Some(large)) => neighbours::small_beside_huge(&args, large),
            (Subject::Planning, Some(large)) => planning::kickoff_to_plan(&args, large),
            (Subject::Endings, _) => endings::all(&args),
            (Subject::Growth, _) => growth::of_the_store(&args),
            (Subject::Auth, _) => auth::all(&args),
            (Subject::Slow, _) => slow::beside(&args),
            _ => deletes::all(&args),
        }
    }
    drop(large);
    if args.large {
        index::warm_start_of_10_gb(&args);
    }
    println!("\nStates and transitions of the model: cargo test --test main model:: -- --nocapture");
}

/// Minimum, median, 99th percentile and maximum of times, in milliseconds.
pub fn summary(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    format!("min {:.2}  p50 {:.2}  p99 {:.2}  max {:.2} ms", at(0.0), at(0.5), at(0.99), at(1.0))
}

/// The median of times.
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
