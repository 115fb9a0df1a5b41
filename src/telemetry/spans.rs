//! The spans of a job, of its parts and of its sweeps. Their fields are ids, counts and names of closed
//! lists: nothing in them may name a patient (P12). They are never entered, so they are not part of log
//! lines, which name the job themselves. What belongs together is told by the job's id: a sweep may come
//! days after the job, in another process. Names are OpenTelemetry's where it has one.

#[cfg(feature = "server")]
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Span;
use tracing::field::Empty;

use crate::job::{JobId, JobRecord};

/// The target of these spans.
pub(super) const TARGET: &str = "evanesce::spans";

/// Whether this process sends spans to a collector.
#[cfg(feature = "server")]
static ARE_SENT: AtomicBool = AtomicBool::new(false);

/// Notes that this process sends spans to a collector.
#[cfg(feature = "otlp")]
pub(super) fn note_sending() {
    ARE_SENT.store(true, Ordering::Relaxed);
}

/// Returns whether this process sends spans to a collector: those of requests have more fields then.
#[cfg(feature = "server")]
pub fn are_sent() -> bool {
    ARE_SENT.load(Ordering::Relaxed)
}

/// Begins the span of a job, from its kick-off or a restart to its end or its mark.
pub fn job(record: &JobRecord, is_resumed: bool) -> Span {
    tracing::info_span!(
        target: TARGET,
        parent: None,
        "job",
        evanesce.job.id = %record.id,
        evanesce.job.resumed = is_resumed,
        evanesce.tenant = %record.tenant,
        evanesce.client = %record.owner,
        evanesce.state = Empty,
        evanesce.parts = Empty,
        evanesce.files = Empty,
        evanesce.resources = Empty,
        evanesce.bytes = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

/// Begins the span of one part on its worker.
pub fn part(job: JobId, index: u32) -> Span {
    tracing::info_span!(
        target: TARGET,
        parent: None,
        "part",
        evanesce.job.id = %job,
        evanesce.part.index = i64::from(index),
        evanesce.files = Empty,
        evanesce.resources = Empty,
        evanesce.bytes = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

/// Begins the span of one sweep of a job's files.
pub fn sweep(job: JobId) -> Span {
    tracing::info_span!(
        target: TARGET,
        parent: None,
        "sweep",
        evanesce.job.id = %job,
        evanesce.files = Empty,
        evanesce.bytes = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

/// Records a count.
pub fn count(span: &Span, field: &'static str, count: u64) {
    // OpenTelemetry has no unsigned numbers.
    span.record(field, i64::try_from(count).unwrap_or(i64::MAX));
}

/// Records that what a span is about failed; `kind` is one of a closed list.
pub fn failed(span: &Span, kind: &str) {
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
}
