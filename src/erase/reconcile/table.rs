//! The join table: what is to be done at a start when store, disk, receipts and audit log differ
//! about a job. The place of a directory says its state; the later of two witnesses wins (P7).

use crate::job::StateName;

/// What `building/<job>/` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildingEvidence {
    /// No plan: the kick-off may never have been acknowledged.
    Bare,
    /// A plan, which is written only after the record was durable.
    Planned,
    /// A `job.json` that says `Failed`.
    Failed,
}

/// What the witnesses say of one job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct JobTestimony {
    /// The state in the store, if it has a record.
    pub store: Option<StateName>,
    /// The directory in `building/`.
    pub building: Option<BuildingEvidence>,
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
    /// Whether its files are encrypted and its key is gone: whatever brought them back, it was erased, or
    /// nobody can ever read it (P14).
    pub keyless: bool,
}

/// What is to be done at a start so that the witnesses agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinCure {
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

impl JobTestimony {
    /// Returns the join: the latest state that any witness gives evidence of.
    pub fn joined(&self) -> Option<StateName> {
        let building = match self.building {
            None | Some(BuildingEvidence::Bare) => None,
            Some(BuildingEvidence::Planned) => Some(StateName::Queued),
            Some(BuildingEvidence::Failed) => Some(StateName::Failed),
        };
        let ready = self.ready.then_some(StateName::Complete);
        let trash = self.trash.then_some(StateName::Marked);
        // What the log says of an erasure is no receipt: one is made, of what is left to erase.
        let deleted = (self.audit || self.unvouched || self.keyless).then_some(StateName::Marked);
        let receipt = self.receipt.then_some(StateName::Erased);
        [self.store, building, ready, trash, deleted, receipt].into_iter().flatten().max()
    }

    /// Returns what the table says is to be done.
    pub fn cure(&self) -> JoinCure {
        let on_disk = self.building.is_some() || self.ready || self.trash;
        match self.joined() {
            None if self.building.is_some() => JoinCure::Watch,
            None => JoinCure::Nothing,
            Some(state) if state < StateName::Marked && !on_disk => JoinCure::MarkLost,
            Some(StateName::Queued | StateName::Running | StateName::Finishing) => JoinCure::Resume,
            Some(StateName::Failed) => JoinCure::SettleFailure,
            Some(StateName::Complete) => match (self.ready, self.store) {
                (true, Some(StateName::Complete)) => JoinCure::Nothing,
                (true, _) => JoinCure::RollForward,
                (false, _) => JoinCure::MoveToReady,
            },
            Some(StateName::Marked) => JoinCure::Erase,
            Some(StateName::Erased) if on_disk || self.store != Some(StateName::Erased) => JoinCure::Bury,
            Some(StateName::Erased) => JoinCure::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(
        store: Option<StateName>,
        building: Option<BuildingEvidence>,
        places: &str,
        expected: (Option<StateName>, JoinCure),
    ) {
        let has = |c| places.contains(c);
        let (ready, trash, receipt) = (has('r'), has('t'), has('e'));
        let (audit, unvouched, keyless) = (has('a'), has('u'), has('k'));
        let testimony = JobTestimony { store, building, ready, trash, receipt, audit, unvouched, keyless };
        assert_eq!((testimony.joined(), testimony.cure()), expected, "{testimony:?}");
    }

    /// The join table, row by row. Places: r = ready, t = trash, e = receipt (erased), a = the audit
    /// log tells of a mark or an erasure, u = nobody vouches for the directory, k = its key is gone.
    #[test]
    fn each_row_of_the_join_table() {
        use BuildingEvidence::{Bare, Planned};
        use StateName::{Complete, Erased, Failed, Marked, Queued, Running};
        let (queued, running) = (Some(Queued), Some(Running));
        // No record: the store never had it, or has lost its tail.
        row(None, None, "", (None, JoinCure::Nothing));
        row(None, Some(Bare), "", (None, JoinCure::Watch));
        row(None, Some(Planned), "", (queued, JoinCure::Resume));
        row(None, Some(BuildingEvidence::Failed), "", (Some(Failed), JoinCure::SettleFailure));
        row(None, None, "r", (Some(Complete), JoinCure::RollForward));
        row(None, None, "t", (Some(Marked), JoinCure::Erase));
        row(None, None, "e", (Some(Erased), JoinCure::Bury));
        // Active records.
        row(queued, Some(Bare), "", (queued, JoinCure::Resume));
        row(running, Some(Planned), "", (running, JoinCure::Resume));
        row(queued, None, "", (queued, JoinCure::MarkLost));
        row(running, None, "", (running, JoinCure::MarkLost));
        row(running, Some(BuildingEvidence::Failed), "", (Some(Failed), JoinCure::SettleFailure));
        row(running, None, "r", (Some(Complete), JoinCure::RollForward));
        row(running, None, "t", (Some(Marked), JoinCure::Erase));
        // Finished records.
        row(Some(Failed), Some(BuildingEvidence::Failed), "", (Some(Failed), JoinCure::SettleFailure));
        row(Some(Failed), None, "", (Some(Failed), JoinCure::MarkLost));
        row(Some(Failed), None, "t", (Some(Marked), JoinCure::Erase));
        row(Some(Complete), None, "r", (Some(Complete), JoinCure::Nothing));
        row(Some(Complete), Some(Planned), "", (Some(Complete), JoinCure::MoveToReady));
        row(Some(Complete), None, "", (Some(Complete), JoinCure::MarkLost));
        row(Some(Complete), None, "t", (Some(Marked), JoinCure::Erase));
        // A name in `trash/` says it of a directory that could not be moved as well.
        row(Some(Complete), None, "rt", (Some(Marked), JoinCure::Erase));
        row(None, None, "rt", (Some(Marked), JoinCure::Erase));
        row(running, Some(Planned), "t", (Some(Marked), JoinCure::Erase));
        row(Some(Erased), None, "rte", (Some(Erased), JoinCure::Bury));
        // Marked: wherever the directory is, it goes.
        row(Some(Marked), Some(Planned), "", (Some(Marked), JoinCure::Erase));
        row(Some(Marked), None, "r", (Some(Marked), JoinCure::Erase));
        row(Some(Marked), None, "t", (Some(Marked), JoinCure::Erase));
        row(Some(Marked), None, "", (Some(Marked), JoinCure::Erase));
        row(Some(Marked), None, "e", (Some(Erased), JoinCure::Bury));
        // Erased is erased.
        row(Some(Erased), None, "e", (Some(Erased), JoinCure::Nothing));
        row(Some(Erased), None, "", (Some(Erased), JoinCure::Nothing));
        row(Some(Erased), None, "te", (Some(Erased), JoinCure::Bury));
        row(Some(Erased), Some(Bare), "", (Some(Erased), JoinCure::Bury));
        row(running, None, "e", (Some(Erased), JoinCure::Bury));
        // The audit log alone remembers; with a receipt it has nothing to add.
        row(None, None, "a", (Some(Marked), JoinCure::Erase));
        row(None, None, "ra", (Some(Marked), JoinCure::Erase));
        row(None, Some(Planned), "a", (Some(Marked), JoinCure::Erase));
        row(None, Some(Bare), "a", (Some(Marked), JoinCure::Erase));
        row(running, Some(Planned), "a", (Some(Marked), JoinCure::Erase));
        row(Some(Complete), None, "ra", (Some(Marked), JoinCure::Erase));
        row(Some(Complete), None, "a", (Some(Marked), JoinCure::Erase));
        row(Some(Failed), Some(BuildingEvidence::Failed), "a", (Some(Marked), JoinCure::Erase));
        row(Some(Marked), None, "ra", (Some(Marked), JoinCure::Erase));
        row(Some(Erased), None, "a", (Some(Erased), JoinCure::Nothing));
        row(Some(Erased), None, "ra", (Some(Erased), JoinCure::Bury));
        row(None, None, "rea", (Some(Erased), JoinCure::Bury));
        row(Some(Complete), None, "rea", (Some(Erased), JoinCure::Bury));
        // A directory without any other word, when words are known to be missing.
        row(None, None, "ru", (Some(Marked), JoinCure::Erase));
        row(None, Some(Planned), "u", (Some(Marked), JoinCure::Erase));
        row(None, None, "reu", (Some(Erased), JoinCure::Bury));
        // Encrypted, and the key is gone.
        row(None, None, "rk", (Some(Marked), JoinCure::Erase));
        row(Some(Complete), None, "rk", (Some(Marked), JoinCure::Erase));
        row(running, Some(Bare), "k", (Some(Marked), JoinCure::Erase));
        row(Some(Erased), None, "rk", (Some(Erased), JoinCure::Bury));
        row(Some(Complete), None, "rek", (Some(Erased), JoinCure::Bury));
    }

    fn testimony() -> impl Strategy<Value = JobTestimony> {
        use StateName::*;
        let states = prop::option::of(prop::sample::select(vec![
            Queued,
            Running,
            StateName::Failed,
            Complete,
            Marked,
            Erased,
        ]));
        let buildings = prop::option::of(prop::sample::select(vec![
            BuildingEvidence::Bare,
            BuildingEvidence::Planned,
            BuildingEvidence::Failed,
        ]));
        (states, buildings, any::<[bool; 6]>()).prop_map(
            |(store, building, [ready, trash, receipt, audit, unvouched, keyless])| JobTestimony {
                store,
                building,
                ready,
                trash,
                receipt,
                audit,
                unvouched,
                keyless,
            },
        )
    }

    fn merge(a: JobTestimony, b: JobTestimony) -> JobTestimony {
        let rank = |b: BuildingEvidence| b as u8;
        JobTestimony {
            store: a.store.max(b.store),
            building: if a.building.map(rank) >= b.building.map(rank) { a.building } else { b.building },
            ready: a.ready | b.ready,
            trash: a.trash | b.trash,
            receipt: a.receipt | b.receipt,
            audit: a.audit | b.audit,
            unvouched: a.unvouched | b.unvouched,
            keyless: a.keyless | b.keyless,
        }
    }

    proptest! {
        #[test]
        fn the_join_of_witnesses_is_a_join(a in testimony(), b in testimony(), c in testimony()) {
            let j = |t: JobTestimony| t.joined();
            prop_assert_eq!(j(merge(a, b)), j(a).max(j(b)));
            prop_assert_eq!(merge(a, b).joined(), merge(b, a).joined());
            prop_assert_eq!(merge(merge(a, b), c).joined(), merge(a, merge(b, c)).joined());
            prop_assert_eq!(merge(a, a), a);
        }

        #[test]
        fn a_job_that_any_witness_saw_deleted_is_never_served_again(a in testimony()) {
            let seen = a.trash || a.receipt || a.audit || a.unvouched || a.keyless;
            let deleted = seen || a.store.is_some_and(StateName::is_deleted);
            let forgets = matches!(a.cure(), JoinCure::Erase | JoinCure::Bury | JoinCure::Nothing);
            prop_assert!(!deleted || forgets, "{:?} -> {:?}", a, a.cure());
        }
    }
}
