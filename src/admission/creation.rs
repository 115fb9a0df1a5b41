//! What a job begins with: the exporter's look at the request, the room, and the directory with
//! `request.json` (DESIGN section 3). Nothing is left of a kick-off that gets no further.

use std::sync::Arc;

use super::SubmitError;
use crate::erase::Eraser;
use crate::export::{CHECK_PATIENCE, CancelToken, Exporter};
use crate::files::{DocumentKind, ExportDir, Files, FilesError};
use crate::job::life::NewJob;
use crate::job::{ExportRequest, FailureReason, JobId, RequestSummary, TenantId};
use crate::space::{NoRoom, SpaceClaim, SpaceReservations};
use crate::view::ExportProgress;

/// Makes a job that was admitted.
pub struct JobCreator {
    /// The exporter of the request's tenant; `None` if there is no such tenant.
    pub exporter: Option<Arc<dyn Exporter>>,
    /// Where room is reserved.
    pub space: Arc<SpaceReservations>,
    /// Where the directory is made.
    pub files: Arc<dyn Files>,
    /// What removes a directory that could not be made whole.
    pub eraser: Arc<Eraser>,
}

/// A job that has its room and its directory. The request is in `request.json` from here on, and not in
/// memory (P13).
pub struct CreatedJob {
    /// The job's directory.
    pub dir: Arc<dyn ExportDir>,
    /// What is remembered of the request.
    pub request: RequestSummary,
    /// What the record says of the kick-off.
    pub record: NewJob,
}

/// Why there is no job.
#[derive(Debug, PartialEq, Eq)]
pub enum CreationError {
    /// The kick-off is refused.
    Refused(SubmitError),
    /// Nothing is known of the disk any more; the process must end.
    Fatal(String),
}

impl From<SubmitError> for CreationError {
    fn from(error: SubmitError) -> Self {
        Self::Refused(error)
    }
}

impl JobCreator {
    /// Makes the job. `progress` counts what it writes of its room.
    ///
    /// # Errors
    /// Fails if the exporter refuses the request, there is no room, or the directory cannot be made.
    /// Room and directory are given up again.
    pub async fn create(
        self,
        job: JobId,
        mut request: Arc<ExportRequest>,
        progress: Arc<ExportProgress>,
    ) -> Result<CreatedJob, CreationError> {
        let estimate = self.check(&request).await?;
        Arc::make_mut(&mut request).estimate = estimate;
        let made = tokio::task::spawn_blocking(move || self.make(job, &request, progress));
        let panicked = |panic| CreationError::Fatal(format!("panic while a job was made: {panic}"));
        made.await.unwrap_or_else(|panic| Err(panicked(panic)))
    }

    /// Returns the exporter's estimate of the bytes. One that takes too long to say is not waited
    /// for: the plan will meet what it would have said.
    async fn check(&self, request: &Arc<ExportRequest>) -> Result<Option<u64>, SubmitError> {
        let exporter = self.exporter.clone().ok_or(SubmitError::UnknownTenant)?;
        let (asked, given_up) = (request.clone(), CancelToken::new());
        let cancel = given_up.clone();
        let check = tokio::task::spawn_blocking(move || exporter.check(&asked, &cancel));
        let estimate = match tokio::time::timeout(CHECK_PATIENCE, check).await {
            Err(_elapsed) => {
                given_up.cancel();
                Ok(None)
            }
            Ok(Ok(checked)) => checked.or_else(|error| error.reason().map_or(Ok(None), Err)),
            Ok(Err(_panic)) => Err(FailureReason::ExporterPanicked),
        };
        estimate.map_err(|reason| {
            tracing::info!(?reason, "a kick-off was refused");
            SubmitError::Refused(reason)
        })
    }

    /// Blocks.
    fn make(
        &self,
        job: JobId,
        request: &ExportRequest,
        progress: Arc<ExportProgress>,
    ) -> Result<CreatedJob, CreationError> {
        let ExportRequest { tenant, owner, submitted_at, .. } = request;
        let claim = SpaceClaim { tenant: tenant.clone(), progress };
        self.space.reserve(job, claim, request.estimate).map_err(SubmitError::NoRoom)?;
        let content = DocumentKind::Request.content(request);
        let dir = content
            .and_then(|content| self.files.create(job, &content))
            .map_err(|error| self.give_up(job, tenant, &error))?;
        let record = NewJob { tenant: tenant.clone(), owner: owner.clone(), submitted_at: *submitted_at };
        Ok(CreatedJob { dir, request: RequestSummary::of(request), record })
    }

    /// Nobody was told of the job. What cannot be removed of it now is left to the reaper as an
    /// orphan; only a failed fsync is final.
    fn give_up(&self, job: JobId, tenant: &TenantId, error: &FilesError) -> CreationError {
        tracing::error!(%job, %error, "a job's directory could not be made");
        let discarded = self.eraser.discard(job);
        self.space.release(job);
        match discarded {
            Err(error) => CreationError::Fatal(error.to_string()),
            Ok(()) if error.is_sync() => CreationError::Fatal(error.to_string()),
            Ok(()) if error.is_full() => {
                let retry_after = self.space.retry_after(tenant);
                CreationError::Refused(NoRoom::Disk { retry_after }.into())
            }
            Ok(()) => CreationError::Refused(SubmitError::Failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::erase::{HoldRegistry, LiveEvidence};
    use crate::export::{ExportError, Part, PartSummary, PartWriter, Plan};
    use crate::files::{DirPlace, LocalFiles};
    use crate::hooks::Hooks;
    use crate::job::Kickoff;
    use crate::receipts::ReceiptFile;
    use crate::view::LocalView;

    /// Answers a check.
    struct Checking(fn() -> Result<Option<u64>, ExportError>);

    impl Exporter for Checking {
        fn check(&self, _: &ExportRequest, _: &CancelToken) -> Result<Option<u64>, ExportError> {
            self.0()
        }

        fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
            Err(ExportError::Cancelled)
        }

        fn run(&self, _: &Part, _: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
            Err(ExportError::Cancelled)
        }
    }

    /// Makes a job in a fresh data directory of which one tenant may fill 1000 bytes.
    async fn create(
        exporter: Option<Checking>,
        break_disk: fn(&std::path::Path),
    ) -> (Result<CreatedJob, CreationError>, Arc<SpaceReservations>, usize, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(LocalFiles::open(folder.path(), Hooks::default()).unwrap());
        let receipts = Arc::new(ReceiptFile::open(folder.path()).unwrap());
        let evidence = LiveEvidence { files: files.clone(), receipts, view: Arc::new(LocalView::default()) };
        let eraser = Arc::new(Eraser::new(files.clone(), HoldRegistry::of(evidence), Hooks::default()));
        let mut config = Config::default();
        (config.storage.max_bytes, config.storage.min_free) = (1000, 0);
        let space = Arc::new(SpaceReservations::new(&config, Clock::system(), &[], || Ok(u64::MAX)));
        let exporter = exporter.map(|exporter| Arc::new(exporter) as Arc<dyn Exporter>);
        let creator = JobCreator { exporter, space: space.clone(), files: files.clone(), eraser };
        let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
        let request = ExportRequest::new(tenant, owner, Kickoff::system(), Timestamp::UNIX_EPOCH);
        break_disk(folder.path());
        let job = JobId::random();
        let created = creator.create(job, Arc::new(request), Arc::default()).await;
        let left = files.directories(job, DirPlace::Building).map_or(0, |directories| directories.len());
        (created, space, left, folder)
    }

    #[tokio::test]
    async fn a_job_has_its_room_and_its_request_on_disk_before_it_is_recorded() {
        let (created, space, directories, _folder) = create(Some(Checking(|| Ok(Some(900)))), |_| {}).await;
        let CreatedJob { dir, request, record } = created.ok().unwrap();
        assert_eq!((request.estimate, record.owner.as_str()), (Some(900), "o"));
        assert!(dir.has_document(crate::files::DocumentKind::Request).unwrap());
        assert_eq!(directories, 1);
        assert!(space.reserved() >= 900);
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_kick_off_that_is_refused() {
        use CreationError::Refused;
        let refused = |reason| Refused(SubmitError::Refused(reason));
        let checks: [(Option<Checking>, CreationError); 4] = [
            (None, Refused(SubmitError::UnknownTenant)),
            (Some(Checking(|| Err(ExportError::GroupNotFound))), refused(FailureReason::GroupNotFound)),
            (Some(Checking(|| panic!("a bug of the host's"))), refused(FailureReason::ExporterPanicked)),
            (Some(Checking(|| Ok(Some(1001)))), Refused(SubmitError::NoRoom(NoRoom::TooLarge))),
        ];
        for (exporter, expected) in checks {
            let (created, space, directories, _folder) = create(exporter, |_| {}).await;
            assert_eq!(created.err(), Some(expected));
            assert_eq!((space.reserved(), directories), (0, 0));
        }
    }

    #[tokio::test]
    async fn room_is_given_back_if_the_directory_cannot_be_made() {
        let remove = |data_dir: &std::path::Path| std::fs::remove_dir(data_dir.join("building")).unwrap();
        let (created, space, directories, _folder) = create(Some(Checking(|| Ok(Some(900)))), remove).await;
        assert_eq!(created.err(), Some(CreationError::Refused(SubmitError::Failed)));
        assert_eq!((space.reserved(), directories), (0, 0));
    }
}
