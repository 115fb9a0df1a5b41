//! Where the files of an export are. A link may expire or be refused while others still load; then the
//! manifest is asked for again, and loading goes on by the links of the new one (F-9).
//!
//! The files must be the same: the same `transactionTime`, and in the same order the same types, counts,
//! sizes and SHA-256. Only their links may be others. A manifest that lists anything else is an error.

use std::sync::Arc;

use parking_lot::Mutex;
use url::Url;

use super::error::ClientError;
use super::http::TokenPolicy;
use super::manifest::{FilePlan, PlannedFile};
use super::server_job::wait_complete;
use super::session::ExportSession;

/// How often the manifest of an export is asked for again in one run: for a day of links that live for five
/// minutes.
pub const MOST_RENEWALS: u32 = 300;

/// The links of all files. Threads share them.
pub struct FileLinks {
    status_url: Url,
    current: Mutex<CurrentLinks>,
}

struct CurrentLinks {
    plan: Arc<FilePlan>,
    renewals: u32,
}

/// A file, and where it is at present.
pub struct FileLink {
    pub planned: PlannedFile,
    pub token: TokenPolicy,
    /// How many manifests there were before the one that it is from.
    renewals: u32,
}

impl FileLinks {
    /// Creates the links of a plan, whose manifest is at `status_url`.
    pub fn new(status_url: Url, plan: Arc<FilePlan>) -> Self {
        Self { status_url, current: Mutex::new(CurrentLinks { plan, renewals: 0 }) }
    }

    /// Returns the file at a place of the plan.
    pub fn get(&self, place: usize) -> Option<FileLink> {
        self.current.lock().file(place)
    }

    /// Returns the file by another link than `refused`. Asks for the manifest again, unless another thread
    /// has done that meanwhile. Blocks while one asks.
    ///
    /// # Errors
    /// Fails if the manifest is gone or lists other files, or after [`MOST_RENEWALS`].
    pub fn renew(
        &self,
        session: &ExportSession,
        place: usize,
        refused: &FileLink,
    ) -> Result<FileLink, ClientError> {
        let mut current = self.current.lock();
        if current.renewals == refused.renewals {
            if current.renewals >= MOST_RENEWALS {
                return Err(ClientError::server(format!(
                    "the links of files were refused although the manifest was asked for again \
                     {MOST_RENEWALS} times; the same command goes on where this one stopped"
                )));
            }
            let plan = wait_complete(session, &self.status_url)?;
            plan.check_same(&current.plan.fingerprint())?;
            *current = CurrentLinks { plan: Arc::new(plan), renewals: current.renewals + 1 };
        }
        current.file(place).ok_or_else(FilePlan::other_files)
    }
}

impl CurrentLinks {
    fn file(&self, place: usize) -> Option<FileLink> {
        let planned = self.plan.files.get(place)?.clone();
        Some(FileLink { planned, token: self.plan.token, renewals: self.renewals })
    }
}
