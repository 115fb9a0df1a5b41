//! From the mark to the files that are gone: downloads, sweeps, and what stands where.

use std::time::Duration;

use actix::Context;

use super::ExportJob;
use crate::erase::Ground;
use crate::files::DirPlace;
use crate::job::life::{DrainGrace, End, SweepEnd};
use crate::job::{StateName, SweepCounts};
use crate::telemetry;

impl ExportJob {
    pub(super) fn await_downloads(&mut self, of: StateName, grace: DrainGrace, ctx: &mut Context<Self>) {
        let config = &self.services.config.download;
        let grace = match grace {
            DrainGrace::Deletion => config.delete_grace.0,
            DrainGrace::Expiry => config.expiry_drain.0,
        };
        let downloads = self.services.view().get(self.id).map(|published| published.downloads.clone());
        let ended = async move {
            let Some(downloads) = downloads else { return (0, 0) };
            let open = downloads.open();
            if tokio::time::timeout(grace, downloads.drained()).await.is_ok() {
                return (open, 0);
            }
            let cut = downloads.cut();
            downloads.drained().await;
            (open.saturating_sub(cut), cut)
        };
        self.wait(ctx, ended, move |_, (drained, cut)| Some(End::DownloadsGone { of, drained, cut }));
    }

    /// Removes what a failed export wrote.
    pub(super) fn sweep_partials(&mut self, ctx: &mut Context<Self>) {
        let (id, eraser) = (self.id, self.services.eraser.clone());
        let warrant = eraser.holds().grant(id, Ground::FailedExport).ok();
        let sweep = move || warrant.map(|warrant| eraser.sweep_partials(&warrant));
        self.block(ctx, sweep, move |this, swept| {
            Some(End::PartialsSwept(match swept {
                None => SweepEnd::Refused,
                Some(Ok(())) => {
                    this.services.space.release(id);
                    SweepEnd::Done
                }
                Some(Err(error)) => {
                    let wait = this.services.config.reaper.retry_min.0;
                    tracing::error!(job = %id, %error, ?wait, "the partial files of a failed export could not be removed");
                    telemetry::sweep_failed(error.errno());
                    SweepEnd::Failed
                }
            }))
        });
    }

    pub(super) fn await_retry(&mut self, after: SweepEnd, ctx: &mut Context<Self>) {
        let config = &self.services.config.reaper;
        let patience = match after {
            SweepEnd::Refused => config.interval.0,
            SweepEnd::Failed => config.retry_min.0,
            SweepEnd::Done => Duration::ZERO,
        };
        self.wait(ctx, tokio::time::sleep(patience), |_, ()| Some(End::RetryDue));
    }

    /// Unlinks the names of stuck writers.
    pub(super) fn sweep_early(&mut self, ctx: &mut Context<Self>) {
        let (id, eraser) = (self.id, self.services.eraser.clone());
        let warrant = eraser.holds().grant(id, Ground::Marked).ok();
        let sweep = move || warrant.map(|warrant| eraser.sweep_trash(vec![warrant]));
        self.block(ctx, sweep, move |this, swept| {
            let mut total = SweepCounts::default();
            let refused = swept.is_none();
            match swept {
                Some(Ok(results)) => {
                    for (_, (swept, result)) in results {
                        total += swept;
                        if let Err(error) = result {
                            tracing::warn!(job = %id, %error, "the names of a stuck writer could not be unlinked yet");
                        }
                    }
                }
                Some(Err(error)) => {
                    this.services.fatal.raise(&error.to_string());
                    return None;
                }
                None => {}
            }
            Some(End::SweptEarly { swept: total, refused })
        });
    }

    pub(super) fn find_mark(&mut self, ctx: &mut Context<Self>) {
        let (id, files) = (self.id, self.services.files.clone());
        let has_left = move |place| match files.open(id, place) {
            Err(error) if error.is_missing() => true,
            Err(error) => {
                tracing::warn!(job = %id, %error, "it cannot be told whether a marked directory was moved");
                false
            }
            Ok(_) => false,
        };
        let moved = move || [DirPlace::Building, DirPlace::Ready].into_iter().all(has_left);
        self.block(ctx, moved, |_, moved| Some(End::MarkFound { moved }));
    }

    pub(super) fn look_for_files(&mut self, ctx: &mut Context<Self>) {
        let (id, files) = (self.id, self.services.files.clone());
        let look = move || !files.open(id, DirPlace::Ready).is_err_and(|error| error.is_missing());
        self.block(ctx, look, |_, found| Some(End::FilesFound(found)));
    }
}
