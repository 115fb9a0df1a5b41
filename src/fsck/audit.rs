//! The audit log: whether its chain is whole. Nothing of it is ever repaired: what was changed is
//! evidence, and the log goes on behind it.

use std::io;
use std::path::Path;

use super::{Finding, Outcome};
use crate::audit::{self, AuditError, FOLDER};

/// Where the chain is broken. A log that is not there, or is switched off, is none.
pub fn check(data_dir: &Path) -> io::Result<Vec<Finding>> {
    let walked = audit::walk(&data_dir.join(FOLDER), |_| Ok::<_, AuditError>(()));
    let finding = |place: &audit::ChainBreak| Finding {
        what: format!("{FOLDER}/{place}"),
        cause: "somebody changed it, or the disk did",
        cure: "none: it stays as it is until its time is over; a server goes on in a new file",
        outcome: Outcome::Note,
    };
    let summary = walked.map_err(io::Error::other)?;
    Ok(summary.breaks.iter().map(finding).collect())
}
