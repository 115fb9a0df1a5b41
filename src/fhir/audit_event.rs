//! R4 AuditEvents as far as this server makes them, of receipts and of the audit log. Their types
//! are those of R4's value set `audit-event-type`. They hold ids, instants, counts and reasons, and
//! nothing that may name a patient (P12).

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::job::JobId;

const ISO_21089: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";

/// This server's name in its events.
const OBSERVER: &str = "Evanesce";

/// A code of a code system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EventCoding {
    system: &'static str,
    code: &'static str,
    display: &'static str,
}

const fn coding(system: &'static str, code: &'static str, display: &'static str) -> EventCoding {
    EventCoding { system, code, display }
}

/// The subjects of events: ISO 21089's lifecycle of records, DICOM's programs and security.
pub mod codes {
    use super::{DICOM, EventCoding, ISO_21089, coding};

    /// Files are gone.
    pub const DESTROY: EventCoding = coding(ISO_21089, "destroy", "Destroy/Delete Record Lifecycle Event");
    /// Files must not be used any more.
    pub const DEPRECATE: EventCoding = coding(ISO_21089, "deprecate", "Deprecate Record Lifecycle Event");
    /// A job is put under a hold.
    pub const HOLD: EventCoding = coding(ISO_21089, "hold", "Add Legal Hold Record Lifecycle Event");
    /// A job is released from a hold.
    pub const UNHOLD: EventCoding = coding(ISO_21089, "unhold", "Remove Legal Hold Record Lifecycle Event");
    /// Something happened to the server itself.
    pub const ACTIVITY: EventCoding = coding(DICOM, "110100", "Application Activity");
    /// The audit log was used.
    pub const AUDIT_LOG: EventCoding = coding(DICOM, "110101", "Audit Log Used");
    /// Data leaves the server.
    pub const EXPORT: EventCoding = coding(DICOM, "110106", "Export");
    /// Somebody should look.
    pub const ALERT: EventCoding = coding(DICOM, "110113", "Security Alert");
    /// A client authenticates.
    pub const AUTHENTICATION: EventCoding = coding(DICOM, "110114", "User Authentication");
    /// A program starts.
    pub const START: EventCoding = coding(DICOM, "110120", "Application Start");
    /// A program stops.
    pub const STOP: EventCoding = coding(DICOM, "110121", "Application Stop");
    /// Recording was interrupted.
    pub const RECORDING_STOPPED: EventCoding = coding(DICOM, "110133", "Audit Recording Stopped");
    /// Recording goes on.
    pub const RECORDING_STARTED: EventCoding = coding(DICOM, "110134", "Audit Recording Started");
}

/// The subjects of requests: DICOM's security, and FHIR's operations.
#[cfg(feature = "server")]
pub mod request_codes {
    use super::{DICOM, EventCoding, coding};

    const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
    const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";

    /// A client got its token.
    pub const LOGIN: EventCoding = coding(DICOM, "110122", "Login");
    /// A security setting was changed.
    pub const CONFIGURATION: EventCoding = coding(DICOM, "110129", "Security Configuration");
    /// A client tried what it may not do.
    pub const RESTRICTED: EventCoding = coding(DICOM, "110132", "Use of Restricted Function");
    /// A request of FHIR's API.
    pub const REST: EventCoding = coding(EVENT_TYPE, "rest", "RESTful Operation");
    /// A named operation, such as a kick-off.
    pub const OPERATION: EventCoding = coding(INTERACTION, "operation", "operation");
    /// A resource was read.
    pub const READ: EventCoding = coding(INTERACTION, "read", "read");
    /// A resource was deleted.
    pub const DELETE: EventCoding = coding(INTERACTION, "delete", "delete");
}

/// R4's `audit-event-action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the standard's names")]
pub enum EventAction {
    #[cfg(feature = "server")]
    #[serde(rename = "R")]
    Read,
    #[serde(rename = "U")]
    Update,
    #[serde(rename = "D")]
    Delete,
    #[serde(rename = "E")]
    Execute,
}

/// R4's `audit-event-outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the standard's names")]
pub enum EventOutcome {
    #[serde(rename = "0")]
    Success,
    #[serde(rename = "4")]
    MinorFailure,
    #[serde(rename = "8")]
    SeriousFailure,
}

/// Who asked for something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Requestor {
    /// Nobody: time passed, or the server acted on its own.
    #[default]
    Server,
    /// A client or an operator.
    Named {
        /// Its id or user name, if known.
        id: Option<String>,
        /// Where the request came from.
        address: Option<IpAddr>,
    },
}

impl Requestor {
    /// Creates a requestor with a known name and no address.
    pub fn named(id: impl ToString) -> Self {
        Self::Named { id: Some(id.to_string()), address: None }
    }
}

/// What distinguishes events.
#[derive(Debug, Clone)]
pub struct EventDescription {
    /// The type of the event.
    pub kind: EventCoding,
    /// The subtype.
    pub subtype: Option<EventCoding>,
    /// What was done.
    pub action: EventAction,
    /// How it went.
    pub outcome: EventOutcome,
    /// When it began, if it took a while.
    pub began: Option<Timestamp>,
    /// Who asked.
    pub by: Requestor,
    /// The job.
    pub job: Option<JobId>,
    /// Further details, by name. A detail without a text is left out, because R4 has no empty ones.
    pub details: Vec<(&'static str, String)>,
}

impl EventDescription {
    /// Describes an event that went well, without details.
    pub fn new(kind: EventCoding, action: EventAction) -> Self {
        let (subtype, began, job) = (None, None, None);
        let (outcome, by, details) = (EventOutcome::Success, Requestor::Server, Vec::new());
        Self { kind, subtype, action, outcome, began, by, job, details }
    }
}

/// An AuditEvent. Its JSON ends with the details of its one entity.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    resource_type: &'static str,
    id: String,
    #[serde(rename = "type")]
    kind: EventCoding,
    #[serde(skip_serializing_if = "Option::is_none")]
    subtype: Option<[EventCoding; 1]>,
    action: EventAction,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<EventPeriod>,
    recorded: Timestamp,
    outcome: EventOutcome,
    agent: Vec<EventAgent>,
    source: EventSource,
    entity: [EventEntity; 1],
}

#[derive(Debug, Clone, Serialize)]
struct EventPeriod {
    start: Timestamp,
    end: Timestamp,
}

#[derive(Debug, Clone, Serialize)]
struct EventAgent {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<EventConcept>,
    who: EventReference,
    requestor: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<AgentNetwork>,
}

#[derive(Debug, Clone, Serialize)]
struct EventConcept {
    coding: [EventCoding; 1],
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
enum EventReference {
    Identifier(EventIdentifier),
    Display(&'static str),
}

#[derive(Debug, Clone, Serialize)]
struct EventIdentifier {
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'static str>,
    value: String,
}

#[derive(Debug, Clone, Serialize)]
struct AgentNetwork {
    address: IpAddr,
    /// `2`: an IP address.
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Debug, Clone, Serialize)]
struct EventSource {
    observer: EventReference,
    #[serde(rename = "type")]
    kind: [EventCoding; 1],
}

#[derive(Debug, Clone, Serialize)]
struct EventEntity {
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<EventReference>,
    #[serde(rename = "type")]
    kind: EventCoding,
    role: EventCoding,
    detail: Vec<EntityDetail>,
}

#[derive(Debug, Clone, Serialize)]
struct EntityDetail {
    #[serde(rename = "type")]
    name: &'static str,
    #[serde(rename = "valueString")]
    value: String,
}

impl AuditEvent {
    /// Creates the event with this id, recorded at that instant.
    pub fn new(id: String, recorded: Timestamp, description: EventDescription) -> Self {
        let EventDescription { kind, subtype, action, outcome, began, by, job, details } = description;
        Self {
            resource_type: "AuditEvent",
            id,
            kind,
            subtype: subtype.map(|subtype| [subtype]),
            action,
            period: began.map(|start| EventPeriod { start, end: recorded }),
            recorded,
            outcome,
            agent: agents(by),
            source: EventSource {
                observer: EventReference::Display(OBSERVER),
                kind: [coding(SOURCE_TYPE, "4", "Application Server")],
            },
            entity: [entity(job, details)],
        }
    }

    /// Returns the event's id.
    #[cfg(feature = "cli")]
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn agents(by: Requestor) -> Vec<EventAgent> {
    let server = EventAgent {
        kind: Some(EventConcept { coding: [coding(DICOM, "110150", "Application")] }),
        who: EventReference::Display(OBSERVER),
        requestor: by == Requestor::Server,
        network: None,
    };
    let Requestor::Named { id, address } = by else { return vec![server] };
    let who = match id {
        Some(value) => EventReference::Identifier(EventIdentifier { system: None, value }),
        None => EventReference::Display("unknown"),
    };
    let network = address.map(|address| AgentNetwork { address, kind: "2" });
    vec![EventAgent { kind: None, who, requestor: true, network }, server]
}

fn entity(job: Option<JobId>, details: Vec<(&'static str, String)>) -> EventEntity {
    let details = details.into_iter().filter(|(_, value)| !value.is_empty());
    let urn = |job: JobId| {
        let value = format!("urn:uuid:{job}");
        EventReference::Identifier(EventIdentifier { system: Some("urn:ietf:rfc:3986"), value })
    };
    EventEntity {
        what: job.map(urn),
        kind: coding(ENTITY_TYPE, "2", "System Object"),
        role: match job {
            Some(_) => coding(OBJECT_ROLE, "20", "Job"),
            None => coding(OBJECT_ROLE, "13", "Security Resource"),
        },
        detail: details.map(|(name, value)| EntityDetail { name, value }).collect(),
    }
}
