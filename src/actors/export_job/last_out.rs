//! Last one out (P4): a job is swept only when its writers are out or fenced, and its
//! downloads drained or cut.

use actix::{AsyncContext, Context};

use super::ExportJob;
use crate::erase::{Ground, Warrant};
use crate::export::{FenceReport, StuckWriter};
use crate::hooks::Step;
use crate::job::{Effect, JobState, Mark, MarkReason};
use crate::telemetry;
use crate::view::OpenDownloads;

/// How often a writer inside a system call is asked again for its files.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// What a job waits for before its files go.
#[derive(Default)]
pub(super) struct LastOut {
    /// What comes next, and the generation it belongs to.
    leaving: Option<(u64, &'static [Effect])>,
    /// Writers inside a system call.
    busy: Vec<StuckWriter>,
    /// Whether names were unlinked under such a writer.
    swept_early: bool,
}

impl LastOut {
    /// Whether somebody is still in.
    pub fn is_waiting(&self) -> bool {
        self.leaving.is_some()
    }
}

impl ExportJob {
    /// Goes on with `rest` when the last writer and the last download are out.
    pub(super) fn await_last_out(&mut self, rest: &'static [Effect], ctx: &mut Context<Self>) {
        let generation = self.generation;
        self.last_out.leaving = Some((generation, rest));
        // Its names stand elsewhere now, as after the deletion of a failed job.
        self.last_out.swept_early = false;
        let deadline = self.services.config.export.cancel_deadline.0;
        if !self.last_out.busy.is_empty() {
            // They were asked on behalf of what has been overtaken, and nobody goes on with that.
            ctx.run_later(ASK_AGAIN, move |this, ctx| this.fence(generation, ctx));
        } else if self.services.pool.running(self.id) > 0 {
            ctx.run_later(deadline, move |this, ctx| this.fence(generation, ctx));
        }
        let config = &self.services.config.download;
        let grace = match self.state() {
            Some(JobState::Marked(Mark { reason: MarkReason::Expired, .. }) | JobState::Failed(_)) => {
                Some(config.expiry_drain.0)
            }
            Some(JobState::Marked(_)) => Some(config.delete_grace.0),
            _ => None,
        };
        if let Some(grace) = grace {
            self.await_downloads(grace, ctx);
        }
        self.check_last_out(ctx);
    }

    fn await_downloads(&mut self, grace: std::time::Duration, ctx: &mut Context<Self>) {
        let Some(published) = self.services.view().get(self.id) else { return };
        let downloads = published.downloads.clone();
        let open = downloads.open();
        if open == 0 {
            return;
        }
        let generation = self.generation;
        let ended = async move {
            if tokio::time::timeout(grace, downloads.drained()).await.is_ok() {
                return (open, 0);
            }
            let cut = downloads.cut();
            downloads.drained().await;
            (open.saturating_sub(cut), cut)
        };
        self.wait(ctx, ended, move |this, (drained, cut), _| {
            // A failed job that was deleted meanwhile waits for them once more.
            if this.generation != generation {
                return;
            }
            this.tally.drained_downloads += drained;
            if cut > 0 {
                tracing::warn!(job = %this.id, downloads = cut, "downloads of a job that ended were cut");
                telemetry::downloads_cut(cut);
                this.tally.cut_downloads += cut;
            }
        });
    }

    /// Goes on if nobody is left.
    pub(super) fn check_last_out(&mut self, ctx: &mut Context<Self>) {
        let Some((generation, rest)) = self.last_out.leaving else { return };
        let downloads = self.services.view().get(self.id).map(|published| published.downloads.clone());
        let reading = downloads.as_deref().map_or(0, OpenDownloads::open);
        let writing = self.services.pool.running(self.id);
        if self.in_directory == 0 && writing == 0 && self.last_out.busy.is_empty() && reading == 0 {
            self.last_out.leaving = None;
            self.services.hooks.reach(Step::LastOneOut);
            if self.generation == generation {
                self.perform(rest, ctx);
            }
        }
    }

    /// The deadline is over: files are taken away from writers that are still there. A writer
    /// inside a system call keeps its file until that returns; its names are unlinked all the
    /// same, and the job is not erased before.
    fn fence(&mut self, generation: u64, ctx: &mut Context<Self>) {
        if self.last_out.leaving.is_none_or(|(leaving, _)| leaving != generation) {
            return;
        }
        let Some(work) = &self.work else { return };
        let FenceReport { closed, busy } = work.fence();
        self.services.pool.abandon(self.id);
        let stuck: Vec<_> = busy.iter().filter(|writer| !self.last_out.busy.contains(writer)).collect();
        for StuckWriter { part, worker } in &closed {
            tracing::error!(job = %self.id, part, worker, "a writer outlived its job's cancel deadline and was fenced");
        }
        for StuckWriter { part, worker } in &stuck {
            tracing::error!(
                job = %self.id, part, worker,
                "a writer is stuck in a system call: its names go, its job is not erased before it returns"
            );
        }
        telemetry::fenced(closed.len(), stuck.len());
        self.tally.fenced_writers += u32::try_from(closed.len()).unwrap_or(u32::MAX);
        self.last_out.busy = busy;
        if !self.last_out.busy.is_empty() {
            ctx.run_later(ASK_AGAIN, move |this, ctx| this.fence(generation, ctx));
            let is_marked = matches!(self.state(), Some(JobState::Marked(_)));
            if is_marked
                && !self.last_out.swept_early
                && let Ok(warrant) = self.services.eraser.holds().grant(self.id, Ground::Marked)
            {
                self.last_out.swept_early = true;
                self.sweep_early(warrant, ctx);
            }
        }
        self.check_last_out(ctx);
    }

    fn sweep_early(&mut self, warrant: Warrant, ctx: &mut Context<Self>) {
        let (id, eraser) = (self.id, self.services.eraser.clone());
        let sweep = move || eraser.sweep_trash(vec![warrant]);
        self.block_in_directory(ctx, sweep, move |this, swept, _| match swept {
            Ok(results) => {
                for (_, (swept, result)) in results {
                    this.tally.swept += swept;
                    if let Err(error) = result {
                        tracing::warn!(job = %id, %error, "the names of a stuck writer could not be unlinked yet");
                    }
                }
            }
            Err(error) => this.services.fatal.raise(&error.to_string()),
        });
    }
}
