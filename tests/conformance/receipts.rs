//! What every `ReceiptChain` promises (P9): what was appended is there after reopening, each entry
//! bound to the one before; holds and pauses are in force until they are ended; pruning takes only
//! what may go, and a head that was kept tells whether the chain still goes through it.

use evanesce::job::{JobId, MarkReason, Receipt, StateName};
use evanesce::receipts::{ChainHead, JobHold, ReaperPause, ReceiptChain, ReceiptEntry, ReceiptFile};
use jiff::Timestamp;

type Open<'a> = &'a dyn Fn() -> Box<dyn ReceiptChain>;

/// Runs `check` with a backend that it may open again and again, one at a time.
fn on_every_backend(check: impl Fn(Open<'_>)) {
    let folder = tempfile::tempdir().unwrap();
    check(&|| Box::new(ReceiptFile::open(folder.path()).unwrap()));
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(3600 * hour).unwrap()
}

fn receipt(job: JobId, hour: i64) -> Receipt {
    Receipt {
        job,
        tenant: "t".parse().unwrap(),
        owner: "o".parse().unwrap(),
        reason: MarkReason::Deleted,
        was: StateName::Complete,
        by: None,
        request_id: None,
        submitted_at: at(0),
        marked_at: at(hour),
        hidden_at: None,
        last_byte_at: None,
        gone_at: at(hour),
        files: 1,
        bytes: 2,
        key: None,
        planted_links: 0,
        failed_sweeps: 0,
        last_error: None,
        fenced_writers: 0,
        cut_downloads: 0,
        drained_downloads: 0,
        resumed: false,
    }
}

fn erasure(job: JobId, hour: i64) -> ReceiptEntry {
    ReceiptEntry::Erasure(Box::new(receipt(job, hour)))
}

fn hold(job: JobId, hour: i64) -> JobHold {
    JobHold { job, at: at(hour), by: "ops".into(), reason: "case 7".into() }
}

#[test]
fn what_was_appended_is_found_after_reopening_and_the_chain_goes_on() {
    on_every_backend(|open| {
        let (a, b) = (JobId::random(), JobId::random());
        let heads = {
            let chain = open();
            assert_eq!((chain.head(), chain.has(a)), (ChainHead::EMPTY, false));
            chain.append_each(&[erasure(a, 1), erasure(b, 2)]).unwrap()
        };
        assert_eq!(heads.iter().map(|head| head.count).collect::<Vec<_>>(), [1, 2]);
        let chain = open();
        assert_eq!(chain.head(), heads[1]);
        assert_eq!(chain.find(a).unwrap(), Some(receipt(a, 1)));
        assert_eq!(chain.find(JobId::random()).unwrap(), None);
        assert!(chain.has(b));
        assert_eq!(chain.erased_since(at(2)), [b]);
        assert_eq!(chain.pruned_until(), None);
        assert_eq!(chain.append(&[]).unwrap(), heads[1], "nothing is nothing");
        assert_eq!(chain.append(&[erasure(JobId::random(), 3)]).unwrap().count, 3);
    });
}

#[test]
fn holds_and_a_pause_are_in_force_until_they_are_ended_over_restarts_too() {
    on_every_backend(|open| {
        let (a, b) = (JobId::random(), JobId::random());
        let pause = ReaperPause { at: at(2), by: "ops".into(), reason: "migration".into() };
        let orders = [
            ReceiptEntry::Hold(hold(a, 1)),
            ReceiptEntry::Hold(hold(b, 1)),
            ReceiptEntry::Pause(pause.clone()),
        ];
        open().append(&orders).unwrap();
        {
            let chain = open();
            assert_eq!((chain.hold_of(a), chain.pause()), (Some(hold(a, 1)), Some(pause)));
            assert_eq!(chain.holds().len(), 2);
            let ends = [
                ReceiptEntry::Release { job: a, at: at(3), by: "ops".into() },
                ReceiptEntry::Resume { at: at(3), by: "ops".into() },
            ];
            chain.append(&ends).unwrap();
        }
        let chain = open();
        assert_eq!((chain.hold_of(a), chain.pause()), (None, None));
        assert_eq!(chain.holds(), [hold(b, 1)]);
    });
}

#[test]
fn a_head_that_was_kept_tells_whether_the_chain_goes_through_it() {
    on_every_backend(|open| {
        let entries: Vec<_> = (1..4).map(|hour| erasure(JobId::random(), hour)).collect();
        let chain = open();
        let heads = chain.append_each(&entries).unwrap();
        for head in heads.iter().chain([&ChainHead::EMPTY]) {
            assert_eq!(chain.missing(*head).unwrap(), None);
        }
        let other = ChainHead { hash: heads[0].hash, ..heads[1] };
        assert_eq!(chain.missing(other).unwrap(), Some(heads[1]), "what stands there instead");
        let longer = ChainHead { count: 9, ..heads[2] };
        assert_eq!(chain.missing(longer).unwrap(), Some(heads[2]), "it is shorter");
        assert!(!chain.tells_gap(longer));
        chain.append(&[ReceiptEntry::Gap { at: at(4), expected: longer, found: heads[2] }]).unwrap();
        assert!(chain.tells_gap(longer) && open().tells_gap(longer));
    });
}

#[test]
fn pruning_takes_the_first_entries_that_may_go_and_nothing_behind_them() {
    on_every_backend(|open| {
        let jobs = [(); 4].map(|()| JobId::random());
        let chain = open();
        let [first, second] = [1, 2].map(|hour| erasure(jobs[0], hour));
        let heads = chain
            .append_each(&[first, second, ReceiptEntry::Hold(hold(jobs[1], 3)), erasure(jobs[2], 4)])
            .unwrap();
        assert_eq!(chain.due(at(1), &|_| false).unwrap(), None, "nothing is so old");
        assert_eq!(chain.due(at(9), &|job| job == jobs[0]).unwrap(), None, "its record is still there");
        assert_eq!(chain.due(at(2), &|_| false).unwrap(), Some(heads[0]));
        let due = chain.due(at(9), &|_| false).unwrap().unwrap();
        assert_eq!(due, heads[1], "the hold is in force");
        chain.append(&[ReceiptEntry::Prune { at: at(9), cut: due }]).unwrap();
        chain.cut(due).unwrap();
        assert!(chain.cut(heads[0]).is_err(), "it is not there any more");
        let head = chain.head();
        assert_eq!(head.count, 5, "pruned ones count");
        drop(chain);

        let chain = open();
        assert_eq!((chain.head(), chain.has(jobs[0]), chain.has(jobs[2])), (head, false, true));
        assert_eq!(chain.holds(), [hold(jobs[1], 3)]);
        assert_eq!(chain.pruned_until(), Some(at(3)));
        assert_eq!(chain.missing(heads[0]).unwrap(), None, "of what is pruned nothing can be told");
        assert_eq!(chain.missing(heads[3]).unwrap(), None);
    });
}
