//! One job's actor: an adapter around [`Life`]. What happens goes in, what comes out is performed,
//! and what was begun comes back in when it ends. Messages line up in its mailbox; nothing is
//! decided here. `actions` performs what is done at once, `kickoff`, `plan`, `run`, `commit` and `ending`
//! what takes a while.

mod actions;
mod commit;
mod ending;
mod kickoff;
mod plan;
mod run;

use std::collections::HashMap;
use std::sync::Arc;

use actix::{
    Actor, ActorContext as _, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture,
};
use tokio::sync::oneshot;

use self::kickoff::PendingKickoff;
use self::plan::Handover;
use super::orchestrator::Orchestrator;
use super::reaper::Reaper;
use super::{CancelReply, JobMessage, Seed, Services};
use crate::export::{CancelToken, PartDone, Plan, StuckWriter, Work};
use crate::files::ExportDir;
use crate::job::life::{End, Input, Life, LifeRules, Surroundings};
use crate::job::{JobId, RequestSummary, SealedPart};
use crate::telemetry::PanicGuard;
use crate::view::{ExportProgress, PartialManifests, PublishedJob};

/// What a job's life does not need to know of it, and performs its actions with.
pub(super) struct ExportJob {
    id: JobId,
    services: Arc<Services>,
    orchestrator: Addr<Orchestrator>,
    reaper: Addr<Reaper>,
    seed: Option<Seed>,
    life: Life,
    kickoff: Option<PendingKickoff>,
    request: Option<Arc<RequestSummary>>,
    dir: Option<Arc<dyn ExportDir>>,
    handover: Handover,
    plan: Option<Plan>,
    /// Fires when the export has ended, whether or not it is still being planned.
    over: CancelToken,
    sealed: Vec<SealedPart>,
    progress: Arc<ExportProgress>,
    partial: Arc<PartialManifests>,
    work: Option<Arc<Work>>,
    /// Writers that were inside a system call when they were fenced.
    stuck: Vec<StuckWriter>,
    /// Who waits for the answer to a Cancel.
    callers: HashMap<u64, oneshot::Sender<CancelReply>>,
    /// Messages handled that came through the orchestrator.
    handled: u64,
    _guard: PanicGuard,
}

/// A message that came through the orchestrator.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Told(pub JobMessage);

/// The registry has let go.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Retire;

/// Stop exporting; the next start goes on.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

impl Message for PartDone {
    type Result = ();
}

impl ExportJob {
    pub fn spawn(
        id: JobId,
        seed: Seed,
        services: Arc<Services>,
        orchestrator: Addr<Orchestrator>,
        reaper: Addr<Reaper>,
    ) -> Addr<Self> {
        let config = &services.config;
        let rules = LifeRules { retention: config.retention.completed.0, max_files: config.export.max_files };
        let job = Self {
            id,
            life: Life::new(id, rules),
            _guard: services.fatal.on_panic("a job's actor"),
            services,
            orchestrator,
            reaper,
            seed: Some(seed),
            kickoff: None,
            request: None,
            dir: None,
            handover: Handover::Nothing,
            plan: None,
            over: CancelToken::new(),
            sealed: Vec::new(),
            progress: Arc::default(),
            partial: Arc::default(),
            work: None,
            stuck: Vec::new(),
            callers: HashMap::new(),
            handled: 0,
        };
        job.start()
    }

    /// Tells the job's life what happened, and performs what comes of it.
    fn take_in(&mut self, input: Input, ctx: &mut Context<Self>) {
        let published = self.services.view().get(self.id);
        let around = Surroundings {
            now: self.services.clock.now(),
            writers: self.services.pool.running(self.id),
            downloads: published.map_or(0, |published| published.downloads.open()),
        };
        for action in self.life.handle(input, around) {
            self.perform(action, ctx);
        }
    }

    /// Awaits `future`, which a task of the job's life stands for. Without an end the process ends.
    fn wait<T: 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        future: impl Future<Output = T> + 'static,
        end: impl FnOnce(&mut Self, T) -> Option<End> + 'static,
    ) {
        ctx.spawn(future.into_actor(self).map(|value, this, ctx| {
            if let Some(end) = end(this, value) {
                this.take_in(Input::Ended(end), ctx);
                this.handover = Handover::Nothing;
            }
        }));
    }

    /// As `wait`, for what blocks: it runs on another thread.
    fn block<T: Send + 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        task: impl FnOnce() -> T + Send + 'static,
        end: impl FnOnce(&mut Self, T) -> Option<End> + 'static,
    ) {
        self.wait(ctx, tokio::task::spawn_blocking(task), move |this, done| match done {
            Ok(value) => end(this, value),
            Err(panic) => {
                this.services.fatal.raise(&format!("panic in a job's task: {panic}"));
                None
            }
        });
    }

    fn recall(&mut self, published: &PublishedJob, ctx: &mut Context<Self>) {
        self.request = published.request.clone();
        self.progress = published.progress.clone();
        self.partial = published.partial.clone();
        if published.record.state.name().is_active() {
            self.sealed = published.parts.to_vec();
        }
        let files = self.sealed.iter().map(|part| part.files.len()).sum();
        let (record, sealed) = (published.record.clone(), self.sealed.len());
        self.take_in(Input::Recalled { record, sealed, files }, ctx);
    }
}

impl Actor for ExportJob {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.seed.take() {
            Some(Seed::New { request, reply }) => {
                self.kickoff = Some(PendingKickoff { request: Some(request), reply, refusal: None });
                self.take_in(Input::Submitted, ctx);
            }
            Some(Seed::Known(published)) => self.recall(&published, ctx),
            // The second look: the record may have been published since the scan.
            Some(Seed::Orphan) => match self.services.view().get(self.id) {
                Some(published) => self.recall(&published, ctx),
                None => self.take_in(Input::Orphan, ctx),
            },
            None => {}
        }
    }
}

impl Handler<Told> for ExportJob {
    type Result = ();

    fn handle(&mut self, Told(message): Told, ctx: &mut Self::Context) {
        self.handled += 1;
        let input = match message {
            JobMessage::Cancel { by, request_id, reply } => {
                let caller = self.handled;
                self.callers.insert(caller, reply);
                Input::Cancel { by, request_id, caller }
            }
            JobMessage::Expire => Input::Expire,
            JobMessage::Orphan => Input::Orphan,
            JobMessage::Lost => Input::Lost,
            JobMessage::SweepDone { swept, error } => Input::SweepDone { swept, error },
        };
        self.take_in(input, ctx);
    }
}

impl Handler<PartDone> for ExportJob {
    type Result = ();

    fn handle(&mut self, PartDone { result }: PartDone, ctx: &mut Self::Context) {
        self.take_in(Input::PartDone(result), ctx);
    }
}

impl Handler<Stop> for ExportJob {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.take_in(Input::Halt, ctx);
    }
}

impl Handler<Retire> for ExportJob {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
