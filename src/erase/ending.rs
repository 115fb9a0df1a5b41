//! What the actor of a job asks about its files, beside the sweep of its mark: the partial output of a
//! failed export, the names under a stuck writer, and what stands where. A warrant is granted at
//! once, while the actor knows the job's state; the sweep under it blocks and runs elsewhere.

use std::sync::Arc;

use super::sweep::Eraser;
use super::warrant::WarrantGround;
use crate::files::{DirPlace, FilesError, SweepCounts};
use crate::job::JobId;
use crate::job::life::SweepEnd;
use crate::telemetry;

/// How the sweep of names under a stuck writer ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EarlySweep {
    /// What was removed.
    pub swept: SweepCounts,
    /// Whether the names may not go now: an operator says so.
    pub refused: bool,
}

impl Eraser {
    /// Grants the warrant for the output of a failed export, if it may go now. Returns the sweep.
    pub fn partials_sweep(self: &Arc<Self>, job: JobId) -> impl FnOnce() -> SweepEnd + Send + use<> {
        let (warrant, eraser) = (self.holds().grant(job, WarrantGround::FailedExport), self.clone());
        move || {
            let Ok(warrant) = warrant else { return SweepEnd::Refused };
            match eraser.sweep_partials(&warrant) {
                Ok(()) => SweepEnd::Done,
                Err(error) => {
                    tracing::error!(%job, %error, "the partial files of a failed export could not be removed; this is tried again");
                    telemetry::sweep_failed(error.errno());
                    SweepEnd::Failed
                }
            }
        }
    }

    /// Grants the warrant for the names under a stuck writer, if they may go now. Returns the sweep, which
    /// fails if an fsync did: then nothing is known and the process must end.
    pub fn early_sweep(
        self: &Arc<Self>,
        job: JobId,
    ) -> impl FnOnce() -> Result<EarlySweep, FilesError> + Send + use<> {
        let (warrant, eraser) = (self.holds().grant(job, WarrantGround::Marked), self.clone());
        move || {
            let Ok(warrant) = warrant else {
                return Ok(EarlySweep { refused: true, ..EarlySweep::default() });
            };
            let (swept, result) = eraser.sweep_names(warrant)?;
            if let Err(error) = result {
                tracing::warn!(%job, %error, "the names of a stuck writer could not be unlinked yet");
            }
            Ok(EarlySweep { swept, ..EarlySweep::default() })
        }
    }

    /// Returns whether the directory of a marked job stands where a live job's would no more. If that
    /// cannot be told, it does. Blocks.
    pub fn is_moved(&self, job: JobId) -> bool {
        let has_left = |place| match self.files().open(job, place) {
            Err(error) if error.is_missing() => true,
            Err(error) => {
                tracing::warn!(%job, %error, "a marked directory cannot be looked at; it may not have been moved");
                false
            }
            Ok(_) => false,
        };
        [DirPlace::Building, DirPlace::Ready].into_iter().all(has_left)
    }

    /// Returns whether the directory of a complete job is there, or cannot be looked at. Blocks.
    pub fn has_files(&self, job: JobId) -> bool {
        !self.files().open(job, DirPlace::Ready).is_err_and(|error| error.is_missing())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::erase::{HoldRegistry, LiveEvidence};
    use crate::files::{Files, LocalFiles};
    use crate::hooks::Hooks;
    use crate::job::{
        ExportRequest, Failure, FailureReason, JobRecord, JobState, Kickoff, Mark, MarkReason, StateName,
    };
    use crate::receipts::{JobHold, ReceiptEntry, ReceiptFile};
    use crate::view::{LocalView, PublishedJob, ViewChange};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    /// A data directory with one job and one of its files.
    struct EndingRoom {
        job: JobId,
        files: Arc<LocalFiles>,
        eraser: Arc<Eraser>,
        folder: tempfile::TempDir,
    }

    impl EndingRoom {
        fn new(state: JobState) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = Arc::new(LocalFiles::open(folder.path(), Hooks::default()).unwrap());
            let view = Arc::new(LocalView::default());
            let receipts = Arc::new(ReceiptFile::open(folder.path()).unwrap());
            let evidence = LiveEvidence { files: files.clone(), receipts, view: view.clone() };
            let eraser = Arc::new(Eraser::new(files.clone(), HoldRegistry::of(evidence), Hooks::default()));
            let (job, tenant, owner) = (JobId::random(), "t".parse().unwrap(), "o".parse().unwrap());
            let request = ExportRequest::new(tenant, owner, Kickoff::system(), AT);
            files.create(job, &crate::files::DocumentKind::Request.content(&request).unwrap()).unwrap();
            let (tenant, owner) = (request.tenant, request.owner);
            let record = JobRecord { id: job, tenant, owner, revision: 1, submitted_at: AT, state };
            view.publish([ViewChange::New(PublishedJob::new(record, None, Arc::new([])))]);
            let room = Self { job, files, eraser, folder };
            std::fs::write(room.path("building").join("A_Patient.ndjson"), "{}\n").unwrap();
            room
        }

        fn path(&self, place: &str) -> std::path::PathBuf {
            self.folder.path().join(place).join(self.job.to_string())
        }

        fn hold(&self) -> Result<(), crate::erase::OrderError> {
            let hold = JobHold { job: self.job, at: AT, by: "it".into(), reason: "case 17".into() };
            self.eraser.holds().admit(&ReceiptEntry::Hold(hold))
        }
    }

    fn failed() -> JobState {
        JobState::Failed(Failure { at: AT, reason: FailureReason::StorageFull })
    }

    fn marked() -> JobState {
        let (reason, was) = (MarkReason::Deleted, StateName::Running);
        JobState::Marked(Mark { reason, by: None, at: AT, request_id: None, was, failure: None })
    }

    #[test]
    fn p6_the_warrant_for_partial_files_is_out_before_their_sweep_begins_and_is_refused_under_a_hold() {
        let room = EndingRoom::new(failed());
        let sweep = room.eraser.partials_sweep(room.job);
        assert_eq!(room.hold(), Err(crate::erase::OrderError::BeingErased));
        assert_eq!(sweep(), SweepEnd::Done);
        assert!(!room.path("building").join("A_Patient.ndjson").exists());

        let room = EndingRoom::new(failed());
        room.hold().unwrap();
        assert_eq!(room.eraser.partials_sweep(room.job)(), SweepEnd::Refused);
        assert!(room.path("building").join("A_Patient.ndjson").exists());
    }

    #[test]
    fn p4_the_names_of_a_stuck_writer_go_from_trash_unless_the_job_is_held() {
        let room = EndingRoom::new(marked());
        room.files.move_to_trash(&[room.job]).unwrap();
        let early = room.eraser.early_sweep(room.job);
        assert_eq!(room.hold(), Err(crate::erase::OrderError::BeingErased));
        let early = early().unwrap();
        assert!(!early.refused && early.swept.files >= 1, "{early:?}");
        assert!(!room.path("trash").exists());

        let room = EndingRoom::new(marked());
        room.hold().unwrap();
        assert_eq!(
            room.eraser.early_sweep(room.job)().unwrap(),
            EarlySweep { refused: true, ..Default::default() }
        );
    }

    #[test]
    fn a_marked_directory_is_moved_when_no_live_place_has_it_and_files_are_lost_only_if_certainly_gone() {
        let room = EndingRoom::new(marked());
        assert!(!room.eraser.is_moved(room.job));
        room.files.move_to_trash(&[room.job]).unwrap();
        assert!(room.eraser.is_moved(room.job));
        assert!(!room.eraser.has_files(room.job));
        std::fs::create_dir(room.path("ready")).unwrap();
        assert!(room.eraser.has_files(room.job) && !room.eraser.is_moved(room.job));
    }
}
