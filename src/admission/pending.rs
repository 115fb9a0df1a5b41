//! A kick-off that is not answered yet.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::Span;

use super::SubmitError;
use crate::job::{ExportRequest, JobId};

/// A kick-off that is not answered yet. Dropping it answers that the job could not be recorded. A caller
/// that went away needs no answer: it can still find the job, or let it expire.
pub struct PendingKickoff {
    /// Until the directory is made: from then on it is there, and not in memory (P13).
    request: Option<Arc<ExportRequest>>,
    reply: oneshot::Sender<Result<JobId, SubmitError>>,
    refusal: Option<SubmitError>,
    asked_in: Span,
}

impl PendingKickoff {
    /// Creates a kick-off that was asked for in a span, and whose caller waits for `reply`.
    pub fn new(
        request: ExportRequest,
        asked_in: Span,
        reply: oneshot::Sender<Result<JobId, SubmitError>>,
    ) -> Self {
        Self { request: Some(Arc::new(request)), reply, refusal: None, asked_in }
    }

    /// Returns the span in which it was asked for.
    pub fn asked_in(&self) -> &Span {
        &self.asked_in
    }

    /// Takes the request out.
    pub fn take_request(&mut self) -> Option<Arc<ExportRequest>> {
        self.request.take()
    }

    /// Remembers why there is no job.
    pub fn note_refusal(&mut self, refusal: SubmitError) {
        self.refusal = Some(refusal);
    }

    /// Tells the caller the job's id.
    pub fn accept(self, job: JobId) {
        let _ = self.reply.send(Ok(job));
    }

    /// Tells the caller why there is no job.
    pub fn refuse(self) {
        let _ = self.reply.send(Err(self.refusal.unwrap_or(SubmitError::Failed)));
    }
}
