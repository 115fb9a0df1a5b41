//! `GET {base}/bulk-api/request/{job}`: progress, then the manifest (REQUIREMENTS sections 4
//! and 6).

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, ETag, EntityTag, HeaderName, HeaderValue};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use xxhash_rust::xxh3::xxh3_64;

use super::common::{
    BAD_ACCEPT, CONDITIONS, ETAG, FAILED, GENERAL, NO_JOB, NO_STORE, NO_TENANT, NOT_MEANT, RETRY_AFTER,
    UNCHANGED,
};
use super::description::{
    DocumentedAnswer, OperationDescription, OperationParameter, answer, content, refusal,
};
use super::operation::{GET_HEAD, Operation, OperationUrl, RequiredToken};
use crate::audit::RequestEvent;
use crate::clock::after;
use crate::http::input::query;
use crate::http::negotiation::conditions::CurrentVersion;
use crate::http::output::http_date;
use crate::http::output::manifest::manifest;
use crate::http::{Api, ApiError, ApiResult, TenantBase};
use crate::job::{Completion, JobState};
use crate::{JobSnapshot, PageAbsent};

/// The polling URL of a job.
pub static POLLING_URL: OperationUrl =
    OperationUrl::new("request", "/r4/{tenant}/bulk-api/request/{job}", RequiredToken::Access);

/// The folder of all polling URLs, which takes no method (D-9).
pub static FOLDER_URL: OperationUrl =
    OperationUrl::new("requests", "/r4/{tenant}/bulk-api/request", RequiredToken::Access);

/// `GET {polling URL}`.
pub static STATUS: Operation = Operation {
    url: &POLLING_URL,
    methods: GET_HEAD,
    offer: None,
    handler: || web::to(status),
    description: OperationDescription {
        summary: "The progress of an export; when it is complete, its manifest.",
        parameters: &[&[PAGE], GENERAL, CONDITIONS],
        body: None,
        answers: &[ANSWERS, UNCHANGED, NOT_MEANT, NO_JOB, NO_TENANT, BAD_ACCEPT, FAILED],
    },
};

const PAGE: OperationParameter =
    OperationParameter::query("page", "", "The page of the manifest, from 0, as its `link` names it.")
        .number();

const ANSWERS: &[DocumentedAnswer] = &[
    answer(
        200,
        "The export is complete; or, if the kick-off preferred `separate-export-status`, whatever \
         `X-Export-Status` says.",
        &[content("application/json", "Manifest"), content("application/fhir+json", "OperationOutcome")],
    )
    .with(&[
        (
            "X-Export-Status",
            "What the status would be if the kick-off had not preferred to have it told apart.",
        ),
        ("Expires", "When the files go away."),
        ETAG,
        NO_STORE,
    ]),
    answer(
        202,
        "The export is queued or running; with what there is if partial manifests are allowed.",
        &[content("application/json", "Manifest")],
    )
    .with(&[("X-Progress", "How far it is, in percent."), RETRY_AFTER, NO_STORE]),
    refusal(
        400,
        "The URL cannot be understood (`structure`), or the export failed: the group has groups as \
         members (`not-supported`).",
    ),
    refusal(
        404,
        "The manifest has no such page, or the export failed: the group is not defined or not active \
         (`not-found`).",
    ),
    refusal(429, "The export is polled too often (`throttled`).").with(&[RETRY_AFTER]),
    refusal(500, "The export failed (`processing`)."),
];

/// The most seconds a client is asked to wait between two polls.
const LONGEST_RETRY: u64 = 30;

async fn status(request: HttpRequest, api: Data<Api>) -> ApiResult {
    api.check_poll_headers(&request)?;
    let caller = api.caller(&request)?;
    let job = Api::job(&request)?;
    let found = api.evanesce.job(&caller.owner(), job).await?;
    let admitted = found.admit_poll(api.protocol().poll_interval.0);
    admitted.map_err(|wait| ApiError::polled_too_often(wait.as_secs_f64().ceil() as u64))?;
    let answer = respond(&request, &api, &caller.base, &found)?;
    let is_complete = matches!(found.state(), JobState::Complete(_));
    if is_complete && answer.status() == StatusCode::OK {
        api.record(RequestEvent::Manifest { caller: api.audited_caller(&request, &caller), job });
    }
    let separate = found.request().is_some_and(|asked| asked.separate_status);
    Ok(if separate { separated(answer) } else { answer })
}

/// Answers with progress, the manifest or a page of it, or why the job failed.
fn respond(request: &HttpRequest, api: &Api, base: &TenantBase, job: &JobSnapshot) -> ApiResult {
    let number = page_number(request)?;
    if let JobState::Failed(failure) = job.state() {
        return Ok(ApiError::job_failed(failure.reason).error_response());
    }
    let page = match job.manifest(number) {
        Ok(page) => page,
        Err(PageAbsent::NotYet) => return Ok(progress(job).finish()),
        Err(PageAbsent::Unknown) => return Err(ApiError::unknown_page()),
    };
    let text = manifest(base, api.authority.is_some(), &page).to_string();
    let JobState::Complete(Completion { completed_at, .. }) = job.state() else {
        return Ok(progress(job).insert_header((header::CONTENT_TYPE, "application/json")).body(text));
    };
    let entity_tag = entity_tag(&text);
    let unchanged = CurrentVersion::tagged(&entity_tag).is_unchanged_for(request)?;
    let expires = after(*completed_at, api.evanesce.config().retention.completed.0);
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header((header::EXPIRES, http_date(expires)));
    response.insert_header(ETag(entity_tag));
    if unchanged {
        return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
    }
    Ok(response.insert_header((header::CONTENT_TYPE, "application/json")).body(text))
}

/// Checks the conditions of a request that changes what a polling URL answers. A complete export has the
/// tag of its manifest; any other merely exists.
///
/// # Errors
/// Fails with 412; nothing must be done then.
pub fn check_conditions(
    request: &HttpRequest,
    api: &Api,
    base: &TenantBase,
    job: &JobSnapshot,
) -> Result<(), ApiError> {
    let is_tag_asked_for =
        [header::IF_MATCH, header::IF_NONE_MATCH].iter().any(|name| request.headers().contains_key(name));
    let is_complete = matches!(job.state(), JobState::Complete(_));
    let page = || job.manifest(page_number(request).unwrap_or(0)).ok();
    let page = if is_complete && is_tag_asked_for { page() } else { None };
    let tag = page.map(|page| entity_tag(&manifest(base, api.authority.is_some(), &page).to_string()));
    CurrentVersion { tag: tag.as_ref(), modified: None }.check_change(request)
}

fn entity_tag(manifest: &str) -> EntityTag {
    EntityTag::new_strong(format!("{:016x}", xxh3_64(manifest.as_bytes())))
}

/// Returns the number of the page that the query asks for, from 0 (MF-8).
fn page_number(request: &HttpRequest) -> Result<usize, ApiError> {
    let parameters = query::parse(request.query_string())?;
    let page = parameters.iter().find(|(name, _)| name == "page");
    page.map_or(Ok(0), |(_, number)| number.parse().map_err(|_| ApiError::unknown_page()))
}

/// Returns a 202 with the progress of the job.
fn progress(job: &JobSnapshot) -> HttpResponseBuilder {
    let (percent, left) = (job.percent(), job.time_left());
    let mut response = HttpResponse::Accepted();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header(("X-Progress", format!("{percent:.1}% complete")));
    response.insert_header((header::RETRY_AFTER, retry_after(left).to_string()));
    response
}

/// Tells the outcome of the poll and of the export apart (K-4): the status becomes that of the poll, which
/// went well.
fn separated(mut answer: HttpResponse) -> HttpResponse {
    if answer.status() != StatusCode::NOT_MODIFIED {
        let status = HeaderValue::from_str(&answer.status().to_string());
        let status = status.expect("a status is a number and a phrase");
        answer.headers_mut().insert(HeaderName::from_static("x-export-status"), status);
        *answer.status_mut() = StatusCode::OK;
    }
    answer
}

/// Returns the whole seconds until another poll is worthwhile: half of the time that the job still needs,
/// or one if that is unknown (ST-3).
fn retry_after(left: Option<Duration>) -> u64 {
    left.map_or(1, |left| (left / 2).as_secs().clamp(1, LONGEST_RETRY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_half_of_the_time_left_in_its_bounds() {
        let after = |seconds: f64| retry_after(Some(Duration::from_secs_f64(seconds)));
        assert_eq!(retry_after(None), 1);
        assert_eq!(after(0.0), 1);
        assert_eq!(after(3.9), 1);
        assert_eq!(after(20.0), 10);
        assert_eq!(after(59.9), 29);
        assert_eq!(after(1e9), LONGEST_RETRY);
    }
}
