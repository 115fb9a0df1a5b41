//! What wraps every request: an id of the server's (G-6), the address of the client, limits on requests,
//! URL and header fields, a log line with the id, and metrics.

pub mod connection;
pub mod forwarded;
pub mod hosts;
pub mod limits;

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use sha2::{Digest, Sha256};
use tracing::field::Empty;
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::fhir::IssueCode;
use crate::http::caller::audited;
use crate::http::middleware::connection::{RequestConnection, TrackedBody};
use crate::http::middleware::forwarded::ForwardedClient;
use crate::http::routes::known_name;
use crate::http::{Api, ApiError, ClientAddress};
use crate::telemetry::{self, spans};

/// The most bytes of all header fields together.
const MAX_HEADER_BYTES: usize = 32 << 10;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const OPC_REQUEST_ID: HeaderName = HeaderName::from_static("opc-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The id that the server gave a request.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The name of a request in logs and metrics, if its route has none in the list of operations. Whoever sets
/// it takes it from a closed list.
#[derive(Debug, Clone, Copy)]
pub struct OperationName(pub &'static str);

impl FromRequest for RequestId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(ApiError::internal))
    }
}

/// Wraps every request: gives it an id, checks its limits, logs it and counts it.
pub async fn around(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<TrackedBody>, Error> {
    let began = Instant::now();
    let activity = request.request().conn_data::<RequestConnection>().map(|wire| wire.activity.clone());
    let is_second = activity.as_ref().is_some_and(|activity| activity.has_begun());
    let under_way = activity.map(|activity| activity.begin());
    if is_second {
        // Thousands may wait on one connection; the other connections get their turn too.
        tokio::task::yield_now().await;
    }
    let id = Uuid::new_v4().to_string();
    request.extensions_mut().insert(RequestId(id.clone()));
    let client = client(&request);
    let span = tracing::info_span!(
        "request",
        request_id = %id,
        method = loggable_method(request.method()),
        client = client.map(tracing::field::display),
        http.route = Empty,
        http.response.status_code = Empty,
        otel.name = Empty,
        otel.kind = Empty,
        otel.status_code = Empty,
    );
    if let Some(theirs) = request.headers().get(X_REQUEST_ID) {
        let client_request_id = loggable(theirs.as_bytes());
        tracing::info!(parent: &span, client_request_id, "the client named the request");
    }
    let answer = async {
        let checked =
            check_host(&request).and_then(|()| check_rate(&request)).and_then(|()| check_size(&request));
        skip_slash(&mut request);
        match checked {
            Ok(()) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
            Err(error) => Ok(request.error_response(error)),
        }
    };
    let mut response = answer.instrument(span.clone()).await?;
    add_headers(&mut response, &id);
    let operation = operation_name(response.request());
    let status = response.status().as_u16();
    let took = began.elapsed();
    audited::refusal(&response);
    telemetry::answered(operation, status, took);
    // The text of an error may quote what the client sent, which may name a patient (P12).
    let code = response.response().error().and_then(|error| error.as_error::<ApiError>()).map(ApiError::code);
    if code == Some(IssueCode::Exception) {
        tracing::error!(parent: &span, operation, status, ?took, ?code, "answered");
    } else {
        tracing::info!(parent: &span, operation, status, ?took, ?code, "answered");
    }
    end_span(&span, &response, operation);
    Ok(response.map_body(|_, body| TrackedBody::new(body, under_way)))
}

/// Tells the span of a request what OpenTelemetry wants to know, after its log line. The route is a
/// pattern: the path may name a patient (P12).
fn end_span(span: &Span, response: &ServiceResponse<impl MessageBody>, operation: &str) {
    if !spans::are_sent() {
        return;
    }
    let route = response.request().match_pattern().filter(|_| operation != "none");
    let method = loggable_method(response.request().method());
    let name = route.as_ref().map_or_else(|| method.clone(), |route| format!("{method} {route}"));
    span.record("http.route", route);
    span.record("http.response.status_code", i64::from(response.status().as_u16()));
    span.record("otel.name", name);
    span.record("otel.kind", "server");
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

fn operation_name(request: &HttpRequest) -> &'static str {
    let set = request.extensions().get::<OperationName>().map(|OperationName(name)| *name);
    set.or_else(|| request.match_name().and_then(known_name)).unwrap_or("none")
}

/// Adds the header fields of every answer.
fn add_headers(response: &mut ServiceResponse<impl MessageBody>, id: &str) {
    let id = HeaderValue::from_str(id).expect("a UUID is a valid header value");
    let fields = [
        (X_REQUEST_ID, Some(id.clone())),
        (OPC_REQUEST_ID, Some(id)),
        // Keeps browsers from taking an answer for a page with scripts.
        (header::X_CONTENT_TYPE_OPTIONS, Some(HeaderValue::from_static("nosniff"))),
        (KEEP_ALIVE, keep_alive(response.request())),
        (header::STRICT_TRANSPORT_SECURITY, strict_transport_security(response.request())),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
}

/// Stores the client's end of the request in its extensions, and returns its address.
fn client(request: &ServiceRequest) -> Option<IpAddr> {
    let server = &request.app_data::<Data<Api>>()?.evanesce.config().server;
    let client = ForwardedClient::of(request.request(), &server.trusted_proxies, server.proxy_fields)?;
    let ClientAddress(address) = client.address;
    request.extensions_mut().insert(client.address);
    request.extensions_mut().insert(client);
    Some(address)
}

fn check_host(request: &ServiceRequest) -> Result<(), ApiError> {
    let hosts = request.app_data::<Data<Api>>().and_then(|api| api.hosts.as_ref());
    let is_meant = hosts.is_none_or(|hosts| hosts.are_meant_by(request.request()));
    if is_meant { Ok(()) } else { Err(ApiError::misdirected()) }
}

/// Skips the first of two slashes: clients append a path with a slash to a base URL that ends with one.
fn skip_slash(request: &mut ServiceRequest) {
    let path = request.match_info_mut();
    if path.unprocessed().starts_with("//") {
        path.skip(1);
    }
}

/// Returns the seconds for which another request may come on this connection: a load balancer should know.
fn keep_alive(request: &HttpRequest) -> Option<HeaderValue> {
    let is_kept = request.head().connection_type() == ConnectionType::KeepAlive;
    request.conn_data::<RequestConnection>().filter(|_| is_kept)?;
    let time = request.app_data::<Data<Api>>()?.evanesce.config().limits.keep_alive.0;
    (time.as_secs() > 0).then(|| HeaderValue::from_str(&format!("timeout={}", time.as_secs())).ok())?
}

fn check_rate(request: &ServiceRequest) -> Result<(), ApiError> {
    match (request.app_data::<Data<Api>>(), request.extensions().get::<ForwardedClient>()) {
        (Some(api), Some(client)) => api.limits().admit(client),
        _ => Ok(()),
    }
}

/// Returns what tells a client of TLS to use nothing else (RFC 6797). If a trusted proxy does not report
/// the scheme, that of `public_url` counts.
fn strict_transport_security(request: &HttpRequest) -> Option<HeaderValue> {
    let server = &request.app_data::<Data<Api>>()?.evanesce.config().server;
    let max_age = server.hsts_max_age.0.as_secs();
    let is_https = request.extensions().get::<ForwardedClient>()?.is_https;
    let is_public = || server.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let value = || HeaderValue::from_str(&format!("max-age={max_age}")).ok();
    (max_age > 0 && is_https.unwrap_or_else(is_public)).then(value).flatten()
}

/// Returns a client's name for its request as the log may have it (P12): as it is if it can only be an id
/// such as a UUID or a trace id, else a hash that the client can compute as well.
fn loggable(theirs: &[u8]) -> String {
    let digits = theirs.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    let is_id = (16..=128).contains(&theirs.len())
        && digits >= 16
        && theirs.iter().all(|byte| byte.is_ascii_hexdigit() || b"-/".contains(byte))
        // A plain number may be that of a patient.
        && theirs.iter().any(u8::is_ascii_alphabetic);
    if is_id {
        return String::from_utf8_lossy(theirs).into_owned();
    }
    hashed(theirs)
}

/// Returns a method as the log may have it: a client may send any text of up to 128 KiB.
fn loggable_method(method: &Method) -> String {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
        Method::CONNECT,
        Method::TRACE,
    ];
    if KNOWN.contains(method) { method.to_string() } else { hashed(method.as_str().as_bytes()) }
}

/// Returns a hash of what a client sent: it may name a patient, or be of any length, and who knows it can
/// recognise it.
fn hashed(theirs: &[u8]) -> String {
    format!("sha256:{}", hex::encode(&Sha256::digest(theirs)[..8]))
}

fn check_size(request: &ServiceRequest) -> Result<(), ApiError> {
    let url = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
    let limit = request.app_data::<Data<Api>>().map_or(usize::MAX, |api| api.max_url_bytes);
    if url > limit {
        return Err(ApiError::url_too_long(limit));
    }
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if fields.sum::<usize>() > MAX_HEADER_BYTES {
        return Err(ApiError::headers_too_long(MAX_HEADER_BYTES));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_but_an_id_is_logged_as_it_stands() {
        for id in
            ["6b1f0e3c-5d0a-4b8e-9a57-0f6f1c2d3e4f", "A1B2C3D4E5F60718", "0af7651916cd43dd/8448eb211c80319c"]
        {
            assert_eq!(loggable(id.as_bytes()), id);
        }
        for other in
            ["Doe-4711", "80276883110000000011", "2026-01-31/80276883", "abcdef", "", "\u{e9}", "mine \"x"]
        {
            let logged = loggable(other.as_bytes());
            assert!(logged.starts_with("sha256:") && logged.len() == 23, "{logged}");
        }
        assert_eq!(loggable(b"abc"), "sha256:ba7816bf8f01cfea");
        assert!(loggable("a".repeat(129).as_bytes()).starts_with("sha256:"));
    }

    #[test]
    fn a_method_that_http_does_not_know_is_logged_as_a_hash() {
        let logged = |method: &str| loggable_method(&Method::from_bytes(method.as_bytes()).unwrap());
        assert_eq!(logged("DELETE"), "DELETE");
        for method in ["delete", "SMITH", &"GET".repeat(20_000)] {
            let logged = logged(method);
            assert!(logged.starts_with("sha256:") && logged.len() == 23, "{logged}");
        }
    }
}
