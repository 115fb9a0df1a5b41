//! A subject and its baseline, taking turns.

use std::time::Duration;

use crate::median;

/// Times of both, round by round.
#[derive(Default)]
pub struct Contest {
    ours: Vec<Duration>,
    theirs: Vec<Duration>,
    ratios: Vec<f64>,
}

impl Contest {
    /// `rounds` times both, the subject first, after one round that warms the page cache and is
    /// not counted.
    pub fn hold(
        rounds: usize,
        mut subject: impl FnMut() -> Duration,
        mut baseline: impl FnMut() -> Duration,
    ) -> Self {
        let mut contest = Self::default();
        for round in 0..=rounds {
            let (ours, theirs) = (subject(), baseline());
            if round > 0 {
                contest.add(ours, theirs);
            }
        }
        contest
    }

    fn add(&mut self, ours: Duration, theirs: Duration) {
        self.ours.push(ours);
        self.theirs.push(theirs);
        self.ratios.push(ours.as_secs_f64() / theirs.as_secs_f64());
    }

    /// Prints both by name with the rate at which they went through `bytes`, and the ratio.
    pub fn print(mut self, names: [&str; 2], bytes: u64, aim: f64) {
        let width = names[0].len().max(names[1].len()) + 1;
        for (name, times) in names.into_iter().zip([&mut self.ours, &mut self.theirs]) {
            let (least, p50) = (times.iter().min().expect("a round").as_secs_f64(), median(times));
            let rate = bytes as f64 / 1e6 / p50.as_secs_f64();
            println!(
                "  {:<width$} least {least:.3} s, p50 {:.3} s, {rate:.0} MB/s",
                format!("{name}:"),
                p50.as_secs_f64()
            );
        }
        self.ratios.sort_by(f64::total_cmp);
        let (least, p50) = (self.ratios[0], self.ratios[self.ratios.len() / 2]);
        println!("  time: least {least:.2}x, median {p50:.2}x of the baseline's (aim: {aim}x)");
    }
}
