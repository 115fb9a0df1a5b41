//! Jobs as the pages of operators show them: the record, and what only this process knows of it.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Evanesce;
use crate::clock::after;
use crate::job::{JobId, JobRecord, JobState, OutputFile, Receipt, StateName};
use crate::receipts::JobHold;
use crate::view::PublishedJob;

/// A job, with what an operator asks about it. It has nothing of the request (P12).
#[derive(Debug, Clone)]
pub struct JobSheet {
    /// The durable record.
    pub record: JobRecord,
    /// The percentage done of an active or a complete job.
    pub percent: Option<f64>,
    /// How long an active job is expected to run.
    pub time_left: Option<Duration>,
    /// Files of a job whose files are listed.
    pub files: Option<u64>,
    /// Bytes on disk, as far as this process knows them.
    pub bytes: Option<u64>,
    /// When its time to live is over (P8).
    pub expires_at: Option<Timestamp>,
    /// The hold that it is under.
    pub hold: Option<JobHold>,
}

/// All that an operator may know of one job.
#[derive(Debug, Clone, Default)]
pub struct JobDossier {
    /// The job, until its tombstone ends.
    pub sheet: Option<JobSheet>,
    /// The files that clients can get.
    pub files: Vec<OutputFile>,
    /// Open downloads of its files.
    pub downloads: u32,
    /// The receipt of its erasure.
    pub receipt: Option<Receipt>,
}

impl Evanesce {
    /// Returns all jobs, tombstones included, in no order.
    pub(crate) async fn job_sheets(&self) -> Vec<JobSheet> {
        self.view().jobs().await.iter().map(|job| self.sheet(job)).collect()
    }

    /// Returns all that is known of a job; `None` if there is neither a record nor a receipt.
    pub(crate) async fn job_dossier(&self, job: JobId) -> Option<JobDossier> {
        let published = self.view().job(job).await;
        let services = self.0.running.services.clone();
        let found = self.blocking_pool().spawn_blocking(move || services.receipts.find(job)).await;
        let receipt = found.unwrap_or(Ok(None)).unwrap_or_else(|error| {
            tracing::error!(%job, %error, "a receipt cannot be read");
            None
        });
        let Some(published) = published else {
            return receipt.map(|receipt| JobDossier { receipt: Some(receipt), ..JobDossier::default() });
        };
        let is_listed = matches!(published.record.state, JobState::Complete(_));
        let files = if is_listed { published.files().cloned().collect() } else { Vec::new() };
        let downloads = published.downloads.open();
        Some(JobDossier { sheet: Some(self.sheet(&published)), files, downloads, receipt })
    }

    fn sheet(&self, job: &PublishedJob) -> JobSheet {
        let services = self.services();
        let (record, state) = (&job.record, job.record.state.name());
        let hold = services.receipts.hold_of(record.id);
        let lifetime = services.config.retention.completed.0;
        let finished_at = record.state.finished_at().filter(|_| hold.is_none());
        let (files, bytes) = match &record.state {
            JobState::Complete(completion) => (Some(completion.files), Some(completion.stored_bytes())),
            state if state.name().is_active() => (None, Some(job.progress.written())),
            _ => (None, None),
        };
        JobSheet {
            record: record.clone(),
            percent: match state {
                StateName::Complete => Some(100.0),
                state => state.is_active().then(|| job.progress.percent()),
            },
            time_left: job.progress.time_left(Instant::now()).filter(|_| state.is_active()),
            files,
            bytes,
            expires_at: finished_at.map(|at| after(at, lifetime)),
            hold,
        }
    }
}
