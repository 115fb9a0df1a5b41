//! The spans of a job, of its parts and of its sweeps. Their fields are ids, counts and names of closed
//! lists: nothing in them may name a patient (P12). They are never entered, so they are not part of log
//! lines, which name the job themselves. What belongs together is told by the job's id: a sweep may come
//! days after the job, in another process. Names are OpenTelemetry's where it has one.

#[cfg(feature = "cli")]
use std::ffi::OsString;
#[cfg(feature = "server")]
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Span;
use tracing::field::Empty;

use crate::job::{JobId, JobRecord};

/// The target of these spans.
pub(super) const TARGET: &str = "evanesce::spans";

/// The variables that say where a collector is.
#[cfg(feature = "cli")]
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Returns the variable that names a collector, if `value` has a value for one that is not empty.
#[cfg(feature = "cli")]
pub(super) fn endpoint_variable(value: impl Fn(&str) -> Option<OsString>) -> Option<&'static str> {
    ENDPOINTS.into_iter().find(|name| value(name).is_some_and(|value| !value.is_empty()))
}

/// Returns the variable that names a collector to a program that cannot send spans.
#[cfg(feature = "cli")]
pub(super) fn unused_endpoint(
    can_send: bool,
    value: impl Fn(&str) -> Option<OsString>,
) -> Option<&'static str> {
    if can_send { None } else { endpoint_variable(value) }
}

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

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_send_spans_knows_which_variable_names_a_collector() {
        let both = |_: &str| Some(OsString::from("http://127.0.0.1:4318"));
        let general = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://a".into());
        let empty = |_: &str| Some(OsString::new());
        assert_eq!(unused_endpoint(false, both), Some("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"));
        assert_eq!(unused_endpoint(false, general), Some("OTEL_EXPORTER_OTLP_ENDPOINT"));
        assert_eq!(unused_endpoint(false, empty), None);
        assert_eq!(unused_endpoint(false, |_| None), None);
        assert_eq!(unused_endpoint(true, both), None);
        assert_eq!(endpoint_variable(both), Some("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"));
    }
}
