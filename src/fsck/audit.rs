//! Checks the chain of the audit log. It is never repaired: changes are evidence, and the log goes
//! on behind them.

use std::io;
use std::path::Path;

use super::{FindingOutcome, FsckFinding};
use crate::audit::{self, AuditError, FOLDER};

/// Reports where the chain is broken. A log that is missing or switched off has no findings.
pub fn check(data_dir: &Path) -> io::Result<Vec<FsckFinding>> {
    let walked = audit::walk(&data_dir.join(FOLDER), |_| Ok::<_, AuditError>(()));
    let finding = |place: &audit::ChainBreak| FsckFinding {
        what: format!("{FOLDER}/{place}"),
        cause: "somebody changed it, or the disk did",
        cure: "none: it stays as it is until its time is over; a server goes on in a new file",
        outcome: FindingOutcome::Note,
    };
    let summary = walked.map_err(io::Error::other)?;
    Ok(summary.breaks.iter().map(finding).collect())
}
