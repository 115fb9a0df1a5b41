//! From the parts to the sealed directory.

use std::collections::HashSet;
use std::sync::Arc;

use actix::{AsyncContext, Context};

use super::ExportJob;
use crate::export::Work;
use crate::files::{DirPlace, DocumentKind};
use crate::hooks::HookStep;
use crate::job::life::End;
use crate::job::{Completion, JobDocument, JobRecord, JobState, StateName};

impl ExportJob {
    pub(super) fn run_parts(&mut self, ctx: &mut Context<Self>) {
        let Some(exporter) = self.exporter() else { return };
        let (Some(record), Some(request)) = (self.life.record(), &self.request) else { return };
        let (Some(plan), Some(dir)) = (&mut self.plan, &self.dir) else { return };
        // They may be many megabytes: the workers get them, nobody keeps another copy.
        let parts = std::mem::take(&mut plan.parts);
        self.partial.plan(parts.len());
        let addr = ctx.address();
        let limits = &self.services.limits;
        let report = move |done| addr.do_send(done);
        let (tenant, progress) = (record.tenant.clone(), self.progress.clone());
        let work = Work::new(self.id, tenant, exporter, dir.clone(), limits, progress, report);
        let work = Arc::new(work.within(&request.access));
        self.work = Some(work.clone());
        let sealed: HashSet<_> = self.sealed.iter().map(|part| part.index).collect();
        self.progress.plan(parts.iter().map(|part| part.weight).fold(0, u64::saturating_add));
        let (sealed, open): (Vec<_>, Vec<_>) = (0u32..).zip(parts).partition(|(n, _)| sealed.contains(n));
        self.progress.advance(sealed.iter().map(|(_, part)| part.weight).fold(0, u64::saturating_add));
        self.services.pool.enqueue(work, open);
    }

    /// Writes what the record is going to say.
    pub(super) fn write_job_json(&mut self, record: JobRecord, ctx: &mut Context<Self>) {
        let (id, files, of) = (self.id, self.services.files.clone(), record.state.name());
        self.sealed.sort_by_key(|part| part.index);
        let finishing = match record.state {
            JobState::Finishing { transaction_time } => {
                Some(Completion::of(&self.sealed, transaction_time, self.services.clock.now()))
            }
            _ => None,
        };
        let state = finishing.clone().map_or(record.state.clone(), JobState::Complete);
        let parts = if finishing.is_some() { self.sealed.clone() } else { Vec::new() };
        let document = JobDocument { record: JobRecord { state, ..record }, parts };
        let write = move || {
            let content = DocumentKind::Job.content(&document)?;
            files.open(id, DirPlace::Building)?.write_document(DocumentKind::Job, &content)
        };
        self.block(ctx, write, move |this, written| {
            let written = match written {
                Err(error) if of != StateName::Failed => Err(this.reason(&error.into())),
                written => {
                    if let Err(error) = written {
                        tracing::warn!(job = %id, %error, "the failure could not be noted in the job's directory");
                    }
                    this.services.hooks.reach(HookStep::JobJsonWritten);
                    Ok(finishing)
                }
            };
            Some(End::JobJsonWritten { of, written })
        });
    }

    pub(super) fn move_to_ready(&mut self, completion: Completion, ctx: &mut Context<Self>) {
        let (id, files) = (self.id, self.services.files.clone());
        let rename = move || files.move_to_ready(id);
        self.block(ctx, rename, |this, moved| match moved {
            Ok(()) => Some(End::MovedToReady(Ok(completion))),
            Err(error) if error.is_sync() => {
                this.services.fatal.raise(&error.to_string());
                None
            }
            Err(error) => Some(End::MovedToReady(Err(this.reason(&error.into())))),
        });
    }
}
