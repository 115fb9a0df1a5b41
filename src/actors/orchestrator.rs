//! Finds the actor of a job, or wakes it from its record. It alone adds and removes registry entries.

use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use super::export_job::{ActorMessage, ExportJob};
use super::reaper::Reaper;
use super::registry::ActorRegistry;
use super::{ActorSeed, CancelReply, JobMessage, Services};
use crate::admission::{JobLimits, KickoffAdmission, PendingKickoff, SubmitError};
use crate::job::life::Input;
use crate::job::{ExportRequest, JobId};
use crate::telemetry::PanicGuard;

/// Owns the registry of job actors, and wakes an actor when a message for its job arrives.
pub struct Orchestrator {
    services: Arc<Services>,
    registry: ActorRegistry<Addr<ExportJob>>,
    admission: KickoffAdmission,
    reaper: Addr<Reaper>,
    awake: Vec<JobId>,
    _guard: PanicGuard,
}

/// A kick-off that was found good.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SubmitJob {
    /// The job that it is going to be.
    pub job: JobId,
    /// What to export.
    pub request: ExportRequest,
    /// Jobs that its owner may have queued or running, if that is not what any client may;
    /// 0 = no such limit.
    pub max_active_jobs: Option<usize>,
    /// The span of the request that asks for it.
    pub asked_in: tracing::Span,
    /// Gets the job's id when it is durably queued.
    pub reply: oneshot::Sender<Result<JobId, SubmitError>>,
}

/// A message for a job's actor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SendToJob {
    /// The job.
    pub job: JobId,
    /// The message.
    pub message: JobMessage,
}

/// Stop all exports without marking them: they are resumed at the next start.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HaltExports;

/// An actor has nothing to do after `handled` messages.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ActorIdle {
    pub job: JobId,
    pub handled: u64,
}

/// A job is not queued or running any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct JobSettled(pub JobId);

impl Orchestrator {
    /// Starts the orchestrator of an instance, and its reaper; `awake` are the jobs that have something
    /// to do.
    pub fn spawn(services: Arc<Services>, awake: Vec<JobId>) -> (Addr<Self>, Addr<Reaper>) {
        let context = Context::new();
        let reaper = Reaper::spawn(services.clone(), context.address());
        let orchestrator = context.run(Self {
            _guard: services.fatal.on_panic("the orchestrator"),
            registry: ActorRegistry::default(),
            admission: KickoffAdmission::new(services.config.protocol.refuses_duplicates(), services.view()),
            reaper: reaper.clone(),
            services,
            awake,
        });
        (orchestrator, reaper)
    }

    /// Makes the registry entry first; the actor takes what it knows from its seed.
    fn wake(&mut self, job: JobId, seed: ActorSeed, ctx: &Context<Self>) {
        let address = ExportJob::spawn(job, seed, self.services.clone(), ctx.address(), self.reaper.clone());
        self.registry.insert(job, address);
    }

    /// Wakes the actor of a job that was passivated.
    fn recall(&mut self, job: JobId, ctx: &Context<Self>) {
        if !self.registry.has(job)
            && let Some(published) = self.services.view().get(job)
        {
            self.admission.recall(&published.record);
            self.wake(job, ActorSeed::Known(published), ctx);
        }
    }
}

impl Actor for Orchestrator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        std::mem::take(&mut self.awake).into_iter().for_each(|job| self.recall(job, ctx));
    }
}

// A caller that went away needs no answer.
impl Handler<SubmitJob> for Orchestrator {
    type Result = ();

    fn handle(&mut self, message: SubmitJob, ctx: &mut Self::Context) {
        let SubmitJob { job, request, max_active_jobs, asked_in, reply } = message;
        let limits = JobLimits::of(&self.services.config, &request.tenant, max_active_jobs);
        match self.admission.admit(job, &request, limits, self.services.view()) {
            Ok(()) => self.wake(job, ActorSeed::New(PendingKickoff::new(request, asked_in, reply)), ctx),
            Err(error) => drop(reply.send(Err(error))),
        }
    }
}

impl Handler<SendToJob> for Orchestrator {
    type Result = ();

    fn handle(&mut self, SendToJob { job, message }: SendToJob, ctx: &mut Self::Context) {
        self.recall(job, ctx);
        match (self.registry.send_to(job), message) {
            // Past the mailbox's capacity: a Cancel is never refused for load.
            (Some(actor), message) => actor.do_send(ActorMessage::Forwarded(message)),
            (None, JobMessage::Cancel { reply, .. }) => drop(reply.send(CancelReply::NotFound)),
            (None, JobMessage::Input(Input::Orphan)) => self.wake(job, ActorSeed::Orphan, ctx),
            (None, JobMessage::Input(_)) => {}
        }
    }
}

impl Handler<ActorIdle> for Orchestrator {
    type Result = ();

    fn handle(&mut self, ActorIdle { job, handled }: ActorIdle, _: &mut Self::Context) {
        self.registry.release(job, handled).into_iter().for_each(|actor| actor.do_send(ActorMessage::Retire));
    }
}

impl Handler<JobSettled> for Orchestrator {
    type Result = ();

    fn handle(&mut self, JobSettled(job): JobSettled, _: &mut Self::Context) {
        self.admission.settle(job);
    }
}

impl Handler<HaltExports> for Orchestrator {
    type Result = ();

    fn handle(&mut self, _: HaltExports, _: &mut Self::Context) {
        self.admission.close();
        self.registry.all().for_each(|actor| actor.do_send(ActorMessage::Halt));
    }
}
