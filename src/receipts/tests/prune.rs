//! Pruning: what goes, what stays, and a crash at each point of it.

use super::*;

#[test]
fn a_head_is_looked_for_in_what_is_left_of_a_pruned_chain() {
    let room = TestChain::new(&[erasure(1), erasure(2), erasure(3), erasure(4), erasure(5)]);
    let heads = room.heads();
    assert_eq!(room.prune(4), Some(3));
    let room = room.reopened();
    for head in &heads {
        assert_eq!(room.receipts.missing(*head).unwrap(), None);
    }
    for (n, found) in [(0, None), (1, None), (2, Some(heads[2])), (3, Some(heads[3])), (4, Some(heads[4]))] {
        let other = ChainHead { hash: ChainHash::GENESIS, ..heads[n] };
        assert_eq!(room.receipts.missing(other).unwrap(), found, "{n}");
    }
}

#[test]
fn pruning_cuts_off_what_is_old_and_keeps_the_rest_to_the_byte() {
    let entries = [erasure(1), erasure(2), erasure(3), erasure(4)];
    let room = TestChain::new(&entries);
    let (lines, heads) = (room.lines(), room.heads());
    assert_eq!(room.prune(1), None, "nothing is older");
    assert_eq!(room.prune(3), Some(2));
    let after = room.lines();
    assert_eq!(after[0], format!("{{\"checkpoint\":{{\"count\":2,\"head\":\"{}\"}}}}\n", heads[1].hash));
    assert_eq!(after[1..3], lines[2..]);
    assert_eq!(after.len(), 4);
    assert_eq!(room.found(&entries), [false, false, true, true]);
    // It goes on, before and after a new start.
    let later = [erasure(5), erasure(6)];
    room.receipts.append(&later[..1]).unwrap();
    let room = room.reopened();
    room.receipts.append(&later[1..]).unwrap();
    assert_eq!(room.found(&entries), [false, false, true, true]);
    assert_eq!(room.found(&later), [true, true]);
    let summary = verify(&room.path()).unwrap();
    assert_eq!((summary.head.count, summary.erasures), (7, 4));
    assert_eq!(summary.checkpoint, Some(heads[1]));
    // Once more, the first checkpoint and the first prune entry included.
    assert_eq!(room.prune(6), Some(6));
    assert_eq!(room.found(&later), [false, true]);
    assert_eq!(verify(&room.path()).unwrap().head.count, 8);
}

#[test]
fn pruning_everything_leaves_a_chain_that_goes_on() {
    let room = TestChain::new(&[erasure(1), erasure(2)]);
    assert_eq!(room.prune(100), Some(2));
    assert_eq!(room.lines().len(), 2, "the checkpoint and the prune entry");
    // What earlier prunings wrote does not justify another one.
    assert_eq!(room.due(1000), None);
    room.receipts.append(&[erasure(101)]).unwrap();
    assert_eq!(room.due(1000), Some(4));
    assert_eq!(verify(&room.reopened().path()).unwrap().head.count, 4);
}

#[test]
fn pruning_stops_at_what_must_stay() {
    let job = JobId::random();
    let released = ReceiptEntry::Release { job, at: at(5), by: "ops".into() };
    let resumed = ReceiptEntry::Resume { at: at(6), by: "ops".into() };
    let room = TestChain::new(&[erasure(1), hold(job, 2), erasure(3), pause(4)]);
    assert_eq!(room.due(100), Some(1), "the hold is in force");
    room.receipts.append(&[released]).unwrap();
    assert_eq!(room.due(100), Some(3), "the pause is in force");
    room.receipts.append(&[resumed]).unwrap();
    assert_eq!(room.due(100), Some(6));
    // Of an older hold on the same job only the last one counts.
    room.receipts.append(&[hold(job, 7), hold(job, 8)]).unwrap();
    assert_eq!(room.due(100), Some(7));
    let mut jobs = Vec::new();
    walk(&room.path(), |item| {
        jobs.extend(item.entry.job());
        Ok::<_, ReceiptsError>(())
    })
    .unwrap();
    let due = room.receipts.due(at(100), &|other| other == jobs[2]).unwrap().unwrap();
    assert_eq!(due.count, 2, "the record of the second erasure is still there");
    assert_eq!(room.due(4), Some(3), "younger ones stay");
    // After the pruning the hold is still what it was.
    assert_eq!(room.prune(100), Some(7));
    let room = room.reopened();
    assert_eq!(room.receipts.hold_of(job).map(|hold| hold.at), Some(at(8)));
    assert_eq!(room.due(1000), None);
}

#[test]
fn a_crash_at_any_point_of_a_pruning_loses_nothing() {
    let entries = [erasure(1), erasure(2), erasure(3)];
    let room = TestChain::new(&entries);
    let due = room.receipts.due(at(3), &|_| false).unwrap().unwrap();
    let announced = {
        room.receipts.append(&[ReceiptEntry::Prune { at: at(3), cut: due }]).unwrap();
        room.text()
    };
    room.receipts.cut(due).unwrap();
    let (pruned, head) = (room.text(), room.receipts.head());
    let new = room.dir.path().join(NEW_NAME);
    // The old file with the announcement; beside it nothing, a part of the new file, all of it.
    for leftover in [None, Some(&pruned[..0]), Some(&pruned[..pruned.len() / 2]), Some(&pruned[..])] {
        room.write(&announced);
        if let Some(text) = leftover {
            std::fs::write(&new, text).unwrap();
        }
        let receipts = ReceiptFile::open(room.dir.path()).unwrap();
        assert!(!new.exists(), "what a pruning left is removed");
        assert_eq!(receipts.head(), head);
        assert!(entries.iter().all(|entry| receipts.has(entry.job().unwrap())));
        // It is done again, by another announcement.
        let due = receipts.due(at(3), &|_| false).unwrap().unwrap();
        receipts.append(&[ReceiptEntry::Prune { at: at(3), cut: due }]).unwrap();
        receipts.cut(due).unwrap();
        assert_eq!(verify(&room.path()).unwrap().head.count, 5);
        assert!(receipts.find(entries[2].job().unwrap()).unwrap().is_some());
    }
    // The new file under the old name.
    room.write(&pruned);
    assert_eq!(room.reopened().receipts.head(), head);
}

#[test]
fn appends_of_the_time_of_a_pruning_are_in_the_new_file() {
    let room = TestChain::new(&[erasure(1), erasure(2)]);
    let due = room.receipts.due(at(2), &|_| false).unwrap().unwrap();
    room.receipts.append(&[ReceiptEntry::Prune { at: at(2), cut: due }]).unwrap();
    let late: Vec<_> = (3..300).map(erasure).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for entry in &late {
                room.receipts.append(std::slice::from_ref(entry)).unwrap();
                assert!(room.receipts.find(entry.job().unwrap()).unwrap().is_some());
            }
        });
        room.receipts.cut(due).unwrap();
    });
    assert!(room.found(&late).into_iter().all(|found| found));
    assert_eq!(verify(&room.path()).unwrap().head, room.receipts.head());
    assert_eq!(room.receipts.head().count, 300);
}

#[test]
fn a_pruning_of_a_file_that_was_pruned_meanwhile_does_nothing() {
    let room = TestChain::new(&[erasure(1), erasure(2), erasure(3)]);
    let due = room.receipts.due(at(2), &|_| false).unwrap().unwrap();
    assert_eq!(room.prune(3), Some(2));
    let text = room.text();
    assert!(room.receipts.cut(due).is_err());
    assert_eq!(room.text(), text);
    room.receipts.append(&[erasure(4)]).unwrap();
    verify(&room.path()).unwrap();
}

#[test]
fn a_checkpoint_whose_announcement_was_cut_off_is_no_reason_not_to_start() {
    let room = TestChain::new(&[erasure(1), erasure(2)]);
    room.prune(2).unwrap();
    let lines = room.lines();
    room.write(&lines[..2].concat());
    assert!(matches!(verify(&room.path()), Err(ReceiptsError::Broken { line: 1, .. })));
    let room = room.reopened();
    room.receipts.append(&[erasure(3)]).unwrap();
    // Another checkpoint than was announced.
    let other = lines[0].replace("\"count\":1", "\"count\":2");
    assert_broken(&room, &format!("{other}{}", lines[1..].concat()), 1, "no prune entry");
}
