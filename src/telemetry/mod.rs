//! Names of metrics, the setup of logs, and the only way in which a process gives up.

#[cfg(feature = "cli")]
mod listeners;
#[cfg(feature = "cli")]
mod log_buffer;
#[cfg(feature = "cli")]
mod log_filter;
#[cfg(feature = "server")]
mod log_level;
#[cfg(feature = "console")]
mod log_ring;
#[cfg(feature = "cli")]
mod logs;
#[cfg(feature = "cli")]
mod metrics;
#[cfg(feature = "server")]
mod requests;

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(all(feature = "cli", not(feature = "otlp")))]
#[path = "no_otlp.rs"]
mod otlp;
pub(crate) mod spans;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::metrics::{counter, gauge, histogram};
#[cfg(feature = "cli")]
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

#[cfg(feature = "cli")]
pub use self::metrics::{METRIC_GROUPS, MetricDescription, MetricKind, all_metrics};
#[cfg(feature = "cli")]
pub use listeners::*;
#[cfg(feature = "server")]
pub use log_level::{LogFilterError, log_level, set_log_level};
#[cfg(feature = "console")]
pub(crate) use log_ring::RECENT_LINES;
#[cfg(feature = "cli")]
pub use logs::{LogFormat, ProcessLog, flush_logs, say};
#[cfg(feature = "server")]
pub use requests::*;

/// What to do when nothing can be promised any more. The process is crash-only: the supervisor
/// restarts it, and the reconcile at the start does the rest.
#[derive(Clone)]
pub struct FatalHandler(Arc<dyn Fn(&str) + Send + Sync>);

impl FatalHandler {
    /// Creates a handler that calls `act` with the reason. `act` should not return.
    pub fn new(act: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(act))
    }

    /// Ends the process with exit code 70 (EX_SOFTWARE), after a moment if nobody reads its log. In
    /// a process without logs, such as a host's, the reason goes to standard error.
    pub fn exit() -> Self {
        Self::new(|reason| {
            if !tracing::dispatcher::has_been_set() {
                let _ = writeln!(io::stderr(), "evanesce: the process ends: {reason}");
            }
            #[cfg(feature = "cli")]
            flush_logs();
            std::process::exit(70)
        })
    }

    /// Logs the reason and acts.
    pub fn raise(&self, reason: &str) {
        tracing::error!(reason, "fatal: the process ends, the next start reconciles");
        (self.0)(reason);
    }

    /// Returns a guard that raises if a panic drops it. Each actor holds one, because the runtime
    /// would swallow the actor's panic and leave its jobs without an owner.
    pub fn on_panic(&self, who: &'static str) -> PanicGuard {
        PanicGuard { fatal: self.clone(), who }
    }
}

/// Raises when a panic drops it ([`FatalHandler::on_panic`]).
pub struct PanicGuard {
    fatal: FatalHandler,
    who: &'static str,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fatal.raise(&format!("panic in {}", self.who));
        }
    }
}

/// Installs the recorder of the process. Returns the handle that renders it.
#[cfg(feature = "cli")]
pub fn init_metrics() -> Result<PrometheusHandle, BuildError> {
    let seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
    let changes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
    let handle = PrometheusBuilder::new()
        .set_buckets(&seconds)?
        .set_buckets_for_metric(Matcher::Full(COMMIT_CHANGES.into()), &changes)?
        .install_recorder()?;
    self::metrics::describe();
    Ok(handle)
}

const COMMIT_CHANGES: &str = "evanesce_commit_changes";

/// Records a group commit.
pub fn batch_committed(changes: usize, took: Duration) {
    histogram!("evanesce_commit_seconds").record(took);
    histogram!(COMMIT_CHANGES).record(changes as f64);
}

/// Runs a sync and records its duration. `what` is one of `store`, `receipts`, `audit`,
/// `directory`, `output` and `document`.
pub fn timed_sync<T>(what: &'static str, sync: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let synced = sync();
    histogram!("evanesce_fsync_seconds", "what" => what).record(began.elapsed());
    synced
}

/// Counts spans that are over. `outcome` is `sent`, `failed`, or `full`: there was no room for them.
#[cfg(feature = "otlp")]
pub fn spans_ended(outcome: &'static str, spans: usize) {
    counter!("evanesce_spans_total", "outcome" => outcome).increment(spans as u64);
}

/// Counts a job that reached a state.
pub fn job_reached(state: &'static str) {
    counter!("evanesce_jobs_total", "state" => state).increment(1);
}

/// Counts a refused kick-off.
pub fn kickoff_refused(reason: &'static str) {
    counter!("evanesce_refused_kickoffs_total", "reason" => reason).increment(1);
}

/// Sets the free bytes of the data directory's file system.
pub fn free_bytes(bytes: u64) {
    gauge!("evanesce_free_bytes").set(bytes as f64);
}

/// Sets the bytes that running exports will still write, with their overhead.
pub fn reserved_bytes(bytes: u64) {
    gauge!("evanesce_reserved_bytes").set(bytes as f64);
}

/// Records how long a job's files outlived their mark.
pub fn erased(took: Duration, files: u64, bytes: u64) {
    histogram!("evanesce_erase_seconds").record(took);
    counter!("evanesce_erased_files_total").increment(files);
    counter!("evanesce_erased_bytes_total").increment(bytes);
}

/// Counts a failed sweep, which will be retried. `errno` is the system's name of the error.
pub fn sweep_failed(errno: String) {
    counter!("evanesce_sweep_failures_total", "errno" => errno).increment(1);
}

/// Counts a gap in the receipts: their end was cut off or replaced.
pub fn receipts_gap() {
    counter!("evanesce_receipts_gaps_total").increment(1);
}

/// Counts a store that was older than the audit log.
pub fn store_behind() {
    counter!("evanesce_store_behind_total").increment(1);
}

/// Counts an event in the audit log.
pub fn audited(kind: &'static str) {
    counter!("evanesce_audit_events_total", "kind" => kind).increment(1);
}

/// Counts an event that could not be written to the audit log or synced.
pub fn audit_lost() {
    counter!("evanesce_audit_failures_total").increment(1);
}

/// Sets the number of the server's own files that are missing.
pub fn missing_files(count: usize) {
    gauge!("evanesce_missing_files").set(count as f64);
}

/// Counts a changed audit log.
pub fn audit_broken() {
    counter!("evanesce_audit_broken_total").increment(1);
}

/// Counts a failed scan of the data directory. The next pass tries again.
pub fn scan_failed() {
    counter!("evanesce_scan_failures_total").increment(1);
}

/// Sets whether expiry is held because the clock jumped.
pub fn clock_held(held: bool) {
    gauge!("evanesce_clock_held").set(f64::from(u8::from(held)));
}

/// Counts fenced writers. Some of them may be stuck in a system call.
pub fn fenced(fenced: usize, stuck: usize) {
    counter!("evanesce_fenced_writers_total").increment(fenced as u64);
    counter!("evanesce_stuck_writers_total").increment(stuck as u64);
}

/// Sets the number of workers that still work for ended jobs; `what` is `part` or `plan`.
pub fn outliving_workers(what: &'static str, count: usize) {
    gauge!("evanesce_outliving_workers", "what" => what).set(count as f64);
}

/// Counts downloads that were cut.
pub fn downloads_cut(count: u32) {
    counter!("evanesce_cut_downloads_total").increment(u64::from(count));
}

/// Sets the backlog of the reaper.
pub fn backlog(marked: usize, bytes: u64, oldest: Duration, orphans: usize, strangers: usize) {
    gauge!("evanesce_marked_jobs").set(marked as f64);
    gauge!("evanesce_marked_bytes").set(bytes as f64);
    gauge!("evanesce_oldest_mark_seconds").set(oldest.as_secs_f64());
    gauge!("evanesce_orphans").set(orphans as f64);
    gauge!("evanesce_strangers").set(strangers as f64);
}

/// Sets the standing orders of operators.
pub fn orders(paused: bool, held: usize) {
    gauge!("evanesce_reaper_paused").set(f64::from(u8::from(paused)));
    gauge!("evanesce_held_jobs").set(held as f64);
}

/// Sets the epoch of the keys, its age, and the keys that are there.
pub fn keys(epoch: u64, age: Duration, live: usize, unavailable: usize) {
    gauge!("evanesce_epoch").set(epoch as f64);
    gauge!("evanesce_epoch_age_seconds").set(age.as_secs_f64());
    gauge!("evanesce_live_keys").set(live as f64);
    gauge!("evanesce_unavailable_keys").set(unavailable as f64);
}

/// Counts turns of the epoch that failed.
pub fn turn_failed() {
    counter!("evanesce_epoch_turn_failures_total").increment(1);
}

/// Sets the work of all active jobs, in the units of their plans. The built-in exporter counts
/// bytes.
pub fn work(planned: u64, done: u64) {
    gauge!("evanesce_work_planned").set(planned as f64);
    gauge!("evanesce_work_done").set(done as f64);
}

/// Records an index update and the bytes of the source that it read.
pub fn indexed(indexed_bytes: u64, took: Duration) {
    counter!("evanesce_indexed_bytes_total").increment(indexed_bytes);
    histogram!("evanesce_index_seconds").record(took.as_secs_f64());
}

/// One source's share of the metric of files that are not exported, by reason. As with
/// [`IndexSize`], the metric is a sum.
#[derive(Debug, Default)]
pub struct LeftOutFiles(BTreeMap<&'static str, u64>);

impl LeftOutFiles {
    /// Sets the files by reason. A reason that is missing has no files.
    pub fn set(&mut self, files: BTreeMap<&'static str, u64>) {
        if self.0 == files {
            return;
        }
        let before = std::mem::replace(&mut self.0, files);
        let show = |reason: &'static str, more: f64| {
            gauge!("evanesce_source_left_out_files", "reason" => reason).increment(more);
        };
        before.iter().for_each(|(reason, files)| show(reason, -(*files as f64)));
        self.0.iter().for_each(|(reason, files)| show(reason, *files as f64));
    }
}

impl Drop for LeftOutFiles {
    fn drop(&mut self) {
        self.set(BTreeMap::new());
    }
}

/// One index's share of the metrics of all indexes. The metrics are sums: each index adds its
/// changes, and takes its share back when it is dropped.
#[derive(Debug, Default)]
pub struct IndexSize([u64; 4]);

impl IndexSize {
    /// Sets the numbers of resources and gaps, of superseded ones, and of resources whose last
    /// version is older than an earlier one, and the bytes in memory.
    pub fn set(&mut self, resources: u64, superseded: u64, outdated: u64, resident_bytes: u64) {
        let before = std::mem::replace(&mut self.0, [resources, superseded, outdated, resident_bytes]);
        let more = |n: usize| self.0[n] as f64 - before[n] as f64;
        gauge!("evanesce_index_resources").increment(more(0));
        gauge!("evanesce_index_superseded_resources").increment(more(1));
        gauge!("evanesce_index_outdated_resources").increment(more(2));
        gauge!("evanesce_index_resident_bytes").increment(more(3));
    }
}

impl Drop for IndexSize {
    fn drop(&mut self) {
        self.set(0, 0, 0, 0);
    }
}

/// Counts index files of unknown tenants that could not be removed.
pub fn index_leftovers_failed() {
    counter!("evanesce_index_leftover_failures_total").increment(1);
}

/// Counts bytes written to an output file.
pub fn bytes_written(bytes: usize) {
    counter!("evanesce_written_bytes_total").increment(bytes as u64);
}

/// Counts an attempt to sign in to the console; `outcome` is `accepted`, `refused` or `throttled`.
#[cfg(feature = "console")]
pub fn console_sign_in(outcome: &'static str) {
    counter!("evanesce_console_sign_ins_total", "outcome" => outcome).increment(1);
}

/// Counts a live part of a page of the console that was made.
#[cfg(feature = "console")]
pub fn console_part_made() {
    counter!("evanesce_console_parts_made_total").increment(1);
}
