//! Who asks, found out in the order of G-7: the token first (401), before the handler runs; the
//! tenant and the application when it has looked at the header fields (404); what the scopes allow
//! after that (403).

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

/// What a request's token says, which is found to be good.
#[derive(Debug, Clone)]
pub struct BearerGrant {
    /// Whose it is.
    pub client: ClientId,
    /// What it allows.
    pub scopes: Scopes,
}

/// Who asks, and may be answered.
#[derive(Debug, Clone)]
pub struct AuthorizedCaller {
    /// The tenant of the URL.
    pub tenant: TenantId,
    /// The application; alone it may see its jobs (P10).
    pub client: ClientId,
    /// The same, as it is registered now; `None` without authentication.
    pub application: Option<Arc<Application>>,
    /// What it may have.
    pub scopes: Scopes,
    /// What the URLs that it is given begin with.
    pub base: TenantBase,
}

/// The base URL of a tenant as the client sees it: `{scheme}://{host}/r4/{tenant}` (G-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantBase(String);

impl TenantBase {
    /// That of tests.
    #[cfg(test)]
    pub fn of(base: &str) -> Self {
        Self(base.into())
    }

    /// Without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The polling location of a job.
    pub fn polling_url(&self, job: JobId) -> String {
        POLLING_URL.at(&self.0, &[&job.to_string()])
    }

    /// The URL of a file of a job.
    pub fn file_url(&self, job: JobId, file: &str) -> String {
        FILE_URL.at(&self.0, &[&job.to_string(), file])
    }
}

/// Around the operations that need a token: without a good one the handler is not reached.
pub async fn authenticated(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let api = request.app_data::<Data<Api>>().ok_or_else(ApiError::internal);
    let admitted = api.and_then(|api| {
        let bearer = api.authenticate(request.request())?;
        // Without authentication one client is everybody.
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
    /// Whose jobs it may see.
    pub fn owner(&self) -> JobOwner {
        JobOwner { tenant: self.tenant.clone(), client: self.client.clone() }
    }
}

impl Api {
    /// Scheme, host and port as the client sees them.
    pub(super) fn origin(&self, request: &HttpRequest) -> String {
        let told = || request.extensions().get::<ForwardedClient>()?.origin.clone();
        let told = if self.follows_proxies { told() } else { None };
        told.unwrap_or_else(|| self.public_url.clone())
    }

    /// The base URL of the request's tenant.
    ///
    /// # Errors
    /// 404 `not-found` if there is no such tenant, as for an unknown application.
    pub(super) fn base(&self, request: &HttpRequest) -> Result<TenantBase, ApiError> {
        let tenant = self.tenant_of(request)?;
        Ok(TenantBase(base_url(&self.origin(request), &tenant)))
    }

    /// Who asks. The request came through [`authenticated`]. An application may do what its token
    /// says as far as it is registered for it now, whatever it was when the token was given.
    ///
    /// # Errors
    /// 404 `not-found` if the tenant or the application is not defined or not active.
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

    /// Who gives tokens.
    ///
    /// # Errors
    /// 404 `not-found` if nobody does: there is no authentication.
    pub(super) fn authority(&self) -> Result<&Authority, ApiError> {
        self.authority.as_deref().ok_or_else(ApiError::no_route)
    }

    /// The tenant of the request as the one that gives and takes tokens. Its URL does not depend
    /// on what the request says of its host.
    ///
    /// # Errors
    /// 404 `not-found` if there is no such tenant.
    pub(super) fn issuer(&self, request: &HttpRequest) -> Result<TokenIssuer, ApiError> {
        Ok(self.issuer_of(&self.tenant_of(request)?))
    }

    /// The same of a tenant.
    pub(super) fn issuer_of(&self, tenant: &TenantId) -> TokenIssuer {
        TokenIssuer { url: base_url(&self.public_url, tenant), tenant: tenant.clone() }
    }

    /// What is told a tenant of the server.
    ///
    /// # Errors
    /// 404 `not-found` if there is no such tenant.
    pub(super) fn documents_of(&self, tenant: &TenantId) -> Result<&TenantDocuments, ApiError> {
        self.documents.of(tenant).ok_or_else(ApiError::unknown_application)
    }

    /// What the token of a request says. Without authentication everybody is one built-in client
    /// that may have everything.
    ///
    /// # Errors
    /// 401 (G-8), at a tenant that there is not as for a token of another one; 400 for a token that
    /// is given twice, or in the URL, where logs would have it.
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

    /// The tenant of the request.
    ///
    /// # Errors
    /// 404 `not-found` if there is no such tenant, as for an unknown application.
    pub(super) fn tenant_of(&self, request: &HttpRequest) -> Result<TenantId, ApiError> {
        let tenant = request.match_info().get("tenant").and_then(|tenant| tenant.parse().ok());
        tenant.filter(|tenant| self.tenants.contains(tenant)).ok_or_else(ApiError::unknown_application)
    }
}

fn base_url(origin: &str, tenant: &TenantId) -> String {
    format!("{origin}{}", TENANT.replace("{tenant}", tenant.as_str()))
}

/// The bearer token of a request, if there is one (RFC 6750 2.1).
fn token_of<'a>(request: &'a HttpRequest, realm: &str) -> Result<Option<&'a str>, ApiError> {
    let in_query = query::parse(request.query_string()).unwrap_or_default();
    if in_query.iter().any(|(name, _)| name == "access_token") {
        let text = "An access token does not belong into a URL; send it as Authorization: Bearer.";
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
