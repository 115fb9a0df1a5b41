//! Signing in with the operators' token, and out.

use std::num::NonZeroU32;
use std::time::Instant;

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Query, ServiceConfig};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::ConsoleError;
use super::guard::{CheckedForm, cookie_name, is_secure};
use super::visit::{Visit, redirect};
use super::{Console, PageResult, ROOT, layout};
use crate::telemetry;

/// The path of the sign-in page.
pub const PATH: &str = "/console/sign-in";

/// The attempts to sign in a minute, and as many at once. They are counted together, since behind a proxy
/// all have one address. Beyond them even the right token has to wait; sessions go on.
const ATTEMPTS_A_MINUTE: NonZeroU32 = NonZeroU32::new(20).expect("a constant that is not zero");

/// The limit on attempts to sign in.
pub struct SignInLimit(DefaultDirectRateLimiter);

impl SignInLimit {
    /// Creates a limit that has not been used.
    pub fn new() -> Self {
        Self(RateLimiter::direct(Quota::per_minute(ATTEMPTS_A_MINUTE)))
    }

    fn admits(&self) -> bool {
        self.0.check().is_ok()
    }
}

/// Adds the routes.
pub fn mount(config: &mut ServiceConfig) {
    config.service(web::resource("/sign-in").get(show).post(sign_in));
    config.service(web::resource("/sign-out").post(sign_out));
}

#[derive(Default, Deserialize)]
struct SignInQuery {
    #[serde(default)]
    next: String,
}

/// Returns the URL of the sign-in page that leads on to `next`.
pub fn url(next: &str) -> String {
    let next = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
    format!("{PATH}?next={next}")
}

/// Returns where to go after the sign-in: a page of the console, whatever the link says.
fn safe_next(request: &HttpRequest) -> String {
    let query = Query::<SignInQuery>::from_query(request.query_string());
    let next = query.map(|query| query.into_inner().next).unwrap_or_default();
    let is_ours =
        next.strip_prefix(ROOT).is_some_and(|below| below.is_empty() || below.starts_with(['/', '?']));
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_loop = next.starts_with(PATH);
    if is_ours && is_plain && !is_loop { next } else { ROOT.into() }
}

async fn show(request: HttpRequest) -> HttpResponse {
    answer(StatusCode::OK, &page(&safe_next(&request), None))
}

async fn sign_in(request: HttpRequest, console: Data<Console>) -> PageResult {
    let form = request.extensions().get::<CheckedForm>().cloned().unwrap_or_default();
    let given = form.0.iter().find(|(name, _)| name == "token").map_or("", |(_, value)| value.trim());
    let next = safe_next(&request);
    let Console(core) = &**console;
    if !core.sign_ins.admits() {
        telemetry::console_sign_in("throttled");
        return Err(ConsoleError::TooManySignIns);
    }
    if !core.token.is(given) {
        telemetry::console_sign_in("refused");
        tracing::warn!("somebody tried to sign in to the console with a wrong token");
        let wrong = "This is not the operators' token.";
        return Ok(answer(StatusCode::UNAUTHORIZED, &page(&next, Some(wrong))));
    }
    let id = core.sessions.open(Instant::now()).ok_or(ConsoleError::Internal)?;
    telemetry::console_sign_in("accepted");
    let mut response = redirect(&next);
    let cookie = session_cookie(&request, &id).finish();
    response.add_cookie(&cookie).map_err(|_| ConsoleError::Internal)?;
    Ok(response)
}

async fn sign_out(request: HttpRequest, visit: Visit) -> PageResult {
    visit.console.0.sessions.end(&visit.session.key);
    let mut response = redirect(PATH);
    let mut cookie = session_cookie(&request, "").finish();
    cookie.make_removal();
    response.add_cookie(&cookie).map_err(|_| ConsoleError::Internal)?;
    Ok(response)
}

/// Returns the cookie of a session. It has no expiry of its own: the browser forgets it when it is closed.
fn session_cookie<'a>(request: &HttpRequest, id: &'a str) -> actix_web::cookie::CookieBuilder<'a> {
    Cookie::build(cookie_name(request), id)
        .path(ROOT)
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(is_secure(request))
}

fn answer(status: StatusCode, page: &Markup) -> HttpResponse {
    HttpResponse::build(status).content_type("text/html; charset=utf-8").body(page.0.clone())
}

fn page(next: &str, error: Option<&str>) -> Markup {
    layout::bare(
        "Sign in",
        html! {
            h1 { "Evanesce" }
            p { "The operators' console. Sign in with the operators' token." }
            form class="card stack" method="post" action=(url(next)) {
                @if let Some(error) = error { p class="alert bad" role="alert" id="error" { (error) } }
                label for="token" { "Operators' token" }
                input id="token" name="token" type="password" autocomplete="current-password" required
                    autofocus spellcheck="false" aria-describedby=[error.map(|_| "error")];
                button class="primary" type="submit" { "Sign in" }
            }
            p class="quiet" {
                "The token is in the file " code { "operator-token" } " of the server's data directory, or where "
                code { "admin.token_file" } " says. Only the server's user can read it."
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_sign_in_leads_on_to_pages_of_the_console_only() {
        let next = |next: &str| safe_next(&TestRequest::with_uri(&url(next)).to_http_request());
        for ours in ["/console", "/console/jobs?state=running&page=2", "/console?done=held"] {
            assert_eq!(next(ours), ours);
        }
        for other in [
            "",
            "/",
            "/admin/jobs",
            "//evil.example",
            "https://evil.example/console",
            "/consoles",
            "/console.evil.example",
            "/console/\\evil",
            "/console/a\r\nSet-Cookie: x=y",
            PATH,
        ] {
            assert_eq!(next(other), ROOT, "{other}");
        }
    }

    #[test]
    fn p13_attempts_to_sign_in_are_bounded() {
        let limit = SignInLimit::new();
        let admitted = (0..ATTEMPTS_A_MINUTE.get() * 2).filter(|_| limit.admits()).count();
        // One more may come in while the test runs.
        let expected = ATTEMPTS_A_MINUTE.get() as usize;
        assert!((expected..=expected + 1).contains(&admitted), "{admitted}");
    }
}
