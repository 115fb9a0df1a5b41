//! What a crash takes away: the job's life and what it has begun, the view, an open download, a
//! scan.

use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;

use evanesce::erase::order::{COMMIT_ORDER, CommitStep};
use evanesce::erase::{HoldBook, SweepQueue};
use evanesce::job::StateName;
use evanesce::job::life::{FencePatience, Life};
use rustc_hash::FxBuildHasher;

use super::record::Record;

/// The real [`Life`], shared by all worlds in which it is the same. It is hashed once.
#[derive(Clone)]
pub struct SharedLife {
    life: Rc<Life>,
    hash: u64,
}

impl SharedLife {
    pub fn new(life: Life) -> Self {
        Self { hash: FxBuildHasher.hash_one(&life), life: Rc::new(life) }
    }

    pub fn get(&self) -> &Life {
        &self.life
    }
}

impl PartialEq for SharedLife {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (Rc::ptr_eq(&self.life, &other.life) || self.life == other.life)
    }
}

impl Eq for SharedLife {}

impl Hash for SharedLife {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// Something that was begun and takes a while: the tasks of the job's life, and the sweep of the
/// reaper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    Create,
    TakePlanTurn,
    TakeResumeTurn,
    Plan,
    WritePlan,
    ReadDocuments,
    WriteJobJson(StateName),
    MoveToReady,
    Commit(StateName),
    AwaitDownloads(StateName),
    SweepPartials,
    AwaitRetry,
    SweepEarly,
    FindMark,
    LookForFiles,
    /// Its message is on its way to the reaper.
    AskForSweep,
    Sweep,
    AwaitSweepRetry,
}

impl Work {
    pub fn holds_directory(self) -> bool {
        matches!(
            self,
            Self::WritePlan
                | Self::ReadDocuments
                | Self::WriteJobJson(_)
                | Self::MoveToReady
                | Self::SweepPartials
                | Self::SweepEarly
        )
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Doing {
    pub work: Work,
    /// The record of a commit.
    pub record: Option<Record>,
    /// What the committer has to do first because the disk is full.
    pub before: &'static [CommitStep],
    /// What the committer still has to do for it, in this order.
    pub order: &'static [CommitStep],
    /// How far it has come, or the first of these steps.
    pub stage: u8,
    /// The rename of a mark failed.
    pub not_moved: bool,
    /// Its end was told already, which is a flaw.
    pub is_told: bool,
}

impl Doing {
    pub fn new(work: Work) -> Self {
        Self { work, record: None, before: &[], order: &[], stage: 0, not_moved: false, is_told: false }
    }

    /// A record on its way through the committer, which walks the real order or that of a flaw.
    pub fn commit(record: Record, order: &'static [CommitStep]) -> Self {
        Self { record: Some(record), order, ..Self::new(Work::Commit(record.name)) }.trimmed()
    }

    /// Whether the committer has moved nothing and stored nothing of it yet.
    pub fn is_untouched_mark(&self) -> bool {
        let of_mark = |step: &CommitStep| applies(*step, self.record);
        let whole = COMMIT_ORDER.iter().filter(|step| of_mark(step)).count();
        let rest = self.order.iter().filter(|step| of_mark(step)).count();
        applies(CommitStep::MoveToTrash, self.record)
            && whole == rest
            && self.before.is_empty()
            && self.stage == 0
    }

    /// What the committer does next for it.
    pub fn next_step(&self) -> Option<CommitStep> {
        self.before.first().or(self.order.first()).copied()
    }

    /// The same after that step; those that are not for its record are passed over.
    pub fn advanced(self) -> Self {
        let (before, order) = match self.before {
            [_, before @ ..] => (before, self.order),
            [] => (self.before, &self.order[1..]),
        };
        Self { before, order, stage: 0, ..self }.trimmed()
    }

    fn trimmed(self) -> Self {
        match self.order {
            [step, order @ ..] if self.before.is_empty() && !applies(*step, self.record) => {
                Self { order, ..self }.trimmed()
            }
            _ => self,
        }
    }
}

/// Whether the committer does this step for such a record.
fn applies(step: CommitStep, record: Option<Record>) -> bool {
    let is_mark = |record: Record| record.name == StateName::Marked && record.failed_sweeps == 0;
    match step {
        CommitStep::AppendReceipts => record.is_some_and(|record| record.name == StateName::Erased),
        CommitStep::MoveToTrash | CommitStep::GiveRoom => record.is_some_and(is_mark),
        CommitStep::CommitStore | CommitStep::Publish => true,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Download {
    NotYet,
    /// It has a ticket, which it got under the same lock as it looked at the state.
    Checked,
    /// It has its file and no ticket, which is a flaw.
    Unregistered,
    /// It has its file, and so many of its two chunks.
    Open(u8),
    /// So has a client that does not go on reading.
    Slow(u8),
    /// It did not find its file: it gave its ticket back and waits for the view to say why.
    Missing,
    /// Cut, with a read under way that still holds the file.
    Cutting(u8),
    /// The client saw a transfer that ended well, with so many chunks.
    Whole(u8),
    /// It saw one that ended badly because the job's end cut it, or because it went away.
    Cut,
    Left,
    Got404,
    Got500,
}

impl Download {
    pub fn has_ticket(self) -> bool {
        matches!(self, Self::Checked | Self::Open(_) | Self::Slow(_) | Self::Cutting(_))
    }

    pub fn has_file(self) -> bool {
        matches!(self, Self::Unregistered | Self::Open(_) | Self::Slow(_) | Self::Cutting(_))
    }
}

/// The reaper's scan for disagreements: the places are listed one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scan {
    /// Places listed so far; 0: there is no scan.
    pub listed: u8,
    /// Whether the directory was in one of them.
    pub seen: bool,
    /// Whether it was in `ready/`.
    pub ready: bool,
}

impl Scan {
    pub const NONE: Self = Self { listed: 0, seen: false, ready: false };
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Process {
    /// The job's life; `None` if its actor was let go, or never was.
    pub life: Option<SharedLife>,
    /// What clients see.
    pub view: Option<Record>,
    /// What was begun and has not ended, in a canonical order.
    pub doing: Vec<Doing>,
    /// The real book of warrants and of the orders that forbid them.
    pub book: HoldBook,
    /// The reaper's real queue.
    pub queue: SweepQueue,
    /// The state for which the deadline of writers runs.
    pub fence: Option<(StateName, FencePatience)>,
    /// The cancel token.
    pub stopped: bool,
    pub download: Download,
    pub scan: Scan,
    /// It noticed that the clock jumped: nothing expires.
    pub guarded: bool,
    /// How many scans have found the job suspicious, one after the other.
    pub sightings: u8,
}

impl Process {
    pub fn new(view: Option<Record>) -> Self {
        Self {
            life: None,
            view,
            doing: Vec::new(),
            book: HoldBook::default(),
            queue: SweepQueue::default(),
            fence: None,
            stopped: false,
            download: Download::NotYet,
            scan: Scan::NONE,
            guarded: false,
            sightings: 0,
        }
    }

    /// The record as the actor knows it.
    pub fn memory(&self) -> Option<Record> {
        self.life.as_ref()?.get().state().map(Record::of)
    }

    /// The state as the actor knows it, or would if it were woken.
    pub fn state(&self) -> Option<StateName> {
        self.record().map(|record| record.name)
    }

    pub fn record(&self) -> Option<Record> {
        self.memory().or(self.view)
    }

    pub fn begin(&mut self, doing: Doing) {
        self.doing.push(doing);
        self.doing.sort_by_key(|doing| (doing.work, doing.stage));
    }

    pub fn is_doing(&self, what: impl Fn(&Doing) -> bool) -> bool {
        self.doing.iter().any(what)
    }
}
