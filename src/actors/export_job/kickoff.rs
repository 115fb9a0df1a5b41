//! A kick-off: the exporter's look at it, room, the directory, and the caller's answer (DESIGN
//! section 3).

use std::sync::Arc;

use actix::Context;
use tokio::sync::oneshot;

use super::super::{Services, SubmitError};
use super::ExportJob;
use crate::export::{CHECK_PATIENCE, CancelToken};
use crate::files::ExportDir;
use crate::hooks::HookStep;
use crate::job::life::{End, NewJob};
use crate::job::{ExportRequest, FailureReason, JobId, RequestSummary, StateName};
use crate::space::{NoRoom, SpaceClaim};
use crate::telemetry;
use crate::view::ExportProgress;

/// A kick-off that is not answered yet.
pub(super) struct PendingKickoff {
    /// Until its directory is made: from then on it is there, and not in memory (P13).
    pub request: Option<Arc<ExportRequest>>,
    pub reply: oneshot::Sender<Result<JobId, SubmitError>>,
    /// Why there is no job, if there is none.
    pub refusal: Option<SubmitError>,
}

impl ExportJob {
    pub(super) fn create(&mut self, ctx: &mut Context<Self>) {
        let Some(request) = self.kickoff.as_mut().and_then(|kickoff| kickoff.request.take()) else { return };
        let created = create(self.services.clone(), self.id, request, self.progress.clone());
        self.wait(ctx, created, |this, created| {
            Some(End::Created(match created? {
                Ok((dir, request)) => {
                    this.dir = Some(dir);
                    this.request = Some(Arc::new(RequestSummary::of(&request)));
                    let (tenant, owner) = (request.tenant.clone(), request.owner.clone());
                    Ok(NewJob { tenant, owner, submitted_at: request.submitted_at })
                }
                Err(refusal) => {
                    this.kickoff.as_mut()?.refusal = Some(refusal);
                    Err(())
                }
            }))
        });
    }

    pub(super) fn accept(&mut self) {
        self.services.hooks.reach(HookStep::QueuedCommitted);
        telemetry::job_reached(StateName::Queued.as_str());
        if let Some(kickoff) = self.kickoff.take() {
            // A caller that went away can still find the job, or let it expire.
            let _ = kickoff.reply.send(Ok(self.id));
        }
    }

    pub(super) fn refuse(&mut self) {
        if let Some(PendingKickoff { reply, refusal, .. }) = self.kickoff.take() {
            // A caller that went away needs no answer.
            let _ = reply.send(Err(refusal.unwrap_or(SubmitError::Failed)));
        }
    }
}

/// What became of a kick-off; `None` if the process ends.
type Created = Option<Result<(Arc<dyn ExportDir>, Arc<ExportRequest>), SubmitError>>;

async fn create(
    services: Arc<Services>,
    id: JobId,
    mut request: Arc<ExportRequest>,
    progress: Arc<ExportProgress>,
) -> Created {
    match check(&services, &request).await {
        Ok(estimate) => Arc::make_mut(&mut request).estimate = estimate,
        Err(refusal) => return Some(Err(refusal)),
    }
    let claim = SpaceClaim { tenant: request.tenant.clone(), progress };
    let (of, asked) = (services.clone(), request.clone());
    let made = tokio::task::spawn_blocking(move || {
        of.space.reserve(id, claim, asked.estimate)?;
        let made = of.files.create(id, &asked).inspect_err(|_| {
            // Nobody was told of it; what cannot be removed now is left to the reaper as an
            // orphan. Only a failed fsync is an error here, and that is final.
            if let Err(error) = of.eraser.discard(id) {
                of.fatal.raise(&error.to_string());
            }
            of.space.release(id);
        });
        Ok::<_, NoRoom>(made)
    });
    match made.await {
        Ok(Ok(Ok(dir))) => Some(Ok((dir, request))),
        Ok(Err(no_room)) => Some(Err(no_room.into())),
        Ok(Ok(Err(error))) => {
            tracing::error!(job = %id, %error, "a job's directory could not be made");
            if error.is_sync() {
                services.fatal.raise(&error.to_string());
                return None;
            }
            let retry_after = services.space.retry_after(&request.tenant);
            let full = error.is_full().then(|| NoRoom::Disk { retry_after }.into());
            Some(Err(full.unwrap_or(SubmitError::Failed)))
        }
        Err(panic) => {
            services.fatal.raise(&format!("panic in a job's task: {panic}"));
            None
        }
    }
}

/// The exporter's look at the request, and its estimate of the bytes.
async fn check(services: &Services, request: &Arc<ExportRequest>) -> Result<Option<u64>, SubmitError> {
    let exporter = services.exporters.of(&request.tenant).ok_or(SubmitError::UnknownTenant)?;
    let (asked, given_up) = (request.clone(), CancelToken::new());
    let cancel = given_up.clone();
    let check = tokio::task::spawn_blocking(move || exporter.check(&asked, &cancel));
    let estimate = match tokio::time::timeout(CHECK_PATIENCE, check).await {
        // Too late to be told: planning will meet it again.
        Err(_elapsed) => {
            given_up.cancel();
            Ok(None)
        }
        Ok(Ok(checked)) => checked.or_else(|error| error.reason().map_or(Ok(None), Err)),
        Ok(Err(_panic)) => Err(FailureReason::ExporterPanicked),
    };
    estimate.map_err(|reason| {
        tracing::info!(?reason, "a kick-off was refused");
        SubmitError::Refused(reason)
    })
}
