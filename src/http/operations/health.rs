//! `GET /healthz` and `GET /readyz`: whether the process answers, and whether the server can keep its promises.
//! Clients learn no more than yes or no; operators learn why.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::{Value, json};

use super::common::JSON;
use super::description::{OperationDescription, answer};
use super::operation::{GET, Operation, OperationUrl, RequiredToken};
use crate::http::Api;

const HEALTH_PATH: &str = "/healthz";
const READINESS_PATH: &str = "/readyz";

/// `GET /healthz`.
pub static HEALTH: Operation = Operation {
    url: &OperationUrl::new("healthz", HEALTH_PATH, RequiredToken::None),
    methods: GET,
    offer: None,
    handler: || web::to(health),
    description: HEALTH_DESCRIPTION,
};

/// `GET /healthz` on the operators' listener.
pub static OPERATOR_HEALTH: Operation = Operation {
    url: &OperationUrl::new("admin-healthz", HEALTH_PATH, RequiredToken::None),
    methods: GET,
    offer: None,
    handler: || web::to(health),
    description: HEALTH_DESCRIPTION,
};

/// `GET /readyz`.
pub static READINESS: Operation = Operation {
    url: &OperationUrl::new("readyz", READINESS_PATH, RequiredToken::None),
    methods: GET,
    offer: None,
    handler: || web::to(readiness),
    description: READINESS_DESCRIPTION,
};

/// `GET /readyz` on the operators' listener.
pub static OPERATOR_READINESS: Operation = Operation {
    url: &OperationUrl::new("admin-readyz", READINESS_PATH, RequiredToken::Operator),
    methods: GET,
    offer: None,
    handler: || web::to(readiness_in_full),
    description: READINESS_DESCRIPTION,
};

const HEALTH_DESCRIPTION: OperationDescription = OperationDescription {
    summary: "Whether the process answers.",
    parameters: &[],
    body: None,
    answers: &[&[answer(200, "It does.", JSON)]],
};
const READINESS_DESCRIPTION: OperationDescription = OperationDescription {
    summary: "Whether the server can keep its promises.",
    parameters: &[],
    body: None,
    answers: &[&[answer(200, "It can.", JSON), answer(503, "It cannot.", JSON)]],
};

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Answers whether the server can keep its promises: the store takes commits, the audit log is written, the
/// actors answer, the server's own files are where they should be, no mark has waited for longer than
/// `reaper.alarm_after`, and jobs that have ended do not hold every thread for exports.
async fn readiness(api: Data<Api>) -> HttpResponse {
    let ready = api.evanesce.readiness().await.is_ready;
    answer_if(ready, json!({"ready": ready}))
}

async fn readiness_in_full(api: Data<Api>) -> HttpResponse {
    let readiness = api.evanesce.readiness().await;
    answer_if(readiness.is_ready, json!(readiness))
}

fn answer_if(ready: bool, body: Value) -> HttpResponse {
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(body)
}
