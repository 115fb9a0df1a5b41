//! Who asks, found out in the order of G-7: the token first (401), before the handler runs; the
//! tenant and the application when it has looked at the header fields (404); what the scopes allow
//! after that (403).

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest};

use super::{Api, ApiError};
use crate::auth::Scopes;
use crate::job::{ClientId, JobId, TenantId};

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Who has an access token (G-3).
    Token,
    /// Who has the operator's token.
    Operator,
}

/// What a request's token says, which is found to be good.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// Whose it is.
    pub client: ClientId,
    /// What it allows.
    pub scopes: Scopes,
}

/// Who asks, and may be answered.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The tenant of the URL.
    pub tenant: TenantId,
    /// The application; alone it may see its jobs (P10).
    pub client: ClientId,
    /// What it may have.
    pub scopes: Scopes,
    /// What the URLs that it is given begin with.
    pub base: Base,
}

/// The base URL of a tenant as the client sees it: `{scheme}://{host}/r4/{tenant}` (G-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// Without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The polling location of a job.
    pub fn polling_url(&self, job: JobId) -> String {
        format!("{}/bulk-api/request/{job}", self.0)
    }

    /// What the URLs of a job's files begin with.
    pub fn download_url(&self, job: JobId) -> String {
        format!("{}/bulk-api/download/{job}", self.0)
    }
}

/// Around the operations that need a token: without a good one the handler is not reached.
pub async fn authenticated(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let api = request.app_data::<Data<Api>>().ok_or_else(ApiError::internal);
    match api.and_then(|api| api.authenticate(request.request())) {
        Ok(bearer) => {
            request.extensions_mut().insert(bearer);
            next.call(request).await.map(ServiceResponse::map_into_left_body)
        }
        Err(refusal) => Ok(request.error_response(refusal).map_into_right_body()),
    }
}

impl Api {
    /// Scheme, host and port as the client sees them.
    pub(super) fn origin(&self, _request: &HttpRequest) -> String {
        self.public_url.clone()
    }

    /// The base URL of the request's tenant.
    ///
    /// # Errors
    /// 404 `not-found` if there is no such tenant, as for an unknown application.
    pub(super) fn base(&self, request: &HttpRequest) -> Result<Base, ApiError> {
        let tenant = self.tenant_of(request)?;
        Ok(Base(format!("{}/r4/{tenant}", self.origin(request))))
    }

    /// Who asks. The request came through [`authenticated`].
    ///
    /// # Errors
    /// 404 `not-found` if the tenant or the application is not defined or not active.
    pub(super) fn caller(&self, request: &HttpRequest) -> Result<Caller, ApiError> {
        let base = self.base(request)?;
        let Bearer { client, scopes } =
            request.extensions().get::<Bearer>().cloned().ok_or_else(ApiError::internal)?;
        Ok(Caller { tenant: self.tenant_of(request)?, client, scopes, base })
    }

    /// Without authentication everybody is one built-in client that may have everything.
    fn authenticate(&self, _request: &HttpRequest) -> Result<Bearer, ApiError> {
        Ok(Bearer { client: self.client.clone(), scopes: Scopes::everything() })
    }

    fn tenant_of(&self, request: &HttpRequest) -> Result<TenantId, ApiError> {
        let tenant = request.match_info().get("tenant").and_then(|tenant| tenant.parse().ok());
        tenant.filter(|tenant| self.tenants.contains(tenant)).ok_or_else(ApiError::unknown_application)
    }
}
