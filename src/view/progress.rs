//! How far an export is, and how long it still takes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The age at which an observation counts for a third of a new one.
const MEMORY: Duration = Duration::from_secs(15);

/// A job that has run for less has no estimate.
const WARM_UP: Duration = Duration::from_millis(500);

/// The longest estimate, for an export that does not move.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How far an export is, in the plan's units of work: bytes, for the built-in exporter. Workers only
/// count; the rate is computed when somebody asks.
#[derive(Debug, Default)]
pub struct ExportProgress {
    planned: AtomicU64,
    done: AtomicU64,
    written: AtomicU64,
    files: AtomicU64,
    parts: AtomicUsize,
    sealed: AtomicUsize,
    pace: Mutex<Option<ProgressRate>>,
}

/// The rate of the units done since the first part began in this process.
#[derive(Debug, Clone, Copy)]
struct ProgressRate {
    began: Instant,
    began_with: u64,
    seen: Instant,
    seen_done: u64,
    /// Units a second, smoothed from 0 on.
    rate: f64,
    /// The weight of the observations in `rate`, which tends to 1.
    weight: f64,
}

impl ProgressRate {
    fn new(now: Instant, done: u64) -> Self {
        Self { began: now, began_with: done, seen: now, seen_done: done, rate: 0.0, weight: 0.0 }
    }

    fn observe(&mut self, now: Instant, done: u64) {
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        if passed > 0.0 {
            let rate = done.saturating_sub(self.seen_done) as f64 / passed;
            let share = 1.0 - (-passed / MEMORY.as_secs_f64()).exp();
            self.rate += share * (rate - self.rate);
            self.weight += share * (1.0 - self.weight);
            (self.seen, self.seen_done) = (now, done);
        }
    }
}

impl ExportProgress {
    /// Sets the planned units.
    pub fn plan(&self, units: u64) {
        self.planned.store(units, Ordering::Relaxed);
    }

    /// Sets the number of parts in the plan, and how many of them are sealed already.
    pub fn plan_parts(&self, parts: usize, sealed: usize) {
        self.parts.store(parts, Ordering::Relaxed);
        self.sealed.store(sealed, Ordering::Relaxed);
    }

    /// Counts a part that is sealed and recorded.
    pub fn seal(&self) {
        self.sealed.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the first part begins. What another process did before does not count for the rate.
    /// Later calls change nothing.
    pub fn begin(&self, now: Instant) {
        self.pace.lock().get_or_insert_with(|| ProgressRate::new(now, self.done()));
    }

    /// Adds done units. They are the exporter's and may be absurd.
    pub fn advance(&self, units: u64) {
        let add = |done: u64| Some(done.saturating_add(units));
        // Never an error: there always is a next value.
        let _ = self.done.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Adds bytes written to output files.
    pub fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes in output files, sealed or not. After a restart only sealed ones count.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Counts output files that hold bytes.
    pub fn opened(&self, files: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
    }

    /// Returns the number of output files, sealed or not. After a restart only sealed ones count.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Returns the planned units.
    pub fn planned(&self) -> u64 {
        self.planned.load(Ordering::Relaxed)
    }

    /// Returns the done units.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Returns the number of parts in the plan; 0 when queued.
    pub fn parts(&self) -> usize {
        self.parts.load(Ordering::Relaxed)
    }

    /// Returns the number of sealed parts.
    pub fn sealed(&self) -> usize {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Returns the percentage done. It never falls, is 0 when queued, and below 100 until the job is
    /// complete (ST-2).
    pub fn percent(&self) -> f64 {
        let (planned, done) = (self.planned(), self.done());
        if planned == 0 { 0.0 } else { (100.0 * done as f64 / planned as f64).min(99.9) }
    }

    /// Returns how long the rest takes at the rate of the last seconds, at most a day. `None` if the
    /// job is queued or has only just begun.
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        let mut pace = self.pace.lock();
        let (pace, done) = (pace.as_mut()?, self.done());
        pace.observe(now, done);
        if now.saturating_duration_since(pace.began) < WARM_UP || done == pace.began_with {
            return None;
        }
        let left = self.planned().saturating_sub(done) as f64 * pace.weight / pace.rate;
        Some(Duration::try_from_secs_f64(left).map_or(LONGEST, |left| left.min(LONGEST)))
    }

    /// Returns how long the job has run in this process; zero when queued.
    pub fn running(&self, now: Instant) -> Duration {
        self.pace.lock().map_or(Duration::ZERO, |pace| now.saturating_duration_since(pace.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works at `rate` for `seconds`, asked each second; gives the last estimate in seconds.
    fn work(progress: &ExportProgress, now: &mut Instant, seconds: u64, rate: u64) -> Option<f64> {
        let mut left = None;
        for _ in 0..seconds {
            *now += Duration::from_secs(1);
            progress.advance(rate);
            left = progress.time_left(*now);
        }
        left.map(|left| left.as_secs_f64())
    }

    #[track_caller]
    fn assert_about(left: Option<f64>, expected: f64) {
        let left = left.expect("an estimate");
        assert!((left - expected).abs() <= expected * 0.02 + 0.001, "{left}, should be about {expected}");
    }

    #[test]
    fn progress_never_shows_a_running_job_as_complete() {
        let progress = ExportProgress::default();
        assert_eq!(progress.percent(), 0.0);
        progress.plan(1000);
        progress.advance(230);
        assert_eq!(format!("{:.1}", progress.percent()), "23.0");
        progress.advance(770);
        assert_eq!(progress.percent(), 99.9);
    }

    #[test]
    fn a_job_that_is_queued_or_has_only_just_begun_has_no_estimate() {
        let (progress, mut now) = (ExportProgress::default(), Instant::now());
        assert_eq!(progress.time_left(now), None);
        progress.plan(1000);
        now += Duration::from_secs(3600);
        assert_eq!(progress.time_left(now), None, "queued");
        progress.begin(now);
        progress.advance(1);
        assert_eq!(progress.time_left(now), None);
        assert_eq!(progress.time_left(now + Duration::from_millis(100)), None);
        // The hour in the queue is no part of the rate.
        assert_about(work(&progress, &mut now, 1, 99), 9.0);
    }

    #[test]
    fn a_steady_rate_is_found_at_once_and_however_often_it_is_asked_for() {
        let (progress, mut now) = (ExportProgress::default(), Instant::now());
        progress.plan(10_000);
        progress.begin(now);
        assert_about(work(&progress, &mut now, 1, 100), 99.0);
        assert_about(work(&progress, &mut now, 49, 100), 50.0);
        for _ in 0..1000 {
            now += Duration::from_millis(10);
            progress.advance(1);
            progress.time_left(now);
        }
        assert_about(progress.time_left(now).map(|left| left.as_secs_f64()), 40.0);
        now += Duration::from_secs(20);
        progress.advance(2000);
        assert_about(progress.time_left(now).map(|left| left.as_secs_f64()), 20.0);
    }

    #[test]
    fn the_estimate_follows_the_recent_rate_and_not_the_average() {
        let (progress, mut now) = (ExportProgress::default(), Instant::now());
        progress.plan(1_000_000);
        progress.begin(now);
        work(&progress, &mut now, 600, 100);
        let left = work(&progress, &mut now, 120, 1000);
        assert_about(left, (1_000_000 - 60_000 - 120_000) as f64 / 1000.0);
    }

    #[test]
    fn a_job_that_stands_still_takes_ever_longer_up_to_a_day() {
        let (progress, mut now) = (ExportProgress::default(), Instant::now());
        progress.plan(1000);
        progress.begin(now);
        let moving = work(&progress, &mut now, 5, 100).unwrap();
        let standing = work(&progress, &mut now, 30, 0).unwrap();
        assert!(standing > 5.0 * moving, "{moving}, then {standing}");
        assert_eq!(work(&progress, &mut now, 100_000, 0), Some(LONGEST.as_secs_f64()));
        progress.advance(500);
        assert_about(progress.time_left(now).map(|left| left.as_secs_f64()), 0.0);
    }

    #[test]
    fn what_was_done_before_a_restart_is_no_sign_of_the_rate() {
        let (progress, mut now) = (ExportProgress::default(), Instant::now());
        progress.plan(10_000);
        progress.advance(5000);
        progress.begin(now);
        assert_eq!(progress.time_left(now + Duration::from_secs(2)), None, "nothing was done yet");
        assert_about(work(&progress, &mut now, 10, 100), 40.0);
        progress.begin(now);
        assert_eq!(progress.running(now), Duration::from_secs(10), "it begins once");
    }
}
