//! One job's actor: an adapter around [`Life`]. What happens goes in; what comes out is performed, and
//! what was begun comes back in when it ends. Messages line up in its mailbox; nothing is decided
//! here. `actions` performs what is done at once, `exporting` and `ending` what takes a while.

mod actions;
mod ending;
mod exporting;
mod life_log;

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, ActorContext as _, Addr, Context, Handler, Message};
use tokio::sync::oneshot;

use self::life_log::LifeLog;
use super::orchestrator::Orchestrator;
use super::reaper::Reaper;
use super::{ActorSeed, CancelReply, JobMessage, Services};
use crate::admission::PendingKickoff;
use crate::export::{ExportSession, PartDone};
use crate::job::JobId;
use crate::job::life::{Input, Life, LifeRules, Surroundings};
use crate::telemetry::PanicGuard;

/// The actor of one job, whatever its state.
pub(super) struct ExportJob {
    id: JobId,
    services: Arc<Services>,
    orchestrator: Addr<Orchestrator>,
    reaper: Addr<Reaper>,
    seed: Option<ActorSeed>,
    life: Life,
    session: ExportSession,
    log: LifeLog,
    kickoff: Option<PendingKickoff>,
    /// Who waits for the answer to a Cancel.
    callers: HashMap<u64, oneshot::Sender<CancelReply>>,
    /// Messages handled that came through the orchestrator.
    handled: u64,
    _guard: PanicGuard,
}

/// What the actor of a job is told.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum ActorMessage {
    /// A message that came through the orchestrator.
    Forwarded(JobMessage),
    /// A part ended.
    PartDone(PartDone),
    /// Stop exporting; the next start goes on.
    Halt,
    /// The registry has let go.
    Retire,
}

impl ExportJob {
    pub fn spawn(
        id: JobId,
        seed: ActorSeed,
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
            session: ExportSession::new(id),
            log: LifeLog::new(),
            kickoff: None,
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
}

impl Actor for ExportJob {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let input = match self.seed.take() {
            Some(ActorSeed::New(kickoff)) => {
                self.kickoff = Some(kickoff);
                Input::Submitted
            }
            Some(ActorSeed::Known(published)) => self.session.recall(&published),
            // The second look: the record may have been published since the scan.
            Some(ActorSeed::Orphan) => match self.services.view().get(self.id) {
                Some(published) => self.session.recall(&published),
                None => Input::Orphan,
            },
            None => return,
        };
        self.take_in(input, ctx);
    }
}

impl Handler<ActorMessage> for ExportJob {
    type Result = ();

    fn handle(&mut self, message: ActorMessage, ctx: &mut Self::Context) {
        let input = match message {
            ActorMessage::Forwarded(message) => {
                self.handled += 1;
                match message {
                    JobMessage::Input(input) => input,
                    JobMessage::Cancel { by, request_id, reply } => {
                        let caller = self.handled;
                        self.callers.insert(caller, reply);
                        Input::Cancel { by, request_id, caller }
                    }
                }
            }
            ActorMessage::PartDone(PartDone { result }) => Input::PartDone(result),
            ActorMessage::Halt => Input::Halt,
            ActorMessage::Retire => return ctx.stop(),
        };
        self.take_in(input, ctx);
    }
}
