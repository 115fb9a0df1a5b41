//! `POST {base}/auth/introspect` (RFC 7662): whether a token is good, for those applications that
//! may ask. Of a token that is not, or is another tenant's, nothing is said but that.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::auth::{Authority, Scopes, TokenIssuer};
use crate::http::input::form::Form;
use crate::http::operations::token::uncached;
use crate::http::{Api, ApiError};

/// `POST {base}/auth/introspect`.
pub async fn introspect(
    request: HttpRequest,
    payload: Payload,
    api: Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let authority = api.authority()?;
    let caller = api.caller(&request)?;
    if !caller.application.is_some_and(|application| application.introspection) {
        return Err(ApiError::forbidden("This application may not have tokens introspected."));
    }
    let issuer = api.issuer(&request)?;
    let form = match Form::read(&request, payload).await {
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

/// What is said of a token that is good now: what its application may have of it now.
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
