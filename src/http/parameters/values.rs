//! Single values of parameters: read, or refused with what would be right.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::after;
use crate::fhir::{self, ResourceType, instant, quoted};
use crate::http::ApiError;
use crate::job::{AssociatedData, Level};

/// The values of `_outputFormat`; the second is the first with its `+` decoded to a space.
const FORMATS: &[&str] =
    &["application/fhir+ndjson", "application/fhir ndjson", "application/ndjson", "ndjson"];

/// How far ahead of ours a client's clock may be: a `_since` that is later than now by more
/// than this is a mistake, and not an export that finds nothing.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// What a value of `includeAssociatedData` asks for, if it is one.
pub fn provenances(value: &str) -> Option<AssociatedData> {
    match value {
        "LatestProvenanceResources" => Some(AssociatedData::Latest),
        "RelevantProvenanceResources" => Some(AssociatedData::Relevant),
        _ => None,
    }
}

/// Whether a text can be the id of a resource; some sources have an underscore in theirs.
pub fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// To give it twice makes no sense.
pub fn given_twice(name: &str) -> ApiError {
    ApiError::unsupported_parameter(format!("{name} may be given once only."))
}

/// Keeps the value of a parameter that may be given once (K-19).
pub fn set_once<T>(kept: &mut Option<T>, name: &str, value: Result<T, ApiError>) -> Result<(), ApiError> {
    if kept.is_some() {
        return Err(given_twice(name));
    }
    *kept = Some(value?);
    Ok(())
}

/// Checks a value of `_outputFormat`.
pub fn check_format(value: &str) -> Result<(), ApiError> {
    if FORMATS.contains(&value) {
        return Ok(());
    }
    let value = quoted(value);
    Err(ApiError::invalid(format!("_outputFormat {value} is not supported; use application/fhir+ndjson.")))
}

/// The instant of `_since`.
pub fn read_since(value: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let since = read_instant("_since", value)?;
    if since > after(now, CLOCK_SKEW) {
        return Err(ApiError::invalid(format!(
            "_since is in the future, it is {} here; use the transactionTime of an earlier export.",
            fhir::seconds(now)
        )));
    }
    Ok(since)
}

/// The instant of a parameter. The `+` of an offset is a space by now if the client did not
/// escape it; an instant has no other place for either.
pub fn read_instant(name: &str, value: &str) -> Result<Timestamp, ApiError> {
    instant::parse(&value.replace(' ', "+")).map_err(|error| {
        let value = quoted(value);
        ApiError::invalid(format!(
            "{name} {value} is no FHIR instant: {error}; \
             give one such as 2024-01-31T08:30:00Z or 2024-01-31T08:30:00.123%2B01:00."
        ))
    })
}

/// A name of `_type` (C9): one that is no R4 type is invalid, a type that this level does not
/// export is not supported.
pub fn resource_type(name: &str, level: &Level) -> Result<ResourceType, ApiError> {
    if name.is_empty() {
        return Err(ApiError::invalid("_type has an empty item; list names such as Patient,Observation."));
    }
    let Some(resource_type) = ResourceType::of(name) else {
        let name = quoted(name);
        return Err(ApiError::invalid(format!(
            "_type {name} is not a resource type of FHIR R4; names are case-sensitive."
        )));
    };
    if resource_type.is_exported_at(level) {
        return Ok(resource_type);
    }
    Err(not_exported(name))
}

/// Refuses a type that the export has not.
pub fn not_exported(name: &str) -> ApiError {
    ApiError::unsupported_type(format!("Resources of type {name} are not part of this export."))
}
