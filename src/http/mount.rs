//! Mounts the routes in an application of actix-web.

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Resource, Route};

use crate::http::caller::authenticated;
use crate::http::caller::operator::operators_only;
use crate::http::operations::operation::{OperationRoute, RequiredToken, TENANT};
use crate::http::{Api, ApiError, middleware};

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
        let mut of_tenant = web::scope(TENANT).wrap(from_fn(middleware::around));
        for route in api.routes() {
            match route.url.path.strip_prefix(TENANT) {
                Some(path) => of_tenant = of_tenant.service(resource(path, &route)),
                None => {
                    config.service(resource(route.url.path, &route).wrap(from_fn(middleware::around)));
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
        for route in Api::operator_routes() {
            config.service(resource(route.url.path, &route).wrap(from_fn(middleware::around)));
        }
        config.app_data(Data::new(api));
    }
}

/// Returns the default service of the application that mounts the routes, so that a URL outside of them is
/// answered with an id, a log line and limits too (G-6).
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

/// Returns a URL with its methods; any other method gets 405 with `Allow`.
fn resource(path: &str, route: &OperationRoute) -> Resource {
    let mut resource = web::resource(path).name(route.url.name);
    for (method, operation) in route.methods() {
        let handler = (operation.handler)().method(method.clone());
        resource = resource.route(match route.url.token {
            RequiredToken::None => handler,
            RequiredToken::Access => handler.wrap(from_fn(authenticated)),
            RequiredToken::Operator => handler.wrap(from_fn(operators_only)),
        });
    }
    let allow = route.allow();
    resource.default_service(web::to(move || {
        let refusal = ApiError::method_not_allowed(&allow);
        async { HttpResponse::from_error(refusal) }
    }))
}
