//! What is asked of the server: by clients over HTTP, and by operators. Who asks, which job, and how it went.
//! A host that embeds the life cycle without HTTP is its own auditor of who asked.

use std::net::IpAddr;

use super::AuditedEvent;
use super::describe::{about, activity, refused};
use crate::fhir::audit_event::{EventAction, EventCoding, EventDescription, Requestor, codes, request_codes};
use crate::job::{ClientId, JobId, TenantId};

/// Who asks, and from where, as far as known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditedCaller {
    /// The client, if it is registered. What an unknown one calls itself may be anything.
    pub client: Option<ClientId>,
    /// The tenant, if it exists.
    pub tenant: Option<TenantId>,
    /// The id that the server gave the request (G-6), never the client's own.
    pub request_id: Option<String>,
    /// The address of the connection, or the one that a trusted proxy gives.
    pub address: Option<IpAddr>,
}

/// How a download ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadEnding {
    /// Every byte was handed to the connection.
    Whole,
    /// The server cut it: its job was deleted, or expired long ago.
    Cut,
    /// It broke off: the client went away, or the file could not be read.
    BrokenOff,
}

impl DownloadEnding {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Cut => "cut",
            Self::BrokenOff => "broken-off",
        }
    }
}

/// One request to record.
#[derive(Debug, Clone)]
pub enum RequestEvent {
    /// A kick-off was accepted. `level` is `system`, `patient` or `group`, without the group's
    /// id, which may name a population.
    KickOff {
        /// Who asked.
        caller: AuditedCaller,
        /// The new job.
        job: JobId,
        /// The level of the operation.
        level: &'static str,
    },
    /// A kick-off was refused, with this status and for this reason, such as
    /// [`SubmitError::name`](crate::SubmitError::name).
    KickOffRefused {
        /// Who asked.
        caller: AuditedCaller,
        /// The status of the answer.
        status: u16,
        /// Why, in a word.
        reason: &'static str,
    },
    /// A client was shown the manifest of its job.
    Manifest {
        /// Who asked.
        caller: AuditedCaller,
        /// The job.
        job: JobId,
    },
    /// A download begins. [`AuditLog::download`](super::AuditLog::download) records it.
    DownloadBegan {
        /// Who asked.
        caller: AuditedCaller,
        /// The job.
        job: JobId,
        /// The file's name, as the server made it.
        file: String,
    },
    /// A download is over.
    DownloadEnded {
        /// Who asked.
        caller: AuditedCaller,
        /// The job.
        job: JobId,
        /// The file's name, as the server made it.
        file: String,
        /// Bytes of the body that were handed to the connection, as they were coded.
        bytes: u64,
        /// How it ended.
        ending: DownloadEnding,
    },
    /// A DELETE was answered with 202.
    Deleted {
        /// Who asked.
        caller: AuditedCaller,
        /// The job.
        job: JobId,
    },
    /// An access token was issued, with so many scopes, for so many seconds.
    TokenIssued {
        /// Who asked; the client is authenticated.
        caller: AuditedCaller,
        /// Scopes granted.
        scopes: usize,
        /// Seconds until it expires.
        expires_in: u64,
    },
    /// No access token was issued.
    TokenRefused {
        /// Who asked; the client only if it is registered.
        caller: AuditedCaller,
        /// Why, in a word, such as OAuth's error code.
        reason: &'static str,
    },
    /// A request for a resource came without a valid token (401).
    AuthenticationRefused {
        /// Who asked; the client only if the token names one.
        caller: AuditedCaller,
        /// Why, in a word.
        reason: &'static str,
    },
    /// The token's scopes do not cover what was asked for (403).
    ScopeRefused {
        /// Who asked.
        caller: AuditedCaller,
        /// The job, if it was about one.
        job: Option<JobId>,
        /// Why, in a word.
        reason: &'static str,
    },
    /// An operator did something, such as registering a client or confirming the clock.
    Admin {
        /// What, in a word.
        action: &'static str,
        /// The operator's user name, or the id of an authenticated administrator.
        by: String,
        /// The job that it is about.
        job: Option<JobId>,
        /// The client that it is about.
        client: Option<ClientId>,
    },
}

impl From<RequestEvent> for AuditedEvent {
    fn from(event: RequestEvent) -> Self {
        Self::Request(event)
    }
}

impl RequestEvent {
    /// Returns the name of the kind, as [`AuditedEvent::kind`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::KickOff { .. } => "kick-off",
            Self::KickOffRefused { .. } => "kick-off-refused",
            Self::Manifest { .. } => "manifest",
            Self::DownloadBegan { .. } => "download-start",
            Self::DownloadEnded { .. } => "download-end",
            Self::Deleted { .. } => "delete",
            Self::TokenIssued { .. } => "token",
            Self::TokenRefused { .. } => "token-refused",
            Self::AuthenticationRefused { .. } => "authentication-refused",
            Self::ScopeRefused { .. } => "scope-refused",
            Self::Admin { .. } => "admin",
        }
    }

    /// Returns whether it is a request without a valid token, of which strangers can make any number.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::TokenRefused { .. } | Self::AuthenticationRefused { .. })
    }

    /// Describes it in FHIR's words.
    pub fn describe(&self) -> EventDescription {
        match self {
            Self::KickOff { caller, job, level } => {
                about(rest(caller, request_codes::OPERATION, EventAction::Execute), *job).and("level", level)
            }
            Self::KickOffRefused { caller, status, reason } => {
                let event = refused(rest(caller, request_codes::OPERATION, EventAction::Execute));
                event.and("status", status).and("reason", reason)
            }
            Self::Manifest { caller, job } => {
                about(rest(caller, request_codes::READ, EventAction::Read), *job)
            }
            Self::DownloadBegan { caller, job, file } => download(caller, *job, file),
            Self::DownloadEnded { caller, job, file, bytes, ending } => {
                let event = download(caller, *job, file).and("bytes", bytes).and("ending", ending.name());
                if *ending == DownloadEnding::Whole { event } else { refused(event) }
            }
            Self::Deleted { caller, job } => {
                about(rest(caller, request_codes::DELETE, EventAction::Delete), *job)
            }
            Self::TokenIssued { caller, scopes, expires_in } => {
                login(caller).and("scopes", scopes).and("expires-in", expires_in)
            }
            Self::TokenRefused { caller, reason } => refused(login(caller)).and("reason", reason),
            Self::AuthenticationRefused { caller, reason } => {
                let event = of_caller(caller, codes::AUTHENTICATION, None, EventAction::Execute);
                refused(event).and("reason", reason)
            }
            Self::ScopeRefused { caller, job, reason } => {
                let restricted = Some(request_codes::RESTRICTED);
                let event = of_caller(caller, codes::ALERT, restricted, EventAction::Execute);
                EventDescription { job: *job, ..refused(event) }.and("reason", reason)
            }
            Self::Admin { action, by, job, client } => {
                let event = activity(request_codes::CONFIGURATION);
                let event = EventDescription { by: Requestor::named(by), job: *job, ..event };
                let event = event.and("action", action);
                client.iter().fold(event, |event, client| event.and("client", client))
            }
        }
    }
}

fn rest(caller: &AuditedCaller, subtype: EventCoding, action: EventAction) -> EventDescription {
    of_caller(caller, request_codes::REST, Some(subtype), action)
}

fn login(caller: &AuditedCaller) -> EventDescription {
    of_caller(caller, codes::AUTHENTICATION, Some(request_codes::LOGIN), EventAction::Execute)
}

fn download(caller: &AuditedCaller, job: JobId, file: &str) -> EventDescription {
    let event = of_caller(caller, codes::EXPORT, Some(request_codes::READ), EventAction::Read);
    about(event, job).and("file", file)
}

fn of_caller(
    caller: &AuditedCaller,
    code: EventCoding,
    subtype: Option<EventCoding>,
    action: EventAction,
) -> EventDescription {
    let id = caller.client.as_ref().map(ToString::to_string);
    let by = Requestor::Named { id, address: caller.address };
    let event = EventDescription { subtype, by, ..EventDescription::new(code, action) };
    let event = caller.tenant.iter().fold(event, |event, tenant| event.and("tenant", tenant));
    caller.request_id.iter().fold(event, |event, request| event.and("request", request))
}
