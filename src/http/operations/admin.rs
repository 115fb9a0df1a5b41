//! For operators, on a listener of their own and behind a token: the same orders as through the
//! control socket, and metrics. `/healthz` and `/readyz` are on the clients' listener too, where they
//! tell no more than yes or no.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::{OperatorIdentity, OperatorRequest, perform};
use crate::http::input::body::is_coded;
use crate::http::{Api, ApiError, RequestId};

/// Who gives an order over HTTP, as receipts have it.
const OPERATOR: &str = "operator-token";

/// The process answers.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Whether the server can keep its promises: the store takes commits, the audit log
/// is written, the actors answer, its own files are where they should be, no mark has waited for
/// longer than `reaper.alarm_after`, and there is a thread left for an export: jobs that have ended
/// do not have them all.
pub async fn readyz(api: Data<Api>) -> HttpResponse {
    let ready = api.evanesce.readiness().await.is_ready;
    answer(ready, json!({"ready": ready}))
}

/// The same, and why.
pub async fn readyz_in_full(api: Data<Api>) -> HttpResponse {
    let readiness = api.evanesce.readiness().await;
    answer(readiness.is_ready, json!(readiness))
}

fn answer(ready: bool, body: Value) -> HttpResponse {
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(body)
}

/// Prometheus text.
pub async fn metrics(api: Data<Api>) -> Result<HttpResponse, ApiError> {
    let Some(metrics) = &api.metrics else { return Err(ApiError::no_route()) };
    api.evanesce.refresh_metrics().await;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render()))
}

/// `GET /admin/status`.
pub async fn status(api: Data<Api>, id: RequestId) -> Result<HttpResponse, ApiError> {
    order(&api, OperatorRequest::Status, id).await
}

/// `GET /admin/jobs`.
pub async fn jobs(api: Data<Api>, id: RequestId) -> Result<HttpResponse, ApiError> {
    order(&api, OperatorRequest::Jobs, id).await
}

/// `DELETE /admin/jobs/{job}`.
pub async fn cancel(request: HttpRequest, api: Data<Api>, id: RequestId) -> Result<HttpResponse, ApiError> {
    order(&api, OperatorRequest::Cancel { job: Api::job(&request)? }, id).await
}

/// `PUT /admin/jobs/{job}/hold`.
pub async fn hold(
    request: HttpRequest,
    api: Data<Api>,
    id: RequestId,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    order(&api, OperatorRequest::Hold { job: Api::job(&request)?, reason: reason(&request, &body)? }, id)
        .await
}

/// `DELETE /admin/jobs/{job}/hold`.
pub async fn release(request: HttpRequest, api: Data<Api>, id: RequestId) -> Result<HttpResponse, ApiError> {
    order(&api, OperatorRequest::Release { job: Api::job(&request)? }, id).await
}

/// `PUT /admin/reaper/pause`.
pub async fn pause(
    request: HttpRequest,
    api: Data<Api>,
    id: RequestId,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    order(&api, OperatorRequest::Pause { reason: reason(&request, &body)? }, id).await
}

/// `DELETE /admin/reaper/pause`.
pub async fn resume(api: Data<Api>, id: RequestId) -> Result<HttpResponse, ApiError> {
    order(&api, OperatorRequest::Resume, id).await
}

/// `POST /admin/clock/confirm`.
pub async fn confirm_clock(api: Data<Api>, id: RequestId) -> Result<HttpResponse, ApiError> {
    order(&api, OperatorRequest::ConfirmClock, id).await
}

async fn order(
    api: &Api,
    order: OperatorRequest,
    RequestId(request_id): RequestId,
) -> Result<HttpResponse, ApiError> {
    let operator = OperatorIdentity { name: OPERATOR.into(), request_id };
    let done = perform(order, &operator, &api.evanesce).await;
    done.map(|answer| HttpResponse::build(StatusCode::OK).json(answer)).map_err(ApiError::order_refused)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    reason: String,
}

fn reason(request: &HttpRequest, body: &[u8]) -> Result<String, ApiError> {
    if is_coded(request) {
        return Err(ApiError::unsupported_content_coding());
    }
    let because: Result<Because, _> = serde_json::from_slice(body);
    because.map(|because| because.reason).map_err(|_| {
        ApiError::malformed_body("Say why, as {\"reason\": \"...\"}; it goes into the receipts.")
    })
}

/// The token of an `Authorization: Bearer` field.
fn bearer_token(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// Around what operators alone may call.
pub async fn operators_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let api = request.app_data::<Data<Api>>();
    let token = api.and_then(|api| api.operator_token.clone());
    let given = bearer_token(request.request());
    if token.zip(given).is_some_and(|(token, given)| token.is(given)) {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    Ok(request.error_response(ApiError::not_the_operator()).map_into_right_body())
}
