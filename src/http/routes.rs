//! The table of contents: every URL with its methods, what answers them and what is said of
//! them. Nothing is routed that does not stand here, and nothing is told of that is not routed.

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Resource, Route};

use crate::config::ProtocolProfile;
use crate::fhir::{CapabilityOffer, GROUP_EXPORT, PATIENT_EXPORT, SYSTEM_EXPORT};
use crate::http::caller::{Access, authenticated};
use crate::http::operations::operation::Operation;
use crate::http::operations::{
    admin, binary, delete, descriptions, download, group, introspection, kickoff, metadata, openapi,
    operation_definition, smart_configuration as smart, status, token,
};
use crate::http::{Api, ApiError, middleware};

/// Where the URLs of a tenant begin (G-1).
pub const TENANT: &str = "/r4/{tenant}";

/// Every operation: its URL, its methods, its handler and its description.
pub static OPERATIONS: &[Operation] = &[
    Operation {
        name: "system-export",
        path: "/r4/{tenant}/$export",
        access: Access::Token,
        offer: Some(CapabilityOffer::Export(&SYSTEM_EXPORT)),
        methods: &[
            (Method::GET, || web::to(kickoff::system), &descriptions::KICK_OFF),
            (Method::POST, || web::to(kickoff::system), &descriptions::KICK_OFF_BY_POST),
        ],
    },
    Operation {
        name: "patient-export",
        path: "/r4/{tenant}/Patient/$export",
        access: Access::Token,
        offer: Some(CapabilityOffer::Export(&PATIENT_EXPORT)),
        methods: &[
            (Method::GET, || web::to(kickoff::patient), &descriptions::KICK_OFF),
            (Method::POST, || web::to(kickoff::patient), &descriptions::KICK_OFF_BY_POST),
        ],
    },
    Operation {
        name: "group-export",
        path: "/r4/{tenant}/Group/{id}/$export",
        access: Access::Token,
        offer: Some(CapabilityOffer::Export(&GROUP_EXPORT)),
        methods: &[
            (Method::GET, || web::to(kickoff::group), &descriptions::KICK_OFF),
            (Method::POST, || web::to(kickoff::group), &descriptions::KICK_OFF_BY_POST),
        ],
    },
    Operation {
        name: "request",
        path: "/r4/{tenant}/bulk-api/request/{job}",
        access: Access::Token,
        offer: None,
        methods: &[
            (Method::GET, || web::to(status::status), &descriptions::STATUS),
            (Method::HEAD, || web::to(status::status), &descriptions::STATUS),
            (Method::DELETE, || web::to(delete::delete), &descriptions::DELETE),
        ],
    },
    // D-9: the folder of polling URLs takes no method.
    Operation {
        name: "requests",
        path: "/r4/{tenant}/bulk-api/request",
        access: Access::Token,
        offer: None,
        methods: &[],
    },
    Operation {
        name: "delete-request",
        path: "/r4/{tenant}/Export/DeleteRequest",
        access: Access::Token,
        offer: None,
        methods: &[(Method::GET, || web::to(delete::delete_request), &descriptions::DELETE_REQUEST)],
    },
    Operation {
        name: "download",
        path: "/r4/{tenant}/bulk-api/download/{job}/{file}",
        access: Access::Token,
        offer: None,
        methods: &[
            (Method::GET, || web::to(download::download), &descriptions::DOWNLOAD),
            (Method::HEAD, || web::to(download::download), &descriptions::DOWNLOAD),
        ],
    },
    Operation {
        name: "metadata",
        path: "/r4/{tenant}/metadata",
        access: Access::Open,
        offer: None,
        methods: &[
            (Method::GET, || web::to(metadata::metadata), &descriptions::METADATA),
            (Method::HEAD, || web::to(metadata::metadata), &descriptions::METADATA),
        ],
    },
    Operation {
        name: "operation-definitions",
        path: "/r4/{tenant}/OperationDefinition",
        access: Access::Open,
        offer: Some(CapabilityOffer::Interaction("OperationDefinition", "search-type", &[("url", "uri")])),
        methods: &[
            (Method::GET, || web::to(operation_definition::search), &descriptions::OPERATION_DEFINITIONS),
            (Method::HEAD, || web::to(operation_definition::search), &descriptions::OPERATION_DEFINITIONS),
        ],
    },
    // Before those with an id: it is none.
    Operation {
        name: "operation-definition-search",
        path: "/r4/{tenant}/OperationDefinition/_search",
        access: Access::Open,
        offer: None,
        methods: &[(
            Method::POST,
            || web::to(operation_definition::search_by_post),
            &descriptions::OPERATION_DEFINITIONS_BY_POST,
        )],
    },
    Operation {
        name: "operation-definition",
        path: "/r4/{tenant}/OperationDefinition/{id}",
        access: Access::Open,
        offer: Some(CapabilityOffer::Interaction("OperationDefinition", "read", &[])),
        methods: &[
            (Method::GET, || web::to(operation_definition::read), &descriptions::OPERATION_DEFINITION),
            (Method::HEAD, || web::to(operation_definition::read), &descriptions::OPERATION_DEFINITION),
        ],
    },
    Operation {
        name: "groups",
        path: "/r4/{tenant}/Group",
        access: Access::Token,
        offer: Some(CapabilityOffer::Interaction(
            "Group",
            "search-type",
            &[("_id", "token"), ("identifier", "token"), ("name", "string")],
        )),
        methods: &[
            (Method::GET, || web::to(group::search), &descriptions::GROUPS),
            (Method::HEAD, || web::to(group::search), &descriptions::GROUPS),
        ],
    },
    Operation {
        name: "group-search",
        path: "/r4/{tenant}/Group/_search",
        access: Access::Token,
        offer: None,
        methods: &[(Method::POST, || web::to(group::search_by_post), &descriptions::GROUPS_BY_POST)],
    },
    Operation {
        name: "group",
        path: "/r4/{tenant}/Group/{id}",
        access: Access::Token,
        offer: Some(CapabilityOffer::Interaction("Group", "read", &[])),
        methods: &[
            (Method::GET, || web::to(group::read), &descriptions::GROUP),
            (Method::HEAD, || web::to(group::read), &descriptions::GROUP),
        ],
    },
    Operation {
        name: "binary",
        path: "/r4/{tenant}/Binary/{id}",
        access: Access::Token,
        offer: Some(CapabilityOffer::Interaction("Binary", "read", &[])),
        methods: &[
            (Method::GET, || web::to(binary::read), &descriptions::BINARY),
            (Method::HEAD, || web::to(binary::read), &descriptions::BINARY),
        ],
    },
    Operation {
        name: "openapi",
        path: "/openapi.json",
        access: Access::Open,
        offer: None,
        methods: &[
            (Method::GET, || web::to(openapi::openapi), &descriptions::OPENAPI),
            (Method::HEAD, || web::to(openapi::openapi), &descriptions::OPENAPI),
        ],
    },
    Operation {
        name: "healthz",
        path: "/healthz",
        access: Access::Open,
        offer: None,
        methods: &[(Method::GET, || web::to(admin::healthz), &descriptions::HEALTHZ)],
    },
    Operation {
        name: "readyz",
        path: "/readyz",
        access: Access::Open,
        offer: None,
        methods: &[(Method::GET, || web::to(admin::readyz), &descriptions::READYZ)],
    },
];

/// Those that give and check tokens: without an authority they are not there.
pub static OAUTH_OPERATIONS: &[Operation] = &[
    Operation {
        name: "smart-configuration",
        path: "/r4/{tenant}/.well-known/smart-configuration",
        access: Access::Open,
        offer: None,
        methods: &[
            (Method::GET, || web::to(smart::smart_configuration), &descriptions::SMART_CONFIGURATION),
            (Method::HEAD, || web::to(smart::smart_configuration), &descriptions::SMART_CONFIGURATION),
        ],
    },
    Operation {
        name: "token",
        path: "/r4/{tenant}/auth/token",
        access: Access::Open,
        offer: None,
        methods: &[(Method::POST, || web::to(token::token), &descriptions::TOKEN)],
    },
    Operation {
        name: "introspection",
        path: "/r4/{tenant}/auth/introspect",
        access: Access::Token,
        offer: None,
        methods: &[(Method::POST, || web::to(introspection::introspect), &descriptions::INTROSPECTION)],
    },
    Operation {
        name: "jwks",
        path: "/r4/{tenant}/auth/jwks",
        access: Access::Open,
        offer: None,
        methods: &[
            (Method::GET, || web::to(smart::jwks), &descriptions::JWKS),
            (Method::HEAD, || web::to(smart::jwks), &descriptions::JWKS),
        ],
    },
];

/// The same for operators.
pub static ADMIN_OPERATIONS: &[Operation] = &[
    Operation {
        name: "admin-healthz",
        path: "/healthz",
        access: Access::Open,
        offer: None,
        methods: &[(Method::GET, || web::to(admin::healthz), &descriptions::HEALTHZ)],
    },
    Operation {
        name: "admin-readyz",
        path: "/readyz",
        access: Access::Operator,
        offer: None,
        methods: &[(Method::GET, || web::to(admin::readyz_in_full), &descriptions::READYZ)],
    },
    Operation {
        name: "metrics",
        path: "/metrics",
        access: Access::Operator,
        offer: None,
        methods: &[(Method::GET, || web::to(admin::metrics), &descriptions::METRICS)],
    },
    Operation {
        name: "admin-openapi",
        path: "/openapi.json",
        access: Access::Operator,
        offer: None,
        methods: &[(Method::GET, || web::to(openapi::of_operators), &descriptions::ADMIN_OPENAPI)],
    },
    Operation {
        name: "admin-status",
        path: "/admin/status",
        access: Access::Operator,
        offer: None,
        methods: &[(Method::GET, || web::to(admin::status), &descriptions::ADMIN_STATUS)],
    },
    Operation {
        name: "admin-jobs",
        path: "/admin/jobs",
        access: Access::Operator,
        offer: None,
        methods: &[(Method::GET, || web::to(admin::jobs), &descriptions::ADMIN_JOBS)],
    },
    Operation {
        name: "admin-job",
        path: "/admin/jobs/{job}",
        access: Access::Operator,
        offer: None,
        methods: &[(Method::DELETE, || web::to(admin::cancel), &descriptions::ADMIN_CANCEL)],
    },
    Operation {
        name: "admin-hold",
        path: "/admin/jobs/{job}/hold",
        access: Access::Operator,
        offer: None,
        methods: &[
            (Method::PUT, || web::to(admin::hold), &descriptions::ADMIN_HOLD),
            (Method::DELETE, || web::to(admin::release), &descriptions::ADMIN_RELEASE),
        ],
    },
    Operation {
        name: "admin-pause",
        path: "/admin/reaper/pause",
        access: Access::Operator,
        offer: None,
        methods: &[
            (Method::PUT, || web::to(admin::pause), &descriptions::ADMIN_PAUSE),
            (Method::DELETE, || web::to(admin::resume), &descriptions::ADMIN_RESUME),
        ],
    },
    Operation {
        name: "admin-clock",
        path: "/admin/clock/confirm",
        access: Access::Operator,
        offer: None,
        methods: &[(Method::POST, || web::to(admin::confirm_clock), &descriptions::ADMIN_CONFIRM_CLOCK)],
    },
];

impl Api {
    /// What clients may call here.
    pub(super) fn operations(&self) -> impl Iterator<Item = &'static Operation> + use<> {
        let of_tokens = if self.authority.is_some() { OAUTH_OPERATIONS } else { &[] };
        OPERATIONS.iter().chain(of_tokens)
    }
}

/// Mounts the routes of clients: `App::new().configure(http::configure(api))`. They live under
/// `/r4/{tenant}`, `/openapi.json`, `/healthz` and `/readyz`.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let api = http::Api::new(evanesce, "https://fhir.example.org");
/// let app = actix_web::App::new().configure(http::configure(api));
/// # Ok(())
/// # }
/// ```
pub fn configure(api: Api) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        let profile = api.protocol().profile;
        let mut of_tenant = web::scope(TENANT).wrap(from_fn(middleware::around));
        for operation in api.operations() {
            match operation.path.strip_prefix(TENANT) {
                Some(path) => of_tenant = of_tenant.service(resource(path, operation, profile)),
                None => {
                    let resource = resource(operation.path, operation, profile);
                    config.service(resource.wrap(from_fn(middleware::around)));
                }
            }
        }
        config.service(of_tenant.default_service(web::to(no_route)));
        config.app_data(Data::new(api));
    }
}

/// Mounts the routes of operators, on a listener that clients do not reach. They live under
/// `/admin`, `/healthz`, `/readyz` and `/metrics`.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let api = http::Api::new(evanesce, "https://fhir.example.org");
/// let app = actix_web::App::new().configure(http::configure_admin(api));
/// # Ok(())
/// # }
/// ```
pub fn configure_admin(api: Api) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        let profile = api.protocol().profile;
        for operation in ADMIN_OPERATIONS {
            config.service(resource(operation.path, operation, profile).wrap(from_fn(middleware::around)));
        }
        config.app_data(Data::new(api));
    }
}

/// Where no route leads outside of them: the default service of the application that mounts
/// the routes, so that those answers too have an id, a log line and limits (G-6).
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// let app = actix_web::App::new().default_service(http::not_found());
/// # Ok(())
/// # }
/// ```
pub fn not_found() -> Route {
    web::to(no_route).wrap(from_fn(middleware::around))
}

async fn no_route() -> HttpResponse {
    HttpResponse::from_error(ApiError::no_route())
}

/// A URL with its methods; any other method gets 405 with `Allow`.
fn resource(path: &str, operation: &'static Operation, profile: ProtocolProfile) -> Resource {
    let mut resource = web::resource(path).name(operation.name);
    for (method, handler, _) in operation.methods_under(profile) {
        let route = handler().method(method.clone());
        resource = resource.route(match operation.access {
            Access::Open => route,
            Access::Token => route.wrap(from_fn(authenticated)),
            Access::Operator => route.wrap(from_fn(admin::operators_only)),
        });
    }
    resource.default_service(web::to(move || {
        let refusal = ApiError::method_not_allowed(&operation.allow(profile));
        async { HttpResponse::from_error(refusal) }
    }))
}
