//! The protocol over HTTP. `routes` lists the operations, and `operations` has each of them in a file.
//! What is negotiated (`negotiation`), who may (`caller`) and how an error becomes an OperationOutcome
//! (`error`) stand in one place each.

mod caller;
mod error;
mod input;
mod middleware;
mod mount;
mod negotiation;
mod operations;
mod output;
mod parameters;
mod routes;

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::Evanesce;
use crate::auth::{Authority, OperatorToken};
use crate::config::{ProtocolConfig, ProtocolProfile};
use crate::fhir::ExportParameter;
use crate::fhir::reference::BaseUrls;
use crate::job::{ClientId, JobId, TenantId};

use caller::{AuthorizedCaller, TenantBase};
use input::intake::RequestIntake;
use negotiation::accept;
use negotiation::preferences::RequestPreferences;
use output::documents::DocumentCache;
use parameters::taken_by;

pub(crate) use error::ApiError;
pub(crate) use middleware::RequestId;
pub(crate) use middleware::connection::{ConnectionActivity, RequestConnection};
pub(crate) use middleware::forwarded::ClientAddress;
pub use middleware::hosts::AllowedHosts;
pub(crate) use middleware::limits::{RequestLimits, household};
#[cfg(feature = "console")]
pub(crate) use middleware::{OperationName, around};
pub use mount::{configure, configure_admin, not_found};

/// The answer of a handler.
type ApiResult = Result<HttpResponse, ApiError>;

/// The state that all handlers share.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// use actix_web::App;
/// use evanesce::http::{Api, configure, not_found};
///
/// let api = Api::new(evanesce, "https://fhir.example.org");
/// let app = App::new().configure(configure(api)).default_service(not_found());
/// let app = actix_web::test::init_service(app).await;
/// let request = actix_web::test::TestRequest::get().uri("/r4/default/metadata").to_request();
/// assert_eq!(actix_web::test::call_service(&app, request).await.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Api {
    evanesce: Evanesce,
    public_url: String,
    /// The tenants that have URLs.
    tenants: Arc<BTreeSet<TenantId>>,
    follows_proxies: bool,
    limits: Arc<RequestLimits>,
    intake: Arc<RequestIntake>,
    client: ClientId,
    authority: Option<Arc<Authority>>,
    metrics: Option<PrometheusHandle>,
    operator_token: Option<Arc<OperatorToken>>,
    /// The hosts that are answered for; `None` for all.
    hosts: Option<AllowedHosts>,
    documents: Arc<DocumentCache>,
    max_url_bytes: usize,
    max_body_bytes: usize,
    started_at: Timestamp,
}

impl Api {
    /// Returns an API over a running instance. `public_url` is the scheme, host and port that clients see,
    /// without a slash at the end. Every request is that of one built-in client, which may have
    /// everything: the host authenticates, or gives an authority ([`Api::with_authority`]).
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let api = http::Api::new(evanesce, "https://fhir.example.org");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(evanesce: Evanesce, public_url: impl Into<String>) -> Self {
        let (config, tenants) = (evanesce.config(), evanesce.tenants());
        let documents = Arc::new(DocumentCache::new(&tenants));
        let limits = Arc::new(RequestLimits::new(&config.limits));
        let intake = Arc::new(RequestIntake::new(config.limits.body_timeout.0));
        let (max_url_bytes, max_body_bytes) = (config.server.max_url_bytes, config.server.max_body_bytes);
        Self {
            evanesce,
            public_url: public_url.into(),
            tenants: Arc::new(tenants),
            follows_proxies: false,
            limits,
            intake,
            client: "built-in".parse().expect("a constant that is a valid name"),
            authority: None,
            metrics: None,
            operator_token: None,
            hosts: None,
            documents,
            max_url_bytes,
            max_body_bytes,
            started_at: Timestamp::now(),
        }
    }

    /// Returns the API, answering operators who have this token.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (folder, evanesce) = example::host().await?;
    /// let token = OperatorToken::open(&folder.path().join("operator-token"))?;
    /// let api = http::Api::new(evanesce, "https://fhir.example.org").with_operator_token(token);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_operator_token(mut self, token: OperatorToken) -> Self {
        self.operator_token = Some(Arc::new(token));
        self
    }

    /// Returns the API, answering only clients that have an access token of this authority (SMART Backend
    /// Services).
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let authority = std::sync::Arc::new(Authority::open(&evanesce)?);
    /// let api = http::Api::new(evanesce, "https://fhir.example.org").with_authority(authority);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_authority(mut self, authority: Arc<Authority>) -> Self {
        self.authority = Some(authority);
        // They describe the authority.
        self.documents = Arc::new(DocumentCache::new(&*self.tenants));
        self
    }

    /// Returns the API, serving `/metrics` from this recorder.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    /// let api = http::Api::new(evanesce, "https://fhir.example.org").with_metrics(recorder.handle());
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_metrics(mut self, metrics: PrometheusHandle) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Returns the API, with URLs that begin with the scheme and host that a trusted proxy reports, if it
    /// reports them.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let api = http::Api::new(evanesce, "http://127.0.0.1:8080").following_proxies();
    /// # Ok(())
    /// # }
    /// ```
    pub fn following_proxies(mut self) -> Self {
        self.follows_proxies = true;
        self
    }

    /// Returns the API, answering requests for these hosts only. Without authentication, a page in a
    /// browser could otherwise read everything under a name that it points at this server (DNS rebinding).
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let api = http::Api::new(evanesce, "http://127.0.0.1:8080").answering_for(http::AllowedHosts::loopback());
    /// # Ok(())
    /// # }
    /// ```
    pub fn answering_for(mut self, hosts: AllowedHosts) -> Self {
        self.hosts = Some(hosts);
        self
    }

    /// Returns the instance.
    #[cfg(feature = "console")]
    pub(crate) fn evanesce(&self) -> &Evanesce {
        &self.evanesce
    }

    /// Returns who issues access tokens, if there is authentication.
    #[cfg(feature = "console")]
    pub(crate) fn authorized_by(&self) -> Option<&Arc<Authority>> {
        self.authority.as_ref()
    }

    /// Returns the recorder of `/metrics`, if there is one.
    #[cfg(feature = "console")]
    pub(crate) fn metrics(&self) -> Option<&PrometheusHandle> {
        self.metrics.as_ref()
    }

    /// Returns when the API was made.
    #[cfg(feature = "console")]
    pub(crate) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Returns the limits on requests.
    pub(crate) fn limits(&self) -> &RequestLimits {
        &self.limits
    }

    fn protocol(&self) -> &ProtocolConfig {
        &self.evanesce.config().protocol
    }

    /// Returns the base URLs below which references are relative for a client (K-12).
    fn bases(&self, caller: &AuthorizedCaller) -> BaseUrls {
        self.evanesce.config().bases(&caller.tenant).and(caller.base.as_str())
    }

    /// Returns the parameters that kick-offs take.
    fn export_parameters(&self) -> Vec<&'static ExportParameter> {
        taken_by(self.protocol().profile).collect()
    }

    /// Refuses a request for status or deletion whose `Accept` excludes JSON. Under Soarian's rules,
    /// refuses one without `Accept` or `Prefer: respond-async` too (C2, C3).
    fn check_poll_headers(&self, request: &HttpRequest) -> Result<(), ApiError> {
        match self.protocol().profile {
            ProtocolProfile::Standard => accept::json(request).map(drop),
            ProtocolProfile::Soarian => {
                accept::require_json(request)?;
                RequestPreferences::of(request).require_respond_async()
            }
        }
    }

    /// Returns the job that the URL names. A malformed id is an unknown one.
    fn job(request: &HttpRequest) -> Result<JobId, ApiError> {
        let job = request.match_info().get("job").and_then(|job| job.parse().ok());
        job.ok_or_else(ApiError::unknown_job)
    }
}
