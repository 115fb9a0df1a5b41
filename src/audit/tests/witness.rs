//! What the log tells of other witnesses, whatever has become of a part of it.

use std::os::unix::fs::FileExt;

use super::TestLog;
use crate::audit::{AuditedEvent, LastWitnessed, deletions, latest};
use crate::chain::ChainHead;
use crate::job::{JobId, MarkReason};
use crate::receipts::ReceiptEntry;

fn mark(job: JobId, reason: MarkReason) -> AuditedEvent {
    let (tenant, owner) = ("t1".parse().unwrap(), "o1".parse().unwrap());
    AuditedEvent::Marked { job, tenant, owner, reason, by: None, request_id: None }
}

/// A log of small files in which each of these jobs is marked, between other events; the receipts
/// are told of once, before the last two marks.
fn told(room: &TestLog, jobs: &[JobId]) -> ChainHead {
    let head = ChainHead { count: 7, ..ChainHead::EMPTY };
    for (n, job) in jobs.iter().enumerate() {
        room.set_time(i64::try_from(n).unwrap());
        (0..5).for_each(|_| room.record());
        if n + 2 == jobs.len() {
            let resumed = ReceiptEntry::Resume { at: room.at(0), by: "ops".into() };
            room.log.record(AuditedEvent::of_receipt(&resumed, head));
        }
        let reason = if n % 2 == 0 { MarkReason::Expired } else { MarkReason::Deleted };
        room.log.record(mark(*job, reason));
        (0..5).for_each(|_| room.record());
    }
    head
}

#[test]
fn the_last_that_it_has_seen_of_others_is_found_from_its_end() {
    let room = TestLog::new(4096);
    let none = latest(&room.folder()).unwrap();
    assert_eq!(none, LastWitnessed::default());
    let jobs: [JobId; 6] = std::array::from_fn(|_| JobId::random());
    let head = told(&room, &jobs);
    assert!(room.files().len() > 6);
    let found = latest(&room.folder()).unwrap();
    assert_eq!(found, LastWitnessed { mark: Some((jobs[5], room.at(5))), receipts: Some(head) });
    // Without its end it tells of what was before.
    for file in room.files().iter().rev() {
        let text = std::fs::read_to_string(file).unwrap();
        std::fs::remove_file(file).unwrap();
        if text.contains(&jobs[5].to_string()) {
            break;
        }
    }
    assert_eq!(latest(&room.folder()).unwrap().mark, Some((jobs[4], room.at(4))));
}

#[test]
fn only_what_is_wanted_is_kept_and_only_what_proves_itself_is_believed() {
    let room = TestLog::new(4096);
    let jobs: [JobId; 4] = std::array::from_fn(|_| JobId::random());
    told(&room, &jobs);
    let found = |wanted: &[JobId]| {
        let mut found: Vec<_> =
            deletions(&room.folder(), |job, _| wanted.contains(&job)).unwrap().into_keys().collect();
        found.sort();
        found
    };
    let sorted = |jobs: &[JobId]| {
        let mut jobs = jobs.to_vec();
        jobs.sort();
        jobs
    };
    assert_eq!(found(&jobs), sorted(&jobs));
    assert_eq!(found(&jobs[1..2]), jobs[1..2]);
    let since = deletions(&room.folder(), |_, at| at >= room.at(2)).unwrap();
    assert_eq!(since.len(), 2);
    let whose = since.values().next().unwrap();
    assert_eq!((&whose.tenant, &whose.owner), (&Some("t1".parse().unwrap()), &Some("o1".parse().unwrap())));

    // One is told otherwise, and a file between them is gone: the others stand for themselves.
    let forged = JobId::random();
    for file in room.files() {
        let text = std::fs::read_to_string(&file).unwrap();
        if text.contains(&jobs[1].to_string()) {
            std::fs::write(&file, text.replace(&jobs[1].to_string(), &forged.to_string())).unwrap();
        } else if text.contains(&jobs[2].to_string()) {
            std::fs::remove_file(&file).unwrap();
        }
    }
    assert_eq!(found(&[jobs[0], jobs[1], jobs[2], jobs[3], forged]), sorted(&[jobs[0], jobs[3]]));

    // A line without an end in sight is passed over.
    let last = std::fs::File::options().write(true).open(room.files().last().unwrap()).unwrap();
    last.write_all_at(b"x", 3 << 20).unwrap();
    assert_eq!(found(&jobs), sorted(&[jobs[0], jobs[3]]));
}

#[test]
fn a_stranger_under_the_next_name_of_a_file_is_left_alone_and_costs_no_event() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mut room = TestLog::with_events(4096, 2);
    let (head, reason) = (room.verify().head, MarkReason::Deleted);
    room.log.close();
    let next = room.folder().join(super::file::file_name(head.count + 1));
    mknodat(CWD, &next, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // The last file is full: another one has to be begun.
    let (job, full) = (JobId::random(), std::fs::metadata(&room.files()[0]).unwrap().len());
    room.settings.max_file_bytes = full;
    room.reopen();
    room.log.record(mark(job, reason));
    assert!(room.log.is_healthy() && next.symlink_metadata().is_ok());
    assert_eq!(room.files().len(), 2);
    assert_eq!(latest(&room.folder()).unwrap().mark.map(|(job, _)| job), Some(job));
    room.reopen();
    room.record();
    assert!(room.log.is_healthy());
}
