//! `POST {base}/auth/introspect` (RFC 7662): whether a token is valid, for applications that may ask. Of
//! an invalid token, or one of another tenant, the answer says nothing more.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Payload};
use serde_json::{Value, json};

use super::common::{JSON, NO_STORE, NO_TENANT};
use super::description::{OperationDescription, answer, content, refusal};
use super::operation::{Operation, OperationUrl, POST, RequiredToken};
use crate::auth::{Authority, Scopes, TokenIssuer};
use crate::http::error::oauth::{NO_CACHE, REFUSED, uncached};
use crate::http::input::form::{FORM, OAuthForm};
use crate::http::{Api, ApiError, ApiResult};

/// The URL of introspection.
pub static INTROSPECTION_URL: OperationUrl =
    OperationUrl::new("introspection", "/r4/{tenant}/auth/introspect", RequiredToken::Access);

/// `POST {base}/auth/introspect`.
pub static INTROSPECTION: Operation = Operation {
    url: &INTROSPECTION_URL,
    methods: POST,
    offer: None,
    handler: || web::to(introspect),
    description: OperationDescription {
        summary: "Whether an access token is good, for applications that may ask.",
        parameters: &[],
        body: Some(content(FORM, "IntrospectionRequest")),
        answers: &[
            &[
                answer(200, "Whether it is active, and then what it says.", JSON).with(&[NO_STORE, NO_CACHE]),
                answer(400, "`invalid_request`.", REFUSED),
                answer(413, "`invalid_request`: the body is too long.", REFUSED),
                answer(415, "`invalid_request`: the body is in a content coding.", REFUSED),
                refusal(403, "The application may not ask (`forbidden`)."),
            ],
            NO_TENANT,
        ],
    },
};

async fn introspect(request: HttpRequest, payload: Payload, api: Data<Api>) -> ApiResult {
    let authority = api.authority()?;
    let caller = api.caller(&request)?;
    if !caller.application.is_some_and(|application| application.introspection) {
        return Err(ApiError::forbidden("This application may not have tokens introspected."));
    }
    let issuer = api.issuer(&request)?;
    let form = match OAuthForm::read(&request, payload, &api.intake).await {
        Ok(form) => form,
        Err(error) => return Ok(error.response(&issuer)),
    };
    let token = match form.required("token") {
        Ok(token) => token,
        Err(error) => return Ok(error.response(&issuer)),
    };
    let answer = active(authority, &issuer, token).unwrap_or_else(|| json!({"active": false}));
    Ok(uncached(StatusCode::OK).json(answer))
}

/// Returns what is said of a valid token: what its application may have of it now.
fn active(authority: &Authority, issuer: &TokenIssuer, token: &str) -> Option<Value> {
    let claims = authority.verify(issuer, token).ok()?;
    let application = authority.application(&issuer.tenant, &claims.client_id)?;
    let granted: Scopes = claims.scope.parse().ok()?;
    let scopes = granted.within(&application.scopes);
    (!scopes.is_empty()).then(|| {
        json!({
            "active": true,
            "scope": scopes.to_string(),
            "client_id": claims.client_id,
            "exp": claims.exp,
            "iat": claims.iat,
            "iss": claims.iss,
            "aud": claims.aud,
            "sub": claims.sub,
            "jti": claims.jti,
            "token_type": "bearer",
        })
    })
}
