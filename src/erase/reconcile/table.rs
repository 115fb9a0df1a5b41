//! The join table: what is to be done at a start when store, disk, receipts and audit log differ
//! about a job. The place of a directory says its state; the later of two witnesses wins (P7).

use crate::job::StateName;

/// What `building/<job>/` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Building {
    /// No plan: the kick-off may never have been acknowledged.
    Bare,
    /// A plan, which is written only after the record was durable.
    Planned,
    /// A `job.json` that says `Failed`.
    Failed,
}

/// What the witnesses say of one job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Testimony {
    /// The state in the store, if it has a record.
    pub store: Option<StateName>,
    /// The directory in `building/`.
    pub building: Option<Building>,
    /// Whether there is one in `ready/`.
    pub ready: bool,
    /// Whether there is one in `trash/`: itself, or an empty one that says the same of a directory
    /// that cannot be moved.
    pub trash: bool,
    /// Whether there is a receipt of its erasure.
    pub receipt: bool,
    /// Whether the audit log tells of its mark or its erasure.
    pub audit: bool,
    /// Whether it is known by its directory alone, and whoever would know of its erasure cannot
    /// say any more: the receipts of its time are missing or pruned. Then it is not believed (P2).
    pub unvouched: bool,
}

/// What is to be done at a start so that the witnesses agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cure {
    /// They agree.
    Nothing,
    /// A directory that nobody was told of: the reaper watches it as an orphan.
    Watch,
    /// Go on with the export; the record is made again from `request.json` if it is missing.
    Resume,
    /// Record the failure of `job.json` and sweep the partial files.
    SettleFailure,
    /// Record the completion of `job.json`.
    RollForward,
    /// A complete job that stands in `building/`: move it to `ready/`.
    MoveToReady,
    /// No directory and no other word of its end: it was swept and the store has lost its tail, or
    /// somebody else removed it. Marked as `Lost`, so that a deletion that was acknowledged holds.
    MarkLost,
    /// Marked: move to `trash/`, sweep, write the receipt.
    Erase,
    /// Erased: record it, and remove what is left on disk.
    Bury,
}

impl Testimony {
    /// The join: the latest state that any witness gives evidence of.
    pub fn joined(&self) -> Option<StateName> {
        let building = match self.building {
            None | Some(Building::Bare) => None,
            Some(Building::Planned) => Some(StateName::Queued),
            Some(Building::Failed) => Some(StateName::Failed),
        };
        let ready = self.ready.then_some(StateName::Complete);
        let trash = self.trash.then_some(StateName::Marked);
        // What the log says of an erasure is no receipt: one is made, of what is left to erase.
        let deleted = (self.audit || self.unvouched).then_some(StateName::Marked);
        let receipt = self.receipt.then_some(StateName::Erased);
        [self.store, building, ready, trash, deleted, receipt].into_iter().flatten().max()
    }

    /// The row of the table for this testimony.
    pub fn cure(&self) -> Cure {
        let on_disk = self.building.is_some() || self.ready || self.trash;
        match self.joined() {
            None if self.building.is_some() => Cure::Watch,
            None => Cure::Nothing,
            Some(state) if state < StateName::Marked && !on_disk => Cure::MarkLost,
            Some(StateName::Queued | StateName::Running | StateName::Finishing) => Cure::Resume,
            Some(StateName::Failed) => Cure::SettleFailure,
            Some(StateName::Complete) => match (self.ready, self.store) {
                (true, Some(StateName::Complete)) => Cure::Nothing,
                (true, _) => Cure::RollForward,
                (false, _) => Cure::MoveToReady,
            },
            Some(StateName::Marked) => Cure::Erase,
            Some(StateName::Erased) if on_disk || self.store != Some(StateName::Erased) => Cure::Bury,
            Some(StateName::Erased) => Cure::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(
        store: Option<StateName>,
        building: Option<Building>,
        places: &str,
        expected: (Option<StateName>, Cure),
    ) {
        let has = |c| places.contains(c);
        let (ready, trash, receipt) = (has('r'), has('t'), has('e'));
        let (audit, unvouched) = (has('a'), has('u'));
        let testimony = Testimony { store, building, ready, trash, receipt, audit, unvouched };
        assert_eq!((testimony.joined(), testimony.cure()), expected, "{testimony:?}");
    }

    /// The join table, row by row. Places: r = ready, t = trash, e = receipt (erased), a = the audit
    /// log tells of a mark or an erasure, u = nobody vouches for the directory.
    #[test]
    fn each_row_of_the_join_table() {
        use Building::{Bare, Planned};
        use StateName::{Complete, Erased, Failed, Marked, Queued, Running};
        let (queued, running) = (Some(Queued), Some(Running));
        // No record: the store never had it, or has lost its tail.
        row(None, None, "", (None, Cure::Nothing));
        row(None, Some(Bare), "", (None, Cure::Watch));
        row(None, Some(Planned), "", (queued, Cure::Resume));
        row(None, Some(Building::Failed), "", (Some(Failed), Cure::SettleFailure));
        row(None, None, "r", (Some(Complete), Cure::RollForward));
        row(None, None, "t", (Some(Marked), Cure::Erase));
        row(None, None, "e", (Some(Erased), Cure::Bury));
        // Active records.
        row(queued, Some(Bare), "", (queued, Cure::Resume));
        row(running, Some(Planned), "", (running, Cure::Resume));
        row(queued, None, "", (queued, Cure::MarkLost));
        row(running, None, "", (running, Cure::MarkLost));
        row(running, Some(Building::Failed), "", (Some(Failed), Cure::SettleFailure));
        row(running, None, "r", (Some(Complete), Cure::RollForward));
        row(running, None, "t", (Some(Marked), Cure::Erase));
        // Finished records.
        row(Some(Failed), Some(Building::Failed), "", (Some(Failed), Cure::SettleFailure));
        row(Some(Failed), None, "", (Some(Failed), Cure::MarkLost));
        row(Some(Failed), None, "t", (Some(Marked), Cure::Erase));
        row(Some(Complete), None, "r", (Some(Complete), Cure::Nothing));
        row(Some(Complete), Some(Planned), "", (Some(Complete), Cure::MoveToReady));
        row(Some(Complete), None, "", (Some(Complete), Cure::MarkLost));
        row(Some(Complete), None, "t", (Some(Marked), Cure::Erase));
        // A name in `trash/` says it of a directory that could not be moved as well.
        row(Some(Complete), None, "rt", (Some(Marked), Cure::Erase));
        row(None, None, "rt", (Some(Marked), Cure::Erase));
        row(running, Some(Planned), "t", (Some(Marked), Cure::Erase));
        row(Some(Erased), None, "rte", (Some(Erased), Cure::Bury));
        // Marked: wherever the directory is, it goes.
        row(Some(Marked), Some(Planned), "", (Some(Marked), Cure::Erase));
        row(Some(Marked), None, "r", (Some(Marked), Cure::Erase));
        row(Some(Marked), None, "t", (Some(Marked), Cure::Erase));
        row(Some(Marked), None, "", (Some(Marked), Cure::Erase));
        row(Some(Marked), None, "e", (Some(Erased), Cure::Bury));
        // Erased is erased.
        row(Some(Erased), None, "e", (Some(Erased), Cure::Nothing));
        row(Some(Erased), None, "", (Some(Erased), Cure::Nothing));
        row(Some(Erased), None, "te", (Some(Erased), Cure::Bury));
        row(Some(Erased), Some(Bare), "", (Some(Erased), Cure::Bury));
        row(running, None, "e", (Some(Erased), Cure::Bury));
        // The audit log alone remembers; with a receipt it has nothing to add.
        row(None, None, "a", (Some(Marked), Cure::Erase));
        row(None, None, "ra", (Some(Marked), Cure::Erase));
        row(None, Some(Planned), "a", (Some(Marked), Cure::Erase));
        row(None, Some(Bare), "a", (Some(Marked), Cure::Erase));
        row(running, Some(Planned), "a", (Some(Marked), Cure::Erase));
        row(Some(Complete), None, "ra", (Some(Marked), Cure::Erase));
        row(Some(Complete), None, "a", (Some(Marked), Cure::Erase));
        row(Some(Failed), Some(Building::Failed), "a", (Some(Marked), Cure::Erase));
        row(Some(Marked), None, "ra", (Some(Marked), Cure::Erase));
        row(Some(Erased), None, "a", (Some(Erased), Cure::Nothing));
        row(Some(Erased), None, "ra", (Some(Erased), Cure::Bury));
        row(None, None, "rea", (Some(Erased), Cure::Bury));
        row(Some(Complete), None, "rea", (Some(Erased), Cure::Bury));
        // A directory without any other word, when words are known to be missing.
        row(None, None, "ru", (Some(Marked), Cure::Erase));
        row(None, Some(Planned), "u", (Some(Marked), Cure::Erase));
        row(None, None, "reu", (Some(Erased), Cure::Bury));
    }

    fn testimony() -> impl Strategy<Value = Testimony> {
        use StateName::*;
        let states = prop::option::of(prop::sample::select(vec![
            Queued,
            Running,
            StateName::Failed,
            Complete,
            Marked,
            Erased,
        ]));
        let buildings =
            prop::option::of(prop::sample::select(vec![Building::Bare, Building::Planned, Building::Failed]));
        (states, buildings, any::<[bool; 5]>()).prop_map(
            |(store, building, [ready, trash, receipt, audit, unvouched])| Testimony {
                store,
                building,
                ready,
                trash,
                receipt,
                audit,
                unvouched,
            },
        )
    }

    fn merge(a: Testimony, b: Testimony) -> Testimony {
        let rank = |b: Building| b as u8;
        Testimony {
            store: a.store.max(b.store),
            building: if a.building.map(rank) >= b.building.map(rank) { a.building } else { b.building },
            ready: a.ready | b.ready,
            trash: a.trash | b.trash,
            receipt: a.receipt | b.receipt,
            audit: a.audit | b.audit,
            unvouched: a.unvouched | b.unvouched,
        }
    }

    proptest! {
        #[test]
        fn the_join_of_witnesses_is_a_join(a in testimony(), b in testimony(), c in testimony()) {
            let j = |t: Testimony| t.joined();
            prop_assert_eq!(j(merge(a, b)), j(a).max(j(b)));
            prop_assert_eq!(merge(a, b).joined(), merge(b, a).joined());
            prop_assert_eq!(merge(merge(a, b), c).joined(), merge(a, merge(b, c)).joined());
            prop_assert_eq!(merge(a, a), a);
        }

        #[test]
        fn a_job_that_any_witness_saw_deleted_is_never_served_again(a in testimony()) {
            let seen = a.trash || a.receipt || a.audit || a.unvouched;
            let deleted = seen || a.store.is_some_and(StateName::is_deleted);
            let forgets = matches!(a.cure(), Cure::Erase | Cure::Bury | Cure::Nothing);
            prop_assert!(!deleted || forgets, "{:?} -> {:?}", a, a.cure());
        }
    }
}
