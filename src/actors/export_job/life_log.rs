//! The life of a job in the log: one line a step, each with the job, its tenant and its client, and what
//! the step came to. Nothing in them may name a patient (P12): ids, counts and reasons of closed lists.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::Span;

use crate::clock::between;
use crate::export::ExportSession;
use crate::job::life::Commit;
use crate::job::{JobRecord, JobState, Mark, Receipt};
use crate::telemetry::spans;

/// The log of one job's life in this process.
pub(super) struct LifeLog {
    /// When the last step of the export was logged.
    last: Instant,
    /// The span of the export, as long as it is under way.
    span: Span,
}

/// Logs a step of a job's life.
macro_rules! step {
    ($record:expr, $name:literal, $($field:tt)+) => {{
        let JobRecord { id, tenant, owner, .. } = $record;
        tracing::info!(job = %id, %tenant, client = %owner, $($field)+, $name)
    }};
}

impl LifeLog {
    /// Begins the log of a job that is kicked off, found or woken now.
    pub fn new() -> Self {
        Self { last: Instant::now(), span: Span::none() }
    }

    /// The job is durably queued. `request` is the span of the request that asked for it.
    pub fn kicked_off(&mut self, record: &JobRecord, request: &Span) {
        let milliseconds = self.lap();
        self.span = spans::job(record, false);
        request.in_scope(|| step!(record, "job kicked off", milliseconds));
    }

    /// The job's turn has come.
    pub fn started(&mut self, record: &JobRecord) {
        let waited_milliseconds = self.lap();
        step!(record, "job started", waited_milliseconds);
    }

    /// The job's turn has come again after a restart of the server.
    pub fn resumed(&mut self, record: &JobRecord, sealed_parts: usize) {
        let waited_milliseconds = self.lap();
        self.span = spans::job(record, true);
        step!(record, "job resumed", sealed_parts, waited_milliseconds);
    }

    /// The job has entered a state, which is not durable yet.
    pub fn entered(&mut self, record: &JobRecord, session: &ExportSession) {
        match &record.state {
            JobState::Running { .. } => {
                let (parts, bytes) = session.planned();
                let milliseconds = self.lap();
                spans::count(&self.span, "evanesce.parts", parts as u64);
                step!(record, "job planned", parts, bytes, milliseconds);
            }
            JobState::Marked(Mark { reason, by, request_id, was, .. }) => {
                let (reason, by) = (reason.as_str(), by.as_ref().map(tracing::field::display));
                self.end_span(record);
                step!(record, "job marked", reason, by, request_id, was = was.as_str());
            }
            _ => {}
        }
    }

    /// A state is durable.
    pub fn committed(&mut self, commit: &Commit, session: &ExportSession, now: Timestamp) {
        let record = commit.record();
        match (commit, &record.state) {
            (Commit::Complete(_), JobState::Complete(completion)) => {
                spans::count(&self.span, "evanesce.files", completion.files);
                spans::count(&self.span, "evanesce.resources", completion.resources);
                spans::count(&self.span, "evanesce.bytes", completion.bytes);
                self.end_span(record);
                let milliseconds = milliseconds(session.running_for(Instant::now()));
                // A resumed export was written in more than one process: these are of this one.
                let written = session.written_bytes();
                step!(
                    record,
                    "job completed",
                    files = completion.files,
                    resources = completion.resources,
                    bytes = completion.bytes,
                    stored = completion.stored_bytes(),
                    written,
                    milliseconds,
                    bytes_per_second = written.saturating_mul(1000) / milliseconds.max(1)
                );
            }
            (_, JobState::Failed(failure)) => {
                spans::failed(&self.span, &format!("{:?}", failure.reason));
                self.end_span(record);
                let milliseconds = milliseconds(session.running_for(Instant::now()));
                step!(record, "job failed", reason = ?failure.reason, milliseconds);
            }
            (Commit::Mark(_) | Commit::MarkNew(_), JobState::Marked(mark)) => {
                step!(record, "job hidden", milliseconds = milliseconds(between(mark.at, now)));
            }
            (Commit::Erase(_, receipt), _) => {
                let Receipt { files, bytes, marked_at, gone_at, failed_sweeps, .. } = &**receipt;
                let milliseconds = milliseconds(between(*marked_at, *gone_at));
                step!(record, "job erased", files, bytes, failed_sweeps, milliseconds);
            }
            _ => {}
        }
    }

    /// Ends the span of the export with the state that ends it.
    fn end_span(&mut self, record: &JobRecord) {
        self.span.record("evanesce.state", record.state.name().as_str());
        self.span = Span::none();
    }

    /// Returns the milliseconds since the last step.
    fn lap(&mut self) -> u64 {
        let now = Instant::now();
        milliseconds(now - std::mem::replace(&mut self.last, now))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
