//! For the operator: `/healthz`, `/readyz`, `/metrics`.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::{Api, ApiError};
use crate::telemetry;

/// The process answers.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// The server can keep its promises: the store takes commits, the actors answer, and no mark
/// has waited for longer than `reaper.alarm_after`.
pub async fn readyz(api: Data<Api>) -> HttpResponse {
    let reaper = api.evanesce.reaper_status().await;
    let in_time = reaper.as_ref().is_some_and(|reaper| !reaper.overdue);
    let ready = api.evanesce.services().ledger.is_healthy() && in_time;
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(json!({"ready": ready, "reaper": reaper}))
}

/// Prometheus text.
pub async fn metrics(api: Data<Api>) -> Result<HttpResponse, ApiError> {
    let Some(metrics) = &api.metrics else { return Err(ApiError::no_route()) };
    // It counts the backlog for the metrics too.
    api.evanesce.reaper_status().await;
    let services = api.evanesce.services();
    let (planned, done) = services.view().work();
    telemetry::work(planned, done);
    telemetry::reserved_bytes(services.space.reserved());
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render()))
}
