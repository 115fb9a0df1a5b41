//! From the request, or from the documents of an interrupted export, to the plan.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actix::Context;

use super::super::planners::Place;
use super::ExportJob;
use crate::export::{ExportError, Exporter, Plan, read_request};
use crate::files::{self, DocumentKind, ExportDir, FilesError};
use crate::hooks::HookStep;
use crate::job::life::{End, PlanShape, Turn};
use crate::job::{ExportRequest, FailureReason, OutputFile, RequestSummary};
use crate::space::NoRoom;

/// What a task leaves for the next one; dropped if there is none.
pub(super) enum Handover {
    Nothing,
    Turn(Place),
    Request(Place, Box<ExportRequest>),
    Plan(Plan),
}

/// The directory of an interrupted export, and what could be read of its request and its plan.
type FoundDocuments = (Arc<dyn ExportDir>, Option<RequestSummary>, Option<Plan>);

impl ExportJob {
    /// The exporter of the job's tenant, if there still is such a tenant.
    pub(super) fn exporter(&self) -> Option<Arc<dyn Exporter>> {
        self.services.exporters.of(&self.life.record()?.tenant)
    }

    /// The reason of a failure, which is told to the operator unless the job has ended meanwhile:
    /// one that was marked has lost its directory to `trash/`, and that is no failure.
    pub(super) fn reason(&self, error: &ExportError) -> Option<FailureReason> {
        let reason = error.reason();
        if reason.is_some() && self.life.is_active() {
            tracing::error!(job = %self.id, %error, "an export failed");
        }
        reason
    }

    pub(super) fn take_turn(&mut self, turn: Turn, ctx: &mut Context<Self>) {
        let planners = self.services.planners.clone();
        let place = async move {
            match turn {
                Turn::Plan => planners.place().await,
                Turn::Resume => planners.resuming().await,
            }
        };
        self.wait(ctx, place, move |this, place| {
            this.handover = Handover::Turn(place);
            Some(End::TurnCame(turn))
        });
    }

    fn taken_turn(&mut self) -> Option<Place> {
        match std::mem::replace(&mut self.handover, Handover::Nothing) {
            Handover::Turn(place) => Some(place),
            _ => None,
        }
    }

    pub(super) fn read_request(&mut self, ctx: &mut Context<Self>) {
        let (place, dir) = (self.taken_turn(), self.dir.clone());
        let read = move || dir.map(|dir| read_request(&*dir));
        self.block(ctx, read, |this, request| {
            let read = match request.expect("a job that is planned has its directory") {
                Ok(request) => {
                    this.handover = Handover::Request(place?, Box::new(request));
                    Ok(())
                }
                Err(error) => Err(this.reason(&error)),
            };
            Some(End::RequestRead(read))
        });
    }

    pub(super) fn make_plan(&mut self, ctx: &mut Context<Self>) {
        let handover = std::mem::replace(&mut self.handover, Handover::Nothing);
        let Handover::Request(place, request) = handover else { return };
        // A job without an exporter is refused, or has failed, before it comes here.
        let Some(exporter) = self.exporter() else { return };
        // The exporter may take long over it and holds nothing of ours meanwhile.
        let cancel = self.over.clone();
        let plan = move || catch_unwind(AssertUnwindSafe(|| exporter.plan(&request, &cancel)));
        let (planners, id, over) = (self.services.planners.clone(), self.id, self.over.clone());
        let deadline = self.services.config.export.cancel_deadline.0;
        let planned = async move { planners.run(place, id, plan, over, deadline).await };
        self.wait(ctx, planned, move |this, planned| {
            let made = match planned {
                Ok(Ok(Ok(plan))) => {
                    this.handover = Handover::Plan(plan);
                    Ok(())
                }
                Ok(Ok(Err(error))) => Err(this.reason(&error)),
                Ok(Err(_panic)) => Err(Some(FailureReason::ExporterPanicked)),
                Err(panic) => {
                    this.services.fatal.raise(&format!("panic in a job's task: {panic}"));
                    return None;
                }
            };
            Some(End::PlanMade(made))
        });
    }

    pub(super) fn write_plan(&mut self, ctx: &mut Context<Self>) {
        let handover = std::mem::replace(&mut self.handover, Handover::Nothing);
        let (Handover::Plan(plan), Some(dir)) = (handover, self.dir.clone()) else { return };
        let (id, bytes, space) = (self.id, plan.bytes, self.services.space.clone());
        // A plan may be many megabytes: its text is made where blocking is allowed.
        let write = move || {
            bytes.map_or(Ok(()), |bytes| space.plan(id, bytes))?;
            let content = DocumentKind::Plan.content(&plan);
            let written = content.and_then(|content| dir.write_document(DocumentKind::Plan, &content));
            Ok::<_, NoRoom>(written.map(|()| plan))
        };
        self.block(ctx, write, |this, written| {
            let written = match written {
                Ok(Ok(plan)) => {
                    this.services.hooks.reach(HookStep::PlanWritten);
                    Ok(this.keep_plan(plan))
                }
                Ok(Err(error)) => Err(this.reason(&error.into())),
                Err(_no_room) => Err(Some(FailureReason::StorageFull)),
            };
            Some(End::PlanWritten(written))
        });
    }

    /// Keeps the plan until its parts go to the workers, if that is still to come.
    fn keep_plan(&mut self, plan: Plan) -> PlanShape {
        let shape = PlanShape { parts: plan.parts.len(), transaction_time: plan.transaction_time };
        self.plan = Some(plan).filter(|_| self.life.is_active());
        shape
    }

    /// Takes an interrupted export up again: sealed parts are kept, partial files removed.
    pub(super) fn read_documents(&mut self, ctx: &mut Context<Self>) {
        let (place, id, services) = (self.taken_turn(), self.id, self.services.clone());
        let sealed: Vec<_> = self.sealed.iter().flat_map(|part| part.files.clone()).collect();
        let read = move || {
            let dir = services.files.open(id, files::DirPlace::Building)?;
            for file in &sealed {
                dir.check_file(&file.stored_name(), file.stored_bytes())?;
            }
            let keep: Vec<_> = sealed.iter().map(OutputFile::stored_name).collect();
            services.eraser.remove_unrecorded(id, &*dir, &keep)?;
            let request = dir.read_document(DocumentKind::Request)?;
            let request = request.and_then(|text| serde_json::from_slice::<ExportRequest>(&text).ok());
            let summary = request.map(|request| RequestSummary::of(&request));
            let plan = dir.read_document(DocumentKind::Plan)?;
            let plan = plan.and_then(|text| serde_json::from_slice::<Plan>(&text).ok());
            Ok::<_, FilesError>((dir, summary, plan))
        };
        self.block(ctx, read, |this, found| {
            let _place = place;
            Some(End::DocumentsRead(this.documents_read(found)))
        });
    }

    fn documents_read(
        &mut self,
        found: Result<FoundDocuments, FilesError>,
    ) -> Result<Option<PlanShape>, FailureReason> {
        let (dir, summary, plan) = found.map_err(|error| {
            tracing::error!(job = %self.id, %error, "an interrupted export cannot be resumed");
            let lost = error.is_missing().then_some(FailureReason::DirectoryLost);
            let reason = lost.or_else(|| ExportError::from(error).reason());
            reason.unwrap_or(FailureReason::StorageFailed)
        })?;
        let summary = summary.ok_or_else(|| {
            tracing::error!(job = %self.id, "request.json is missing or damaged");
            FailureReason::DirectoryLost
        })?;
        if self.exporter().is_none() {
            tracing::error!(job = %self.id, "the tenant of an interrupted export is not there any more");
            return Err(FailureReason::TenantRemoved);
        }
        if self.life.is_active() {
            self.dir = Some(dir);
            self.request = Some(Arc::new(summary));
        }
        Ok(plan.map(|plan| {
            if let Some(bytes) = plan.bytes {
                self.services.space.resume(self.id, bytes);
            }
            self.keep_plan(plan)
        }))
    }
}
