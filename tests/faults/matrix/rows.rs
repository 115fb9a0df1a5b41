//! The table: what there is before, which call fails from which step on, and what is seen.

/// What the client and the operator see of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The kick-off is refused: 500, or 503 when there is no room; nothing stays.
    Refused,
    /// The export fails with its reason; its files go.
    Failed,
    /// The export fails or, if the fault is soon over, does not.
    Ended,
    /// No acknowledgement: the process ends with 70, and the next one heals.
    Fatal,
    /// The deletion is recorded and hidden, but is no 202 (P1).
    HalfDurable,
    /// The deletion is acknowledged, and the files are erased where they stand.
    InPlace,
    /// The sweep is tried again until it succeeds; the backlog shows.
    Retried,
    /// The clean-up of a failed export is tried again.
    CleanedUp,
    /// A log line; nobody else notices.
    Logged,
    /// The download fails and can be tried again.
    NotServed,
    /// The server does not start: exit code 2, and nothing is touched.
    NotStarted,
}
use Seen::*;

/// What there is before, and what is then asked for, with the faults in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing; an export.
    Kickoff,
    /// A complete job; its deletion.
    Deletion,
    /// A complete job; a download.
    Download,
    /// Nothing; an export that fails for want of room.
    CleanUp,
    /// A complete job; a start and some scans.
    Scan,
    /// A marked job whose files are there; a start.
    StartMarked,
    /// A running job; a start.
    StartRunning,
    /// A running job of which the store knows nothing; a start.
    StartUnknown,
    /// A complete job of which the store knows nothing; a start.
    StartForgotten,
}

/// Steps `FIRST>CALL`, or `FIRST>CALL+N` where N calls go well before; two with `&` between them.
pub const ROWS: &[(Phase, &str, Seen)] = {
    use Phase::*;
    &[
        (Kickoff, "open", Refused),
        (Kickoff, "write", Refused),
        (Kickoff, "join-ends>keys", Refused),
        (Kickoff, "document-written>rename", Refused),
        (Kickoff, "directory-made>fsync", Refused),
        (Kickoff, "directory-made>fsync+1", Refused),
        (Kickoff, "directory-made>fsync+2", Fatal),
        (Kickoff, "directory-created>fsync", Fatal),
        (Kickoff, "commit", Fatal),
        (Kickoff, "statvfs", Logged),
        // The plan.
        (Kickoff, "queued-committed>open", Failed),
        (Kickoff, "queued-committed>write", Failed),
        (Kickoff, "queued-committed>fsync", Failed),
        (Kickoff, "queued-committed>rename", Failed),
        // The parts.
        (Kickoff, "plan-written>commit", Fatal),
        (Kickoff, "plan-written>open", Failed),
        (Kickoff, "plan-written>write", Failed),
        (Kickoff, "output-written>fsync", Failed),
        (Kickoff, "output-synced>fsync", Failed),
        (Kickoff, "directory-synced>fsync", Fatal),
        (Kickoff, "directory-synced>commit", Fatal),
        // The completion.
        (Kickoff, "part-sealed>open", Failed),
        (Kickoff, "part-sealed>write", Failed),
        (Kickoff, "part-sealed>fsync", Failed),
        (Kickoff, "part-sealed>rename", Failed),
        (Kickoff, "job-json-written>rename", Failed),
        (Kickoff, "job-json-written>fsync", Fatal),
        (Kickoff, "ready-synced>fsync", Fatal),
        (Kickoff, "moved-to-ready>fsync", Fatal),
        (Kickoff, "moved-to-ready>commit", Fatal),
        // What a failed export leaves.
        (CleanUp, "parts-stopped>open", Logged),
        (CleanUp, "parts-stopped>write", Logged),
        (CleanUp, "parts-stopped>rename", Logged),
        (CleanUp, "parts-stopped>commit", Fatal),
        (CleanUp, "last-one-out>open", CleanedUp),
        (CleanUp, "last-one-out>readdir", CleanedUp),
        (CleanUp, "last-one-out>unlink", CleanedUp),
        (CleanUp, "last-one-out>fsync", CleanedUp),
        // A deletion, up to the 202, and the sweep.
        (Deletion, "commit", Fatal),
        (Deletion, "keys", Retried),
        (Deletion, "statvfs", Logged),
        (Deletion, "join-ends>fsync", Fatal),
        (Deletion, "mark-committed>rename", InPlace),
        (Deletion, "mark-committed>rename&mark-committed>open", HalfDurable),
        (Deletion, "mark-committed>fsync", Fatal),
        (Deletion, "trash-synced>fsync", Fatal),
        (Deletion, "acknowledged>rename", InPlace),
        (Deletion, "acknowledged>open", Retried),
        (Deletion, "acknowledged>readdir", Retried),
        (Deletion, "acknowledged>unlink", Retried),
        (Deletion, "acknowledged>unlink+2", Retried),
        (Deletion, "sweep-begins>fsync", Fatal),
        (Deletion, "receipt-appended>commit", Fatal),
        (Deletion, "receipt-appended>fsync", Fatal),
        (Download, "join-ends>open", NotServed),
        (Scan, "join-ends>readdir", Logged),
        // A start.
        (Scan, "open", Logged),
        (Scan, "readdir", NotStarted),
        (Scan, "fsync", NotStarted),
        (StartMarked, "readdir", NotStarted),
        (StartMarked, "open+2", Retried),
        (StartMarked, "unlink", Retried),
        (StartMarked, "rename", Logged),
        (StartMarked, "join-moved>rename", InPlace),
        (StartMarked, "commit", Fatal),
        (StartRunning, "open", Ended),
        (StartRunning, "join-ends>open", Failed),
        (StartRunning, "join-ends>readdir", Ended),
        (StartRunning, "join-ends>fsync", Ended),
        (StartRunning, "unlink", Ended),
        (StartUnknown, "open", NotStarted),
        (StartUnknown, "fsync+3", NotStarted),
        (StartUnknown, "join-decided>fsync", NotStarted),
        (StartForgotten, "open", NotStarted),
        (StartForgotten, "join-decided>fsync", NotStarted),
    ]
};
