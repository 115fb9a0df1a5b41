//! Operators' requests to a running server. They come over the control socket (`cli::control_socket`)
//! and over the operators' listener (`http::operations::operator_orders`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Evanesce;
use crate::audit::RequestEvent;
use crate::job::JobId;
use crate::telemetry::{self, LogFilterError};

/// The name of an operator who has the operators' token, in receipts and in the audit log.
pub const TOKEN_OPERATOR: &str = "operator-token";

/// The most bytes of a reason, which is kept as long as the receipts (P13).
const LONGEST_REASON: usize = 1000;

/// A request of an operator. The control socket carries it as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OperatorRequest {
    /// Returns what the reaper has done and still has to do, and where operators are served.
    Status,
    /// Lists all jobs, tombstones included.
    Jobs,
    /// Returns all that is known of one job.
    Job {
        /// The job.
        job: JobId,
    },
    /// Lists all holds.
    Holds,
    /// Returns whether the instance can keep its promises.
    Readiness,
    /// Pauses the reaper: nothing is swept and nothing expires until it is resumed.
    Pause {
        /// Why; it goes into the receipts.
        reason: String,
    },
    /// Resumes the reaper.
    Resume,
    /// Returns what is logged.
    LogLevel,
    /// Changes what is logged.
    SetLogLevel {
        /// A filter as `RUST_LOG` has it; without one, that of the start.
        filter: Option<String>,
    },
    /// Confirms that the clock is right although it jumped.
    ConfirmClock,
    /// Returns what is known of the keys.
    Keys,
    /// Turns the epoch of the keys.
    TurnEpoch,
    /// Deletes a job, whoever owns it.
    Cancel {
        /// The job.
        job: JobId,
    },
    /// Puts a job under a hold: its files stay.
    Hold {
        /// The job.
        job: JobId,
        /// Why; it goes into the receipts.
        reason: String,
    },
    /// Releases a job from its hold.
    Release {
        /// The job.
        job: JobId,
    },
}

/// The operator who sends a request.
pub struct OperatorIdentity {
    /// The name in receipts and in the audit log.
    pub name: String,
    /// The id of the request. A repeated request gets the same answer.
    pub request_id: String,
}

/// The response to a request, or the text of its refusal.
pub type OperatorResponse = Result<Value, String>;

/// Performs a request of an operator.
///
/// # Errors
/// Fails with a text for the operator if the request cannot be performed.
pub async fn perform(
    request: OperatorRequest,
    operator: &OperatorIdentity,
    evanesce: &Evanesce,
) -> OperatorResponse {
    let by = &*operator.name;
    if let OperatorRequest::Pause { reason } | OperatorRequest::Hold { reason, .. } = &request
        && reason.len() > LONGEST_REASON
    {
        return Err(format!("the reason is longer than {LONGEST_REASON} bytes; give a shorter one"));
    }
    let ordered = match request {
        OperatorRequest::Status => {
            let status = evanesce.reaper_status().await.ok_or("the instance is going down")?;
            let mut status = serde_json::to_value(status).map_err(|e| e.to_string())?;
            status["operators"] = evanesce.operators_url().into();
            status["log_filter"] = telemetry::log_level().map(|level| level.filter).into();
            return Ok(status);
        }
        OperatorRequest::Readiness => return document(evanesce.readiness().await),
        OperatorRequest::Jobs => return document(evanesce.jobs().await),
        OperatorRequest::Job { job } => {
            return document(evanesce.job_detail(job).await.ok_or("there is no such job")?);
        }
        OperatorRequest::Holds => return document(evanesce.holds()),
        OperatorRequest::LogLevel => {
            let level = telemetry::log_level().ok_or(LogFilterError::NotOurs);
            return document(level.map_err(|e| e.to_string())?);
        }
        OperatorRequest::SetLogLevel { filter } => {
            let set = telemetry::set_log_level(filter.as_deref()).map_err(|e| e.to_string())?;
            tracing::warn!(
                filter = set.filter,
                by,
                request_id = operator.request_id,
                "an operator changed what is logged"
            );
            let (action, by) = ("log-level", by.into());
            evanesce.record(RequestEvent::Admin { action, by, job: None, client: None });
            return document(set);
        }
        OperatorRequest::ConfirmClock => {
            let waited = evanesce.confirm_clock().await.ok_or("the instance is going down")?;
            if !waited {
                return Err("the clock is believed already".into());
            }
            let (action, by) = ("clock-confirm", by.into());
            evanesce.record(RequestEvent::Admin { action, by, job: None, client: None });
            return Ok(Value::Null);
        }
        OperatorRequest::Keys => return document(evanesce.keys()),
        OperatorRequest::TurnEpoch => {
            evanesce.turn_epoch().await?;
            let (action, by) = ("keys-rotate", by.into());
            evanesce.record(RequestEvent::Admin { action, by, job: None, client: None });
            return document(evanesce.keys());
        }
        OperatorRequest::Cancel { job } => {
            // A user may have a name that no client can have.
            let by =
                by.parse().unwrap_or_else(|_| "operator".parse().expect("a constant that is a valid name"));
            let cancelled = evanesce.cancel_as(job, by, operator.request_id.clone()).await;
            cancelled.map_err(|refusal| refusal.to_string())?;
            let (action, by) = ("cancel", operator.name.clone());
            evanesce.record(RequestEvent::Admin { action, by, job: Some(job), client: None });
            return Ok(Value::Null);
        }
        OperatorRequest::Pause { reason } => evanesce.pause_reaper(by, &reason).await,
        OperatorRequest::Resume => evanesce.resume_reaper(by).await,
        OperatorRequest::Hold { job, reason } => evanesce.hold(job, by, &reason).await,
        OperatorRequest::Release { job } => evanesce.release(job, by).await,
    };
    ordered.map(|()| Value::Null).map_err(|refusal| refusal.to_string())
}

fn document(answer: impl Serialize) -> OperatorResponse {
    serde_json::to_value(answer).map_err(|error| error.to_string())
}
