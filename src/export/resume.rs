//! What a start finds of an interrupted export: sealed files are checked, whatever else was written goes,
//! and request and plan are read again.

use std::sync::Arc;

use super::session::files_of;
use super::{ExportError, Plan};
use crate::erase::Eraser;
use crate::files::{DirPlace, DocumentKind, ExportDir, Files, FilesError};
use crate::job::{ExportRequest, FailureReason, JobId, OutputFile, RequestSummary, SealedPart};

/// An interrupted export that can go on.
pub struct ResumedExport {
    /// The job's directory.
    pub dir: Arc<dyn ExportDir>,
    /// What is remembered of the request.
    pub request: RequestSummary,
    /// The plan, if there was one.
    pub plan: Option<Plan>,
}

/// Why an interrupted export cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The directory or a file in it is missing, or cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The request cannot be understood.
    #[error("request.json is missing or damaged")]
    RequestLost,
    /// The tenant is not served any more.
    #[error("its tenant is not there any more")]
    TenantRemoved,
}

impl ResumeError {
    /// Returns the reason that the client sees.
    pub fn reason(self) -> FailureReason {
        match self {
            Self::Files(error) if error.is_missing() => FailureReason::DirectoryLost,
            Self::Files(error) => ExportError::from(error).reason().unwrap_or(FailureReason::StorageFailed),
            Self::RequestLost => FailureReason::DirectoryLost,
            Self::TenantRemoved => FailureReason::TenantRemoved,
        }
    }
}

impl ResumedExport {
    /// Reads what there is of `job`. What was written and never recorded as `sealed` is removed; under
    /// a hold or a pause it stays. Blocks.
    ///
    /// # Errors
    /// Fails if a sealed file or the request is missing, something cannot be read or removed, or nobody
    /// exports for the tenant any more.
    pub fn read(
        job: JobId,
        files: &dyn Files,
        eraser: &Eraser,
        sealed: &[SealedPart],
        is_served: bool,
    ) -> Result<Self, ResumeError> {
        let dir = files.open(job, DirPlace::Building)?;
        for file in files_of(sealed) {
            dir.check_file(&file.stored_name(), file.stored_bytes())?;
        }
        let keep: Vec<_> = files_of(sealed).map(OutputFile::stored_name).collect();
        eraser.remove_unrecorded(job, &*dir, &keep)?;
        let request = dir.read_document(DocumentKind::Request)?;
        let request = request.and_then(|text| serde_json::from_slice::<ExportRequest>(&text).ok());
        let request = RequestSummary::of(&request.ok_or(ResumeError::RequestLost)?);
        if !is_served {
            return Err(ResumeError::TenantRemoved);
        }
        let plan = dir.read_document(DocumentKind::Plan)?;
        let plan = plan.and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Self { dir, request, plan })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use jiff::Timestamp;

    use super::*;
    use crate::erase::{HoldRegistry, LiveEvidence};
    use crate::files::LocalFiles;
    use crate::hooks::Hooks;
    use crate::job::{JobRecord, JobState, Kickoff};
    use crate::receipts::ReceiptFile;
    use crate::view::{LocalView, PublishedJob, ViewChange};

    #[test]
    fn an_interrupted_export_keeps_what_was_sealed_and_fails_for_the_reason_that_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(LocalFiles::open(folder.path(), Hooks::default()).unwrap());
        let view = Arc::new(LocalView::default());
        let receipts = Arc::new(ReceiptFile::open(folder.path()).unwrap());
        let evidence = LiveEvidence { files: files.clone(), receipts, view: view.clone() };
        let eraser = Eraser::new(files.clone(), HoldRegistry::of(evidence), Hooks::default());
        let (job, at) = (JobId::random(), Timestamp::UNIX_EPOCH);
        let (tenant, owner): (crate::job::TenantId, crate::job::ClientId) =
            ("t".parse().unwrap(), "o".parse().unwrap());
        let request = ExportRequest::new(tenant.clone(), owner.clone(), Kickoff::system(), at);
        let record =
            JobRecord { id: job, tenant, owner, revision: 1, submitted_at: at, state: JobState::Queued };
        view.publish([ViewChange::New(PublishedJob::new(record, None, Arc::new([])))]);
        let dir = files.create(job, &crate::files::DocumentKind::Request.content(&request).unwrap()).unwrap();
        let path = folder.path().join("building").join(job.to_string());
        std::fs::write(path.join("A_Patient.ndjson"), "{}\n").unwrap();
        std::fs::write(path.join("B_Patient.ndjson"), "{}\n").unwrap();
        let file = OutputFile { bytes: 3, ..OutputFile::new("A_Patient.ndjson".into(), "Patient") };
        let sealed = [SealedPart { index: 0, files: vec![file], broken_lines: 0 }];
        let read = |sealed: &[SealedPart], is_served| {
            ResumedExport::read(job, &*files, &eraser, sealed, is_served).map_err(ResumeError::reason)
        };

        let found = read(&sealed, true).ok().unwrap();
        assert!(found.plan.is_none());
        let has = |name: &str| dir.list().unwrap().iter().any(|entry| entry == OsStr::new(name));
        assert!(has("A_Patient.ndjson") && !has("B_Patient.ndjson"));
        assert_eq!(read(&sealed, false).err(), Some(FailureReason::TenantRemoved));
        std::fs::write(path.join("request.json"), "{").unwrap();
        assert_eq!(read(&sealed, true).err(), Some(FailureReason::DirectoryLost));
        std::fs::remove_file(path.join("A_Patient.ndjson")).unwrap();
        assert_eq!(read(&sealed, true).err(), Some(FailureReason::DirectoryLost));
    }
}
