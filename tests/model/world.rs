//! The whole of one state: what is on the medium, what a running process holds in memory
//! (`process.rs`), and what clients were told. Everything that a power loss can take back is
//! `Cached`: what reads return, and what is really there.

use evanesce::job::StateName;

use super::process::Process;
use super::record::Record;

/// A value that is seen at once and is durable only when it was synced.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cached<T> {
    pub seen: T,
    pub synced: T,
}

impl<T: Copy + PartialEq> Cached<T> {
    pub fn durable(value: T) -> Self {
        Self { seen: value, synced: value }
    }

    pub fn is_synced(&self) -> bool {
        self.seen == self.synced
    }

    pub fn sync(&mut self) {
        self.synced = self.seen;
    }

    /// What was not synced is lost.
    pub fn lose(&mut self) {
        self.seen = self.synced;
    }
}

/// A value in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Logged<T> {
    pub now: Cached<T>,
    /// What remains if the store loses its tail: all that its last sync wrote.
    pub before: T,
}

impl<T: Copy + PartialEq> Logged<T> {
    pub fn durable(value: T) -> Self {
        Self { now: Cached::durable(value), before: value }
    }

    fn sync(&mut self) {
        self.before = self.now.synced;
        self.now.sync();
    }
}

/// Where the job's directory stands. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Nowhere,
    Building,
    Ready,
    Trash,
    Gone,
}

/// One part of the export: its writer, and the file it makes in the job's directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    pub writer: Writer,
    /// Recorded in the store as done.
    pub sealed: Logged<bool>,
    pub file: Cached<bool>,
    /// A file of an earlier process, which did not come to seal it.
    pub stale: Cached<bool>,
    /// The plan that it was run by, from 1.
    pub plan: u8,
    /// Its seal is with the store; the actor waits for it.
    pub is_recording: bool,
}

impl Part {
    pub const OPEN: Self = Self {
        writer: Writer::Out,
        sealed: Logged { now: Cached { seen: false, synced: false }, before: false },
        file: Cached { seen: false, synced: false },
        stale: Cached { seen: false, synced: false },
        plan: 0,
        is_recording: false,
    };

    /// One of a complete job.
    pub const SEALED: Self = Self {
        sealed: Logged { now: Cached { seen: true, synced: true }, before: true },
        file: Cached { seen: true, synced: true },
        plan: 1,
        ..Self::OPEN
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Writer {
    Out,
    /// In the pool's queue.
    Queued,
    /// Holds the directory's handle and has not made its file yet.
    Holding,
    /// Holds it, and its file open.
    Writing,
    /// So does one inside a system call that does not return.
    Stuck,
    /// One that the pool has given up: it does not count as running any more.
    Abandoned,
}

/// The file of receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipts {
    /// Whole lines of this job.
    pub lines: u8,
    /// The last line is not whole.
    pub torn: bool,
    /// A line was appended to a torn one.
    pub broken: bool,
}

/// How far the kick-off is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kickoff {
    Unsent,
    /// The actor has it.
    Making,
    Got202,
    /// Nobody was told of the job.
    Failed,
}

/// What a client knows of one DELETE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Unsent,
    /// The actor has it.
    Waiting,
    Got202,
    /// The mark is durable in the store, but not on disk as well.
    GotHalf,
    Got404,
    /// There is no such job.
    Unknown,
    /// The process died first.
    Lost,
}

/// An operator's order that the job's files stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    No,
    /// In force, and not durable yet.
    Ordered,
    /// Durable, and answered.
    Yes,
}

/// What may still go wrong, or be ordered.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Luck {
    pub crashes: u8,
    pub lost_stores: u8,
    pub lost_receipts: u8,
    pub failing_kickoffs: u8,
    pub failing_exports: u8,
    pub failing_moves: u8,
    pub failing_sweeps: u8,
    pub clock_jumps: u8,
    pub slow_clients: u8,
    /// Somebody removes the directory of a complete job.
    pub vandals: u8,
    pub holds: u8,
    /// A writer is caught inside a system call.
    pub stuck_writers: u8,
    pub pauses: u8,
    /// There is no room to record a mark.
    pub full_disks: u8,
    /// An older copy of the data directory is put in its place.
    pub restores: u8,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Logged<Option<Record>>,
    pub place: Cached<Place>,
    /// It cannot be renamed to `trash/`: it is a mount point, say.
    pub is_immovable: bool,
    /// An empty directory in `trash/` that stands for one that cannot be moved.
    pub stand_in: Cached<bool>,
    /// There is an audit log.
    pub is_audited: bool,
    /// It tells of the job's mark.
    pub audit: Cached<bool>,
    /// Which plan `plan.json` holds, from 1; 0: there is none.
    pub plan: Cached<u8>,
    pub parts: [Part; 2],
    /// `job.json`: the state that it says the record is going to have.
    pub job_json: Cached<Option<StateName>>,
    pub receipts: Cached<Receipts>,
    /// The key that everything in the directory is encrypted with is there.
    pub key: Cached<bool>,
    pub process: Option<Process>,
    pub kickoff: Kickoff,
    /// Of two DELETEs, and of the first one sent again.
    pub answers: [Answer; 3],
    /// The latest state that any client was shown, by any process.
    pub shown: Option<StateName>,
    /// Its time to live is over.
    pub due: bool,
    /// The wall clock says that its time to live is over.
    pub clock_ahead: bool,
    pub hold: Hold,
    /// An operator's order that nothing is unlinked.
    pub pause: Hold,
    /// A file of the job was unlinked when its hold, or the pause, had been answered.
    pub hold_broken: bool,
    /// Names were unlinked while somebody had the file open who should have been waited for.
    pub readers_forgotten: bool,
    /// The key was destroyed while somebody wrote or read with it.
    pub key_misused: bool,
    /// Files of an attempt stay, for an operator held them.
    pub kept_stale: bool,
    /// A mark found no room.
    pub disk_was_full: bool,
    /// The export is asked to show its files while it runs.
    pub partial: bool,
    /// Store or receipts have lost their tail.
    pub tail_lost: bool,
    /// The directory was removed by somebody else.
    pub vandalized: bool,
    pub luck: Luck,
}

impl World {
    /// The process, of which the caller knows that it runs.
    pub fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("an actor needs a process")
    }

    /// Makes what clients see; `shown` remembers it for them, if they know of the job.
    pub fn publish(&mut self, view: Option<Record>) {
        if let Some(process) = &mut self.process {
            process.view = view;
        }
        if self.kickoff == Kickoff::Got202 {
            self.shown = self.shown.max(view.map(|record| record.name));
        }
    }

    /// A DELETE gets its answer; both 202 and 404 say that the job is deleted.
    pub fn tell(&mut self, index: usize, answer: Answer) {
        self.answers[index] = answer;
        if answer != Answer::GotHalf {
            self.shown = self.shown.max(Some(StateName::Marked));
        }
    }

    /// Whether the kick-off's actor is at work: a directory without a record is then no orphan.
    pub fn is_kicking_off(&self) -> bool {
        self.kickoff == Kickoff::Making
    }

    /// The state that clients are shown.
    pub fn view(&self) -> Option<StateName> {
        self.process.as_ref()?.view.map(|view| view.name)
    }

    pub fn has_directory(&self) -> bool {
        !matches!(self.place.seen, Place::Nowhere | Place::Gone)
    }

    pub fn has_names(&self) -> bool {
        let in_part = |part: &Part| part.file.seen || part.stale.seen;
        self.job_json.seen.is_some() || self.plan.seen > 0 || self.parts.iter().any(in_part)
    }

    /// Removes the files of attempts that were not recorded.
    pub fn remove_stale_files(&mut self) {
        let is_stale = self.parts.iter().any(|part| part.stale.seen);
        self.note_unlinked(is_stale);
        self.parts.iter_mut().for_each(|part| part.stale.seen = false);
    }

    /// Unlinks all names.
    pub fn unlink_all(&mut self) {
        self.unlink_parts();
        self.job_json.seen = None;
    }

    /// Unlinks all but `job.json`.
    pub fn unlink_parts(&mut self) {
        self.note_unlinked(self.has_names());
        self.plan.seen = 0;
        self.unlink_output();
    }

    /// Unlinks all but the documents.
    pub fn unlink_output(&mut self) {
        self.note_unlinked(self.parts.iter().any(|part| part.file.seen || part.stale.seen));
        for part in &mut self.parts {
            (part.file.seen, part.stale.seen) = (false, false);
        }
    }

    /// Overwrites the key.
    pub fn destroy_key(&mut self) {
        let is_there = self.key.seen;
        self.note_unlinked(is_there);
        let reading = self.process.as_ref().is_some_and(|process| process.download.has_file());
        self.key_misused |= is_there && (reading || !self.writers_out());
        self.key.seen = false;
    }

    fn note_unlinked(&mut self, is_any: bool) {
        let forbidden = self.hold == Hold::Yes || self.pause == Hold::Yes;
        self.hold_broken |= forbidden && is_any && !self.vandalized;
    }

    /// Remembers who was at work under names that are about to go.
    pub fn note_readers(&mut self) {
        let reading = self.process.as_ref().is_some_and(|process| process.download.has_file());
        self.readers_forgotten |= reading || !self.writers_out();
    }

    /// fsync of the parents.
    pub fn sync_places(&mut self) {
        self.place.sync();
        self.stand_in.sync();
    }

    /// Whether no name in the job's directory would be lost or come back.
    pub fn are_names_synced(&self) -> bool {
        let in_part = |part: &Part| part.file.is_synced() && part.stale.is_synced();
        self.plan.is_synced() && self.job_json.is_synced() && self.parts.iter().all(in_part)
    }

    /// fsync of the job's directory.
    pub fn sync_names(&mut self) {
        for part in &mut self.parts {
            part.file.sync();
            part.stale.sync();
        }
        self.plan.sync();
        self.job_json.sync();
    }

    /// What was not synced in the job's directory is lost: names made are gone, names unlinked are back.
    pub fn lose_names(&mut self) {
        for part in &mut self.parts {
            part.file.lose();
            part.stale.lose();
        }
        self.plan.lose();
        self.job_json.lose();
    }

    pub fn is_store_synced(&self) -> bool {
        self.store.now.is_synced() && self.parts.iter().all(|part| part.sealed.now.is_synced())
    }

    pub fn sync_store(&mut self) {
        if !self.is_store_synced() {
            self.store.sync();
            self.parts.iter_mut().for_each(|part| part.sealed.sync());
        }
    }

    /// What the store was given and has not synced is lost.
    pub fn lose_store(&mut self) {
        self.store.now.lose();
        self.parts.iter_mut().for_each(|part| part.sealed.now.lose());
    }

    /// The store opens with a shorter log than it had.
    pub fn cut_store(&mut self) {
        self.store = Logged::durable(self.store.before);
        for part in &mut self.parts {
            part.sealed = Logged::durable(part.sealed.before);
        }
    }

    /// Everything but the audit log and the keys is as it was when the job was complete.
    pub fn restore(&mut self) {
        self.store = Logged::durable(Some(Record::new(StateName::Complete)));
        self.place = Cached::durable(Place::Ready);
        self.stand_in = Cached::durable(false);
        self.plan = Cached::durable(1);
        self.parts = [Part::SEALED; 2];
        self.job_json = Cached::durable(Some(StateName::Complete));
        self.receipts = Cached::durable(Receipts { lines: 0, torn: false, broken: false });
        self.tail_lost = true;
        // Whether its files are gone already a client cannot tell.
        self.shown = self.shown.min(Some(StateName::Marked));
    }

    pub fn writers_out(&self) -> bool {
        self.parts.iter().all(|part| matches!(part.writer, Writer::Out | Writer::Queued))
    }
}
