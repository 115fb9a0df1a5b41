//! What the workers need to run the parts of one job, and what its actor needs to stop them.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::asked::Asked;
use super::writer::{Covered, Fence, Form, Shared, Slot};
use super::{CancelToken, ExportError, Exporter, Gate, Part, PartWriter, Throttle, Written};
use crate::files::ExportDir;
use crate::job::{Access, FailureReason, JobId, SealedPart, TenantId};
use crate::view::ExportProgress;

/// The limits of a job's writers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The limits that all jobs share.
    pub throttle: Arc<Throttle>,
    /// The size in bytes at which a file ends.
    pub max_file_bytes: u64,
    /// The form of the files.
    pub form: Form,
}

/// The result of a part.
#[derive(Debug)]
pub struct PartDone {
    /// The sealed part, or why it failed. A reason of `None` means that it was cancelled.
    pub result: Result<SealedPart, Option<FailureReason>>,
}

/// What [`Work::fence`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fenced {
    /// The writers whose files were just closed.
    pub closed: Vec<Straggler>,
    /// The writers inside a system call. They keep their files until the call returns; fence again
    /// then.
    pub busy: Vec<Straggler>,
}

/// A writer that did not stop in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Straggler {
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
    shared: Arc<Shared>,
    covered: Arc<Covered>,
    state: Mutex<State>,
    report: Box<dyn Fn(PartDone) + Send + Sync>,
}

/// The directory, until the work is over, and the slots of running parts.
struct State {
    dir: Option<Arc<dyn ExportDir>>,
    slots: HashMap<u32, Running>,
}

/// A running part: its open files and the name of its thread.
struct Running {
    slot: Arc<Slot>,
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
        limits: &Limits,
        progress: Arc<ExportProgress>,
        report: impl Fn(PartDone) + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            asked: Asked::default(),
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
            state: Mutex::new(State { dir: Some(dir), slots: HashMap::new() }),
            report: Box::new(report),
        }
    }

    /// Makes the writers refuse types that `access` does not cover.
    pub fn within(self, access: &Access) -> Self {
        Self { covered: Arc::new(Covered::of(access)), ..self }
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
    pub fn fence(&self) -> Fenced {
        let mut fenced = Fenced::default();
        for (part, Running { slot, worker }) in &self.state.lock().slots {
            let straggler = || Straggler { part: *part, worker: worker.clone() };
            match slot.fence() {
                Fence::Closed => fenced.closed.push(straggler()),
                Fence::Busy => fenced.busy.push(straggler()),
                Fence::Empty => {}
            }
        }
        fenced
    }

    /// Returns what this process has written for the job.
    pub fn written(&self) -> Written {
        self.shared.gate.written()
    }

    /// Runs one part on this thread, seals its files and reports the result. `left` is called in
    /// between, when the part holds no file any more.
    pub(super) fn run(&self, index: u32, part: &Part, left: impl FnOnce()) {
        let result = self.run_part(index, part);
        self.state.lock().slots.remove(&index);
        left();
        (self.report)(PartDone { result });
    }

    fn run_part(&self, index: u32, part: &Part) -> Result<SealedPart, Option<FailureReason>> {
        let mut writer = {
            let mut state = self.state.lock();
            let dir = state.dir.clone().ok_or(None)?;
            let slot = Arc::new(Slot::new(dir));
            let worker = std::thread::current().name().unwrap_or("unnamed").to_string();
            state.slots.insert(index, Running { slot: slot.clone(), worker });
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
