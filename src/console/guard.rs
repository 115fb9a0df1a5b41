//! What every request of the console passes, in this order: its host, for a POST where it comes from, the
//! session, and for a POST the CSRF token. Pages are routed behind it and cannot leave any of it out. It
//! also gives every answer the strict header fields.

use std::time::{Duration, Instant};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};

use super::error::ConsoleError;
use super::visit::redirect;
use super::{Console, ROOT, assets, live, sign_in};
use crate::http::OperationName;

/// The most bytes of a form.
pub const LONGEST_FORM: usize = 16 << 10;

/// How long a form may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// The name of the form field with the CSRF token.
pub const CSRF_FIELD: &str = "csrf";

/// What the pages may load: only what this server has, and nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The header fields of every answer.
///
/// The referrer policy is not `no-referrer`: browsers would then send `Origin: null` with our own forms, and
/// the guard could not tell them from others'. To other sites nothing is sent.
const FIELDS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The fields of a form that was sent by one of our pages.
#[derive(Debug, Clone, Default)]
pub struct CheckedForm(pub Vec<(String, String)>);

/// Wraps every request of the console.
pub async fn guarded(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    request.extensions_mut().insert(OperationName("console"));
    let (head, mut payload) = request.into_parts();
    let checked = check(&head, &mut payload).await;
    let request = ServiceRequest::from_parts(head, payload);
    let mut response = match checked {
        Ok(()) => next.call(request).await?.map_into_left_body(),
        Err(refusal) => request.into_response(refusal).map_into_right_body(),
    };
    let fields = response.headers_mut();
    for (name, value) in FIELDS {
        fields.insert(name, HeaderValue::from_static(value));
    }
    if !fields.contains_key(header::CACHE_CONTROL) {
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

/// Checks a request, and leaves its session and its form with it. The error is the answer.
async fn check(request: &HttpRequest, payload: &mut Payload) -> Result<(), HttpResponse> {
    let refuse = |error: ConsoleError| error.error_response();
    let console = request.app_data::<Data<Console>>().ok_or_else(|| refuse(ConsoleError::Internal))?;
    if !console.0.hosts.are_meant_by(request) {
        return Err(refuse(ConsoleError::WrongHost));
    }
    let is_post = request.method() == Method::POST;
    if is_post && !comes_from_here(request) {
        return Err(refuse(ConsoleError::CrossSite));
    }
    let is_open = request.path() == sign_in::PATH || assets::is_asset(request.path());
    let session = cookie(request).and_then(|id| console.0.sessions.touch(&id, Instant::now()));
    if session.is_none() && !is_open {
        return Err(signed_out(request, is_post));
    }
    if is_post {
        let form = read_form(request, payload).await.map_err(refuse)?;
        let given = form.0.iter().find(|(name, _)| name == CSRF_FIELD).map(|(_, value)| value.as_str());
        // Nobody who signs in has a token yet; a page of another site was refused above.
        let is_ours = session.as_ref().is_some_and(|session| given.is_some_and(|it| session.is_csrf(it)));
        if !is_ours && !is_open {
            return Err(refuse(ConsoleError::StaleForm));
        }
        request.extensions_mut().insert(form);
    }
    if let Some(session) = session {
        request.extensions_mut().insert(session);
    }
    Ok(())
}

/// Returns the answer to a request without a session: a form is refused, a stream ends for good
/// (`EventSource` does not try again after a 204), and a page comes after the sign-in.
fn signed_out(request: &HttpRequest, is_post: bool) -> HttpResponse {
    if is_post {
        return ConsoleError::SignedOut.error_response();
    }
    if live::is_wanted_by(request) {
        return HttpResponse::build(StatusCode::NO_CONTENT).finish();
    }
    let wanted = request.uri().path_and_query().map_or(ROOT, |url| url.as_str());
    redirect(&sign_in::url(wanted))
}

/// Returns whether a browser says that one of our pages sent this request. A request that says nothing comes
/// from no browser of today, and is refused.
fn comes_from_here(request: &HttpRequest) -> bool {
    let field = |name: HeaderName| request.headers().get(name).map(HeaderValue::as_bytes);
    let site = field(HeaderName::from_static("sec-fetch-site"));
    let origin = field(header::ORIGIN);
    let host = field(header::HOST);
    let is_origin_ours = |origin: &[u8]| {
        let authority = origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"));
        authority.is_some() && authority == host
    };
    (site.is_some() || origin.is_some())
        && site.is_none_or(|site| site == b"same-origin")
        && origin.is_none_or(is_origin_ours)
}

/// Returns whether the browser has reached us by TLS, which ends at a proxy. It says so in `Origin`.
pub fn is_secure(request: &HttpRequest) -> bool {
    request.headers().get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

/// Returns the name of the session's cookie. Cookies do not tell ports apart: two consoles on one machine
/// would sign each other out.
pub fn cookie_name(request: &HttpRequest) -> String {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok());
    port.map_or_else(|| "evanesce-console".into(), |port| format!("evanesce-console-{port}"))
}

fn cookie(request: &HttpRequest) -> Option<String> {
    request.cookie(&cookie_name(request)).map(|cookie| cookie.value().to_owned())
}

async fn read_form(request: &HttpRequest, payload: &mut Payload) -> Result<CheckedForm, ConsoleError> {
    let read = web::Form::<Vec<(String, String)>>::from_request(request, payload);
    match tokio::time::timeout(FORM_TIMEOUT, read).await {
        Ok(Ok(form)) => Ok(CheckedForm(form.into_inner())),
        Ok(Err(_)) | Err(_) => Err(ConsoleError::BadForm),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_a_page_of_ours_may_send_a_form() {
        let comes = |fields: &[(&str, &str)]| {
            let mut request = TestRequest::post().insert_header((header::HOST, "localhost:8081"));
            for (name, value) in fields {
                request = request.append_header((*name, *value));
            }
            comes_from_here(&request.to_http_request())
        };
        let ours = ("Origin", "http://localhost:8081");
        assert!(comes(&[ours]) && comes(&[("Sec-Fetch-Site", "same-origin")]));
        assert!(comes(&[ours, ("Sec-Fetch-Site", "same-origin")]));
        assert!(comes(&[("Origin", "https://localhost:8081")]), "TLS ends at a proxy");
        for fields in [
            &[][..],
            &[("Origin", "null")],
            &[("Origin", "http://localhost:8082")],
            &[("Origin", "http://evil.example")],
            &[("Origin", "localhost:8081")],
            &[("Origin", "file://localhost:8081")],
            &[("Sec-Fetch-Site", "same-site")],
            &[("Sec-Fetch-Site", "cross-site")],
            &[("Sec-Fetch-Site", "none")],
            &[ours, ("Sec-Fetch-Site", "cross-site")],
            &[("Origin", "http://evil.example"), ("Sec-Fetch-Site", "same-origin")],
        ] {
            assert!(!comes(fields), "{fields:?}");
        }
    }

    #[test]
    fn two_consoles_on_one_machine_have_cookies_of_their_own() {
        let name = |host: &str| {
            cookie_name(&TestRequest::default().insert_header((header::HOST, host)).to_http_request())
        };
        assert_eq!(name("127.0.0.1:8081"), "evanesce-console-8081");
        assert_eq!(name("[::1]:8082"), "evanesce-console-8082");
        for host in ["console.example.org", "[::1]", "localhost:x;y"] {
            assert_eq!(name(host), "evanesce-console", "{host}");
        }
    }
}
