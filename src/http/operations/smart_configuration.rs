//! What clients find out before they have a token: `GET {base}/.well-known/smart-configuration`
//! (REQUIREMENTS 9.1) and `GET {base}/auth/jwks`, the public keys of our tokens. Both are public,
//! JSON whatever the `Accept`, and may be kept for some minutes. Without authentication there is
//! neither: a token endpoint that gave no tokens would only mislead.

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::auth::TokenIssuer;
use crate::http::input::reading;
use crate::http::output::documents::Document;
use crate::http::{Api, ApiError};

/// For how long they may be kept: less than a key takes from its first token to its last.
const CACHED: &str = "public, max-age=300";

/// `GET {base}/.well-known/smart-configuration`.
pub async fn smart_configuration(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    api.authority()?;
    let tenant = api.tenant_of(&request)?;
    let make = || configuration(&api.issuer_of(&tenant));
    cached(&request, api.documents_of(&tenant)?.smart.get_or_init(make).at(""))
}

/// It does not depend on what the request says of its host.
fn configuration(issuer: &TokenIssuer) -> Document {
    Document::of(&json!({
        "token_endpoint": issuer.token_url(),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/*.read", "system/*.rs"],
        "introspection_endpoint": format!("{}/auth/introspect", issuer.url),
        "code_challenge_methods_supported": ["S256"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }))
}

/// `GET {base}/auth/jwks`.
pub async fn jwks(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    let authority = api.authority()?;
    api.issuer(&request)?;
    cached(&request, authority.jwks().to_string())
}

fn cached(request: &HttpRequest, json: String) -> Result<HttpResponse, ApiError> {
    let mut response = reading::answer(request, "application/json", json)?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHED));
    response.headers_mut().remove(header::VARY);
    Ok(response)
}
