//! The export at the server: kick-off, polling until the manifest is there, and DELETE (REQUIREMENTS
//! sections 3 to 5).

use std::time::Duration;

use ureq::http::Method;
use url::Url;

use super::error::{AttemptError, ClientError, ClientErrorKind};
use super::http::{ClientRequest, LONGEST_OUTCOME, answered};
use super::manifest::{FilePlan, LONGEST_MANIFEST, MOST_PAGES, ManifestBody};
use super::options::ParameterHandling;
use super::progress::ExportEvent;
use super::receipt;
use super::request::KickoffRequest;
use super::session::{Backoff, ExportSession, poll_delay};
use super::transport::{SmallAnswer, parse_url, retry_after, shown};
use super::words::{self, words};

/// How often a DELETE is tried when the export was stopped: somebody waits.
const HURRIED_ATTEMPTS: u32 = 3;

const FHIR_JSON: &str = "application/fhir+json";

/// Kicks an export off. Returns its polling URL.
///
/// A kick-off whose answer is lost may have begun an export, so only what the server answers is tried
/// again.
pub fn kick_off(
    session: &ExportSession,
    request: &KickoffRequest,
    handling: ParameterHandling,
) -> Result<Url, ClientError> {
    let prefer = match handling {
        ParameterHandling::Unsaid => "respond-async",
        ParameterHandling::Lenient => "respond-async, handling=lenient",
        ParameterHandling::Strict => "respond-async, handling=strict",
    };
    session.patiently(|| {
        let method = if request.body.is_some() { Method::POST } else { Method::GET };
        let mut asked = ClientRequest::new(method, &request.url, FHIR_JSON);
        asked.fields.push(("prefer", prefer.into()));
        if let Some(body) = &request.body {
            asked.fields.push(("content-type", FHIR_JSON.into()));
            asked.body = body.as_bytes();
        }
        let answer = session.http.small(asked, LONGEST_OUTCOME);
        let answer = answer.map_err(|error| AttemptError::Final(error.into_error()))?;
        if answer.status != 202 {
            return Err(session.http.refusal(&request.url, &answer, "the server refuses the export"));
        }
        let location = answer.header("content-location");
        if location.is_empty() && words::is_html(answer.header("content-type"), &answer.body) {
            return Err(session.http.refusal(&request.url, &answer, "the server is none"));
        }
        let polling = parse_url(location, Some(&request.url)).ok().filter(|_| !location.is_empty());
        Ok(polling.ok_or_else(|| {
            let place = shown(&request.url);
            ClientError::server(format!(
                "{place} answered 202 without a Content-Location, so its export cannot be found; is it a FHIR \
                 Bulk Data server?"
            ))
        })?)
    })
}

/// Polls until the export is complete. Returns its files.
pub fn wait_complete(session: &ExportSession, status_url: &Url) -> Result<FilePlan, ClientError> {
    let mut pages = Vec::new();
    let mut next = Some(status_url.clone());
    while let Some(url) = next {
        let answer = poll(session, &url)?;
        let page = ManifestBody::parse(&url, &answer.body)?;
        next = page.next(&url)?;
        pages.push(page);
        if pages.len() >= MOST_PAGES && next.is_some() {
            return Err(ClientError::server(format!("the manifest has more than {MOST_PAGES} pages")));
        }
    }
    let mut plan = FilePlan::new(status_url, pages)?;
    if session.leave_errors {
        plan.leave_errors();
    }
    Ok(plan)
}

/// Asks again and again until the answer is 200.
fn poll(session: &ExportSession, url: &Url) -> Result<SmallAnswer, ClientError> {
    let mut backoff = Backoff::new();
    let mut polls = 0;
    loop {
        session.check()?;
        let asked = ClientRequest::new(Method::GET, url, "application/json");
        let answer = match session.http.small(asked, LONGEST_MANIFEST) {
            Ok(answer) => answer,
            Err(error) => {
                session.wait_after(error, &mut backoff)?;
                continue;
            }
        };
        match answer.status {
            200 => return Ok(answer),
            202 => {
                backoff.succeeded();
                let delay = poll_delay(retry_after(&answer.headers), polls);
                polls += 1;
                let progress = words(answer.header("x-progress"), 100);
                session.tell(ExportEvent::Waiting { progress: &progress, delay });
                session.sleep(delay)?;
            }
            // The server is busy with others; it says when to come again, and that is no failure.
            429 if retry_after(&answer.headers).is_some() => {
                let delay = poll_delay(retry_after(&answer.headers), polls);
                session.tell(ExportEvent::Waiting { progress: "the server asks for patience", delay });
                session.sleep(delay)?;
            }
            404 | 410 => return Err(gone(url, &answer)),
            _ => {
                let doing = match answer.status {
                    401 | 403 => "the server does not tell how the export is",
                    408 | 425 | 429 | 502..=504 => "the server does not tell at present how the export is",
                    _ => "the export failed",
                };
                let error = session.http.refusal(url, &answer, doing);
                session.wait_after(error, &mut backoff)?;
            }
        }
    }
}

/// Returns the error of an export that the server does not have any more.
fn gone(url: &Url, answer: &SmallAnswer) -> ClientError {
    let answered = answered(url, answer);
    ClientError::new(
        ClientErrorKind::Export,
        format!(
            "the server has the export no more: {answered}; with --restart the same command begins another one"
        ),
    )
}

/// What the server answered to a DELETE.
pub struct DeleteAnswer {
    /// As a sentence.
    pub sentence: String,
    /// Where it will have a receipt, if it says so.
    pub receipt: Option<Url>,
}

/// Asks the server to delete the export. Returns its answer. An export that is gone already is deleted.
pub fn delete(session: &ExportSession, status_url: &Url) -> Result<DeleteAnswer, ClientError> {
    session.patiently(|| try_delete(session, status_url))
}

/// Asks the server to cancel the export although the session is stopped, and not for long.
pub fn cancel(session: &ExportSession, status_url: &Url) -> Result<String, ClientError> {
    let mut attempts = 1;
    loop {
        match try_delete(session, status_url) {
            Err(AttemptError::Transient(..)) if attempts < HURRIED_ATTEMPTS => {
                attempts += 1;
                std::thread::sleep(Duration::from_secs(1));
            }
            done => return done.map(|answer| answer.sentence).map_err(AttemptError::into_error),
        }
    }
}

fn try_delete(session: &ExportSession, status_url: &Url) -> Result<DeleteAnswer, AttemptError> {
    let asked = ClientRequest::new(Method::DELETE, status_url, FHIR_JSON);
    let answer = session.http.small(asked, LONGEST_OUTCOME)?;
    let said = words::said(&answer.body);
    let sentence = match answer.status {
        200 | 202 | 204 => format!("the server answered {}{said}", answer.status),
        404 | 410 => format!("the server answered {}, so it was gone already{said}", answer.status),
        _ => {
            return Err(session.http.refusal(status_url, &answer, "the server does not delete the export"));
        }
    };
    Ok(DeleteAnswer { sentence, receipt: receipt::link(&answer.headers, status_url) })
}
