//! Events in FHIR's words: which code, which action, which outcome, and what is told by name.

use super::{Caller, Ending, Event};
use crate::chain::Head;
use crate::fhir::audit_event::{Action, Coding, Description, Outcome, Requestor, codes};
use crate::job::{ClientId, JobId, Receipt, TenantId};
use crate::receipts::Entry;

/// The detail by which events are told apart.
pub const KIND: &str = "kind";

/// The details by which a removal says up to where.
pub const REMOVED: [&str; 2] = ["removed-count", "removed-hash"];

/// The details by which an event says where its entry stands in the chain of receipts.
pub const RECEIPT: [&str; 2] = ["receipt-count", "receipt-hash"];

/// The description of an event.
pub fn describe(event: &Event) -> Description {
    let mut description = by_kind(event);
    description.details.insert(0, (KIND, event.kind().into()));
    description
}

fn by_kind(event: &Event) -> Description {
    let export = |tenant, owner, job| of_job(codes::EXPORT, Action::Execute, job, tenant).and("owner", owner);
    match event {
        Event::Started => activity(codes::START).and("version", env!("CARGO_PKG_VERSION")),
        Event::Stopped => activity(codes::STOP),
        Event::KickOff { caller, job, level } => {
            about(rest(caller, codes::OPERATION, Action::Execute), *job).and("level", level)
        }
        Event::KickOffRefused { caller, status, reason } => {
            let event = refused(rest(caller, codes::OPERATION, Action::Execute));
            event.and("status", status).and("reason", reason)
        }
        Event::Manifest { caller, job } => about(rest(caller, codes::READ, Action::Read), *job),
        Event::DownloadBegan { caller, job, file } => download(caller, *job, file),
        Event::DownloadEnded { caller, job, file, bytes, ending } => {
            let event = download(caller, *job, file).and("bytes", bytes).and("ending", ending.name());
            if *ending == Ending::Whole { event } else { refused(event) }
        }
        Event::Deleted { caller, job } => about(rest(caller, codes::DELETE, Action::Delete), *job),
        Event::TokenIssued { caller, scopes, expires_in } => {
            login(caller).and("scopes", scopes).and("expires-in", expires_in)
        }
        Event::TokenRefused { caller, reason } => refused(login(caller)).and("reason", reason),
        Event::AuthenticationRefused { caller, reason } => {
            let event = of_caller(caller, codes::AUTHENTICATION, None, Action::Execute);
            refused(event).and("reason", reason)
        }
        Event::ScopeRefused { caller, job, reason } => {
            let event = of_caller(caller, codes::ALERT, Some(codes::RESTRICTED), Action::Execute);
            Description { job: *job, ..refused(event) }.and("reason", reason)
        }
        Event::Completed { job, tenant, owner, files, resources, bytes } => {
            let event = export(tenant, owner, *job).and("files", files);
            event.and("resources", resources).and("bytes", bytes)
        }
        Event::Failed { job, tenant, owner, reason } => {
            let name = serde_json::to_value(reason).expect("a name always serializes");
            refused(export(tenant, owner, *job)).and("reason", name.as_str().unwrap_or_default())
        }
        Event::Marked { job, tenant, owner, reason, by, request_id } => {
            let event = of_job(codes::DEPRECATE, Action::Update, *job, tenant).and("owner", owner);
            let event = event.and("reason", reason.as_str());
            asked_by(event, by.as_ref(), request_id.as_deref())
        }
        Event::Erased { receipt, head } => of_receipts(erasure(receipt), *head),
        Event::Receipt { entry, head } => of_receipts(order(entry), *head),
        Event::Admin { action, by, job, client } => {
            let event = Description { by: Requestor::named(by), job: *job, ..activity(codes::CONFIGURATION) };
            let event = event.and("action", action);
            client.iter().fold(event, |event, client| event.and("client", client))
        }
        Event::Rotated { .. }
        | Event::Removed { .. }
        | Event::Torn { .. }
        | Event::Broken { .. }
        | Event::Missing { .. }
        | Event::Withheld { .. }
        | Event::Lost { .. } => own(event),
    }
}

/// What happened to the log itself.
fn own(event: &Event) -> Description {
    let alert = |subtype| {
        let event = Description::new(codes::ALERT, Action::Execute);
        Description { subtype: Some(subtype), outcome: Outcome::SeriousFailure, ..event }
    };
    match event {
        Event::Rotated { before, end } => {
            let event = Description::new(codes::AUDIT_LOG, Action::Execute).and("file-before", before);
            event.and("count-before", end.count).and("hash-before", end.hash)
        }
        Event::Removed { files, cut } => {
            let event = Description::new(codes::DESTROY, Action::Delete).and("files", files);
            event.and(REMOVED[0], cut.count).and(REMOVED[1], cut.hash)
        }
        Event::Torn { file, bytes } => alert(codes::RECORDING_STOPPED).and("file", file).and("bytes", bytes),
        Event::Broken { file, line } => alert(codes::RECORDING_STOPPED).and("file", file).and("line", line),
        Event::Missing { files, end } => {
            let event = alert(codes::RECORDING_STOPPED).and("files", files);
            event.and("count-before", end.count).and("hash-before", end.hash)
        }
        Event::Withheld { events } => {
            refused(Description::new(codes::AUTHENTICATION, Action::Execute)).and("events", events)
        }
        Event::Lost { events } => alert(codes::RECORDING_STARTED).and("events", events),
        _ => Description::new(codes::ACTIVITY, Action::Execute),
    }
}

/// An operator's order, a pruning or a gap. The operator's reason stays in the receipts: it is
/// free text.
fn order(entry: &Entry) -> Description {
    let (event, by, action) = match entry {
        Entry::Hold(hold) => (Description::new(codes::HOLD, Action::Update), Some(&hold.by), "hold"),
        Entry::Release { by, .. } => (Description::new(codes::UNHOLD, Action::Update), Some(by), "release"),
        Entry::Pause(pause) => (activity(codes::STOP), Some(&pause.by), "reaper-pause"),
        Entry::Resume { by, .. } => (activity(codes::START), Some(by), "reaper-resume"),
        Entry::Prune { .. } => (Description::new(codes::DESTROY, Action::Delete), None, "prune"),
        Entry::Gap { .. } => {
            let event = Description::new(codes::ALERT, Action::Execute);
            (Description { outcome: Outcome::SeriousFailure, ..event }, None, "gap")
        }
        Entry::Erasure(receipt) => return erasure(receipt),
    };
    let by = by.map(Requestor::named).unwrap_or_default();
    Description { by, job: entry.job(), ..event }.and("action", action)
}

fn erasure(receipt: &Receipt) -> Description {
    let event = of_job(codes::DESTROY, Action::Delete, receipt.job, &receipt.tenant);
    let event = Description { began: Some(receipt.marked_at), ..event };
    let event = event.and("owner", &receipt.owner).and("reason", receipt.reason.as_str());
    let event = event.and("files", receipt.files).and("bytes", receipt.bytes);
    asked_by(event, receipt.by.as_ref(), receipt.request_id.as_deref())
}

impl Description {
    /// One detail more.
    fn and(mut self, name: &'static str, value: impl ToString) -> Self {
        self.details.push((name, value.to_string()));
        self
    }
}

fn about(event: Description, job: JobId) -> Description {
    Description { job: Some(job), ..event }
}

fn refused(event: Description) -> Description {
    Description { outcome: Outcome::MinorFailure, ..event }
}

fn activity(subtype: Coding) -> Description {
    Description { subtype: Some(subtype), ..Description::new(codes::ACTIVITY, Action::Execute) }
}

fn of_job(code: Coding, action: Action, job: JobId, tenant: &TenantId) -> Description {
    about(Description::new(code, action), job).and("tenant", tenant)
}

fn asked_by(event: Description, by: Option<&ClientId>, request_id: Option<&str>) -> Description {
    let event = Description { by: by.map(Requestor::named).unwrap_or_default(), ..event };
    request_id.into_iter().fold(event, |event, request| event.and("request", request))
}

fn of_receipts(event: Description, head: Head) -> Description {
    event.and(RECEIPT[0], head.count).and(RECEIPT[1], head.hash)
}

fn rest(caller: &Caller, subtype: Coding, action: Action) -> Description {
    of_caller(caller, codes::REST, Some(subtype), action)
}

fn login(caller: &Caller) -> Description {
    of_caller(caller, codes::AUTHENTICATION, Some(codes::LOGIN), Action::Execute)
}

fn download(caller: &Caller, job: JobId, file: &str) -> Description {
    about(of_caller(caller, codes::EXPORT, Some(codes::READ), Action::Read), job).and("file", file)
}

fn of_caller(caller: &Caller, code: Coding, subtype: Option<Coding>, action: Action) -> Description {
    let id = caller.client.as_ref().map(ToString::to_string);
    let by = Requestor::Named { id, address: caller.address };
    let event = Description { subtype, by, ..Description::new(code, action) };
    let event = caller.tenant.iter().fold(event, |event, tenant| event.and("tenant", tenant));
    caller.request_id.iter().fold(event, |event, request| event.and("request", request))
}
