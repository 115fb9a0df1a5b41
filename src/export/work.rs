//! What the workers need to run the parts of one job, and what its actor needs to stop them.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::request_cache::RequestCache;
use super::writer::{CoveredTypes, FenceOutcome, OutputForm, WriterContext, WriterSlot};
use super::{CancelToken, ExportError, Exporter, Gate, Part, PartWriter, Throttle, WriteTotals};
use crate::files::ExportDir;
use crate::job::{AccessSummary, FailureReason, JobId, OutputFile, SealedPart, TenantId};
use crate::telemetry::spans;
use crate::view::ExportProgress;

/// The limits of a job's writers.
#[derive(Debug, Clone)]
pub struct WriteLimits {
    /// The limits that all jobs share.
    pub throttle: Arc<Throttle>,
    /// The size in bytes at which a file ends.
    pub max_file_bytes: u64,
    /// The form of the files.
    pub form: OutputForm,
}

/// The result of a part.
#[derive(Debug)]
pub struct PartDone {
    /// The sealed part, or why it failed. A reason of `None` means that it was cancelled.
    pub result: Result<SealedPart, Option<FailureReason>>,
}

/// What [`Work::fence`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FenceReport {
    /// The writers whose files were just closed.
    pub closed: Vec<StuckWriter>,
    /// The writers inside a system call. They keep their files until the call returns; fence again
    /// then.
    pub busy: Vec<StuckWriter>,
}

/// A writer that did not stop in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckWriter {
    /// The index of its part in the plan.
    pub part: u32,
    /// The name of its thread.
    pub worker: String,
}

/// The work of one job, shared by its actor and the workers.
pub struct Work {
    /// The job.
    pub job: JobId,
    exporter: Arc<dyn Exporter>,
    shared: Arc<WriterContext>,
    covered: Arc<CoveredTypes>,
    state: Mutex<WorkState>,
    report: Box<dyn Fn(PartDone) + Send + Sync>,
}

/// The directory, until the work is over, and the slots of running parts.
struct WorkState {
    dir: Option<Arc<dyn ExportDir>>,
    slots: HashMap<u32, RunningPart>,
}

/// A running part: its open files and the name of its thread.
struct RunningPart {
    slot: Arc<WriterSlot>,
    worker: String,
}

impl Work {
    /// Creates the work of `job` in `dir`. After each part `report` is called on the worker's
    /// thread.
    pub fn new(
        job: JobId,
        tenant: TenantId,
        exporter: Arc<dyn Exporter>,
        dir: Arc<dyn ExportDir>,
        limits: &WriteLimits,
        progress: Arc<ExportProgress>,
        report: impl Fn(PartDone) + Send + Sync + 'static,
    ) -> Self {
        let shared = WriterContext {
            asked: RequestCache::default(),
            cancel: CancelToken::new(),
            gate: Gate::new(limits.throttle.clone(), tenant),
            progress,
            max_file_bytes: limits.max_file_bytes,
            form: limits.form,
        };
        Self {
            job,
            exporter,
            shared: Arc::new(shared),
            covered: Arc::default(),
            state: Mutex::new(WorkState { dir: Some(dir), slots: HashMap::new() }),
            report: Box::new(report),
        }
    }

    /// Makes the writers refuse types that `access` does not cover.
    pub fn within(self, access: &AccessSummary) -> Self {
        Self { covered: Arc::new(CoveredTypes::of(access)), ..self }
    }

    /// Makes writers wait before their next write.
    pub fn pause(&self) {
        self.shared.gate.pause();
    }

    /// Fires the cancel token, closes the gate and drops the directory handle. Waiting writers
    /// return at once, and no further part begins.
    pub fn stop(&self) {
        // The token comes first: a writer at the closed gate must not report a fault.
        self.shared.cancel.cancel();
        self.shared.gate.close();
        self.state.lock().dir = None;
    }

    /// Closes the files of writers that are still running.
    pub fn fence(&self) -> FenceReport {
        let mut fenced = FenceReport::default();
        for (part, RunningPart { slot, worker }) in &self.state.lock().slots {
            let straggler = || StuckWriter { part: *part, worker: worker.clone() };
            match slot.fence() {
                FenceOutcome::Closed => fenced.closed.push(straggler()),
                FenceOutcome::Busy => fenced.busy.push(straggler()),
                FenceOutcome::Empty => {}
            }
        }
        fenced
    }

    /// Returns what this process has written for the job.
    pub fn written(&self) -> WriteTotals {
        self.shared.gate.written()
    }

    /// Runs one part on this thread, seals its files and reports the result. `left` is called in
    /// between, when the part holds no file any more.
    pub(super) fn run(&self, index: u32, part: &Part, left: impl FnOnce()) {
        let span = spans::part(self.job, index);
        let result = self.run_part(index, part);
        match &result {
            Ok(sealed) => {
                let sum = |of: fn(&OutputFile) -> u64| sealed.files.iter().map(of).sum();
                spans::count(&span, "evanesce.files", sealed.files.len() as u64);
                spans::count(&span, "evanesce.resources", sum(|file| file.count));
                spans::count(&span, "evanesce.bytes", sum(|file| file.bytes));
            }
            Err(Some(reason)) => spans::failed(&span, &format!("{reason:?}")),
            Err(None) => spans::failed(&span, "Cancelled"),
        }
        drop(span);
        self.state.lock().slots.remove(&index);
        left();
        (self.report)(PartDone { result });
    }

    fn run_part(&self, index: u32, part: &Part) -> Result<SealedPart, Option<FailureReason>> {
        let mut writer = {
            let mut state = self.state.lock();
            let dir = state.dir.clone().ok_or(None)?;
            let slot = Arc::new(WriterSlot::new(dir));
            let worker = std::thread::current().name().unwrap_or("unnamed").to_string();
            state.slots.insert(index, RunningPart { slot: slot.clone(), worker });
            PartWriter::new(slot, self.shared.clone(), self.covered.clone(), part.weight)
        };
        self.shared.progress.begin(Instant::now());
        let run = || {
            let summary = self.exporter.run(part, &mut writer, &self.shared.cancel)?;
            let files = writer.seal()?;
            Ok(SealedPart { index, files, broken_lines: summary.broken_lines })
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(sealed)) => Ok(sealed),
            Ok(Err(error)) => {
                let error: ExportError = error;
                // After a cancel every error counts as cancelled. Without one, none does.
                if self.shared.cancel.is_cancelled() {
                    return Err(None);
                }
                tracing::error!(job = %self.job, part = index, %error, "a part failed");
                Err(Some(error.reason().unwrap_or(FailureReason::ExporterFailed)))
            }
            Err(_panic) => {
                tracing::error!(job = %self.job, part = index, "the exporter panicked");
                Err(Some(FailureReason::ExporterPanicked))
            }
        }
    }
}
