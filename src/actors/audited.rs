//! Which changes of a job are audit events: its end, its failure and its mark. Kick-offs,
//! downloads and deletions are recorded where their requests are answered, erasures and orders where
//! the chain of receipts is.

use crate::audit::Event;
use crate::job::{JobRecord, JobState};
use crate::store::Change;

/// The event of a change, to be recorded when the change is durable.
pub fn event_of(change: &Change) -> Option<Event> {
    match change {
        Change::Complete(record, _) | Change::Update(record) | Change::Mark(record) => of_record(record),
        Change::MarkNew(published) => of_record(&published.record),
        _ => None,
    }
}

fn of_record(record: &JobRecord) -> Option<Event> {
    let (job, tenant, owner) = (record.id, record.tenant.clone(), record.owner.clone());
    match &record.state {
        JobState::Complete(completion) => {
            let (files, resources, bytes) = (completion.files, completion.resources, completion.bytes);
            Some(Event::Completed { job, tenant, owner, files, resources, bytes })
        }
        JobState::Failed(failure) => Some(Event::Failed { job, tenant, owner, reason: failure.reason }),
        // The first record of a mark; later ones tell of failed sweeps.
        JobState::Marked(mark) if mark.failure.is_none() => {
            let (reason, by, request_id) = (mark.reason, mark.by.clone(), mark.request_id.clone());
            Some(Event::Marked { job, tenant, owner, reason, by, request_id })
        }
        _ => None,
    }
}
