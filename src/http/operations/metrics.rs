//! `GET /metrics`: metrics in the text format of Prometheus.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};

use super::description::{OperationDescription, answer, content, refusal};
use super::operation::{GET, Operation, OperationUrl, RequiredToken};
use crate::http::{Api, ApiError, ApiResult};

/// `GET /metrics`.
pub static METRICS: Operation = Operation {
    url: &OperationUrl::new("metrics", "/metrics", RequiredToken::Operator),
    methods: GET,
    offer: None,
    handler: || web::to(metrics),
    description: OperationDescription {
        summary: "Metrics for Prometheus.",
        parameters: &[],
        body: None,
        answers: &[&[
            answer(200, "The metrics.", &[content("text/plain", "Any")]),
            refusal(404, "There is no recorder (`not-found`)."),
        ]],
    },
};

async fn metrics(api: Data<Api>) -> ApiResult {
    let Some(metrics) = &api.metrics else { return Err(ApiError::no_route()) };
    api.evanesce.refresh_metrics().await;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render()))
}
