//! Receipt entries as R4 AuditEvents, for an audit repository: ISO 21089's lifecycle events `destroy`,
//! `hold` and `unhold`, and DICOM's for what happens to the server itself.

use jiff::Timestamp;
use uuid::Builder;

use super::{ChainHead, ReceiptEntry};
use crate::fhir::audit_event::{AuditEvent, EventAction, EventDescription, EventOutcome, Requestor, codes};
use crate::job::Receipt;

/// Returns the AuditEvent of an entry at `head`. Its id is derived from the entry's hash, so that an
/// entry is the same resource in every export.
#[cfg(feature = "cli")]
pub fn audit_event(entry: &ReceiptEntry, head: &ChainHead) -> AuditEvent {
    let mut description = describe(entry);
    let chain = [("chain-count", head.count.to_string()), ("chain-hash", head.hash.to_string())];
    description.details.extend(chain);
    AuditEvent::new(id(head), entry.at(), description)
}

/// Returns the id of an entry's AuditEvent: a UUID (version 8) of the first bytes of its hash.
#[cfg(feature = "cli")]
fn id(head: &ChainHead) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&head.hash.as_bytes()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// Describes an entry in FHIR's words.
pub fn describe(entry: &ReceiptEntry) -> EventDescription {
    let activity = EventDescription::new(codes::ACTIVITY, EventAction::Execute);
    let description = match entry {
        ReceiptEntry::Erasure(receipt) => EventDescription {
            began: Some(receipt.marked_at),
            by: receipt.by.as_ref().map(Requestor::named).unwrap_or_default(),
            details: erasure_details(receipt),
            ..EventDescription::new(codes::DESTROY, EventAction::Delete)
        },
        ReceiptEntry::Hold(hold) => EventDescription {
            by: Requestor::named(&hold.by),
            details: vec![("reason", hold.reason.clone())],
            ..EventDescription::new(codes::HOLD, EventAction::Update)
        },
        ReceiptEntry::Release { by, .. } => EventDescription {
            by: Requestor::named(by),
            ..EventDescription::new(codes::UNHOLD, EventAction::Update)
        },
        ReceiptEntry::Pause(pause) => EventDescription {
            subtype: Some(codes::STOP),
            by: Requestor::named(&pause.by),
            details: vec![("reaper", "paused".into()), ("reason", pause.reason.clone())],
            ..activity
        },
        ReceiptEntry::Resume { by, .. } => EventDescription {
            subtype: Some(codes::START),
            by: Requestor::named(by),
            details: vec![("reaper", "resumed".into())],
            ..activity
        },
        ReceiptEntry::Prune { cut, .. } => EventDescription {
            details: vec![("pruned-count", cut.count.to_string()), ("pruned-hash", cut.hash.to_string())],
            ..EventDescription::new(codes::DESTROY, EventAction::Delete)
        },
        ReceiptEntry::Epoch { epoch, .. } => EventDescription {
            details: vec![("epoch", epoch.to_string())],
            ..EventDescription::new(codes::DESTROY, EventAction::Delete)
        },
        ReceiptEntry::Gap { expected, found, .. } => EventDescription {
            outcome: EventOutcome::SeriousFailure,
            details: vec![
                ("expected-count", expected.count.to_string()),
                ("expected-hash", expected.hash.to_string()),
                ("found-count", found.count.to_string()),
                ("found-hash", found.hash.to_string()),
            ],
            ..EventDescription::new(codes::ALERT, EventAction::Execute)
        },
    };
    EventDescription { job: entry.job(), ..description }
}

fn erasure_details(receipt: &Receipt) -> Vec<(&'static str, String)> {
    let mut details = vec![
        ("tenant", receipt.tenant.to_string()),
        ("owner", receipt.owner.to_string()),
        ("reason", receipt.reason.as_str().into()),
        ("was", receipt.was.to_string()),
        ("submitted", receipt.submitted_at.to_string()),
        ("files", receipt.files.to_string()),
        ("bytes", receipt.bytes.to_string()),
        ("planted-links", receipt.planted_links.to_string()),
        ("failed-sweeps", receipt.failed_sweeps.to_string()),
        ("fenced-writers", receipt.fenced_writers.to_string()),
        ("cut-downloads", receipt.cut_downloads.to_string()),
        ("drained-downloads", receipt.drained_downloads.to_string()),
        ("resumed", receipt.resumed.to_string()),
    ];
    let instant = |at: Timestamp| at.to_string();
    let optional = [
        ("request", receipt.request_id.clone()),
        ("hidden", receipt.hidden_at.map(instant)),
        ("last-byte", receipt.last_byte_at.map(instant)),
        ("last-error", receipt.last_error.clone()),
    ];
    details.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    details
}
