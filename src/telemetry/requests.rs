//! What requests over HTTP count: answers, tokens, applications.

use std::time::Duration;

use ::metrics::{counter, gauge, histogram};

/// Records how long a DELETE took until it was acknowledged.
pub fn cancel_acknowledged(took: Duration) {
    histogram!("evanesce_cancel_seconds").record(took);
}

/// Counts a reload of the applications' file. `outcome` is `taken` or `refused`; after a refusal
/// the version before stays in force.
pub fn applications_read(outcome: &'static str, stale: bool) {
    counter!("evanesce_applications_reloads_total", "outcome" => outcome).increment(1);
    gauge!("evanesce_applications_stale").set(f64::from(u8::from(stale)));
}

/// Records an answered request.
pub fn answered(operation: &'static str, status: u16, took: Duration) {
    let status = status.to_string();
    counter!("evanesce_http_requests_total", "operation" => operation, "status" => status).increment(1);
    histogram!("evanesce_http_seconds", "operation" => operation).record(took);
}

/// Counts a request that was answered 429. `limit` is one of `address`, `client`, `token` and
/// `downloads`.
pub fn throttled(limit: &'static str) {
    counter!("evanesce_throttled_requests_total", "limit" => limit).increment(1);
}

/// Counts an access token that was issued.
pub fn token_issued() {
    counter!("evanesce_tokens_issued_total").increment(1);
}

/// Counts a refused token request. `reason` is one of a closed list of names.
pub fn token_refused(reason: &'static str) {
    counter!("evanesce_tokens_refused_total", "reason" => reason).increment(1);
}

/// Counts a fetch of an application's keys; `result` is `fetched` or `failed`.
pub fn jwks_fetched(result: &'static str) {
    counter!("evanesce_jwks_fetches_total", "result" => result).increment(1);
}

/// Sets the number of remembered assertions.
pub fn replay_entries(entries: usize) {
    gauge!("evanesce_replay_entries").set(entries as f64);
}
