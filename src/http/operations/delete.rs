//! `DELETE {base}/bulk-api/request/{job}` (REQUIREMENTS section 5), and the same operation as `GET
//! {base}/Export/DeleteRequest?request=...` (C1).

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Data};

use super::common::{
    BAD_ACCEPT, GENERAL, IF_MATCH, NO_JOB, NO_STORE, NO_TENANT, NOT_MEANT, OUTCOME, RESPOND_ASYNC,
};
use super::description::{DocumentedAnswer, OperationDescription, OperationParameter, answer, refusal};
use super::operation::{GET, Operation, OperationUrl, RequiredToken};
use super::receipts;
use super::status::{self, POLLING_URL};
use crate::audit::RequestEvent;
use crate::fhir::{self, IssueCode, OperationOutcome, Severity, quoted};
use crate::http::error::outcome_response;
use crate::http::input::query;
use crate::http::negotiation::accept;
use crate::http::negotiation::preferences::RequestPreferences;
use crate::http::{Api, ApiError, ApiResult, AuthorizedCaller, RequestId};
use crate::job::JobId;
use crate::telemetry;

/// `DELETE {polling URL}`.
pub static DELETE: Operation = Operation {
    url: &POLLING_URL,
    methods: &[Method::DELETE],
    offer: None,
    handler: || web::to(delete),
    description: OperationDescription {
        summary: "Cancels an export, or deletes its files.",
        parameters: &[&[IF_MATCH], GENERAL],
        body: None,
        answers: &[ANSWERS, NOT_MEANT, NO_JOB, NO_TENANT, BAD_ACCEPT],
    },
};

/// `GET {base}/Export/DeleteRequest`.
pub static DELETE_REQUEST: Operation = Operation {
    url: &OperationUrl::new("delete-request", "/r4/{tenant}/Export/DeleteRequest", RequiredToken::Access),
    methods: GET,
    offer: None,
    handler: || web::to(delete_request),
    description: OperationDescription {
        summary: "The same as DELETE of a polling location.",
        parameters: &[&[RESPOND_ASYNC, IF_MATCH, REQUEST], GENERAL],
        body: None,
        answers: &[
            ANSWERS,
            &[
                refusal(400, "Not one parameter `request` (`structure`, `invalid`, `not-supported`)."),
                refusal(406, "`Prefer: respond-async` is missing (`structure`)."),
            ],
            NOT_MEANT,
            NO_JOB,
            NO_TENANT,
            BAD_ACCEPT,
        ],
    },
};

const REQUEST: OperationParameter = OperationParameter::query(
    "request",
    "6ccfb23c-34ff-4f4f-9f77-d54b92e10bd4",
    "The polling location, or the id at its end.",
)
.required();

const ANSWERS: &[DocumentedAnswer] = &[
    answer(202, "The export is cancelled and its files are going away.", OUTCOME)
        .with(&[NO_STORE, ("Link", "Where its receipt will be, with `rel=\"describedby\"`.")]),
    refusal(500, "The deletion could not be recorded, or not confirmed on disk (`exception`)."),
];

async fn delete(request: HttpRequest, api: Data<Api>, id: RequestId) -> ApiResult {
    api.check_poll_headers(&request)?;
    let caller = api.caller(&request)?;
    cancel(&api, &caller, &request, Api::job(&request)?, id).await
}

/// A GET that deletes. A link or a crawler cannot send it, because it demands `Prefer: respond-async`.
async fn delete_request(request: HttpRequest, api: Data<Api>, id: RequestId) -> ApiResult {
    accept::json(&request)?;
    RequestPreferences::of(&request).require_respond_async()?;
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
    let folder = POLLING_URL.at(caller.base.as_str(), &[]);
    let job = value.strip_prefix(&folder).unwrap_or(value);
    cancel(&api, &caller, &request, job.parse().map_err(|_| ApiError::unknown_job())?, id).await
}

async fn cancel(
    api: &Api,
    caller: &AuthorizedCaller,
    request: &HttpRequest,
    job: JobId,
    RequestId(request_id): RequestId,
) -> ApiResult {
    let began = Instant::now();
    let found = api.evanesce.job(&caller.owner(), job).await?;
    status::check_conditions(request, api, &caller.base, &found)?;
    let cancelled = api.evanesce.cancel_as(job, caller.client.clone(), request_id).await?;
    telemetry::cancel_acknowledged(began.elapsed());
    api.record(RequestEvent::Deleted { caller: api.audited_caller(request, caller), job });
    // D-5, to the letter.
    let text = format!(
        "Cancellation of Bulkdata request <{job}> has been accepted.\n\t\t\t\t\tCancellation requested at : {}",
        fhir::seconds(cancelled.at)
    );
    let outcome = OperationOutcome::new(Severity::Information, IssueCode::Processing, text);
    let mut response = outcome_response(StatusCode::ACCEPTED, &outcome);
    let (name, link) = receipts::link(caller.base.as_str(), &job.to_string());
    response.headers_mut().insert(name, link);
    Ok(response)
}
