//! What the audit log learns of requests: who asked, from where, and how it went. It learns no parameter,
//! no id of a group or a patient, and no token (P12).

use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest};

use crate::audit::{self, RequestEvent};
use crate::http::caller::BearerGrant;
use crate::http::operations::token::TOKEN;
use crate::http::{Api, AuthorizedCaller, ClientAddress, RequestId};
use crate::job::{ClientId, JobId, Level, TenantId};

impl Api {
    /// Records an event.
    pub(in crate::http) fn record(&self, event: RequestEvent) {
        self.evanesce.record(event);
    }

    /// Returns who asks, before the request is known to be good. `client` must be registered.
    pub(in crate::http) fn audited_client(
        &self,
        request: &HttpRequest,
        client: Option<ClientId>,
    ) -> audit::AuditedCaller {
        let tenant: Option<TenantId> =
            request.match_info().get("tenant").and_then(|tenant| tenant.parse().ok());
        audit::AuditedCaller {
            client,
            tenant: tenant.filter(|tenant| self.tenants.contains(tenant)),
            request_id: request.extensions().get::<RequestId>().map(|RequestId(id)| id.clone()),
            address: request.extensions().get::<ClientAddress>().map(|ClientAddress(address)| *address),
        }
    }

    /// Returns who asks.
    pub(in crate::http) fn audited_caller(
        &self,
        request: &HttpRequest,
        caller: &AuthorizedCaller,
    ) -> audit::AuditedCaller {
        self.audited_client(request, Some(caller.client.clone()))
    }
}

/// Records that a request was refused for its token or its scopes.
pub fn refusal(response: &ServiceResponse<impl Sized>) {
    let request = response.request();
    let Some(api) = request.app_data::<Data<Api>>() else { return };
    let bearer = || request.extensions().get::<BearerGrant>().map(|bearer| bearer.client.clone());
    match response.status() {
        // The token endpoint records its own refusals.
        StatusCode::UNAUTHORIZED if request.match_name() != Some(TOKEN.url.name) => {
            let reason = if request.path().starts_with("/r4/") { "access-token" } else { "operator-token" };
            api.record(RequestEvent::AuthenticationRefused {
                caller: api.audited_client(request, None),
                reason,
            });
        }
        // A page of another site tried, or an old page of ours.
        StatusCode::FORBIDDEN if request.path().starts_with("/console") => {
            let caller = api.audited_client(request, None);
            api.record(RequestEvent::AuthenticationRefused { caller, reason: "console-form" });
        }
        StatusCode::FORBIDDEN => {
            let job: Option<JobId> = request.match_info().get("job").and_then(|job| job.parse().ok());
            let caller = api.audited_client(request, bearer());
            api.record(RequestEvent::ScopeRefused { caller, job, reason: "scope" });
        }
        _ => {}
    }
}

/// Returns the name of a level. It leaves out the group, which may name a population.
pub fn level_name(level: &Level) -> &'static str {
    match level {
        Level::System => "system",
        Level::Patient => "patient",
        Level::Group { .. } => "group",
    }
}
