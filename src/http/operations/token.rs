//! `POST {base}/auth/token`: an access token for a client assertion (REQUIREMENTS 9.3 and 9.4). Its
//! answers, errors too, are OAuth's (RFC 6749).

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpMessage, HttpRequest};
use serde_json::json;

use super::common::{self, NO_STORE, NO_TENANT};
use super::description::{DocumentedAnswer, OperationDescription, answer, content};
use super::operation::{Operation, OperationUrl, POST, RequiredToken};
use crate::audit::RequestEvent;
use crate::auth::{Authority, IssuedToken, ScopeError, Scopes, TokenDenied, TokenIssuer};
use crate::http::error::oauth::{self, GRANT, NO_CACHE, OAuthError, REFUSED, uncached};
use crate::http::input::form::{FORM, OAuthForm};
use crate::http::input::intake::RequestIntake;
use crate::http::middleware::forwarded::ForwardedClient;
use crate::http::{Api, ApiResult};
use crate::job::ClientId;
use crate::telemetry;

/// The only type of assertion that is accepted (RFC 7523).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// `POST {base}/auth/token`.
pub static TOKEN: Operation = Operation {
    url: &OperationUrl::new("token", "/r4/{tenant}/auth/token", RequiredToken::None),
    methods: POST,
    offer: None,
    handler: || web::to(token),
    description: OperationDescription {
        summary: "Gives an access token for a client assertion.",
        parameters: &[],
        body: Some(content(FORM, "TokenRequest")),
        answers: &[ANSWERS, NO_TENANT],
    },
};

const ANSWERS: &[DocumentedAnswer] = &[
    answer(200, "The token.", &[content("application/json", "TokenResponse")]).with(&[NO_STORE, NO_CACHE]),
    answer(400, "`invalid_request`, `unsupported_grant_type` or `invalid_scope`.", REFUSED)
        .with(&[NO_STORE, NO_CACHE]),
    answer(401, "`invalid_client`: the assertion is not taken.", REFUSED).with(&[
        NO_STORE,
        NO_CACHE,
        ("WWW-Authenticate", "The scheme of the tokens."),
    ]),
    answer(413, "`invalid_request`: the body is too long.", REFUSED),
    answer(415, "`invalid_request`: the body is in a content coding.", REFUSED),
    answer(429, "`temporarily_unavailable`: too many requests for tokens.", REFUSED)
        .with(&[common::RETRY_AFTER]),
    answer(500, "`server_error`.", REFUSED),
    answer(503, "`temporarily_unavailable`: no assertion can be recorded now.", REFUSED)
        .with(&[common::RETRY_AFTER]),
];

async fn token(request: HttpRequest, payload: Payload, api: Data<Api>) -> ApiResult {
    let authority = api.authority()?;
    let issuer = api.issuer(&request)?;
    let admitted = request
        .extensions()
        .get()
        .map_or(Ok(()), |client: &ForwardedClient| api.limits().admit_token_request(client));
    if let Err(refusal) = admitted {
        return Ok(OAuthError::TooMany(refusal.retry_after().unwrap_or(oauth::RETRY_AFTER)).response(&issuer));
    }
    Ok(match issue(&request, payload, &api.intake, authority, &issuer).await {
        Ok((client, IssuedToken { token, expires_in }, granted)) => {
            let caller = api.audited_client(&request, Some(client));
            api.record(RequestEvent::TokenIssued { caller, scopes: granted.len(), expires_in });
            uncached(StatusCode::OK).json(json!({
                "access_token": token,
                "token_type": "bearer",
                "expires_in": expires_in,
                "scope": granted.to_string(),
            }))
        }
        Err(error) => {
            telemetry::token_refused(error.reason());
            let caller = api.audited_client(&request, None);
            api.record(RequestEvent::TokenRefused { caller, reason: error.reason() });
            tracing::info!(reason = error.reason(), "no access token was given");
            error.response(&issuer)
        }
    })
}

async fn issue(
    request: &HttpRequest,
    payload: Payload,
    intake: &RequestIntake,
    authority: &Authority,
    issuer: &TokenIssuer,
) -> Result<(ClientId, IssuedToken, Scopes), OAuthError> {
    let form = OAuthForm::read(request, payload, intake).await?;
    let grant = form.required("grant_type")?;
    if grant != GRANT {
        return Err(OAuthError::UnsupportedGrantType);
    }
    if form.required("client_assertion_type")? != ASSERTION_TYPE {
        let text = format!("The client_assertion_type must be {ASSERTION_TYPE}.");
        return Err(OAuthError::InvalidRequest(text));
    }
    let assertion = form.required("client_assertion")?;
    let scope = form.get("scope").ok_or_else(|| OAuthError::missing("scope"))?;
    // RFC 6749 2.3: one way to authenticate, and this is not it.
    if request.headers().contains_key(header::AUTHORIZATION) {
        let text = "A client authenticates by its client_assertion alone; send no Authorization.";
        return Err(OAuthError::InvalidRequest(text.into()));
    }
    let client = form.get("client_id").filter(|client| !client.is_empty());
    let application =
        authority.authenticate(issuer, assertion, client).await.map_err(|denied| match denied {
            TokenDenied::Assertion(_) => OAuthError::InvalidClient(denied),
            TokenDenied::Unavailable(_) => OAuthError::Unavailable(denied),
        })?;
    let asked: Scopes =
        scope.parse().map_err(|error: ScopeError| OAuthError::InvalidScope(error.to_string()))?;
    let granted = asked.within(&application.scopes);
    if granted.is_empty() {
        let text =
            "None of these scopes can be granted to this client; it may read what it is registered for.";
        return Err(OAuthError::InvalidScope(text.into()));
    }
    if granted.is_too_long() {
        let text = "These scopes, with the restrictions that this client is registered with, are too many for \
                    one token; ask for fewer.";
        return Err(OAuthError::InvalidScope(text.into()));
    }
    let issued = authority.issue(issuer, &application.client_id, &granted).map_err(|error| {
        tracing::error!(%error, "an access token could not be signed");
        OAuthError::ServerError
    })?;
    tracing::info!(client = %application.client_id, tenant = %issuer.tenant, "an access token was given");
    Ok((application.client_id.clone(), issued, granted))
}
