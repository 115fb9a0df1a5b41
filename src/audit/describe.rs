//! Events in FHIR's words: code, action, outcome and details.

use super::AuditedEvent;
use crate::chain::ChainHead;
use crate::fhir::audit_event::{EventAction, EventCoding, EventDescription, EventOutcome, Requestor, codes};
use crate::job::{ClientId, JobId, Receipt, TenantId};
use crate::receipts::{self, ReceiptEntry};

/// The detail with the kind of an event.
pub const KIND: &str = "kind";

/// The details with the head up to which a removal goes.
pub const REMOVED: [&str; 2] = ["removed-count", "removed-hash"];

/// The details with the place of an event's entry in the chain of receipts.
pub const RECEIPT: [&str; 2] = ["receipt-count", "receipt-hash"];

/// Describes an event.
pub fn describe(event: &AuditedEvent) -> EventDescription {
    let mut description = by_kind(event);
    description.details.insert(0, (KIND, event.kind().into()));
    description
}

fn by_kind(event: &AuditedEvent) -> EventDescription {
    let export =
        |tenant, owner, job| of_job(codes::EXPORT, EventAction::Execute, job, tenant).and("owner", owner);
    match event {
        AuditedEvent::Started => activity(codes::START).and("version", env!("CARGO_PKG_VERSION")),
        AuditedEvent::Stopped => activity(codes::STOP),
        #[cfg(feature = "server")]
        AuditedEvent::Request(event) => event.describe(),
        AuditedEvent::Completed { job, tenant, owner, files, resources, bytes } => {
            let event = export(tenant, owner, *job).and("files", files);
            event.and("resources", resources).and("bytes", bytes)
        }
        AuditedEvent::Failed { job, tenant, owner, reason } => {
            let name = serde_json::to_value(reason).expect("a name always serializes");
            refused(export(tenant, owner, *job)).and("reason", name.as_str().unwrap_or_default())
        }
        AuditedEvent::Marked { job, tenant, owner, reason, by, request_id } => {
            let event = of_job(codes::DEPRECATE, EventAction::Update, *job, tenant).and("owner", owner);
            let event = event.and("reason", reason.as_str());
            asked_by(event, by.as_ref(), request_id.as_deref())
        }
        AuditedEvent::Erased { receipt, head } => of_receipts(erasure(receipt), *head),
        AuditedEvent::Receipt { entry, head } => of_receipts(order(entry), *head),
        AuditedEvent::Rotated { .. }
        | AuditedEvent::Removed { .. }
        | AuditedEvent::Torn { .. }
        | AuditedEvent::Broken { .. }
        | AuditedEvent::Missing { .. }
        | AuditedEvent::Withheld { .. }
        | AuditedEvent::Lost { .. } => own(event),
    }
}

/// Describes an event of the log itself.
fn own(event: &AuditedEvent) -> EventDescription {
    let alert = |subtype| {
        let event = EventDescription::new(codes::ALERT, EventAction::Execute);
        EventDescription { subtype: Some(subtype), outcome: EventOutcome::SeriousFailure, ..event }
    };
    match event {
        AuditedEvent::Rotated { before, end } => {
            let event =
                EventDescription::new(codes::AUDIT_LOG, EventAction::Execute).and("file-before", before);
            event.and("count-before", end.count).and("hash-before", end.hash)
        }
        AuditedEvent::Removed { files, cut } => {
            let event = EventDescription::new(codes::DESTROY, EventAction::Delete).and("files", files);
            event.and(REMOVED[0], cut.count).and(REMOVED[1], cut.hash)
        }
        AuditedEvent::Torn { file, bytes } => {
            alert(codes::RECORDING_STOPPED).and("file", file).and("bytes", bytes)
        }
        AuditedEvent::Broken { file, line } => {
            alert(codes::RECORDING_STOPPED).and("file", file).and("line", line)
        }
        AuditedEvent::Missing { files, end } => {
            let event = alert(codes::RECORDING_STOPPED).and("files", files);
            event.and("count-before", end.count).and("hash-before", end.hash)
        }
        AuditedEvent::Withheld { events } => {
            refused(EventDescription::new(codes::AUTHENTICATION, EventAction::Execute)).and("events", events)
        }
        AuditedEvent::Lost { events } => alert(codes::RECORDING_STARTED).and("events", events),
        _ => EventDescription::new(codes::ACTIVITY, EventAction::Execute),
    }
}

/// Describes an operator's order, a pruning or a gap. The operator's reason is free text and stays in
/// the receipts.
fn order(entry: &ReceiptEntry) -> EventDescription {
    let action = match entry {
        ReceiptEntry::Erasure(receipt) => return erasure(receipt),
        ReceiptEntry::Hold(_) => "hold",
        ReceiptEntry::Release { .. } => "release",
        ReceiptEntry::Pause(_) => "reaper-pause",
        ReceiptEntry::Resume { .. } => "reaper-resume",
        ReceiptEntry::Prune { .. } => "prune",
        ReceiptEntry::Epoch { .. } => "epoch",
        ReceiptEntry::Gap { .. } => "gap",
    };
    EventDescription { details: Vec::new(), ..receipts::describe(entry) }.and("action", action)
}

fn erasure(receipt: &Receipt) -> EventDescription {
    let event = of_job(codes::DESTROY, EventAction::Delete, receipt.job, &receipt.tenant);
    let event = EventDescription { began: Some(receipt.marked_at), ..event };
    let event = event.and("owner", &receipt.owner).and("reason", receipt.reason.as_str());
    let event = event.and("files", receipt.files).and("bytes", receipt.bytes);
    asked_by(event, receipt.by.as_ref(), receipt.request_id.as_deref())
}

impl EventDescription {
    /// Adds a detail.
    pub(super) fn and(mut self, name: &'static str, value: impl ToString) -> Self {
        self.details.push((name, value.to_string()));
        self
    }
}

pub(super) fn about(event: EventDescription, job: JobId) -> EventDescription {
    EventDescription { job: Some(job), ..event }
}

pub(super) fn refused(event: EventDescription) -> EventDescription {
    EventDescription { outcome: EventOutcome::MinorFailure, ..event }
}

pub(super) fn activity(subtype: EventCoding) -> EventDescription {
    EventDescription {
        subtype: Some(subtype),
        ..EventDescription::new(codes::ACTIVITY, EventAction::Execute)
    }
}

fn of_job(code: EventCoding, action: EventAction, job: JobId, tenant: &TenantId) -> EventDescription {
    about(EventDescription::new(code, action), job).and("tenant", tenant)
}

fn asked_by(event: EventDescription, by: Option<&ClientId>, request_id: Option<&str>) -> EventDescription {
    let event = EventDescription { by: by.map(Requestor::named).unwrap_or_default(), ..event };
    request_id.into_iter().fold(event, |event, request| event.and("request", request))
}

fn of_receipts(event: EventDescription, head: ChainHead) -> EventDescription {
    event.and(RECEIPT[0], head.count).and(RECEIPT[1], head.hash)
}
