//! The kick-off of an export: `GET {base}/$export` and `GET {base}/Patient/$export`
//! (REQUIREMENTS section 3).

use actix_web::http::{StatusCode, header};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::accept::{JSON, require_accept, require_respond_async};
use super::error::outcome_response;
use super::query::{self, quoted};
use super::{Api, ApiError};
use crate::Kickoff;
use crate::actors::SubmitError;
use crate::fhir::{IssueCode, OperationOutcome, ResourceType, Severity};
use crate::job::Level;

/// The values of `_outputFormat`; the second is the first with its `+` decoded to a space.
const FORMATS: &[&str] =
    &["application/fhir+ndjson", "application/fhir ndjson", "application/ndjson", "ndjson"];

/// Seconds after which a client that met a limit may try again.
const RETRY_AFTER: u64 = 30;

/// `GET {base}/$export`.
pub async fn system(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    kickoff(Level::System, &request, &api).await
}

/// `GET {base}/Patient/$export`.
pub async fn patient(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    kickoff(Level::Patient, &request, &api).await
}

async fn kickoff(level: Level, request: &HttpRequest, api: &Api) -> Result<HttpResponse, ApiError> {
    require_accept(request, JSON)?;
    require_respond_async(request)?;
    api.check_tenant(request)?;
    let types = parameters(&level, request.query_string())?;
    let path_and_query = request.uri().path_and_query().map_or("", |path| path.as_str());
    let url = format!("{}{path_and_query}", api.public_url);
    let kickoff = Kickoff { level, types, since: None, until: None, url };
    let submitted = api.evanesce.submit_for(api.tenant.clone(), kickoff, api.client.clone()).await;
    let job = submitted.map_err(|error| match error {
        SubmitError::TooManyJobs => ApiError::throttled(RETRY_AFTER),
        SubmitError::StorageFull => ApiError::no_room(RETRY_AFTER),
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

/// Checks the parameters and gives the types of `_type`, each once.
fn parameters(level: &Level, query: &str) -> Result<Vec<String>, ApiError> {
    let mut types: Vec<String> = Vec::new();
    let mut formats = 0;
    for (name, value) in query::parse(query)? {
        match name.as_str() {
            "_type" => {
                for name in value.split(',') {
                    let name = resource_type(level, name)?.as_str();
                    if !types.iter().any(|known| known == name) {
                        types.push(name.into());
                    }
                }
            }
            "_outputFormat" => {
                formats += 1;
                if formats > 1 {
                    return Err(ApiError::unsupported_parameter(
                        "_outputFormat may be given once only (K-19).",
                    ));
                }
                if !FORMATS.contains(&value.as_str()) {
                    let value = quoted(&value);
                    let text =
                        format!("_outputFormat {value} is not supported; use application/fhir+ndjson.");
                    return Err(ApiError::invalid(text));
                }
            }
            _ => {
                let name = quoted(&name);
                let text =
                    format!("The parameter {name} is not supported; supported are _type and _outputFormat.");
                return Err(ApiError::unsupported_parameter(text));
            }
        }
    }
    Ok(types)
}

/// A name of `_type` (C9): one that is no R4 type is invalid, a type that this level does not
/// export is not supported.
fn resource_type(level: &Level, name: &str) -> Result<ResourceType, ApiError> {
    if name.is_empty() {
        return Err(ApiError::invalid("_type has an empty item; list names such as Patient,Observation."));
    }
    let Some(resource_type) = ResourceType::of(name) else {
        let name = quoted(name);
        return Err(ApiError::invalid(format!(
            "_type {name} is no resource type of FHIR R4; names are case-sensitive."
        )));
    };
    if resource_type.is_exported_at(level) {
        return Ok(resource_type);
    }
    Err(ApiError::unsupported_type(format!("Resources of type {name} are not part of this export.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_is_a_list_that_may_repeat_and_duplicates_collapse() {
        let types = |query: &str| parameters(&Level::Patient, query).unwrap();
        assert_eq!(types("_type=Patient,Observation&_type=Patient"), ["Patient", "Observation"]);
        assert!(types("").is_empty());
        for format in
            ["application%2Ffhir%2Bndjson", "application/fhir+ndjson", "application/ndjson", "ndjson"]
        {
            assert!(types(&format!("_outputFormat={format}")).is_empty());
        }
    }

    #[test]
    fn bad_parameters_are_refused_with_the_documented_code() {
        for (query, status, code) in [
            ("_type=", 400, IssueCode::Invalid),
            ("_type=Patient,", 400, IssueCode::Invalid),
            ("_type=MissingType", 400, IssueCode::Invalid),
            ("_type=patient", 400, IssueCode::Invalid),
            ("_type=ValueSet", 404, IssueCode::NotSupported),
            ("_type=Binary", 404, IssueCode::NotSupported),
            ("_outputFormat=text/html", 400, IssueCode::Invalid),
            ("_outputFormat=", 400, IssueCode::Invalid),
            ("_outputFormat=ndjson&_outputFormat=ndjson", 400, IssueCode::NotSupported),
            ("_since=2024-01-01T00:00:00Z", 400, IssueCode::NotSupported),
            ("_Type=Patient", 400, IssueCode::NotSupported),
            ("=x", 400, IssueCode::NotSupported),
            ("_type=%ff", 400, IssueCode::Structure),
        ] {
            let error = parameters(&Level::Patient, query).unwrap_err();
            let shown = format!("{error:?}");
            assert!(shown.contains(&format!("status: {status}")), "{query}: {shown}");
            assert!(shown.contains(&format!("{code:?}")), "{query}: {shown}");
        }
    }
}
