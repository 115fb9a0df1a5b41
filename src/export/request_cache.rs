//! The request of a running export. It lives in the job's directory (P12). It is in memory only
//! while a part needs it, and only once for all parts (P13).

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::ExportError;
use crate::files::{DocumentKind, ExportDir};
use crate::job::ExportRequest;

/// The request of one export, cached as long as a part holds it.
#[derive(Debug, Default)]
pub struct RequestCache(Mutex<Weak<ExportRequest>>);

impl RequestCache {
    /// Returns the request, and reads it from `dir` if no part holds it.
    ///
    /// # Errors
    /// Fails if the request cannot be read.
    pub fn read(&self, dir: &dyn ExportDir) -> Result<Arc<ExportRequest>, ExportError> {
        let mut known = self.0.lock();
        if let Some(request) = known.upgrade() {
            return Ok(request);
        }
        let request = Arc::new(read(dir)?);
        *known = Arc::downgrade(&request);
        Ok(request)
    }
}

/// Reads the request from a job's directory.
///
/// # Errors
/// Fails if the request is missing or cannot be read.
pub fn read(dir: &dyn ExportDir) -> Result<ExportRequest, ExportError> {
    // The message may quote what a client sent (P12).
    let lost = || ExportError::Other("request.json is missing or damaged".into());
    let text = dir.read_document(DocumentKind::Request)?.ok_or_else(lost)?;
    serde_json::from_slice(&text).map_err(|_| lost())
}
