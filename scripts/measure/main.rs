//! Measures the release binary over HTTP against named baselines in the same run. These
//! machines are shared and noisy: subject and baseline take turns, what counts is the ratio.

mod baseline;
mod deletes;
mod exports;
mod host;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measurements of a release binary.
#[derive(Debug, Parser)]
pub struct Args {
    /// The binary.
    #[arg(long)]
    server: PathBuf,
    /// A folder on the file system to measure.
    #[arg(long, default_value = "/tmp")]
    dir: PathBuf,
    /// A tenth of the rounds and of the data.
    #[arg(long)]
    quick: bool,
}

fn main() {
    let args = Args::parse();
    deletes::one_at_a_time(&args);
    deletes::many_at_once(&args);
    deletes::to_the_empty_disk(&args);
    exports::against_cp(&args);
    println!(
        "\nStates and transitions of the model: cargo test -- --nocapture the_protocol_keeps_every_promise"
    );
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
