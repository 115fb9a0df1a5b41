//! Entries as R4 AuditEvents, for an audit repository. The types are those of R4's value set
//! `audit-event-type`: the ISO 21089 lifecycle events `destroy`, `hold` and `unhold`, and
//! DICOM's for what happens to the server itself.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Builder;

use super::{Entry, Head};
use crate::job::{JobId, Receipt};

const ISO_21089: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";

/// The name that this server has in its events.
const OBSERVER: &str = "Evanesce";

/// What the kinds of entries differ in.
struct Event {
    kind: Value,
    subtype: Option<Value>,
    action: &'static str,
    outcome: &'static str,
    began: Option<Timestamp>,
    /// Who asked; the server itself acts on its own if nobody did.
    by: Option<String>,
    job: Option<JobId>,
    details: Vec<(&'static str, String)>,
}

/// The AuditEvent of an entry at `head`. Its id is made of the entry's hash: the same entry
/// is the same resource in every export.
pub fn audit_event(entry: &Entry, head: &Head) -> Value {
    let Event { kind, subtype, action, outcome, began, by, job, mut details } = event(entry);
    details.push(("chain-count", head.count.to_string()));
    details.push(("chain-hash", head.hash.to_string()));
    let mut resource = json!({
        "resourceType": "AuditEvent",
        "id": id(head),
        "type": kind,
        "action": action,
        "recorded": entry.at(),
        "outcome": outcome,
        "agent": agents(by),
        "source": {
            "observer": {"display": OBSERVER},
            "type": [coding(SOURCE_TYPE, "4", "Application Server")],
        },
        "entity": [entity(job, &details)],
    });
    if let Some(subtype) = subtype {
        resource["subtype"] = json!([subtype]);
    }
    if let Some(began) = began {
        resource["period"] = json!({"start": began, "end": entry.at()});
    }
    resource
}

/// The id of an entry's AuditEvent: a UUID (version 8) of the first bytes of its hash.
fn id(head: &Head) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&head.hash.as_bytes()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

fn event(entry: &Entry) -> Event {
    let destroy = coding(ISO_21089, "destroy", "Destroy/Delete Record Lifecycle Event");
    let activity = coding(DICOM, "110100", "Application Activity");
    let base = Event {
        kind: activity,
        subtype: None,
        action: "E",
        outcome: "0",
        began: None,
        by: None,
        job: entry.job(),
        details: Vec::new(),
    };
    match entry {
        Entry::Erasure(receipt) => Event {
            kind: destroy,
            action: "D",
            began: Some(receipt.marked_at),
            by: receipt.by.as_ref().map(ToString::to_string),
            details: erasure_details(receipt),
            ..base
        },
        Entry::Hold(hold) => Event {
            kind: coding(ISO_21089, "hold", "Add Legal Hold Record Lifecycle Event"),
            action: "U",
            by: Some(hold.by.clone()),
            details: vec![("reason", hold.reason.clone())],
            ..base
        },
        Entry::Release { by, .. } => Event {
            kind: coding(ISO_21089, "unhold", "Remove Legal Hold Record Lifecycle Event"),
            action: "U",
            by: Some(by.clone()),
            ..base
        },
        Entry::Pause(pause) => Event {
            subtype: Some(coding(DICOM, "110121", "Application Stop")),
            by: Some(pause.by.clone()),
            details: vec![("reaper", "paused".into()), ("reason", pause.reason.clone())],
            ..base
        },
        Entry::Resume { by, .. } => Event {
            subtype: Some(coding(DICOM, "110120", "Application Start")),
            by: Some(by.clone()),
            details: vec![("reaper", "resumed".into())],
            ..base
        },
        Entry::Prune { cut, .. } => Event {
            kind: destroy,
            action: "D",
            details: vec![("pruned-count", cut.count.to_string()), ("pruned-hash", cut.hash.to_string())],
            ..base
        },
        Entry::Gap { expected, found, .. } => Event {
            kind: coding(DICOM, "110113", "Security Alert"),
            outcome: "8",
            details: vec![
                ("expected-count", expected.count.to_string()),
                ("expected-hash", expected.hash.to_string()),
                ("found-count", found.count.to_string()),
                ("found-hash", found.hash.to_string()),
            ],
            ..base
        },
    }
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

fn agents(by: Option<String>) -> Value {
    let server = json!({
        "type": {"coding": [coding(DICOM, "110150", "Application")]},
        "who": {"display": OBSERVER},
        "requestor": by.is_none(),
    });
    match by {
        Some(by) => json!([{"who": {"identifier": {"value": by}}, "requestor": true}, server]),
        None => json!([server]),
    }
}

fn entity(job: Option<JobId>, details: &[(&str, String)]) -> Value {
    let details: Vec<_> =
        details.iter().map(|(name, value)| json!({"type": name, "valueString": value})).collect();
    let mut entity = json!({"type": coding(ENTITY_TYPE, "2", "System Object"), "detail": details});
    match job {
        Some(job) => {
            entity["what"] =
                json!({"identifier": {"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{job}")}});
            entity["role"] = coding(OBJECT_ROLE, "20", "Job");
        }
        None => entity["role"] = coding(OBJECT_ROLE, "13", "Security Resource"),
    }
    entity
}

fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({"system": system, "code": code, "display": display})
}
