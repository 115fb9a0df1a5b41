//! All metrics, each with its kind, labels and meaning. The recorder is told of them, and the manual's
//! table is made of them; a test compares the list with what the code records.

use std::fmt;

use ::metrics::{describe_counter, describe_gauge, describe_histogram};

/// A metric.
pub struct MetricDescription {
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// What can be done with a metric's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows, from 0 at each start.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by value.
    Histogram,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricDescription {
    MetricDescription { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> MetricDescription {
    MetricDescription { name, kind: MetricKind::Gauge, labels, help }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricDescription {
    MetricDescription { name, kind: MetricKind::Histogram, labels, help }
}

/// All metrics, by what they tell of.
pub const METRIC_GROUPS: &[(&str, &[MetricDescription])] = &[
    (
        "Erasures",
        &[
            gauge("evanesce_marked_jobs", &[], "Jobs whose files are marked and not gone yet."),
            gauge("evanesce_marked_bytes", &[], "The bytes of these files."),
            gauge("evanesce_oldest_mark_seconds", &[], "The age of the oldest mark that is not held."),
            counter("evanesce_sweep_failures_total", &["errno"], "Sweeps that failed and are tried again."),
            histogram("evanesce_cancel_seconds", &[], "From a DELETE to its 202."),
            histogram("evanesce_erase_seconds", &[], "From the mark to the files gone."),
            counter("evanesce_erased_files_total", &[], "Files that were erased."),
            counter("evanesce_erased_bytes_total", &[], "Bytes that were erased."),
            counter("evanesce_cut_downloads_total", &[], "Downloads of deleted jobs that were cut."),
            gauge("evanesce_orphans", &[], "Directories without a record."),
            gauge("evanesce_strangers", &[], "Names in the data directory that the server did not make."),
            counter("evanesce_scan_failures_total", &[], "Passes that could not list the job folders."),
            gauge("evanesce_reaper_paused", &[], "1 while an operator has paused the reaper."),
            gauge("evanesce_held_jobs", &[], "Jobs under a legal hold."),
            gauge("evanesce_clock_held", &[], "1 while nothing expires because the clock jumped."),
            gauge("evanesce_epoch", &[], "The current epoch of the keys."),
            gauge("evanesce_epoch_age_seconds", &[], "Its age. An epoch without a key does not turn."),
            gauge("evanesce_live_keys", &[], "Jobs that have a key."),
            gauge(
                "evanesce_unavailable_keys",
                &[],
                "Jobs whose key cannot be had: the key of its epoch is missing, or `keys/` is damaged.",
            ),
            counter(
                "evanesce_epoch_turn_failures_total",
                &[],
                "Turns of the epoch that failed and are tried again.",
            ),
        ],
    ),
    (
        "Exports",
        &[
            counter("evanesce_jobs_total", &["state"], "Jobs that reached each state."),
            counter(
                "evanesce_refused_kickoffs_total",
                &["reason"],
                "Kick-offs that were refused: `disk`, `quota`, `too-large`, `too-many-jobs`, `client-busy`, \
                 `tenant-busy`, `too-many-kept`, `too-many-known`, `too-costly`, `duplicate`, `exporter`, `failed`.",
            ),
            gauge(
                "evanesce_work_planned",
                &[],
                "What all active exports have before them, in bytes of the source.",
            ),
            gauge("evanesce_work_done", &[], "What they have done of it."),
            counter("evanesce_written_bytes_total", &[], "Bytes written to output files."),
            gauge(
                "evanesce_free_bytes",
                &[],
                "Free bytes of the data directory's file system, at the last kick-off or pass of the reaper.",
            ),
            gauge("evanesce_reserved_bytes", &[], "Bytes that running exports are going to write."),
            counter(
                "evanesce_fenced_writers_total",
                &[],
                "Writers that outlived their job: their files were taken away.",
            ),
            counter("evanesce_stuck_writers_total", &[], "Of these, the ones inside a system call."),
            gauge(
                "evanesce_outliving_workers",
                &["what"],
                "Threads that are still at something for jobs that ended longer than `export.cancel_deadline` ago: a \
                 `part` or a `plan`.",
            ),
        ],
    ),
    (
        "Requests",
        &[
            counter("evanesce_http_requests_total", &["operation", "status"], "Answered requests."),
            histogram("evanesce_http_seconds", &["operation"], "From a request to its answer."),
            counter(
                "evanesce_throttled_requests_total",
                &["limit"],
                "Answers of 429 by limit: `address`, `client`, `token`, `downloads`.",
            ),
            gauge("evanesce_connections", &[], "Open connections."),
            counter(
                "evanesce_refused_connections_total",
                &["reason"],
                "Connections that were closed: `address`, `all` (too many), `handshake`, `idle`, `write` (too slow).",
            ),
            counter(
                "evanesce_certificate_reads_total",
                &["outcome"],
                "Changes of the certificate: `taken`, or `refused` because it cannot be used.",
            ),
            gauge(
                "evanesce_certificate_expiry_seconds",
                &[],
                "When the certificate in use expires, in seconds since 1970.",
            ),
        ],
    ),
    (
        "Access",
        &[
            counter(
                "evanesce_console_sign_ins_total",
                &["outcome"],
                "Attempts to sign in to the console: `accepted`, `refused` (a wrong token), `throttled`.",
            ),
            counter(
                "evanesce_console_parts_made_total",
                &[],
                "Live parts of the console's pages that were made, each for all who look at it.",
            ),
            counter("evanesce_tokens_issued_total", &[], "Access tokens that were issued."),
            counter("evanesce_tokens_refused_total", &["reason"], "Requests for a token that were refused."),
            counter(
                "evanesce_jwks_fetches_total",
                &["result"],
                "Keys of applications: `fetched` or `failed`.",
            ),
            gauge(
                "evanesce_replay_entries",
                &[],
                "Assertions that are remembered, so that none is taken twice.",
            ),
            counter(
                "evanesce_applications_reloads_total",
                &["outcome"],
                "Changes of the file of applications: `taken`, `refused`.",
            ),
            gauge(
                "evanesce_applications_stale",
                &[],
                "1 while the file as it is now is not what is in force.",
            ),
        ],
    ),
    (
        "Store, receipts and logs",
        &[
            histogram("evanesce_commit_seconds", &[], "Group commits of the store."),
            histogram("evanesce_commit_changes", &[], "Changes in each of them."),
            histogram(
                "evanesce_fsync_seconds",
                &["what"],
                "Syncs of `store`, `receipts`, `directory`, `document`, `output`, `audit`, `replay`, `keys`.",
            ),
            counter(
                "evanesce_receipts_gaps_total",
                &[],
                "Times that the end of the receipts was found missing.",
            ),
            counter(
                "evanesce_store_behind_total",
                &[],
                "Starts that found the store older than the audit log.",
            ),
            counter("evanesce_audit_events_total", &["kind"], "Events recorded in the audit log."),
            counter(
                "evanesce_audit_failures_total",
                &[],
                "Events that could not be written, or syncs that failed.",
            ),
            counter(
                "evanesce_audit_broken_total",
                &[],
                "Times that files of the audit log were found changed or removed.",
            ),
            gauge(
                "evanesce_missing_files",
                &[],
                "Files of the server that the last pass did not find where they should be.",
            ),
            counter(
                "evanesce_spans_total",
                &["outcome"],
                "Spans for a collector: `sent`, `failed`, or `full`, there was no room for them.",
            ),
            counter(
                "evanesce_lost_log_lines_total",
                &["reason"],
                "Lines of the log that were lost: `full`, nobody reads it, or `write`, it cannot be written.",
            ),
        ],
    ),
    (
        "Sources",
        &[
            gauge("evanesce_index_resources", &[], "Resources in the indexes, of all tenants together."),
            gauge(
                "evanesce_index_superseded_resources",
                &[],
                "Resources that a later one or a deletion has replaced.",
            ),
            gauge(
                "evanesce_index_outdated_resources",
                &[],
                "Resources whose last version, by the order of files and lines, is older than one before it.",
            ),
            gauge("evanesce_index_resident_bytes", &[], "Memory that the indexes take."),
            counter(
                "evanesce_indexed_bytes_total",
                &[],
                "Bytes of the sources that were read to index them.",
            ),
            histogram("evanesce_index_seconds", &[], "Updates of an index."),
            gauge(
                "evanesce_source_left_out_files",
                &["reason"],
                "Files that are not exported: `leftover` (hidden, backup, partial), `name` (not UTF-8), `folder`, \
                 `link`, `special`, `compressed`, `utf-16`, `unreadable`, `no-resource`.",
            ),
            counter(
                "evanesce_index_leftover_failures_total",
                &[],
                "Index files of tenants that are not there any more and could not be removed; the next start tries again.",
            ),
        ],
    ),
];

/// Returns all metrics.
pub fn all_metrics() -> impl Iterator<Item = &'static MetricDescription> {
    METRIC_GROUPS.iter().flat_map(|(_, metrics)| metrics.iter())
}

/// Tells the recorder what each metric means.
pub fn describe() {
    for metric in all_metrics() {
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    /// The metrics that the code records: `counter!("name"` and its like, with the kind.
    fn recorded(folder: &Path, found: &mut BTreeMap<String, &'static str>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                recorded(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
                for kind in ["counter", "gauge", "histogram"] {
                    for at in text.match_indices(&format!("{kind}!(\"evanesce_")) {
                        let name = text[at.0..].split('"').nth(1).unwrap();
                        assert_eq!(*found.entry(name.into()).or_insert(kind), kind, "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_list_has_every_metric_that_is_recorded_and_no_other() {
        let mut found = BTreeMap::from([(super::super::COMMIT_CHANGES.to_string(), "histogram")]);
        recorded(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let listed: BTreeMap<_, _> =
            all_metrics().map(|metric| (metric.name.to_string(), metric.kind)).collect();
        let listed_kinds: BTreeMap<_, _> =
            listed.iter().map(|(name, kind)| (name.clone(), kind.to_string())).collect();
        let found: BTreeMap<_, _> = found.into_iter().map(|(name, kind)| (name, kind.to_string())).collect();
        assert_eq!(listed_kinds, found);
        assert_eq!(listed.len(), all_metrics().count(), "one is there twice");
    }
}
