//! The kick-off of an export: `GET` or `POST` of `{base}/$export`, `{base}/Patient/$export` and
//! `{base}/Group/{id}/$export` (REQUIREMENTS section 3).

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{self, Bytes, Data, Payload};
use actix_web::{HttpRequest, ResponseError, Route};
use jiff::Timestamp;

use super::common::{
    self, BAD_BODY, BEYOND_SCOPES, FAILED, GENERAL, NO_STORE, NO_TENANT, OUTCOME, RESPOND_ASYNC,
};
use super::description::{DocumentedAnswer, OperationDescription, answer, content, refusal};
use super::operation::{GET, Operation, OperationUrl, POST, RequiredToken};
use crate::audit::RequestEvent;
use crate::fhir::{
    CapabilityOffer, ExportOperation, GROUP_EXPORT, IssueCode, OperationOutcome, PATIENT_EXPORT,
    ResourceType, SYSTEM_EXPORT, Severity,
};
use crate::http::caller::audited::level_name;
use crate::http::caller::scope;
use crate::http::error::{FHIR_JSON, outcome_response};
use crate::http::input::body;
use crate::http::input::intake::ReceivedBody;
use crate::http::input::query::{self, percent_decoded};
use crate::http::negotiation::accept;
use crate::http::negotiation::preferences::RequestPreferences;
use crate::http::parameters::{self, KickoffContext, ParameterOrigin};
use crate::http::{Api, ApiError, ApiResult, AuthorizedCaller};
use crate::job::{ExportAccess, ExportRequest, JobId, Level, Parameters, ProofSigner};
use crate::{Kickoff, Submission, SubmitError};

/// Seconds after which a client that met a limit may try again, if nothing better is known.
const RETRY_AFTER: u64 = 30;

/// The most seconds that a client is asked to wait for a job of its own to end.
const LONGEST_RETRY: u64 = 3600;

static SYSTEM_URL: OperationUrl =
    OperationUrl::new("system-export", "/r4/{tenant}/$export", RequiredToken::Access);
static PATIENT_URL: OperationUrl =
    OperationUrl::new("patient-export", "/r4/{tenant}/Patient/$export", RequiredToken::Access);
static GROUP_URL: OperationUrl =
    OperationUrl::new("group-export", "/r4/{tenant}/Group/{id}/$export", RequiredToken::Access);

/// `GET {base}/$export`.
pub static SYSTEM: Operation = by_get(&SYSTEM_URL, &SYSTEM_EXPORT, || web::to(system));
/// `POST {base}/$export`.
pub static SYSTEM_BY_POST: Operation = by_post(&SYSTEM_URL, || web::to(system));
/// `GET {base}/Patient/$export`.
pub static PATIENT: Operation = by_get(&PATIENT_URL, &PATIENT_EXPORT, || web::to(patient));
/// `POST {base}/Patient/$export`.
pub static PATIENT_BY_POST: Operation = by_post(&PATIENT_URL, || web::to(patient));
/// `GET {base}/Group/{id}/$export`.
pub static GROUP: Operation = by_get(&GROUP_URL, &GROUP_EXPORT, || web::to(group));
/// `POST {base}/Group/{id}/$export`.
pub static GROUP_BY_POST: Operation = by_post(&GROUP_URL, || web::to(group));

/// The parameters of the export itself are added in the OpenAPI document.
const fn by_get(
    url: &'static OperationUrl,
    export: &'static ExportOperation,
    handler: fn() -> Route,
) -> Operation {
    let description = OperationDescription {
        summary: "Starts an export.",
        parameters: &[&[RESPOND_ASYNC], GENERAL],
        body: None,
        answers: &[ANSWERS, BEYOND_SCOPES, NO_TENANT, FAILED],
    };
    Operation { url, methods: GET, offer: Some(CapabilityOffer::Export(export)), handler, description }
}

const fn by_post(url: &'static OperationUrl, handler: fn() -> Route) -> Operation {
    let description = OperationDescription {
        summary: "Starts an export, with its parameters in a Parameters resource.",
        parameters: &[&[RESPOND_ASYNC], GENERAL],
        body: Some(content(FHIR_JSON, "Parameters")),
        answers: &[ANSWERS, BAD_BODY, BEYOND_SCOPES, NO_TENANT, FAILED],
    };
    Operation { url, methods: POST, offer: None, handler, description }
}

const ANSWERS: &[DocumentedAnswer] = &[
    answer(202, "The export is queued.", OUTCOME)
        .with(&[("Content-Location", "The polling location, an absolute URL."), NO_STORE]),
    refusal(
        400,
        "The URL or the body is malformed (`structure`), a parameter is not supported (`not-supported`) \
         or makes no sense (`invalid`), the group has groups as members (`not-supported`), or more is \
         asked for than one export may have (`too-costly`).",
    ),
    refusal(404, "A type is not exported (`not-supported`), or there is no such group (`not-found`)."),
    refusal(406, "`Accept` or `Prefer: respond-async` is missing, or excludes what there is (`structure`)."),
    refusal(409, "This client has the same export already (`duplicate`); `Link` leads to it."),
    refusal(422, "The export is larger than all exports together may be (`too-costly`)."),
    refusal(
        429,
        "Too many exports are queued, running or kept, or too many large bodies come at once (`throttled`).",
    )
    .with(&[common::RETRY_AFTER]),
    refusal(501, "Exports of all patients are not offered (`not-found`)."),
    refusal(503, "There is no room for another export now (`no-store`).").with(&[common::RETRY_AFTER]),
];

async fn system(request: HttpRequest, payload: Payload, api: Data<Api>) -> ApiResult {
    kickoff(|_| Ok(Level::System), &request, payload, &api).await
}

async fn patient(request: HttpRequest, payload: Payload, api: Data<Api>) -> ApiResult {
    kickoff(|_| Ok(Level::Patient), &request, payload, &api).await
}

async fn group(request: HttpRequest, payload: Payload, api: Data<Api>) -> ApiResult {
    kickoff(group_level, &request, payload, &api).await
}

/// Returns the level of a Group. The id is what the client sent, percent-decoded. Only the exporter knows
/// which groups there are, and refuses the others. The id may name a population, so it is neither logged nor
/// echoed (P12).
fn group_level(request: &HttpRequest) -> Result<Level, ApiError> {
    // As it was sent: the router keeps some escapes, and replaces bytes that are not UTF-8.
    let id = request.path().rsplit('/').nth(1).unwrap_or_default();
    Ok(Level::Group { id: percent_decoded(id)? })
}

async fn kickoff(
    level: fn(&HttpRequest) -> Result<Level, ApiError>,
    request: &HttpRequest,
    payload: Payload,
    api: &Api,
) -> ApiResult {
    // What comes before the parameters (G-7).
    accept::require_json(request)?;
    let preferences = RequestPreferences::of(request);
    preferences.require_respond_async()?;
    let caller = &api.caller(request)?;
    let level = level(request)?;
    scope::check_level(caller.application.as_deref(), &level)?;
    // Its place is kept until the kick-off is answered.
    let sent = receive(request, payload, api).await?;
    let now = api.evanesce.now();
    let ParsedKickoff { level, access, parameters } =
        parse(level, preferences, caller, now, &sent, api).await?;
    let access = match caller.application.as_deref() {
        Some(application) => application.limit(access),
        None => access,
    };
    let origin = sent.origin();
    let tenant = api.evanesce.config().tenant(&caller.tenant);
    if level == Level::Patient && !tenant.patient_export {
        return Err(ApiError::patient_export_disabled());
    }
    let parameters = Parameters { separate_status: preferences.separate_status, ..parameters };
    let accepted = accepted(&parameters);
    // MF-2: the URL of a POST is without parameters.
    let url = match origin {
        ParameterOrigin::Query => request.uri().path_and_query().map_or("", |path| path.as_str()),
        ParameterOrigin::Body => request.uri().path(),
    };
    let url = format!("{}{url}", api.origin(request));
    let kickoff = Kickoff { level, parameters, url, base_url: caller.base.as_str().into() };
    let job = JobId::random();
    let level = level_name(&kickoff.level);
    let who = api.audited_caller(request, caller);
    let request = export_request(job, caller, kickoff, access, now);
    let max_active_jobs = caller.application.as_ref().and_then(|application| application.max_active_jobs);
    let submitted = api.evanesce.submit_as(Submission { job, request, max_active_jobs }).await;
    let job = match submitted {
        Ok(job) => job,
        Err(error) => {
            let reason = error.name();
            let error = refused(error, caller, api).await;
            let status = error.status_code().as_u16();
            api.record(RequestEvent::KickOffRefused { caller: who, status, reason });
            return Err(error);
        }
    };
    api.record(RequestEvent::KickOff { caller: who, job, level });
    answer_accepted(job, caller, accepted, preferences.separate_status)
}

/// Returns the 202, with the polling URL of the job.
fn answer_accepted(
    job: JobId,
    caller: &AuthorizedCaller,
    outcome: Option<OperationOutcome>,
    separate_status: bool,
) -> ApiResult {
    let outcome = outcome.unwrap_or_else(|| {
        let text = format!("Bulkdata request <{job}> has been accepted.");
        OperationOutcome::new(Severity::Information, IssueCode::Processing, text)
    });
    let mut response = outcome_response(StatusCode::ACCEPTED, &outcome);
    let location = caller.base.polling_url(job).parse().map_err(|_| ApiError::internal())?;
    response.headers_mut().insert(header::CONTENT_LOCATION, location);
    if separate_status {
        let applied = header::HeaderValue::from_static("respond-async, separate-export-status");
        response.headers_mut().insert(header::HeaderName::from_static("preference-applied"), applied);
    }
    Ok(response)
}

/// Returns the request of `job`. With authentication, URLs of Binaries are handed out.
fn export_request(
    job: JobId,
    caller: &AuthorizedCaller,
    kickoff: Kickoff,
    access: ExportAccess,
    now: Timestamp,
) -> ExportRequest {
    let (tenant, owner) = (caller.tenant.clone(), caller.client.clone());
    let handout = caller.application.as_ref().map(|_| ProofSigner::new(tenant.clone(), job));
    ExportRequest { access, handout, ..ExportRequest::new(tenant, owner, kickoff, now) }
}

/// Returns the answer for an export that was not accepted.
async fn refused(error: SubmitError, caller: &AuthorizedCaller, api: &Api) -> ApiError {
    match error {
        SubmitError::TooManyJobs | SubmitError::TenantBusy => ApiError::throttled(RETRY_AFTER),
        SubmitError::ClientBusy(jobs) => {
            let retry_after = first_end(&jobs, api).await;
            ApiError::too_many_jobs(
                jobs.into_iter().map(|job| caller.base.polling_url(job)).collect(),
                retry_after,
            )
        }
        SubmitError::TooManyKept(jobs) => {
            let retry_after = api.evanesce.room_expected_in(&caller.tenant).as_secs();
            let jobs = jobs.into_iter().map(|job| caller.base.polling_url(job)).collect();
            ApiError::too_many_kept(jobs, retry_after)
        }
        SubmitError::TooManyKnown => ApiError::too_many_known(LONGEST_RETRY),
        SubmitError::Exceeded(exceeded) => exceeded.into(),
        SubmitError::Duplicate(job) => ApiError::duplicate(caller.base.polling_url(job)),
        SubmitError::UnknownTenant => ApiError::unknown_application(),
        SubmitError::NoRoom(limit) => ApiError::no_room(limit),
        SubmitError::Refused(reason) => ApiError::job_failed(reason),
        SubmitError::Failed => ApiError::internal(),
    }
}

/// Returns the seconds until the first of these jobs is expected to end.
async fn first_end(jobs: &[JobId], api: &Api) -> u64 {
    api.evanesce.first_end(jobs).await.map_or(RETRY_AFTER, |left| left.as_secs().clamp(1, LONGEST_RETRY))
}

/// Returns what the 202 says in place of the usual (K-18).
fn accepted(parameters: &Parameters) -> Option<OperationOutcome> {
    let text = "Binary resources have no files of their own: they are handled as contained in the \
                resources that refer to them.";
    let asks_for_binaries = parameters.types.contains(&ResourceType::BINARY);
    asks_for_binaries.then(|| OperationOutcome::new(Severity::Information, IssueCode::Structure, text))
}

/// The parameters as they were sent.
enum SentParameters {
    /// In the query string.
    Query(String),
    /// In a Parameters resource.
    Body(ReceivedBody),
}

impl SentParameters {
    fn origin(&self) -> ParameterOrigin {
        match self {
            Self::Query(_) => ParameterOrigin::Query,
            Self::Body(_) => ParameterOrigin::Body,
        }
    }
}

/// Receives the parameters. Those of a POST stand in its body; one without a body may have them in its query,
/// as some clients do (section 15).
async fn receive(request: &HttpRequest, payload: Payload, api: &Api) -> Result<SentParameters, ApiError> {
    let in_query = || SentParameters::Query(request.query_string().into());
    if request.method() != Method::POST {
        return Ok(in_query());
    }
    let body = body::read(request, payload, api, api.max_body_bytes).await?;
    if body.bytes.is_empty() {
        return Ok(in_query());
    }
    if !body::is_of(request, accept::is_json) {
        return Err(ApiError::unsupported_media_type(FHIR_JSON));
    }
    if !query::specific(request.query_string())?.is_empty() {
        return Err(ApiError::malformed_url(
            "The URL of a POST has no parameters; give all of them in the Parameters resource.",
        ));
    }
    Ok(SentParameters::Body(body))
}

/// A kick-off after its parameters are read and checked.
struct ParsedKickoff {
    level: Level,
    access: ExportAccess,
    parameters: Parameters,
}

/// Reads and checks the parameters. It may take a while, so it does not run on the threads that answer
/// requests (P13).
async fn parse(
    level: Level,
    preferences: RequestPreferences,
    caller: &AuthorizedCaller,
    now: Timestamp,
    sent: &SentParameters,
    api: &Api,
) -> Result<ParsedKickoff, ApiError> {
    let (handling, profile, origin) = (preferences.handling, api.protocol().profile, sent.origin());
    let (scopes, realm) = (caller.scopes.clone(), caller.base.clone());
    let text = match sent {
        SentParameters::Query(query) => Bytes::copy_from_slice(query.as_bytes()),
        SentParameters::Body(body) => body.bytes.clone(),
    };
    let (bases, export) = (api.bases(caller), &api.evanesce.config().export);
    let (references, devices) = (export.references, export.devices(profile));
    let parse = move || {
        let given = match origin {
            ParameterOrigin::Query => query::specific(&String::from_utf8_lossy(&text))?,
            ParameterOrigin::Body => body::parameters(&text)?,
        };
        let access = scope::access(&scopes, realm.as_str(), &level, profile, &given)?;
        let bases = &bases;
        let context =
            KickoffContext { level: &level, now, handling, profile, origin, bases, references, devices };
        let parameters = parameters::parse(&given, &context)?;
        Ok(ParsedKickoff { level, access, parameters })
    };
    api.intake.run(parse).await
}
