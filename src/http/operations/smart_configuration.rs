//! `GET {base}/.well-known/smart-configuration`: what clients find out before they have a token (REQUIREMENTS
//! 9.1). It is public, JSON whatever the `Accept`, and may be kept for some minutes. Without authentication it
//! is not there: a token endpoint that gave no tokens would only mislead.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Data};
use serde_json::json;

use super::common::{JSON, NO_TENANT, NOT_MEANT, UNCHANGED};
use super::description::{AnswerHeader, OperationDescription, answer};
use super::introspection::INTROSPECTION_URL;
use super::operation::{GET_HEAD, Operation, OperationUrl, RequiredToken};
use crate::auth::TokenIssuer;
use crate::http::output::documents::CachedDocument;
use crate::http::{Api, ApiResult, output};

/// `GET {base}/.well-known/smart-configuration`.
pub static SMART_CONFIGURATION: Operation = Operation {
    url: &OperationUrl::new(
        "smart-configuration",
        "/r4/{tenant}/.well-known/smart-configuration",
        RequiredToken::None,
    ),
    methods: GET_HEAD,
    offer: None,
    handler: || web::to(smart_configuration),
    description: OperationDescription {
        summary: "Where and how access tokens are given.",
        parameters: &[],
        body: None,
        answers: &[&[answer(200, "The configuration.", JSON).with(&[KEPT])], UNCHANGED, NOT_MEANT, NO_TENANT],
    },
};

/// The header field of an answer that may be kept.
pub const KEPT: AnswerHeader = ("Cache-Control", "For how long it may be kept.");

/// How long an answer may be kept: less than the time from a key's first token to its last.
const CACHED: &str = "public, max-age=300";

async fn smart_configuration(request: HttpRequest, api: Data<Api>) -> ApiResult {
    api.authority()?;
    let tenant = api.tenant_of(&request)?;
    let make = || configuration(&api.issuer_of(&tenant));
    cached(&request, api.documents_of(&tenant)?.smart.get_or_init(make).at(""))
}

/// Returns the configuration, which does not depend on the `Host` of a request.
fn configuration(issuer: &TokenIssuer) -> CachedDocument {
    CachedDocument::of(&json!({
        "token_endpoint": issuer.token_url(),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/*.read", "system/*.rs"],
        "introspection_endpoint": INTROSPECTION_URL.at(&issuer.url, &[]),
        "code_challenge_methods_supported": ["S256"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }))
}

/// Answers with JSON that may be kept.
pub fn cached(request: &HttpRequest, json: String) -> ApiResult {
    let mut response = output::answer(request, "application/json", json)?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHED));
    response.headers_mut().remove(header::VARY);
    Ok(response)
}
