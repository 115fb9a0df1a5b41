//! The kick-off of an export: `GET {base}/$export`, `GET {base}/Patient/$export` and
//! `GET {base}/Group/{id}/$export` (REQUIREMENTS section 3).

use actix_web::http::{StatusCode, header};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::accept::{JSON, require_accept, require_respond_async};
use super::error::outcome_response;
use super::parameters::Parameters;
use super::query::percent_decoded;
use super::{Api, ApiError};
use crate::Kickoff;
use crate::actors::SubmitError;
use crate::fhir::{IssueCode, OperationOutcome, Severity};
use crate::job::Level;

/// Seconds after which a client that met a limit may try again.
const RETRY_AFTER: u64 = 30;

/// `GET {base}/$export`.
pub async fn system(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    admit(&request, &api)?;
    kickoff(Level::System, &request, &api).await
}

/// `GET {base}/Patient/$export`.
pub async fn patient(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    admit(&request, &api)?;
    kickoff(Level::Patient, &request, &api).await
}

/// `GET {base}/Group/{id}/$export`. The id is what the client sent, percent-decoded and not
/// looked at further: the exporter alone knows which groups there are, and refuses the others.
/// It may name a population, and is neither logged nor echoed (P12).
pub async fn group(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    admit(&request, &api)?;
    // As it was sent: the router keeps some escapes, and replaces what is not UTF-8.
    let id = request.path().rsplit('/').nth(1).unwrap_or_default();
    let level = Level::Group { id: percent_decoded(id)? };
    kickoff(level, &request, &api).await
}

/// What is checked before the parameters are looked at (G-7).
fn admit(request: &HttpRequest, api: &Api) -> Result<(), ApiError> {
    require_accept(request, JSON)?;
    require_respond_async(request)?;
    api.check_tenant(request)
}

async fn kickoff(level: Level, request: &HttpRequest, api: &Api) -> Result<HttpResponse, ApiError> {
    let now = api.evanesce.services().clock.now();
    let Parameters { types, since, until } = Parameters::parse(request.query_string(), &level, now)?;
    let path_and_query = request.uri().path_and_query().map_or("", |path| path.as_str());
    let url = format!("{}{path_and_query}", api.public_url);
    let kickoff = Kickoff { level, types, since, until, url };
    let submitted = api.evanesce.submit_for(api.tenant.clone(), kickoff, api.client.clone()).await;
    let job = submitted.map_err(|error| match error {
        SubmitError::TooManyJobs => ApiError::throttled(RETRY_AFTER),
        SubmitError::NoRoom(limit) => ApiError::no_room(limit),
        SubmitError::Refused(reason) => ApiError::job_failed(reason),
        SubmitError::Failed => ApiError::internal(),
    })?;
    tracing::info!(%job, "kicked off");
    let text = format!("Bulkdata request <{job}> has been accepted.");
    let outcome = OperationOutcome::new(Severity::Information, IssueCode::Processing, text);
    let mut response = outcome_response(StatusCode::ACCEPTED, &outcome);
    let location = api.polling_url(job).parse().map_err(|_| ApiError::internal())?;
    response.headers_mut().insert(header::CONTENT_LOCATION, location);
    Ok(response)
}
