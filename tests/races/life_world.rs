//! What stands around one life: a store, a view, a directory, writers, downloads, a reaper and an
//! operator's orders, each as little as it takes. Every action is looked at before it is done.
//! `life_steps.rs` says what can happen next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use evanesce::erase::HoldBook;
use evanesce::job::life::{Action, CancelReply, Commit, End, Input, Life, LifeRules, Surroundings, Task};
use evanesce::job::{JobId, JobRecord, JobState, StateName, SweepCounts};
use jiff::Timestamp;

pub use super::life_steps::LifeStep;

/// Which promise was broken.
pub type Kept = Result<(), String>;

pub fn ensure(holds: bool, otherwise: &str) -> Kept {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// How long a finished job is kept, in seconds.
pub const RETENTION: i64 = 100;

/// The parts of every plan.
pub const PARTS: u32 = 2;

/// Where the job's directory stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Nowhere,
    Building,
    Ready,
    Trash,
    Gone,
}

/// What the reaper is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweeping {
    No,
    Waits,
    Unlinks,
}

/// What may still go wrong, or be ordered.
pub struct LifeLuck {
    pub cancels: u8,
    pub failures: u8,
    pub crashes: u8,
    pub halts: u8,
    pub orders: u8,
    pub vandals: u8,
    pub others: u8,
}

pub struct LifeWorld {
    pub job: JobId,
    /// Another process writes to the store as well.
    pub is_shared: bool,
    pub now: i64,
    pub life: Option<Life>,
    pub store: Option<JobRecord>,
    pub view: Option<JobRecord>,
    pub standing: Standing,
    pub has_plan: bool,
    /// Another process has begun the export.
    pub has_other_begun: bool,
    pub sealed: BTreeSet<u32>,
    pub receipts: usize,
    /// With the committer, in their order.
    pub commits: VecDeque<Commit>,
    /// What the committer has answered and the job has not heard yet.
    pub answers: Vec<End>,
    pub tasks: Vec<Task>,
    pub fences: Vec<StateName>,
    pub sweeping: Sweeping,
    pub book: HoldBook,
    pub queued: Vec<u32>,
    pub running: Vec<u32>,
    /// Writers inside a system call: those that run, and those that the pool has given up.
    pub busy: usize,
    pub stuck: usize,
    /// Fenced writers that have not said so yet.
    pub leaving: usize,
    pub has_work: bool,
    pub is_stopped: bool,
    pub is_halted: bool,
    pub downloads: u32,
    /// Callers without an answer, and their requests.
    pub waiting: BTreeMap<u64, &'static str>,
    pub callers: u64,
    /// Whose mark was durable first.
    pub marked_by: Option<String>,
    pub accepted: Option<&'static str>,
    pub luck: LifeLuck,
    pub reached: BTreeSet<StateName>,
    pub was_stale: bool,
    is_waking: bool,
    pub steps: usize,
    pub is_traced: bool,
    pub trace: Vec<String>,
}

impl LifeWorld {
    pub fn new(is_shared: bool, is_traced: bool) -> Self {
        let others = if is_shared { 2 } else { 0 };
        let luck = LifeLuck { cancels: 3, failures: 2, crashes: 2, halts: 1, orders: 4, vandals: 1, others };
        Self {
            job: JobId::random(),
            is_shared,
            now: 10,
            life: None,
            store: None,
            view: None,
            standing: Standing::Nowhere,
            has_plan: false,
            has_other_begun: false,
            sealed: BTreeSet::new(),
            receipts: 0,
            commits: VecDeque::new(),
            answers: Vec::new(),
            tasks: Vec::new(),
            fences: Vec::new(),
            sweeping: Sweeping::No,
            book: HoldBook::default(),
            queued: Vec::new(),
            running: Vec::new(),
            busy: 0,
            stuck: 0,
            leaving: 0,
            has_work: false,
            is_stopped: false,
            is_halted: false,
            downloads: 0,
            waiting: BTreeMap::new(),
            callers: 0,
            marked_by: None,
            accepted: None,
            luck,
            reached: BTreeSet::new(),
            was_stale: false,
            is_waking: false,
            steps: 0,
            is_traced,
            trace: Vec::new(),
        }
    }

    pub fn at(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap()
    }

    pub fn stored(&self) -> Option<StateName> {
        self.store.as_ref().map(|record| record.state.name())
    }

    pub fn viewed(&self) -> Option<StateName> {
        self.view.as_ref().map(|record| record.state.name())
    }

    pub fn new_life(&self) -> Life {
        Life::new(self.job, LifeRules { retention: Duration::from_secs(RETENTION as u64), max_files: 0 })
    }

    /// An actor that was let go of comes back with what is published. It stays until it has handled
    /// the message that it was woken for.
    pub fn wake(&mut self) -> Kept {
        let (None, Some(record)) = (&self.life, self.view.clone()) else { return Ok(()) };
        self.life = Some(self.new_life());
        let sealed = self.sealed.len();
        self.is_waking = true;
        let fed = self.feed(Input::Recalled { record, sealed, files: sealed });
        self.is_waking = false;
        fed
    }

    /// Tells the job what happened, and does what comes of it. Without an actor nobody hears it.
    pub fn feed(&mut self, input: Input) -> Kept {
        let around = Surroundings { now: self.at(), writers: self.running.len(), downloads: self.downloads };
        let Some(life) = &mut self.life else { return Ok(()) };
        if self.is_traced {
            self.trace.push(format!("{input:?}"));
        }
        let is_over = life.is_idle() && matches!(life.state(), Some(JobState::Erased(_)));
        for action in life.handle(input, around) {
            if self.is_traced {
                self.trace.push(format!("    {action:?}"));
            }
            let is_answer = matches!(action, Action::Answer { .. } | Action::Acknowledged | Action::Retire);
            ensure(!is_over || is_answer, "something is done after the end")?;
            self.perform_action(action)?;
        }
        Ok(())
    }

    fn perform_action(&mut self, action: Action) -> Kept {
        match action {
            Action::Start(Task::Commit(commit)) => {
                let is_erasure = matches!(commit, Commit::Erase(..));
                let is_gone = self.standing == Standing::Gone;
                ensure(!is_erasure || is_gone, "P5: an erasure is recorded before the sweep")?;
                self.commits.push_back(commit);
            }
            Action::Start(task) => {
                let viewed = self.viewed();
                match task {
                    Task::SweepPartials => {
                        ensure(viewed == Some(StateName::Failed), "P6: files go without a ground")?;
                        ensure(self.is_everybody_out(), "P4: files of a failed export go under somebody")?;
                    }
                    Task::SweepEarly => {
                        ensure(viewed == Some(StateName::Marked), "P6: names go before the mark")?;
                    }
                    Task::LookForFiles => {
                        let looks = self.tasks.contains(&Task::LookForFiles);
                        ensure(!looks, "P13: two looks at a time")?;
                    }
                    _ => {}
                }
                self.tasks.push(task);
            }
            Action::Entered { state, .. } => {
                self.reached.insert(state.name());
            }
            Action::StopParts => {
                (self.is_stopped, self.queued) = (true, Vec::new());
            }
            Action::HaltParts => self.queued.clear(),
            Action::RunParts => {
                ensure(!self.is_halted, "a part begins after a halt")?;
                ensure(!self.has_work, "parts run twice")?;
                ensure(self.stored() >= Some(StateName::Running), "parts run before that is durable")?;
                self.has_work = true;
                self.queued = (0..PARTS).filter(|part| !self.sealed.contains(part)).collect();
            }
            Action::Answer { caller, reply } => self.answer(caller, reply)?,
            Action::FenceLater { of, .. } => self.fences.push(of),
            Action::Fence => self.fence()?,
            Action::LastOneOut => ensure(self.is_everybody_out(), "P4: somebody is still in")?,
            Action::Sweep => {
                let is_marked = self.stored() == Some(StateName::Marked)
                    || self.is_shared && self.stored() == Some(StateName::Erased);
                ensure(is_marked, "P1: a sweep before the mark is durable")?;
                ensure(self.is_everybody_out(), "P4: a sweep under somebody")?;
                if self.sweeping == Sweeping::No {
                    self.sweeping = Sweeping::Waits;
                }
            }
            Action::Retire => {
                let is_done = self.tasks.is_empty() && self.commits.is_empty() && self.answers.is_empty();
                ensure(is_done && self.waiting.is_empty(), "an actor is let go of too early")?;
                self.life = self.life.take().filter(|_| self.is_waking);
            }
            Action::Accept => ensure(self.store.is_some(), "a kick-off is accepted before it is durable")?,
            Action::Refuse => ensure(self.store.is_none(), "a kick-off is refused that is recorded")?,
            Action::Settle | Action::PauseWriters | Action::Acknowledged | Action::DownloadsCut(_) => {}
        }
        Ok(())
    }

    /// Every caller hears once; of all requests one is accepted, when its mark is durable twice (P1).
    fn answer(&mut self, caller: u64, reply: CancelReply) -> Kept {
        let request = self.waiting.remove(&caller).ok_or("a caller hears twice")?;
        let is_marked = self.marked_by.as_deref() == Some(request);
        let is_hidden = self.viewed().is_some_and(StateName::is_deleted);
        match reply {
            CancelReply::Accepted { .. } => {
                ensure(is_marked, "P1: accepted, and the store has no such mark")?;
                let is_moved = matches!(self.standing, Standing::Trash | Standing::Gone);
                ensure(is_moved, "P1: accepted, and the directory was not moved")?;
                ensure(is_hidden, "P2: accepted, and still shown")?;
                let other = self.accepted.replace(request);
                ensure(other.is_none_or(|other| other == request), "two requests are accepted")
            }
            CancelReply::HalfDurable => ensure(is_marked, "P1: half durable, and the store has no such mark"),
            CancelReply::AlreadyDeleted => ensure(is_hidden, "P2: deleted already, and still shown"),
            CancelReply::NotFound => ensure(self.store.is_none(), "a job that is stored is not found"),
        }
    }

    /// Files are taken away from writers; those inside a system call keep theirs.
    fn fence(&mut self) -> Kept {
        if !self.has_work {
            return Ok(());
        }
        let busy = std::mem::take(&mut self.busy);
        let closed = std::mem::take(&mut self.running).len() - busy;
        self.stuck += busy;
        self.leaving += closed;
        self.feed(Input::Fenced { closed, stuck: self.stuck })
    }

    pub fn is_everybody_out(&self) -> bool {
        let no_task = !self.tasks.iter().any(Task::holds_directory);
        self.running.is_empty() && self.stuck == 0 && self.downloads == 0 && no_task
    }

    /// The committer takes the next record through its steps.
    pub fn commit(&mut self, is_moving: bool) -> Kept {
        let Some(commit) = self.commits.pop_front() else { return Ok(()) };
        self.receipts += usize::from(matches!(commit, Commit::Erase(..)));
        let record = commit.record().clone();
        let revision = self.store.as_ref().map_or(0, |stored| stored.revision);
        if record.revision != revision + 1 {
            ensure(self.is_shared, "the store's fence fires in one process")?;
            self.was_stale = true;
            self.publish(self.store.clone())?;
            let stored = self.store.clone().map(Box::new);
            self.answers.push(End::Stale { stored });
            return Ok(());
        }
        self.store(record.clone());
        let is_mark = matches!(commit, Commit::Mark(_) | Commit::MarkNew(_));
        if is_mark && is_moving && matches!(self.standing, Standing::Building | Standing::Ready) {
            self.standing = Standing::Trash;
        }
        let moved = !is_mark || !matches!(self.standing, Standing::Building | Standing::Ready);
        let of = record.state.name();
        self.publish(Some(record))?;
        self.answers.push(End::Committed { of, moved, swept: SweepCounts::default() });
        Ok(())
    }

    /// The record is durable.
    pub fn store(&mut self, record: JobRecord) {
        if let (JobState::Marked(mark), None) = (&record.state, &self.marked_by) {
            self.marked_by = mark.request_id.clone();
        }
        self.store = Some(record);
    }

    /// What is deleted once is deleted for ever (P2).
    pub fn publish(&mut self, record: Option<JobRecord>) -> Kept {
        let was_deleted = self.viewed().is_some_and(StateName::is_deleted);
        let is_deleted = record.as_ref().is_none_or(|record| record.state.name().is_deleted());
        self.view = record;
        ensure(!was_deleted || is_deleted, "P2: a deleted job is shown again")
    }

    /// Nothing moves any more, and nobody interferes.
    pub fn check_at_rest(&self) -> Kept {
        ensure(self.waiting.is_empty(), "a caller never hears")?;
        let state = self.stored();
        let is_others = self.is_shared && self.view != self.store;
        let is_settled =
            matches!(state, None | Some(StateName::Failed | StateName::Complete | StateName::Erased));
        ensure(is_settled || is_others, &format!("P11: nothing moves, and it is {state:?}"))?;
        ensure(
            self.accepted.is_none() || state == Some(StateName::Erased),
            "P5: accepted, and never erased",
        )?;
        if state == Some(StateName::Erased) {
            ensure(self.standing == Standing::Gone, "P5: erased, and its directory is there")?;
            // Two processes may erase at once: a lease is what keeps them apart, once there is one.
            let most = if self.is_shared { 2 } else { 1 };
            ensure((1..=most).contains(&self.receipts), &format!("P9: {} receipts", self.receipts))?;
        }
        if !self.is_shared {
            ensure(self.view == self.store, "the view is not what is stored")?;
            ensure(self.life.is_none(), "an actor with nothing to do stays")?;
            let has_files = state != Some(StateName::Complete) || self.standing == Standing::Ready;
            ensure(has_files, "P6: a complete job has lost its files")?;
        }
        Ok(())
    }
}
