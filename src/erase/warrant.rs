//! The warrant: nothing unlinks a name in a job's directory without one. Only the registry makes
//! warrants, and only on a ground that the witnesses show. Granting one and ordering a hold or a
//! pause take the same lock, so every hold is in force before the first unlink or is refused.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::holds::{HoldBook, OrderError, WarrantRefusal};
use crate::files::{DirPlace, Files};
use crate::job::{JobId, StateName};
use crate::receipts::{ReceiptChain, ReceiptEntry};
use crate::store::{Committer, DurableChange};
use crate::view::LocalView;

/// Why names in a job's directory may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarrantGround {
    /// The job is marked, durably and published: everything goes (P1).
    Marked,
    /// The job is erased and something of it stands there again: everything goes (P2).
    Leftover,
    /// The export failed, durably and published: everything goes but what says so.
    FailedExport,
    /// The export goes on after a restart: what an attempt left that was never recorded goes.
    UnrecordedAttempt,
    /// There is no room to record a mark whose directory stands in `trash/`: its output goes first.
    DiskFull,
    /// The directory could not be made whole, so nobody was told of the job: everything goes.
    FailedCreation,
}

impl WarrantGround {
    /// Every ground.
    #[cfg(any(test, feature = "breakpoints"))]
    pub const ALL: [Self; 6] = [
        Self::Marked,
        Self::Leftover,
        Self::FailedExport,
        Self::UnrecordedAttempt,
        Self::DiskFull,
        Self::FailedCreation,
    ];

    /// Whether the witnesses show it. Life goes forward only, so what they show stays true while
    /// the job's actor is asking.
    fn is_shown(self, evidence: &dyn WarrantEvidence, job: JobId) -> bool {
        let state = || evidence.state(job);
        match self {
            Self::Marked => state() == Some(StateName::Marked),
            Self::Leftover => state() == Some(StateName::Erased) || evidence.has_receipt(job),
            Self::FailedExport => state() == Some(StateName::Failed),
            Self::UnrecordedAttempt => state().is_some_and(StateName::is_active),
            Self::DiskFull => evidence.is_in_trash(job),
            Self::FailedCreation => state().is_none() && !evidence.has_receipt(job),
        }
    }
}

/// What the witnesses say of a job.
pub trait WarrantEvidence: Send + Sync {
    /// Returns the state that is durable and published.
    fn state(&self, job: JobId) -> Option<StateName>;

    /// Returns whether there is a receipt of the job's erasure.
    fn has_receipt(&self, job: JobId) -> bool;

    /// Returns whether the job's directory, or a name that says the same, stands in `trash/`. Blocks.
    fn is_in_trash(&self, job: JobId) -> bool;
}

/// The published view, the receipts and the disk.
pub struct LiveEvidence {
    /// Job directories.
    pub files: Arc<dyn Files>,
    /// The chain of receipts.
    pub receipts: Arc<dyn ReceiptChain>,
    /// The published view.
    pub view: Arc<LocalView>,
}

impl WarrantEvidence for LiveEvidence {
    fn state(&self, job: JobId) -> Option<StateName> {
        self.view.get(job).map(|published| published.record.state.name())
    }

    fn has_receipt(&self, job: JobId) -> bool {
        self.receipts.has(job)
    }

    fn is_in_trash(&self, job: JobId) -> bool {
        self.files.directories(job, DirPlace::Trash).is_ok_and(|directories| !directories.is_empty())
    }
}

/// Grants warrants, and takes the orders that forbid them.
pub struct HoldRegistry {
    evidence: Box<dyn WarrantEvidence>,
    book: Mutex<HoldBook>,
    returned: Notify,
}

impl HoldRegistry {
    /// Creates a registry with the orders that are in force.
    pub fn new(
        evidence: impl WarrantEvidence + 'static,
        held: impl IntoIterator<Item = JobId>,
        is_paused: bool,
    ) -> Arc<Self> {
        let book = Mutex::new(HoldBook::new(held, is_paused));
        Arc::new(Self { evidence: Box::new(evidence), book, returned: Notify::new() })
    }

    /// Creates the registry of a data directory, with the orders that its receipts tell of.
    pub fn of(evidence: LiveEvidence) -> Arc<Self> {
        let held: Vec<_> = evidence.receipts.holds().into_iter().map(|hold| hold.job).collect();
        let is_paused = evidence.receipts.pause().is_some();
        Self::new(evidence, held, is_paused)
    }

    /// Grants a warrant. Blocks for [`WarrantGround::DiskFull`], which the disk must show.
    ///
    /// # Errors
    /// Fails under a hold or a pause, and if the witnesses do not show the ground.
    pub fn grant(self: &Arc<Self>, job: JobId, ground: WarrantGround) -> Result<Warrant, WarrantRefusal> {
        if !ground.is_shown(&*self.evidence, job) {
            tracing::error!(%job, ?ground, "no witness shows that files may go; they stay");
            return Err(WarrantRefusal::Unfounded);
        }
        self.book.lock().grant(job)?;
        Ok(Warrant { job, ground, all_gone: false, registry: self.clone() })
    }

    /// Grants a warrant to a sweep: for a mark, or for what is left of an erased job.
    ///
    /// # Errors
    /// Fails as [`grant`](Self::grant) does.
    pub fn grant_sweep(self: &Arc<Self>, job: JobId) -> Result<Warrant, WarrantRefusal> {
        let is_marked = WarrantGround::Marked.is_shown(&*self.evidence, job);
        self.grant(job, if is_marked { WarrantGround::Marked } else { WarrantGround::Leftover })
    }

    /// Takes an order: it is in force, durable in the chain of receipts, and what it ends has ended when
    /// this resolves. After a pause nobody unlinks anything.
    ///
    /// # Errors
    /// Fails as [`admit`](Self::admit) does, and if the process is ending.
    pub async fn order(&self, order: &ReceiptEntry, committer: &Committer) -> Result<(), OrderError> {
        self.admit(order)?;
        let noted = committer.submit(DurableChange::Note(order.clone())).await;
        noted.map_err(|_| OrderError::Stopped)?;
        self.settle(order).await;
        Ok(())
    }

    /// Takes an order, or refuses what makes no sense. A pause and a hold are in force from here on.
    ///
    /// # Errors
    /// Fails as [`HoldBook`]'s orders do, and if there is no job to be held, or it is erased.
    pub fn admit(&self, order: &ReceiptEntry) -> Result<(), OrderError> {
        let mut book = self.book.lock();
        match order {
            ReceiptEntry::Pause(_) => book.pause(),
            ReceiptEntry::Resume { .. } if !book.is_paused() => Err(OrderError::NotPaused),
            ReceiptEntry::Hold(hold) => match self.evidence.state(hold.job) {
                None | Some(StateName::Erased) => Err(OrderError::NoSuchJob),
                Some(_) => book.hold(hold.job),
            },
            ReceiptEntry::Release { job, .. } if !book.is_held(*job) => Err(OrderError::NotHeld),
            _ => Ok(()),
        }
    }

    /// Ends what an order ends, once it is durable. After a pause it resolves when no warrant is
    /// out: nobody unlinks anything.
    async fn settle(&self, order: &ReceiptEntry) {
        match order {
            ReceiptEntry::Pause(_) => self.quiet().await,
            ReceiptEntry::Resume { .. } => self.book.lock().resume(),
            ReceiptEntry::Release { job, .. } => self.book.lock().release(*job),
            _ => {}
        }
    }

    /// Returns whether the job's files must stay.
    pub fn is_held(&self, job: JobId) -> bool {
        self.book.lock().is_held(job)
    }

    /// Returns whether a pause is in force.
    pub fn is_paused(&self) -> bool {
        self.book.lock().is_paused()
    }

    async fn quiet(&self) {
        loop {
            let returned = self.returned.notified();
            tokio::pin!(returned);
            // Before the look: a warrant that comes back in between is not missed.
            returned.as_mut().enable();
            if self.book.lock().is_quiet() {
                return;
            }
            returned.await;
        }
    }

    /// Forgets that files are gone, of jobs whose erasure is published.
    pub fn forget_erased(&self) {
        let is_awaited = |job| !matches!(self.evidence.state(job), None | Some(StateName::Erased));
        self.book.lock().forget_gone(is_awaited);
    }
}

/// The right to unlink names in one job's directory. No hold on the job is taken while it is out;
/// it goes back when it is dropped.
pub struct Warrant {
    job: JobId,
    ground: WarrantGround,
    all_gone: bool,
    registry: Arc<HoldRegistry>,
}

impl Warrant {
    /// Returns the job whose names may go.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Returns why they may go.
    #[cfg(any(test, feature = "breakpoints"))]
    pub fn ground(&self) -> WarrantGround {
        self.ground
    }

    /// Gives the warrant back after a sweep that left nothing: a hold comes too late from now on.
    pub(super) fn fulfil(mut self) {
        self.all_gone = true;
    }
}

impl fmt::Debug for Warrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warrant").field("job", &self.job).field("ground", &self.ground).finish()
    }
}

impl Drop for Warrant {
    fn drop(&mut self) {
        self.registry.book.lock().give_back(self.job, self.all_gone);
        self.registry.returned.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one job, whatever its id.
    struct Said(Option<StateName>, bool, bool);

    impl WarrantEvidence for Said {
        fn state(&self, _: JobId) -> Option<StateName> {
            self.0
        }

        fn has_receipt(&self, _: JobId) -> bool {
            self.1
        }

        fn is_in_trash(&self, _: JobId) -> bool {
            self.2
        }
    }

    fn order_hold(job: JobId) -> ReceiptEntry {
        let at = jiff::Timestamp::UNIX_EPOCH;
        ReceiptEntry::Hold(crate::receipts::JobHold { job, at, by: "it".into(), reason: "case 17".into() })
    }

    /// The grounds that witnesses show.
    fn shown(state: Option<StateName>, has_receipt: bool, is_in_trash: bool) -> Vec<WarrantGround> {
        let registry = HoldRegistry::new(Said(state, has_receipt, is_in_trash), [], false);
        let job = JobId::random();
        WarrantGround::ALL.into_iter().filter(|ground| registry.grant(job, *ground).is_ok()).collect()
    }

    #[test]
    fn a_warrant_is_granted_only_on_a_ground_that_the_witnesses_show() {
        use WarrantGround::*;
        for state in [StateName::Queued, StateName::Running, StateName::Finishing] {
            assert_eq!(shown(Some(state), false, false), [UnrecordedAttempt]);
        }
        assert_eq!(shown(Some(StateName::Complete), false, false), []);
        assert_eq!(shown(Some(StateName::Failed), false, false), [FailedExport]);
        assert_eq!(shown(Some(StateName::Marked), false, false), [Marked]);
        assert_eq!(shown(Some(StateName::Erased), false, false), [Leftover]);
        assert_eq!(shown(Some(StateName::Complete), false, true), [DiskFull]);
        assert_eq!(shown(None, true, false), [Leftover]);
        assert_eq!(shown(None, false, false), [FailedCreation]);
    }

    #[test]
    fn a_hold_on_a_job_that_is_unknown_or_erased_is_refused() {
        for state in [None, Some(StateName::Erased)] {
            let registry = HoldRegistry::new(Said(state, false, false), [], false);
            let hold = order_hold(JobId::random());
            assert_eq!(registry.admit(&hold), Err(OrderError::NoSuchJob));
        }
    }

    #[test]
    fn a_warrant_that_is_dropped_is_given_back() {
        let registry = HoldRegistry::new(Said(Some(StateName::Marked), false, false), [], false);
        let job = JobId::random();
        let warrant = registry.grant(job, WarrantGround::Marked).unwrap();
        let hold = order_hold(job);
        assert_eq!(registry.admit(&hold), Err(OrderError::BeingErased));
        drop(warrant);
        assert_eq!(registry.admit(&hold), Ok(()));
        assert_eq!(registry.grant(job, WarrantGround::Marked).unwrap_err(), WarrantRefusal::Held);
        registry.book.lock().release(job);
        registry.grant(job, WarrantGround::Marked).unwrap().fulfil();
        assert_eq!(registry.admit(&hold), Err(OrderError::BeingErased));
        registry.forget_erased();
        assert_eq!(registry.admit(&hold), Err(OrderError::BeingErased), "its erasure is not published");
    }
}
