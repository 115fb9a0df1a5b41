//! Which changes of a job are audit events: its end, its failure and its mark. Kick-offs,
//! downloads and deletions are recorded where their requests are answered, erasures and orders where
//! the chain of receipts is.

use crate::audit::AuditedEvent;
use crate::job::{JobRecord, JobState};
use crate::store::DurableChange;

/// The event of a change, to be recorded when the change is durable.
pub fn event_of(change: &DurableChange) -> Option<AuditedEvent> {
    match change {
        DurableChange::Complete(record, _) | DurableChange::Update(record) | DurableChange::Mark(record) => {
            of_record(record)
        }
        DurableChange::MarkNew(published) => of_record(&published.record),
        _ => None,
    }
}

fn of_record(record: &JobRecord) -> Option<AuditedEvent> {
    let (job, tenant, owner) = (record.id, record.tenant.clone(), record.owner.clone());
    match &record.state {
        JobState::Complete(completion) => {
            let (files, resources, bytes) = (completion.files, completion.resources, completion.bytes);
            Some(AuditedEvent::Completed { job, tenant, owner, files, resources, bytes })
        }
        JobState::Failed(failure) => {
            Some(AuditedEvent::Failed { job, tenant, owner, reason: failure.reason })
        }
        // The first record of a mark; later ones tell of failed sweeps.
        JobState::Marked(mark) if mark.failure.is_none() => {
            let (reason, by, request_id) = (mark.reason, mark.by.clone(), mark.request_id.clone());
            Some(AuditedEvent::Marked { job, tenant, owner, reason, by, request_id })
        }
        _ => None,
    }
}
