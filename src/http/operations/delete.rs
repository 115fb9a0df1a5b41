//! The heart: `DELETE {base}/bulk-api/request/{job}` (REQUIREMENTS section 5), and the same
//! operation as `GET {base}/Export/DeleteRequest?request=...` (C1).

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::audit::AuditedEvent;
use crate::fhir::{self, IssueCode, OperationOutcome, Severity, quoted};
use crate::http::error::outcome_response;
use crate::http::input::query;
use crate::http::negotiation::accept;
use crate::http::negotiation::preferences::Preferences;
use crate::http::operations::status;
use crate::http::{Api, ApiError, Caller, RequestId};
use crate::job::JobId;
use crate::{CancelError, telemetry};

/// `DELETE {polling URL}`.
pub async fn delete(request: HttpRequest, api: Data<Api>, id: RequestId) -> Result<HttpResponse, ApiError> {
    api.check_poll_headers(&request)?;
    let caller = api.caller(&request)?;
    cancel(&api, &caller, &request, Api::job(&request)?, id).await
}

/// `GET {base}/Export/DeleteRequest?request={polling URL or id}`: a GET that deletes, and so
/// one that a link or a crawler cannot send, because it demands `Prefer: respond-async`.
pub async fn delete_request(
    request: HttpRequest,
    api: Data<Api>,
    id: RequestId,
) -> Result<HttpResponse, ApiError> {
    accept::json(&request)?;
    Preferences::of(&request).require_respond_async()?;
    let caller = api.caller(&request)?;
    let parameters = query::specific(request.query_string())?;
    let [(name, value)] = &parameters[..] else {
        return Err(ApiError::invalid(
            "Give one parameter: request, with the polling URL or the id of the request.",
        ));
    };
    if name != "request" {
        let name = quoted(name);
        return Err(ApiError::unsupported_parameter(format!(
            "The parameter {name} is not supported; use request."
        )));
    }
    let polling = format!("{}/bulk-api/request/", caller.base.as_str());
    let job = value.strip_prefix(&polling).unwrap_or(value);
    cancel(&api, &caller, &request, job.parse().map_err(|_| ApiError::unknown_job())?, id).await
}

async fn cancel(
    api: &Api,
    caller: &Caller,
    request: &HttpRequest,
    job: JobId,
    RequestId(request_id): RequestId,
) -> Result<HttpResponse, ApiError> {
    let began = Instant::now();
    let found = api.evanesce.job(&caller.owner(), job).await?;
    status::check_conditions(request, api, &caller.base, &found)?;
    let cancelled = api.evanesce.cancel_as(job, caller.client.clone(), request_id).await;
    let cancelled = cancelled.map_err(|error| match error {
        CancelError::AlreadyDeleted => ApiError::deleted(),
        CancelError::NotFound => ApiError::unknown_job(),
        CancelError::HalfDurable => ApiError::half_durable(),
        CancelError::Stopped => ApiError::internal(),
    })?;
    telemetry::cancel_acknowledged(began.elapsed());
    api.record(AuditedEvent::Deleted { caller: api.caller_of(request, caller), job });
    // D-5, to the letter.
    let text = format!(
        "Cancellation of Bulkdata request <{job}> has been accepted.\n\t\t\t\t\tCancellation requested at : {}",
        fhir::seconds(cancelled.at)
    );
    let outcome = OperationOutcome::new(Severity::Information, IssueCode::Processing, text);
    Ok(outcome_response(StatusCode::ACCEPTED, &outcome))
}
