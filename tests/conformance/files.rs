//! What every `Files` promises (P3, P5, P6): handles follow a directory and die with it,
//! moves are idempotent, a sweep removes everything of one job and nothing else.

use std::path::Path;
use std::sync::Arc;

use evanesce::erase::{Eraser, HoldRegistry, SweepResult, WarrantEvidence, WarrantGround};
use evanesce::files::{CommitRoom, DirPlace, DocumentKind, ExportDir, Files, LocalFiles, SweepCounts};
use evanesce::hooks::{HookStep, Hooks};
use evanesce::job::{ExportRequest, JobId, Kickoff, StateName};
use jiff::Timestamp;
use parking_lot::Mutex;

/// Runs `check` on an empty backend of every kind; the folder is there for local ones.
fn on_every_backend(check: impl Fn(&Arc<dyn Files>, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(LocalFiles::open(folder.path(), Hooks::default()).unwrap());
    check(&files, folder.path());
}

/// Witnesses that say this of each job.
struct Says(StateName);

impl WarrantEvidence for Says {
    fn state(&self, _: JobId) -> Option<StateName> {
        Some(self.0)
    }

    fn has_receipt(&self, _: JobId) -> bool {
        false
    }

    fn is_in_trash(&self, _: JobId) -> bool {
        false
    }
}

fn holds(state: StateName) -> Arc<HoldRegistry> {
    HoldRegistry::new(Says(state), [], false)
}

/// What erases the jobs of a backend, all of which are in this state.
fn eraser(files: &Arc<dyn Files>, state: StateName) -> Eraser {
    Eraser::new(files.clone(), holds(state), Hooks::default())
}

/// The content of a request.
fn request() -> Vec<u8> {
    let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
    let request = ExportRequest::new(tenant, owner, Kickoff::system(), Timestamp::UNIX_EPOCH);
    DocumentKind::Request.content(&request).unwrap()
}

fn sweep_all(files: &Arc<dyn Files>, jobs: &[JobId]) -> Vec<SweepResult> {
    let eraser = eraser(files, StateName::Marked);
    let warrants = jobs.iter().map(|job| eraser.holds().grant(*job, WarrantGround::Marked).unwrap());
    let results = eraser.sweep_trash(warrants.collect()).unwrap().into_iter();
    results.map(|(_, result)| result).collect()
}

fn sweep(files: &Arc<dyn Files>, job: JobId) -> SweepCounts {
    let (swept, result) = sweep_all(files, &[job]).remove(0);
    result.unwrap();
    swept
}

fn sweep_partials(files: &Arc<dyn Files>, job: JobId) {
    let eraser = eraser(files, StateName::Failed);
    let warrant = eraser.holds().grant(job, WarrantGround::FailedExport).unwrap();
    eraser.sweep_partials(&warrant).unwrap();
}

#[test]
fn a_job_goes_from_building_to_ready_to_trash_to_nothing() {
    on_every_backend(|files, _| {
        let job = JobId::random();
        let dir = files.create(job, &request()).unwrap();
        let mut sink = dir.create_file("A_Patient.ndjson").unwrap();
        sink.write_all(b"one\n").unwrap();
        sink.finish().unwrap();
        drop(sink);
        dir.write_document(DocumentKind::Job, b"{}").unwrap();
        assert_eq!(files.inventory().unwrap().building, [job]);

        files.move_to_ready(job).unwrap();
        assert_eq!(files.inventory().unwrap().ready, [job]);
        let file = files.open(job, DirPlace::Ready).unwrap().open_file("A_Patient.ndjson").unwrap();
        let mut text = [0; 10];
        assert_eq!(file.read_full_at(&mut text, 0).unwrap(), 4);
        assert_eq!(file.read_full_at(&mut [0; 9], 0).unwrap(), 4);

        assert!(files.move_to_trash(&[job]).unwrap().remove(0).is_ok());
        assert_eq!(files.inventory().unwrap().trash, [job]);
        let swept = sweep(files, job);
        let request = request().len() as u64;
        assert_eq!((swept.files, swept.bytes, swept.planted_links), (3, 4 + 2 + request, 0));
        assert_eq!(files.inventory().unwrap(), evanesce::files::DiskInventory::default());
    });
}

#[test]
fn moving_and_sweeping_what_is_gone_is_success() {
    on_every_backend(|files, _| {
        let job = JobId::random();
        assert!(files.move_to_trash(&[job]).unwrap().remove(0).is_ok());
        assert_eq!(sweep(files, job), SweepCounts::default());
        files.create(job, &request()).unwrap();
        files.move_to_trash(&[job, job]).unwrap();
        assert_eq!(sweep(files, job).files, 1);
        assert_eq!(sweep(files, job), SweepCounts::default());
        sweep_partials(files, job);
    });
}

#[test]
fn a_writer_that_outlives_its_job_cannot_leave_a_byte_behind() {
    on_every_backend(|files, _| {
        let job = JobId::random();
        let dir = files.create(job, &request()).unwrap();
        let mut open = dir.create_file("A_Patient.ndjson").unwrap();
        files.move_to_trash(&[job]).unwrap();
        // The handle follows the rename: what is made now is made in trash, and swept.
        let mut late = dir.create_file("B_Patient.ndjson").unwrap();
        late.write_all(b"late").unwrap();
        assert_eq!(sweep(files, job).files, 3);
        // The directory is gone: nothing can be made any more, and nothing comes back.
        open.write_all(b"later").unwrap();
        assert!(dir.create_file("C_Patient.ndjson").err().unwrap().is_missing());
        assert!(dir.write_document(DocumentKind::Job, b"{}").is_err());
        assert!(files.move_to_ready(job).err().unwrap().is_missing());
        assert!(files.inventory().unwrap().trash.is_empty());
    });
}

#[test]
fn a_name_that_is_made_during_a_sweep_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let writer: Arc<Mutex<Option<Arc<dyn ExportDir>>>> = Arc::default();
    let late = writer.clone();
    let hooks = Hooks::directed(move |step| {
        let dir = if step == HookStep::FileUnlinked { late.lock().take() } else { None };
        if let Some(dir) = dir {
            dir.create_file("Late_Patient.ndjson").unwrap();
        }
    });
    let files: Arc<dyn Files> = Arc::new(LocalFiles::open(folder.path(), hooks).unwrap());
    let job = JobId::random();
    *writer.lock() = Some(files.create(job, &request()).unwrap());
    files.move_to_trash(&[job]).unwrap();
    assert_eq!(sweep(&files, job).files, 2);
    assert!(files.inventory().unwrap().trash.is_empty());
}

#[test]
fn a_sweep_whose_fsync_fails_tells_of_no_erasure() {
    let folder = tempfile::tempdir().unwrap();
    let hooks = Hooks::new(Vec::new(), vec!["sweep-begins>fsync:5:ever".parse().unwrap()]);
    let files: Arc<dyn Files> = Arc::new(LocalFiles::open(folder.path(), hooks.clone()).unwrap());
    let job = JobId::random();
    files.create(job, &request()).unwrap();
    files.move_to_trash(&[job]).unwrap();
    let eraser = Eraser::new(files, holds(StateName::Marked), hooks);
    let warrant = eraser.holds().grant(job, WarrantGround::Marked).unwrap();
    assert!(eraser.sweep_trash(vec![warrant]).is_err_and(|error| error.is_sync()));
}

#[test]
fn a_sweep_touches_no_other_job() {
    on_every_backend(|files, _| {
        let (one, other) = (JobId::random(), JobId::random());
        for job in [one, other] {
            files.create(job, &request()).unwrap();
        }
        files.move_to_trash(&[one]).unwrap();
        sweep(files, one);
        sweep(files, other);
        assert_eq!(files.inventory().unwrap().building, [other]);
    });
}

#[test]
fn partial_files_go_and_sealed_ones_and_documents_stay() {
    on_every_backend(|files, _| {
        let job = JobId::random();
        let dir = files.create(job, &request()).unwrap();
        for name in ["A_Patient.ndjson", "B_Patient.ndjson"] {
            dir.create_file(name).unwrap();
        }
        dir.write_document(DocumentKind::Plan, b"{}").unwrap();
        let keep = ["A_Patient.ndjson".to_string()];
        eraser(files, StateName::Running).remove_unrecorded(job, &*dir, &keep).unwrap();
        assert!(dir.open_file("A_Patient.ndjson").is_ok());
        assert!(dir.open_file("B_Patient.ndjson").err().unwrap().is_missing());
        assert!(dir.read_document(DocumentKind::Request).unwrap().is_some());
        assert_eq!(dir.read_document(DocumentKind::Plan).unwrap().unwrap(), b"{}");
        // A failed export keeps what says so, and nothing else.
        dir.write_document(DocumentKind::Job, b"[]").unwrap();
        sweep_partials(files, job);
        assert_eq!(dir.read_document(DocumentKind::Job).unwrap().unwrap(), b"[]");
        assert!(dir.read_document(DocumentKind::Request).unwrap().is_none());
        assert!(dir.open_file("A_Patient.ndjson").err().unwrap().is_missing());
    });
}

#[test]
fn a_document_is_replaced_as_a_whole_and_a_name_is_made_once() {
    on_every_backend(|files, _| {
        let dir = files.create(JobId::random(), &request()).unwrap();
        dir.write_document(DocumentKind::Job, b"a longer text").unwrap();
        dir.write_document(DocumentKind::Job, b"short").unwrap();
        assert_eq!(dir.read_document(DocumentKind::Job).unwrap().unwrap(), b"short");
        dir.create_file("A_Patient.ndjson").unwrap();
        assert!(dir.create_file("A_Patient.ndjson").is_err());
    });
}

#[test]
fn a_second_directory_of_a_job_finds_a_free_name_in_trash_and_both_are_swept() {
    on_every_backend(|files, folder| {
        let job = JobId::random();
        std::fs::create_dir(folder.join(format!("trash/{job}"))).unwrap();
        std::fs::write(folder.join(format!("trash/{job}/old")), "old").unwrap();
        files.create(job, &request()).unwrap();
        files.move_to_trash(&[job]).unwrap();
        assert!(folder.join(format!("trash/{job}.1")).is_dir());
        assert_eq!(sweep(files, job).files, 2);
        assert!(files.inventory().unwrap().trash.is_empty());
    });
}

#[test]
fn planted_names_are_reported_and_never_followed() {
    on_every_backend(|files, folder| {
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        std::fs::write(folder.join("ready/notes.txt"), "not ours").unwrap();
        let link = format!("trash/{}", JobId::random());
        std::os::unix::fs::symlink(outside.path(), folder.join(&link)).unwrap();

        let job = JobId::random();
        let dir = files.create(job, &request()).unwrap();
        dir.create_file("A_Patient.ndjson").unwrap().write_all(b"12345").unwrap();
        std::fs::hard_link(
            folder.join(format!("building/{job}/A_Patient.ndjson")),
            outside.path().join("copy"),
        )
        .unwrap();
        std::os::unix::fs::symlink(&secret, folder.join(format!("building/{job}/B_Patient.ndjson"))).unwrap();
        assert!(dir.open_file("B_Patient.ndjson").is_err(), "a link is not followed");

        assert_eq!(files.inventory().unwrap().strangers, ["ready/notes.txt", &link]);
        files.move_to_trash(&[job]).unwrap();
        assert_eq!(sweep(files, job).planted_links, 1);
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
        assert!(folder.join("ready/notes.txt").exists());
    });
}

#[test]
fn a_warrant_for_one_job_unlinks_nothing_of_another() {
    on_every_backend(|files, _| {
        let (one, other) = (JobId::random(), JobId::random());
        let dir = files.create(one, &request()).unwrap();
        let warrant = holds(StateName::Marked).grant(other, WarrantGround::Marked).unwrap();
        let directory = files.directories(one, DirPlace::Building).unwrap().remove(0);
        for name in dir.list().unwrap() {
            assert!(dir.unlink(&warrant, &name).is_err());
        }
        assert!(files.remove_directory(&warrant, &directory).is_err());
        assert!(dir.read_document(DocumentKind::Request).unwrap().is_some());
        drop(warrant);
    });
}

#[test]
fn a_directory_that_somebody_planted_in_a_job_stays_and_is_an_error() {
    on_every_backend(|files, folder| {
        let job = JobId::random();
        files.create(job, &request()).unwrap();
        std::fs::create_dir(folder.join(format!("building/{job}/planted"))).unwrap();
        files.move_to_trash(&[job]).unwrap();
        let other = JobId::random();
        files.create(other, &request()).unwrap();
        files.move_to_trash(&[other]).unwrap();
        let mut results = sweep_all(files, &[job, other]);
        assert_eq!(
            results.remove(1).1.map_err(|e| e.to_string()),
            Ok(()),
            "the other one is swept all the same"
        );
        let (swept, result) = results.remove(0);
        assert!(result.is_err());
        assert_eq!(swept.files, 1, "everything else went all the same");
        std::fs::remove_dir(folder.join(format!("trash/{job}/planted"))).unwrap();
        assert_eq!(sweep(files, job).files, 0);
        assert!(files.inventory().unwrap().trash.is_empty());
    });
}

#[test]
fn ten_thousand_files_are_swept() {
    on_every_backend(|files, _| {
        let job = JobId::random();
        let dir = files.create(job, &request()).unwrap();
        for n in 0..10_000 {
            dir.create_file(&format!("{n}_Patient.ndjson")).unwrap();
        }
        files.move_to_trash(&[job]).unwrap();
        assert_eq!(sweep(files, job).files, 10_001);
        assert!(files.inventory().unwrap().trash.is_empty());
    });
}

#[test]
fn files_and_folders_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    on_every_backend(|files, folder| {
        let job = JobId::random();
        files.create(job, &request()).unwrap().create_file("A_Patient.ndjson").unwrap();
        for (path, mode) in [
            ("building".to_string(), 0o700),
            (format!("building/{job}"), 0o700),
            (format!("building/{job}/A_Patient.ndjson"), 0o600),
            (format!("building/{job}/request.json"), 0o600),
        ] {
            let metadata = std::fs::metadata(folder.join(&path)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
        }
    });
}

#[test]
fn the_ballast_is_given_up_when_room_is_short_and_made_again_later() {
    on_every_backend(|files, folder| {
        let ballast = folder.join("ballast");
        files.restore_ballast().unwrap();
        assert_eq!(std::fs::metadata(&ballast).unwrap().len(), 64 << 20);
        assert_eq!(files.release_ballast(1).unwrap(), CommitRoom::There);
        assert!(ballast.exists());
        assert_eq!(files.release_ballast(u64::MAX).unwrap(), CommitRoom::Made);
        assert!(!ballast.exists());
        assert_eq!(files.release_ballast(u64::MAX).unwrap(), CommitRoom::None, "it was given up already");
        files.restore_ballast().unwrap();
        assert!(ballast.exists());
    });
}
