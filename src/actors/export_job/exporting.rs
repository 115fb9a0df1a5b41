//! From the kick-off to the sealed directory: each task begins one thing elsewhere, and says what it came
//! to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actix::{AsyncContext, Context};

use super::{ActorMessage, ExportJob};
use crate::admission::{CreationError, JobCreator, PendingKickoff};
use crate::export::{ExportError, Exporter, PlanHandover, ResumedExport, read_request};
use crate::files::{DirPlace, DocumentKind};
use crate::hooks::HookStep;
use crate::job::life::{End, Turn};
use crate::job::{Completion, FailureReason, JobDocument, JobRecord, StateName};
use crate::space::NoRoom;

impl ExportJob {
    /// The exporter of the job's tenant, if there still is such a tenant.
    fn exporter(&self) -> Option<Arc<dyn Exporter>> {
        self.services.exporters.of(&self.life.record()?.tenant)
    }

    fn reason(&self, error: impl Into<ExportError>) -> Option<FailureReason> {
        self.session.reason(&error.into(), self.life.is_active())
    }

    pub(super) fn create(&mut self, ctx: &mut Context<Self>) {
        let Some(request) = self.kickoff.as_mut().and_then(PendingKickoff::take_request) else { return };
        let creator = JobCreator {
            exporter: self.services.exporters.of(&request.tenant),
            space: self.services.space.clone(),
            files: self.services.files.clone(),
            eraser: self.services.eraser.clone(),
        };
        let created = creator.create(self.id, request, self.session.progress());
        self.wait(ctx, created, |this, created| {
            Some(End::Created(match created {
                Ok(created) => {
                    this.session.open(created.dir, created.request);
                    Ok(created.record)
                }
                Err(CreationError::Refused(refusal)) => {
                    this.kickoff.as_mut()?.note_refusal(refusal);
                    Err(())
                }
                Err(CreationError::Fatal(reason)) => return this.give_up(reason),
            }))
        });
    }

    pub(super) fn take_turn(&mut self, turn: Turn, ctx: &mut Context<Self>) {
        self.wait(ctx, self.services.plans.turn(turn), move |this, taken| {
            this.session.handover = PlanHandover::Turn(taken);
            Some(End::TurnCame(turn))
        });
    }

    pub(super) fn read_request(&mut self, ctx: &mut Context<Self>) {
        let (Some(turn), Some(dir)) = (self.session.turn(), self.session.dir()) else { return };
        self.block(
            ctx,
            move || read_request(&*dir),
            |this, request| {
                let kept = request.map(|request| {
                    this.session.handover = PlanHandover::Request(turn, Box::new(request));
                });
                Some(End::RequestRead(kept.map_err(|error| this.reason(error))))
            },
        );
    }

    pub(super) fn make_plan(&mut self, ctx: &mut Context<Self>) {
        let Some((turn, request)) = self.session.request_to_plan() else { return };
        // A job without an exporter is refused, or has failed, before it comes here.
        let Some(exporter) = self.exporter() else { return };
        // The exporter may take long over it and holds nothing of ours meanwhile.
        let (cancel, over) = (self.session.over(), self.session.over());
        let plan = move || catch_unwind(AssertUnwindSafe(|| exporter.plan(&request, &cancel)));
        let (plans, id, deadline) =
            (self.services.plans.clone(), self.id, self.services.config.export.cancel_deadline.0);
        let planned = async move { plans.run(turn, id, plan, over, deadline).await };
        self.wait(ctx, planned, move |this, planned| {
            let made = match planned {
                Ok(Ok(plan)) => plan.map_err(|error| this.reason(error)),
                Ok(Err(_panic)) => Err(Some(FailureReason::ExporterPanicked)),
                Err(panic) => return this.give_up(format!("panic in a job's task: {panic}")),
            };
            Some(End::PlanMade(made.map(|plan| this.session.handover = PlanHandover::Plan(plan))))
        });
    }

    pub(super) fn write_plan(&mut self, ctx: &mut Context<Self>) {
        let (Some(plan), Some(dir)) = (self.session.plan_to_write(), self.session.dir()) else { return };
        let (id, space) = (self.id, self.services.space.clone());
        // A plan may be many megabytes: its text is made where blocking is allowed.
        let write = move || {
            plan.bytes.map_or(Ok(()), |bytes| space.plan(id, bytes))?;
            let content = DocumentKind::Plan.content(&plan);
            let written = content.and_then(|content| dir.write_document(DocumentKind::Plan, &content));
            Ok::<_, NoRoom>(written.map(|()| plan))
        };
        self.block(ctx, write, |this, written| {
            let written = match written {
                Ok(Ok(plan)) => {
                    this.services.hooks.reach(HookStep::PlanWritten);
                    Ok(this.session.keep_plan(plan, this.life.is_active()))
                }
                Ok(Err(error)) => Err(this.reason(error)),
                Err(_no_room) => Err(Some(FailureReason::StorageFull)),
            };
            Some(End::PlanWritten(written))
        });
    }

    /// Takes an interrupted export up again.
    pub(super) fn read_documents(&mut self, ctx: &mut Context<Self>) {
        let (turn, id, services) = (self.session.turn(), self.id, self.services.clone());
        let (sealed, is_served) = (self.session.sealed().to_vec(), self.exporter().is_some());
        let read = move || ResumedExport::read(id, &*services.files, &services.eraser, &sealed, is_served);
        self.block(ctx, read, |this, found| {
            let _turn = turn;
            let found = found.map_err(|error| {
                tracing::error!(job = %this.id, %error, "an interrupted export cannot be resumed");
                error.reason()
            });
            Some(End::DocumentsRead(found.map(|found| {
                let bytes = found.plan.as_ref().and_then(|plan| plan.bytes);
                bytes.into_iter().for_each(|bytes| this.services.space.resume(this.id, bytes));
                this.session.resume(found, this.life.is_active())
            })))
        });
    }

    pub(super) fn run_parts(&mut self, ctx: &mut Context<Self>) {
        let (Some(exporter), Some(record)) = (self.exporter(), self.life.record()) else { return };
        let (addr, services) = (ctx.address(), &self.services);
        let report = move |done| addr.do_send(ActorMessage::PartDone(done));
        self.session.run_parts(record, exporter, &services.limits, &services.pool, report);
    }

    /// Writes what the record is going to say.
    pub(super) fn write_job_json(&mut self, record: JobRecord, ctx: &mut Context<Self>) {
        let (id, files, of) = (self.id, self.services.files.clone(), record.state.name());
        let document = JobDocument::at_end(record, self.session.sealed(), self.services.clock.now());
        let finishing = document.completion().cloned();
        let write = move || {
            let content = DocumentKind::Job.content(&document)?;
            files.open(id, DirPlace::Building)?.write_document(DocumentKind::Job, &content)
        };
        self.block(ctx, write, move |this, written| {
            let written = written.map_err(|error| {
                if of == StateName::Failed {
                    tracing::warn!(job = %id, %error, "the failure could not be noted in the job's directory");
                }
                this.reason(error)
            });
            this.services.hooks.reach(HookStep::JobJsonWritten);
            Some(End::JobJsonWritten { of, written: written.map(|()| finishing) })
        });
    }

    pub(super) fn move_to_ready(&mut self, completion: Completion, ctx: &mut Context<Self>) {
        let (id, files) = (self.id, self.services.files.clone());
        self.block(
            ctx,
            move || files.move_to_ready(id),
            |this, moved| match moved {
                Err(error) if error.is_sync() => this.give_up(error),
                moved => {
                    Some(End::MovedToReady(moved.map(|()| completion).map_err(|error| this.reason(error))))
                }
            },
        );
    }
}
