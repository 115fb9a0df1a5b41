//! What the disk itself shows: places, the ballast, the files of each job, modes.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{FindingOutcome, FsckError, FsckFinding, RepairMode};
use crate::erase::reconcile::ExaminedJob;
use crate::erase::reconcile::JoinCure;
use crate::files::encrypted::stored_length;
use crate::files::modes::{OpenName, open_to_others};
use crate::files::{BALLAST_BYTES, DirPlace, DocumentKind, ExportDir, Files, LocalFiles};
use crate::job::{OutputFile, StateName};
use crate::store::StoredJob;

/// Reports missing places. Opening the directory for a repair creates them.
pub fn check_places(data_dir: &Path, outcome: FindingOutcome) -> Vec<FsckFinding> {
    let missing = DirPlace::ALL.into_iter().filter(|place| !data_dir.join(place.name()).is_dir());
    missing
        .map(|place| FsckFinding {
            what: format!("the folder {}/ is missing", place.name()),
            cause: "somebody removed it, or the directory was never quite made",
            cure: "it is made again, empty",
            outcome,
        })
        .collect()
}

/// Reports a missing ballast, without which deletions may fail when the disk is full.
pub fn check_ballast(
    files: &LocalFiles,
    data_dir: &Path,
    leave: RepairMode,
) -> Result<Option<FsckFinding>, FsckError> {
    let whole = |stat: Metadata| stat.blocks() * 512 >= BALLAST_BYTES;
    if fs::symlink_metadata(data_dir.join("ballast")).is_ok_and(whole) {
        return Ok(None);
    }
    let has_room = crate::files::Files::free_bytes(files)? >= 2 * BALLAST_BYTES;
    let outcome = match (has_room, leave) {
        (false, _) => FindingOutcome::Note,
        (true, RepairMode::Look) => FindingOutcome::Left,
        (true, _) => FindingOutcome::Repaired,
    };
    Ok(Some(FsckFinding {
        what: "the ballast is missing or short".into(),
        cause: "the disk was full, or the process ended while it was being made",
        cure: "it is made again when twice its size is free",
        outcome,
    }))
}

/// Compares the files of a job with its record. Returns true if the job must be given up: something
/// is missing that clients were promised or that a resume needs.
pub fn check_job(
    data_dir: &Path,
    files: &dyn Files,
    examined: &ExaminedJob,
    stored: Option<&StoredJob>,
    repaired: FindingOutcome,
) -> (Vec<FsckFinding>, bool) {
    let job = examined.job;
    let (Some(stored), Some(place)) = (stored, expected_place(examined)) else { return (Vec::new(), false) };
    let folder = data_dir.join(place.name()).join(job.to_string());
    let mut found = match list(&folder) {
        Ok(found) => found,
        Err(error) => {
            let finding = FsckFinding {
                what: format!("{}/{job} cannot be listed: {error}", place.name()),
                cause: "its mode or its owner was changed, or the disk fails",
                cure: "none: make it readable for the server's user",
                outcome: FindingOutcome::Left,
            };
            return (vec![finding], false);
        }
    };
    let (mut findings, mut is_lost) = (Vec::new(), false);
    let dir = match files.open(job, place) {
        Ok(dir) => dir,
        Err(error) => {
            let finding = FsckFinding {
                what: format!("{}/{job} cannot be opened: {error}", place.name()),
                cause: "its mode or its owner was changed, or the disk fails",
                cure: "none: make it readable for the server's user",
                outcome: FindingOutcome::Left,
            };
            return (vec![finding], false);
        }
    };
    for document in [DocumentKind::Request, DocumentKind::Plan, DocumentKind::Job] {
        let stat = found.remove(document.name());
        findings.extend(stat.and_then(|stat| strange_document(place, examined, document, &stat)));
        found.remove(&format!("{}.tmp", document.name()));
    }
    for file in stored.parts.iter().flat_map(|part| &part.files) {
        let wrong = match found.remove(&file.stored_name()) {
            None => Some("is missing".to_string()),
            Some(stat) if !stat.is_file() => Some("is not a regular file".into()),
            Some(stat) => {
                findings
                    .extend((stat.nlink() > 1).then(|| planted_link(place, examined, &file.stored_name())));
                wrong_length(&*dir, file)
            }
        };
        if let Some(wrong) = wrong {
            is_lost = true;
            findings.push(FsckFinding {
                what: format!("{}/{job}/{} {wrong}", place.name(), file.stored_name()),
                cause: "somebody removed or changed it, or the disk did",
                cure: "the job is marked as lost: it answers 404 deleted, and what is left of it is erased",
                outcome: repaired,
            });
        }
    }
    // A running export may have partial files.
    let extra = found.into_keys().filter(|_| place == DirPlace::Ready);
    findings.extend(extra.map(|name| FsckFinding {
        what: format!("{}/{job}/{name} is not in the record", place.name()),
        cause: "somebody put it there",
        cure: "it is not served, and goes with the job",
        outcome: FindingOutcome::Note,
    }));
    (findings, is_lost)
}

/// Returns what is wrong with the length of a file. Of one whose key is not there nothing can be told.
fn wrong_length(dir: &dyn ExportDir, file: &OutputFile) -> Option<String> {
    let checked = dir.check_file(&file.stored_name(), file.stored_bytes());
    checked.err().filter(|error| !error.is_locked()).map(|error| error.cause())
}

/// Reports something else in a document's place. It is not read.
fn strange_document(
    place: DirPlace,
    examined: &ExaminedJob,
    document: DocumentKind,
    stat: &Metadata,
) -> Option<FsckFinding> {
    let is_read = stat.is_file() && stat.len() <= stored_length(document.max_bytes());
    (!is_read).then(|| FsckFinding {
        what: format!(
            "{}/{}/{} is not a document of the server",
            place.name(),
            examined.job,
            document.name()
        ),
        cause: "somebody put it there",
        cure: "none: it is not read; an export that needs it fails",
        outcome: FindingOutcome::Note,
    })
}

fn planted_link(place: DirPlace, examined: &ExaminedJob, name: &str) -> FsckFinding {
    FsckFinding {
        what: format!("{}/{}/{name} has a second name elsewhere", place.name(), examined.job),
        cause: "somebody made a hard link to it",
        cure: "none: the bytes outlive the job's erasure under that name; the receipt will say so",
        outcome: FindingOutcome::Note,
    }
}

/// Returns where a job stands whose files matter because it is served or goes on.
fn expected_place(examined: &ExaminedJob) -> Option<DirPlace> {
    match (examined.testimony.joined()?, examined.cure) {
        (StateName::Complete, JoinCure::Nothing) => Some(DirPlace::Ready),
        (StateName::Queued | StateName::Running, JoinCure::Resume) => Some(DirPlace::Building),
        _ => None,
    }
}

fn list(folder: &Path) -> io::Result<BTreeMap<String, Metadata>> {
    let entry = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?))
    };
    fs::read_dir(folder)?.map(entry).collect()
}

/// Reports what others than the owner may open.
pub fn check_modes(data_dir: &Path, leave: RepairMode) -> io::Result<Vec<FsckFinding>> {
    let check = |open: OpenName| {
        if leave > RepairMode::Look {
            open.close()?;
        }
        let name = open.path.strip_prefix(data_dir).unwrap_or(&open.path).display().to_string();
        let name = if name.is_empty() { "the data directory".into() } else { name };
        Ok(FsckFinding {
            what: format!("{name} has the mode {:04o}", open.mode),
            cause: "somebody changed it",
            cure: "it is closed to all but the owner",
            outcome: if leave == RepairMode::Look { FindingOutcome::Left } else { FindingOutcome::Repaired },
        })
    };
    open_to_others(data_dir)?.into_iter().map(check).collect()
}
