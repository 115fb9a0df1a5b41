//! What an operator may order: the reaper paused and resumed, a job put under a hold and
//! released. An order is an entry in the chain of receipts, which is its durable memory; it is
//! in force before it is durable and until its end is durable, and answered when it is.

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use tokio::sync::oneshot;

use super::Reaper;
use crate::job::{JobId, StateName};
use crate::receipts::Entry;
use crate::store::Change;

/// Why an order was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such job, or it is erased.
    #[error("there is no such job, or its files are gone already")]
    NoSuchJob,
    /// It comes too late.
    #[error("the job's files are being removed at this moment, or are gone")]
    BeingErased,
    /// The job is under a hold.
    #[error("the job is under a hold already")]
    AlreadyHeld,
    /// The job is under no hold.
    #[error("the job is under no hold")]
    NotHeld,
    /// The reaper is paused.
    #[error("the reaper is paused already")]
    AlreadyPaused,
    /// The reaper is not paused.
    #[error("the reaper is not paused")]
    NotPaused,
    /// The instance is going down; ask again after the next start.
    #[error("the instance is going down")]
    Stopped,
}

/// An order, as the entry that the chain gets: a pause, a resume, a hold or a release.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Order {
    /// What is ordered.
    pub entry: Entry,
    /// Resolves when the order is durable.
    pub reply: oneshot::Sender<Result<(), OrderError>>,
}

impl Reaper {
    /// Whether the job's files must stay.
    pub(super) fn is_held(&self, job: JobId) -> bool {
        self.holding.contains(&job) || self.services.receipts.hold_of(job).is_some()
    }

    /// Refuses what makes no sense; a pause and a hold are in force from here on.
    fn admit(&mut self, entry: &Entry) -> Result<(), OrderError> {
        match entry {
            Entry::Pause(_) if self.paused => return Err(OrderError::AlreadyPaused),
            Entry::Pause(_) => self.paused = true,
            Entry::Resume { .. } if !self.paused => return Err(OrderError::NotPaused),
            Entry::Hold(hold) => {
                let state = self.services.view().get(hold.job).map(|job| job.record.state.name());
                match state {
                    None | Some(StateName::Erased) => return Err(OrderError::NoSuchJob),
                    Some(_) if self.sweeping.contains(&hold.job) || self.gone.contains(&hold.job) => {
                        return Err(OrderError::BeingErased);
                    }
                    Some(_) if self.is_held(hold.job) => return Err(OrderError::AlreadyHeld),
                    Some(_) => drop(self.holding.insert(hold.job)),
                }
            }
            Entry::Release { job, .. } if !self.is_held(*job) => return Err(OrderError::NotHeld),
            _ => {}
        }
        Ok(())
    }

    /// The order is durable: what it ends goes on.
    fn carry_out(&mut self, entry: &Entry, ctx: &mut Context<Self>) {
        match entry {
            Entry::Hold(hold) => drop(self.holding.remove(&hold.job)),
            Entry::Release { job, .. } => {
                let is_marked = self.held_back.remove(job);
                self.waiting.extend(is_marked.then_some(*job));
                // Its time may be over.
                self.pass(ctx);
            }
            Entry::Resume { .. } => {
                self.paused = false;
                self.pass(ctx);
            }
            _ => {}
        }
    }

    /// Takes the jobs that are held out of those that wait for their sweep.
    pub(super) fn hold_back(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let (held, free): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|job| self.is_held(*job));
        self.waiting = free.into();
        for job in held {
            if self.held_back.insert(job) {
                tracing::info!(%job, "a marked job is under a hold: its files stay until it is released");
            }
        }
    }
}

impl Handler<Order> for Reaper {
    type Result = ();

    fn handle(&mut self, Order { entry, reply }: Order, ctx: &mut Self::Context) {
        if let Err(refusal) = self.admit(&entry) {
            // A caller that went away needs no answer; so below.
            let _ = reply.send(Err(refusal));
            return;
        }
        let noted = self.services.ledger.submit(Change::Note(entry.clone()));
        ctx.spawn(noted.into_actor(self).map(move |noted, this, ctx| {
            if noted.is_ok() {
                tracing::warn!(order = entry.kind(), job = ?entry.job(), "an operator's order");
                this.carry_out(&entry, ctx);
                let _ = reply.send(Ok(()));
            }
        }));
    }
}
