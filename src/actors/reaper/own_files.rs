//! The server's own files, as a pass finds them: what was removed, replaced or cut off under it is
//! told of, and written anew where that can be done.

use std::sync::Arc;

use super::Reaper;
use crate::actors::Services;
use crate::audit::{self, AuditLog};
use crate::receipts::{self, ReceiptChain};
use crate::standing::{Look, Standing};
use crate::store::DurableChange;
use crate::telemetry;

/// What is looked at.
pub(super) struct OwnFiles {
    standing: Arc<Standing>,
    receipts: Arc<ReceiptChain>,
    audit: Arc<AuditLog>,
}

impl OwnFiles {
    pub fn of(services: &Services) -> Self {
        let Services { standing, receipts, audit, .. } = services;
        Self { standing: standing.clone(), receipts: receipts.clone(), audit: audit.clone() }
    }

    /// Looks; an audit log that is gone is begun anew. Blocks.
    pub fn look(&self) -> Look {
        let mut missing = match self.standing.look() {
            Look::Missing(missing) => missing,
            fatal => return fatal,
        };
        missing.extend((!self.receipts.is_in_place()).then_some(receipts::FILE_NAME));
        missing.extend((!self.audit.attend()).then_some(audit::FOLDER));
        Look::Missing(missing)
    }
}

impl Reaper {
    /// Shows what is missing until a pass finds it again, and has the receipts written anew.
    pub(super) fn note_missing(&mut self, look: &Look) {
        let missing = match look {
            Look::Fatal(reason) => return self.services.fatal.raise(reason),
            Look::Missing(missing) => missing,
        };
        if !missing.is_empty() && self.status.missing != *missing {
            tracing::error!(names = ?missing, "files of the server were removed, replaced or cut off under it");
        }
        if missing.contains(&receipts::FILE_NAME) {
            // Nobody waits for it; a failure ends the process anyway.
            drop(self.services.committer.submit(DurableChange::Mend));
        }
        telemetry::missing_files(missing.len());
        self.status.missing.clone_from(missing);
    }
}
