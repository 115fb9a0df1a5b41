//! The table of contents: every URL, its name in logs and metrics, its methods and handlers.

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Resource, Route};

use super::{Api, ApiError, admin, delete, discovery, download, kickoff, middleware, status};

/// Mounts all routes: `App::new().configure(http::configure(api))`. They live under
/// `/r4/{tenant}`, `/healthz`, `/readyz` and `/metrics`.
pub fn configure(api: Api) -> impl FnOnce(&mut ServiceConfig) {
    let get = || (Method::GET, "GET");
    let post = || (Method::POST, "POST");
    move |config| {
        config.app_data(Data::new(api));
        config.service(
            web::scope("/r4/{tenant}")
                .wrap(from_fn(middleware::around))
                .service(resource(
                    "system-export",
                    "/$export",
                    vec![(get(), web::to(kickoff::system)), (post(), web::to(kickoff::system))],
                ))
                .service(resource(
                    "patient-export",
                    "/Patient/$export",
                    vec![(get(), web::to(kickoff::patient)), (post(), web::to(kickoff::patient))],
                ))
                .service(resource(
                    "group-export",
                    "/Group/{id}/$export",
                    vec![(get(), web::to(kickoff::group)), (post(), web::to(kickoff::group))],
                ))
                .service(resource(
                    "request",
                    "/bulk-api/request/{job}",
                    vec![
                        (get(), web::to(status::status)),
                        ((Method::HEAD, "HEAD"), web::to(status::status)),
                        ((Method::DELETE, "DELETE"), web::to(delete::delete)),
                    ],
                ))
                .service(resource(
                    "delete-request",
                    "/Export/DeleteRequest",
                    vec![(get(), web::to(delete::delete_request))],
                ))
                .service(resource(
                    "download",
                    "/bulk-api/download/{job}/{file}",
                    vec![
                        (get(), web::to(download::download)),
                        ((Method::HEAD, "HEAD"), web::to(download::download)),
                    ],
                ))
                // D-9: the folder of polling URLs takes no method.
                .service(resource("requests", "/bulk-api/request", Vec::new()))
                .service(resource(
                    "metadata",
                    "/metadata",
                    vec![
                        (get(), web::to(discovery::metadata)),
                        ((Method::HEAD, "HEAD"), web::to(discovery::metadata)),
                    ],
                ))
                .default_service(web::to(no_route)),
        );
        for (name, path, handler) in [
            ("healthz", "/healthz", web::to(admin::healthz)),
            ("readyz", "/readyz", web::to(admin::readyz)),
            ("metrics", "/metrics", web::to(admin::metrics)),
        ] {
            config.service(resource(name, path, vec![(get(), handler)]).wrap(from_fn(middleware::around)));
        }
    }
}

/// Where no route leads outside of them: the default service of the application that mounts
/// the routes, so that those answers too have an id, a log line and limits (G-6).
pub fn not_found() -> Route {
    web::to(no_route).wrap(from_fn(middleware::around))
}

async fn no_route() -> HttpResponse {
    HttpResponse::from_error(ApiError::no_route())
}

/// A URL with its methods; any other method gets 405 with `Allow`.
fn resource(name: &str, path: &str, routes: Vec<((Method, &'static str), Route)>) -> Resource {
    debug_assert!(middleware::NAMES.contains(&name), "{name} has no name in logs and metrics");
    let allow = routes.iter().map(|((_, name), _)| *name).collect::<Vec<_>>().join(", ");
    let mut resource = web::resource(path).name(name);
    for ((method, _), route) in routes {
        resource = resource.route(route.method(method));
    }
    resource.default_service(web::to(move || {
        let allow = allow.clone();
        async move { HttpResponse::from_error(ApiError::method_not_allowed(&allow)) }
    }))
}
