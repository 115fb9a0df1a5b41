//! Single values of parameters: each is read, or refused with what would be right.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::after;
use crate::fhir::{self, ResourceType, instant, quoted};
use crate::http::ApiError;
use crate::job::{AssociatedData, Level};

/// The values of `_outputFormat`; the second is the first with its `+` decoded to a space.
const FORMATS: &[&str] =
    &["application/fhir+ndjson", "application/fhir ndjson", "application/ndjson", "ndjson"];

/// How far a client's clock may be ahead of ours. A `_since` beyond that is a mistake, not an export that
/// finds nothing.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// Returns what a value of `includeAssociatedData` asks for, if it is valid.
pub fn provenances(value: &str) -> Option<AssociatedData> {
    match value {
        "LatestProvenanceResources" => Some(AssociatedData::Latest),
        "RelevantProvenanceResources" => Some(AssociatedData::Relevant),
        _ => None,
    }
}

/// Returns whether a text can be the id of a resource. Some sources have underscores in theirs.
pub fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// Returns the error for a parameter that is given twice.
pub fn given_twice(name: &str) -> ApiError {
    ApiError::unsupported_parameter(format!("{name} may be given only once."))
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

/// Reads the instant of `_since`.
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

/// Reads the instant of a parameter. If the client did not escape the `+` of an offset, it is a space by
/// now; an instant has no other place for either.
pub fn read_instant(name: &str, value: &str) -> Result<Timestamp, ApiError> {
    instant::parse(&value.replace(' ', "+")).map_err(|error| {
        let value = quoted(value);
        ApiError::invalid(format!(
            "{name} {value} is not a FHIR instant: {error}; \
             give one such as 2024-01-31T08:30:00Z or 2024-01-31T08:30:00.123%2B01:00."
        ))
    })
}

/// Reads a name of `_type` (C9). A name that is not an R4 type is invalid; a type that this level does not
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

/// Returns the error for a type that the export does not have.
pub fn not_exported(name: &str) -> ApiError {
    ApiError::unsupported_type(format!("Resources of type {name} are not part of this export."))
}
