//! Finds the actor of a job, or wakes it from its record. It alone adds and removes registry
//! entries, so one job never has two actors, and a message never meets none: an actor is let
//! go of only when it has handled every message that was sent to it.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use super::admission::{Admission, JobLimits};
use super::export_job::{self, ExportJob};
use super::reaper::{self, ConfirmClock, GetStatus, Order, Reaper};
use super::{CancelReply, JobMessage, Seed, Services, SubmitError};
use crate::erase::ReaperStatus;
use crate::job::{ExportRequest, JobId, JobRecord};
use crate::telemetry::PanicGuard;

/// Owns the registry of job actors, and wakes an actor when a message for its job arrives.
pub struct Orchestrator {
    services: Arc<Services>,
    registry: HashMap<JobId, Entry>,
    admission: Admission,
    reaper: Option<Addr<Reaper>>,
    awake: Vec<JobId>,
    halted: bool,
    _guard: PanicGuard,
}

struct Entry {
    addr: Addr<ExportJob>,
    /// Messages sent to it.
    told: u64,
}

/// A kick-off that was found good. Limits are decided here, in one place.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Submit {
    /// The job that it is going to be.
    pub job: JobId,
    /// What to export.
    pub request: ExportRequest,
    /// Jobs that its owner may have queued or running, if that is not what any client may;
    /// 0 = no such limit.
    pub max_active_jobs: Option<usize>,
    /// Gets the job's id when it is durably queued.
    pub reply: oneshot::Sender<Result<JobId, SubmitError>>,
}

/// A message for a job's actor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tell {
    /// The job.
    pub job: JobId,
    /// The message.
    pub message: JobMessage,
}

/// Stop all exports without marking them: they are resumed at the next start.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Halt;

/// An actor has nothing to do after `handled` messages.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Idle {
    pub job: JobId,
    pub handled: u64,
}

/// A job is not queued or running any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Settled(pub JobId);

impl Orchestrator {
    /// The orchestrator of an instance; `awake` are the jobs that have something to do.
    pub fn new(services: Arc<Services>, awake: Vec<JobId>) -> Self {
        let guard = services.fatal.on_panic("the orchestrator");
        let refuse_duplicates = services.config.protocol.refuses_duplicates();
        let admission = Admission::new(refuse_duplicates, services.view());
        Self {
            services,
            registry: HashMap::new(),
            admission,
            reaper: None,
            awake,
            halted: false,
            _guard: guard,
        }
    }

    /// Makes the registry entry first; the actor takes what it knows from its seed.
    fn wake(&mut self, job: JobId, seed: Seed, ctx: &Context<Self>) -> &mut Entry {
        let services = self.services.clone();
        let reaper = self.reaper.clone().expect("the reaper is started with the orchestrator");
        let addr = ExportJob::spawn(job, seed, services, ctx.address(), reaper);
        self.registry.entry(job).insert_entry(Entry { addr, told: 0 }).into_mut()
    }

    /// The entry of a job's actor, woken if it was passivated; `None` if there is no such job.
    fn find(&mut self, job: JobId, ctx: &Context<Self>) -> Option<&mut Entry> {
        if !self.registry.contains_key(&job) {
            let published = self.services.view().get(job)?;
            if published.record.state.name().is_active() {
                let JobRecord { tenant, owner, .. } = &published.record;
                self.admission.recall(job, tenant.clone(), owner.clone());
            }
            self.wake(job, Seed::Known(published), ctx);
        }
        self.registry.get_mut(&job)
    }
}

impl Actor for Orchestrator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.reaper = Some(Reaper::spawn(self.services.clone(), ctx.address()));
        for job in std::mem::take(&mut self.awake) {
            self.find(job, ctx);
        }
    }
}

impl Handler<Submit> for Orchestrator {
    type Result = ();

    fn handle(&mut self, message: Submit, ctx: &mut Self::Context) {
        let Submit { job, request, max_active_jobs, reply } = message;
        let admitted = if self.halted {
            Err(SubmitError::TooManyJobs)
        } else {
            let limits = JobLimits::of(&self.services.config, &request.tenant, max_active_jobs);
            self.admission.admit(job, &request, limits, self.services.view())
        };
        if let Err(error) = admitted {
            // A caller that went away needs no answer.
            let _ = reply.send(Err(error));
            return;
        }
        self.wake(job, Seed::New { request: Arc::new(request), reply }, ctx);
    }
}

impl Handler<Tell> for Orchestrator {
    type Result = ();

    fn handle(&mut self, Tell { job, message }: Tell, ctx: &mut Self::Context) {
        match (self.find(job, ctx), message) {
            (Some(entry), message) => {
                entry.told += 1;
                // Past the mailbox's capacity: a Cancel is never refused for load.
                entry.addr.do_send(export_job::Told(message));
            }
            (None, JobMessage::Cancel { reply, .. }) => {
                // A caller that went away needs no answer.
                let _ = reply.send(CancelReply::NotFound);
            }
            (None, JobMessage::Orphan) => {
                self.wake(job, Seed::Orphan, ctx);
            }
            (None, JobMessage::Expire | JobMessage::Lost | JobMessage::SweepDone { .. }) => {}
        }
    }
}

impl Handler<Idle> for Orchestrator {
    type Result = ();

    fn handle(&mut self, Idle { job, handled }: Idle, _: &mut Self::Context) {
        if self.registry.get(&job).is_some_and(|entry| entry.told == handled)
            && let Some(entry) = self.registry.remove(&job)
        {
            entry.addr.do_send(export_job::Retire);
        }
    }
}

impl Handler<Settled> for Orchestrator {
    type Result = ();

    fn handle(&mut self, Settled(job): Settled, _: &mut Self::Context) {
        self.admission.settle(job);
    }
}

impl Handler<Halt> for Orchestrator {
    type Result = ();

    fn handle(&mut self, _: Halt, _: &mut Self::Context) {
        self.halted = true;
        for entry in self.registry.values() {
            entry.addr.do_send(export_job::Stop);
        }
    }
}

impl Handler<Order> for Orchestrator {
    type Result = ();

    fn handle(&mut self, order: Order, _: &mut Self::Context) {
        if let Some(reaper) = &self.reaper {
            reaper.do_send(order);
        }
    }
}

impl Handler<GetStatus> for Orchestrator {
    type Result = actix::ResponseFuture<Option<ReaperStatus>>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        let reaper = self.reaper.clone();
        Box::pin(async move { reaper?.send(reaper::GetStatus).await.ok().flatten() })
    }
}

impl Handler<ConfirmClock> for Orchestrator {
    type Result = actix::ResponseFuture<Option<bool>>;

    fn handle(&mut self, _: ConfirmClock, _: &mut Self::Context) -> Self::Result {
        let reaper = self.reaper.clone();
        Box::pin(async move { reaper?.send(ConfirmClock).await.ok().flatten() })
    }
}
