//! What an operator may order: the reaper paused and resumed, a job put under a hold and
//! released. An order is an entry in the chain of receipts, which is its durable memory; it is
//! in force before it is durable and until its end is durable, and answered when it is. A pause
//! is answered when nobody unlinks any more, too.

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use tokio::sync::oneshot;

use super::Reaper;
use crate::erase::OrderError;
use crate::receipts::ReceiptEntry;
use crate::store::DurableChange;

/// An order, as the entry that the chain gets: a pause, a resume, a hold or a release.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Order {
    /// What is ordered.
    pub entry: ReceiptEntry,
    /// Resolves when the order is durable.
    pub reply: oneshot::Sender<Result<(), OrderError>>,
}

impl Reaper {
    /// Refuses what makes no sense; a pause and a hold are in force from here on.
    fn admit(&self, entry: &ReceiptEntry) -> Result<(), OrderError> {
        let holds = self.services.eraser.holds();
        match entry {
            ReceiptEntry::Pause(_) => holds.pause(),
            ReceiptEntry::Resume { .. } if !holds.is_paused() => Err(OrderError::NotPaused),
            ReceiptEntry::Hold(hold) => holds.hold(hold.job),
            ReceiptEntry::Release { job, .. } if !holds.is_held(*job) => Err(OrderError::NotHeld),
            _ => Ok(()),
        }
    }

    /// The order is durable: what it ends goes on.
    fn carry_out(&mut self, entry: &ReceiptEntry, ctx: &mut Context<Self>) {
        let holds = self.services.eraser.holds().clone();
        match entry {
            ReceiptEntry::Release { job, .. } => {
                holds.release(*job);
                self.queue.release(*job);
                // Its time may be over.
                self.pass(ctx);
            }
            ReceiptEntry::Resume { .. } => {
                holds.resume();
                self.pass(ctx);
            }
            _ => {}
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
        let noted = self.services.committer.submit(DurableChange::Note(entry.clone()));
        let holds = self.services.eraser.holds().clone();
        let is_pause = matches!(entry, ReceiptEntry::Pause(_));
        let done = async move {
            let noted = noted.await;
            if is_pause && noted.is_ok() {
                // Whoever had a warrant before it is done.
                holds.quiet().await;
            }
            noted
        };
        ctx.spawn(done.into_actor(self).map(move |noted, this, ctx| {
            if noted.is_ok() {
                tracing::warn!(order = entry.kind(), job = ?entry.job(), "an operator's order");
                this.carry_out(&entry, ctx);
                let _ = reply.send(Ok(()));
            }
        }));
    }
}
