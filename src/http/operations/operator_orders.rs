//! The orders of an operator: the same as through the control socket, on a listener of their own and behind
//! a token.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, Route};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::common::JSON;
use super::description::{BodyContent, DocumentedAnswer, OperationDescription, answer, content, refusal};
use super::operation::{GET, Operation, OperationUrl, POST, RequiredToken};
use crate::control::{OperatorIdentity, OperatorRequest, TOKEN_OPERATOR, perform};
use crate::http::input::body::is_coded;
use crate::http::{Api, ApiError, ApiResult, RequestId};

static STATUS_URL: OperationUrl = url("admin-status", "/admin/status");
static JOBS_URL: OperationUrl = url("admin-jobs", "/admin/jobs");
static JOB_URL: OperationUrl = url("admin-job", "/admin/jobs/{job}");
static HOLD_URL: OperationUrl = url("admin-hold", "/admin/jobs/{job}/hold");
static PAUSE_URL: OperationUrl = url("admin-pause", "/admin/reaper/pause");
static CLOCK_URL: OperationUrl = url("admin-clock", "/admin/clock/confirm");
static LOG_LEVEL_URL: OperationUrl = url("admin-log-level", "/admin/log-level");

/// `GET /admin/status`.
pub static STATUS: Operation =
    order(&STATUS_URL, GET, "What the reaper has done and has before it.", None, || web::to(status));
/// `GET /admin/jobs`.
pub static JOBS: Operation = order(&JOBS_URL, GET, "All jobs, the oldest first.", None, || web::to(jobs));
/// `DELETE /admin/jobs/{job}`.
pub static CANCEL: Operation =
    order(&JOB_URL, DELETE, "Ends a job, whosever it is, and has its files erased.", None, || {
        web::to(cancel)
    });
/// `PUT /admin/jobs/{job}/hold`.
pub static HOLD: Operation =
    order(&HOLD_URL, PUT, "Puts a job under a legal hold.", REASON, || web::to(hold));
/// `DELETE /admin/jobs/{job}/hold`.
pub static RELEASE: Operation =
    order(&HOLD_URL, DELETE, "Releases a job from its hold.", None, || web::to(release));
/// `PUT /admin/reaper/pause`.
pub static PAUSE: Operation = order(&PAUSE_URL, PUT, "Pauses the reaper.", REASON, || web::to(pause));
/// `DELETE /admin/reaper/pause`.
pub static RESUME: Operation = order(&PAUSE_URL, DELETE, "Resumes the reaper.", None, || web::to(resume));
/// `POST /admin/clock/confirm`.
pub static CONFIRM_CLOCK: Operation =
    order(&CLOCK_URL, POST, "The wall clock is right although it jumped.", None, || web::to(confirm_clock));
/// `GET /admin/log-level`.
pub static LOG_LEVEL: Operation =
    order(&LOG_LEVEL_URL, GET, "What is logged, now and at the start.", None, || web::to(log_level));
/// `PUT /admin/log-level`.
pub static SET_LOG_LEVEL: Operation =
    order(&LOG_LEVEL_URL, PUT, "Changes what is logged.", FILTER, || web::to(set_log_level));
/// `DELETE /admin/log-level`.
pub static RESET_LOG_LEVEL: Operation =
    order(&LOG_LEVEL_URL, DELETE, "Brings back what was logged at the start.", None, || {
        web::to(reset_log_level)
    });

/// The answers of every order.
pub const DONE: &[DocumentedAnswer] = &[
    answer(200, "It is done; a question has its answer.", JSON),
    refusal(401, "The operator's token is missing or wrong (`login`)."),
    refusal(409, "It cannot be done now; the text says why (`conflict`)."),
];

const REASON: Option<BodyContent> = Some(content("application/json", "Reason"));
const FILTER: Option<BodyContent> = Some(content("application/json", "LogFilter"));
const PUT: &[Method] = &[Method::PUT];
const DELETE: &[Method] = &[Method::DELETE];

const fn url(name: &'static str, path: &'static str) -> OperationUrl {
    OperationUrl { name, path, token: RequiredToken::Operator }
}

const fn order(
    url: &'static OperationUrl,
    methods: &'static [Method],
    summary: &'static str,
    body: Option<BodyContent>,
    handler: fn() -> Route,
) -> Operation {
    let description = OperationDescription { summary, parameters: &[], body, answers: &[DONE] };
    Operation { url, methods, offer: None, handler, description }
}

async fn status(api: Data<Api>, id: RequestId) -> ApiResult {
    carry_out(&api, OperatorRequest::Status, id).await
}

async fn jobs(api: Data<Api>, id: RequestId) -> ApiResult {
    carry_out(&api, OperatorRequest::Jobs, id).await
}

async fn cancel(request: HttpRequest, api: Data<Api>, id: RequestId) -> ApiResult {
    carry_out(&api, OperatorRequest::Cancel { job: Api::job(&request)? }, id).await
}

async fn hold(request: HttpRequest, api: Data<Api>, id: RequestId, body: Bytes) -> ApiResult {
    let (job, reason) = (Api::job(&request)?, reason(&request, &body)?);
    carry_out(&api, OperatorRequest::Hold { job, reason }, id).await
}

async fn release(request: HttpRequest, api: Data<Api>, id: RequestId) -> ApiResult {
    carry_out(&api, OperatorRequest::Release { job: Api::job(&request)? }, id).await
}

async fn pause(request: HttpRequest, api: Data<Api>, id: RequestId, body: Bytes) -> ApiResult {
    carry_out(&api, OperatorRequest::Pause { reason: reason(&request, &body)? }, id).await
}

async fn resume(api: Data<Api>, id: RequestId) -> ApiResult {
    carry_out(&api, OperatorRequest::Resume, id).await
}

async fn confirm_clock(api: Data<Api>, id: RequestId) -> ApiResult {
    carry_out(&api, OperatorRequest::ConfirmClock, id).await
}

async fn log_level(api: Data<Api>, id: RequestId) -> ApiResult {
    carry_out(&api, OperatorRequest::LogLevel, id).await
}

async fn set_log_level(request: HttpRequest, api: Data<Api>, id: RequestId, body: Bytes) -> ApiResult {
    let LogFilterBody { filter } = body_of(
        &request,
        &body,
        "Say what is to be logged, as {\"filter\": \"info,evanesce::erase=debug\"}.",
    )?;
    carry_out(&api, OperatorRequest::SetLogLevel { filter: Some(filter) }, id).await
}

async fn reset_log_level(api: Data<Api>, id: RequestId) -> ApiResult {
    carry_out(&api, OperatorRequest::SetLogLevel { filter: None }, id).await
}

async fn carry_out(api: &Api, order: OperatorRequest, RequestId(request_id): RequestId) -> ApiResult {
    let operator = OperatorIdentity { name: TOKEN_OPERATOR.into(), request_id };
    let done = perform(order, &operator, &api.evanesce).await;
    done.map(|answer| HttpResponse::build(StatusCode::OK).json(answer)).map_err(ApiError::order_refused)
}

/// The body of an order that needs a reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderReason {
    reason: String,
}

/// The body of an order that changes what is logged.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogFilterBody {
    filter: String,
}

fn reason(request: &HttpRequest, body: &[u8]) -> Result<String, ApiError> {
    let OrderReason { reason } =
        body_of(request, body, "Say why, as {\"reason\": \"...\"}; it goes into the receipts.")?;
    Ok(reason)
}

fn body_of<T: DeserializeOwned>(request: &HttpRequest, body: &[u8], advice: &str) -> Result<T, ApiError> {
    if is_coded(request) {
        return Err(ApiError::unsupported_content_coding());
    }
    serde_json::from_slice(body).map_err(|_| ApiError::malformed_body(advice))
}
