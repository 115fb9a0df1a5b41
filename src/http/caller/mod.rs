//! Who asks, in the order of G-7: first the token (401), before the handler runs; then the tenant and the
//! application, after the header fields (404); then what the scopes allow (403).

pub mod audited;
pub mod operator;
pub mod scope;

use std::sync::Arc;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest};

use crate::JobOwner;
use crate::auth::{Application, Authority, Scopes, TokenError, TokenIssuer};
use crate::http::input::query;
use crate::http::middleware::forwarded::ForwardedClient;
use crate::http::operations::download::FILE_URL;
use crate::http::operations::operation::TENANT;
use crate::http::operations::status::POLLING_URL;
use crate::http::output::documents::TenantDocuments;
use crate::http::{Api, ApiError};
use crate::job::{ClientId, JobId, TenantId};

/// The contents of a valid access token.
#[derive(Debug, Clone)]
pub struct BearerGrant {
    /// The client that it was issued to.
    pub client: ClientId,
    /// Its scopes.
    pub scopes: Scopes,
}

/// The client that asks, after authentication.
#[derive(Debug, Clone)]
pub struct AuthorizedCaller {
    /// The tenant of the URL.
    pub tenant: TenantId,
    /// The client, which alone may see its jobs (P10).
    pub client: ClientId,
    /// The application as it is registered now; `None` without authentication.
    pub application: Option<Arc<Application>>,
    /// The scopes that the token and the registration both allow.
    pub scopes: Scopes,
    /// The beginning of the URLs that it is given.
    pub base: TenantBase,
}

/// The base URL of a tenant as the client sees it, `{scheme}://{host}/r4/{tenant}` (G-1), without a slash
/// at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantBase(String);

impl TenantBase {
    /// Returns a base URL for tests.
    #[cfg(test)]
    pub fn of(base: &str) -> Self {
        Self(base.into())
    }

    /// Returns the URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the polling URL of a job.
    pub fn polling_url(&self, job: JobId) -> String {
        POLLING_URL.at(&self.0, &[&job.to_string()])
    }

    /// Returns the URL of a file of a job.
    pub fn file_url(&self, job: JobId, file: &str) -> String {
        FILE_URL.at(&self.0, &[&job.to_string(), file])
    }
}

/// Wraps the operations that need an access token. Refuses a request without a valid one before its
/// handler runs.
pub async fn authenticated(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let api = request.app_data::<Data<Api>>().ok_or_else(ApiError::internal);
    let admitted = api.and_then(|api| {
        let bearer = api.authenticate(request.request())?;
        // Without authentication everybody is the same client.
        if api.authority.is_some() {
            api.limits().admit_client(&bearer.client)?;
        }
        Ok(bearer)
    });
    match admitted {
        Ok(bearer) => {
            request.extensions_mut().insert(bearer);
            next.call(request).await.map(ServiceResponse::map_into_left_body)
        }
        Err(refusal) => Ok(request.error_response(refusal).map_into_right_body()),
    }
}

impl AuthorizedCaller {
    /// Returns the owner of the jobs that it may see.
    pub fn owner(&self) -> JobOwner {
        JobOwner { tenant: self.tenant.clone(), client: self.client.clone() }
    }
}

impl Api {
    /// Returns scheme, host and port as the client sees them.
    pub(super) fn origin(&self, request: &HttpRequest) -> String {
        let told = || request.extensions().get::<ForwardedClient>()?.origin.clone();
        let told = if self.follows_proxies { told() } else { None };
        told.unwrap_or_else(|| self.public_url.clone())
    }

    /// Returns the base URL of the request's tenant.
    ///
    /// # Errors
    /// Fails with 404 `not-found` if there is no such tenant, as for an unknown application.
    pub(super) fn base(&self, request: &HttpRequest) -> Result<TenantBase, ApiError> {
        let tenant = self.tenant_of(request)?;
        Ok(TenantBase(base_url(&self.origin(request), &tenant)))
    }

    /// Returns who asks. The request must have come through [`authenticated`]. An application may do what
    /// its token says, as far as its registration now allows.
    ///
    /// # Errors
    /// Fails with 404 `not-found` if the tenant or the application is unknown or not active.
    pub(super) fn caller(&self, request: &HttpRequest) -> Result<AuthorizedCaller, ApiError> {
        let base = self.base(request)?;
        let tenant = self.tenant_of(request)?;
        let BearerGrant { client, scopes } =
            request.extensions().get::<BearerGrant>().cloned().ok_or_else(ApiError::internal)?;
        let Some(authority) = &self.authority else {
            return Ok(AuthorizedCaller { tenant, client, application: None, scopes, base });
        };
        let application =
            authority.application(&tenant, &client).ok_or_else(ApiError::unknown_application)?;
        let scopes = scopes.within(&application.scopes);
        Ok(AuthorizedCaller { tenant, client, application: Some(application), scopes, base })
    }

    /// Returns the authority that issues tokens.
    ///
    /// # Errors
    /// Fails with 404 `not-found` if there is no authentication.
    pub(super) fn authority(&self) -> Result<&Authority, ApiError> {
        self.authority.as_deref().ok_or_else(ApiError::no_route)
    }

    /// Returns the request's tenant as an issuer of tokens. Its URL does not depend on the `Host` of the
    /// request.
    ///
    /// # Errors
    /// Fails with 404 `not-found` if there is no such tenant.
    pub(super) fn issuer(&self, request: &HttpRequest) -> Result<TokenIssuer, ApiError> {
        Ok(self.issuer_of(&self.tenant_of(request)?))
    }

    /// Returns a tenant as an issuer of tokens.
    pub(super) fn issuer_of(&self, tenant: &TenantId) -> TokenIssuer {
        TokenIssuer { url: base_url(&self.public_url, tenant), tenant: tenant.clone() }
    }

    /// Returns the documents of a tenant.
    ///
    /// # Errors
    /// Fails with 404 `not-found` if there is no such tenant.
    pub(super) fn documents_of(&self, tenant: &TenantId) -> Result<&TenantDocuments, ApiError> {
        self.documents.of(tenant).ok_or_else(ApiError::unknown_application)
    }

    /// Returns the contents of a request's token. Without authentication everybody is one built-in client
    /// that may have everything.
    ///
    /// # Errors
    /// Fails with 401 (G-8) for a missing or invalid token, at an unknown tenant as for a token of another
    /// one. Fails with 400 for a token that is given twice, or in the URL, where logs would keep it.
    fn authenticate(&self, request: &HttpRequest) -> Result<BearerGrant, ApiError> {
        let Some(authority) = &self.authority else {
            return Ok(BearerGrant { client: self.client.clone(), scopes: Scopes::everything() });
        };
        let tenant: Option<TenantId> =
            request.match_info().get("tenant").and_then(|tenant| tenant.parse().ok());
        let issuer = tenant.as_ref().map(|tenant| self.issuer_of(tenant));
        let realm = issuer.as_ref().map_or(&self.public_url, |issuer| &issuer.url);
        let Some(token) = token_of(request, realm)? else { return Err(ApiError::no_token(realm)) };
        let claims =
            issuer.as_ref().map_or(Err(TokenError::Invalid), |issuer| authority.verify(issuer, token));
        let claims = claims.map_err(|error| ApiError::bad_token(realm, error))?;
        let scopes = claims.scope.parse().map_err(|_| ApiError::bad_token(realm, TokenError::Invalid))?;
        Ok(BearerGrant { client: claims.client_id, scopes })
    }

    /// Returns the request's tenant.
    ///
    /// # Errors
    /// Fails with 404 `not-found` if there is no such tenant, as for an unknown application.
    pub(super) fn tenant_of(&self, request: &HttpRequest) -> Result<TenantId, ApiError> {
        let tenant = request.match_info().get("tenant").and_then(|tenant| tenant.parse().ok());
        tenant.filter(|tenant| self.tenants.contains(tenant)).ok_or_else(ApiError::unknown_application)
    }
}

fn base_url(origin: &str, tenant: &TenantId) -> String {
    format!("{origin}{}", TENANT.replace("{tenant}", tenant.as_str()))
}

/// Returns the bearer token of a request, if there is one (RFC 6750 2.1).
fn token_of<'a>(request: &'a HttpRequest, realm: &str) -> Result<Option<&'a str>, ApiError> {
    let in_query = query::parse(request.query_string()).unwrap_or_default();
    if in_query.iter().any(|(name, _)| name == "access_token") {
        let text = "An access token does not belong in a URL; send it as Authorization: Bearer.";
        return Err(ApiError::misplaced_token(realm, text));
    }
    let mut fields = request.headers().get_all(header::AUTHORIZATION);
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(ApiError::misplaced_token(realm, "There are several Authorization fields; send one."));
    }
    let (scheme, token) = field.to_str().unwrap_or_default().split_once(' ').unwrap_or_default();
    Ok(scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()))
}
