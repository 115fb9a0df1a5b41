//! What only the program counts: its connections, its certificate, its log.

use ::metrics::{counter, gauge};

/// Counts lost log lines, by reason: no room (`full`), or they could not be written (`write`).
pub fn log_lines_lost(reason: &'static str, lines: u64) {
    counter!("evanesce_lost_log_lines_total", "reason" => reason).increment(lines);
}

/// Sets the number of open connections.
pub fn connections(open: usize) {
    gauge!("evanesce_connections").set(open as f64);
}

/// Counts a connection that the server closed early. `reason` is one of `address` and `all` (there
/// were too many), `handshake` (TLS failed or took too long), `idle` and `write` (the client took
/// too long).
pub fn connection_refused(reason: &'static str) {
    counter!("evanesce_refused_connections_total", "reason" => reason).increment(1);
}

/// Counts a reload of the certificate; `outcome` is `taken` or `refused`.
pub fn certificate_read(outcome: &'static str) {
    counter!("evanesce_certificate_reads_total", "outcome" => outcome).increment(1);
}

/// Sets when the current certificate expires, in seconds since 1970.
pub fn certificate_expires(at: i64) {
    gauge!("evanesce_certificate_expiry_seconds").set(at as f64);
}
