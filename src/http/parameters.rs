//! The parameters of a kick-off (REQUIREMENTS section 3, K-5, K-6, K-19): all are checked, and
//! what is not supported is refused, never ignored.

use std::time::Duration;

use jiff::Timestamp;

use super::ApiError;
use super::query::{self, quoted};
use crate::clock::after;
use crate::fhir::{self, ResourceType, instant};
use crate::job::Level;

/// The values of `_outputFormat`; the second is the first with its `+` decoded to a space.
const FORMATS: &[&str] =
    &["application/fhir+ndjson", "application/fhir ndjson", "application/ndjson", "ndjson"];

/// How far ahead of ours a client's clock may be: a `_since` that is later than now by more
/// than this is a mistake, and not an export that finds nothing.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The parameters of a good kick-off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The types of `_type`, each once; empty means all that the level exports.
    pub types: Vec<String>,
    /// `_since`: only resources changed later than this.
    pub since: Option<Timestamp>,
    /// `_until`: only resources changed earlier than this.
    pub until: Option<Timestamp>,
}

impl Parameters {
    /// Reads the query string of a kick-off of `level` that came at `now`, by the server's
    /// clock.
    ///
    /// # Errors
    /// 400 or 404 with the issue code of section 3's table and a text that says what would be
    /// right.
    pub fn parse(query: &str, level: &Level, now: Timestamp) -> Result<Self, ApiError> {
        let mut types = Vec::new();
        let (mut format, mut since, mut until) = (None, None, None);
        for (name, value) in query::parse(query)? {
            match name.as_str() {
                "_type" => add_types(&mut types, &value, level)?,
                "_outputFormat" => set_once(&mut format, &name, check_format(&value))?,
                "_since" => set_once(&mut since, &name, read_since(&value, now))?,
                "_until" => set_once(&mut until, &name, read_instant(&name, &value))?,
                _ => {
                    let name = quoted(&name);
                    return Err(ApiError::unsupported_parameter(format!(
                        "The parameter {name} is not supported; supported are _type, _since, _until and _outputFormat."
                    )));
                }
            }
        }
        if let (Some(since), Some(until)) = (since, until)
            && until <= since
        {
            return Err(ApiError::invalid(
                "_until is not later than _since: no resource is between them; give an _until after _since.",
            ));
        }
        Ok(Self { types, since, until })
    }
}

/// Keeps the value of a parameter that may be given once (K-19).
fn set_once<T>(kept: &mut Option<T>, name: &str, value: Result<T, ApiError>) -> Result<(), ApiError> {
    if kept.is_some() {
        return Err(ApiError::unsupported_parameter(format!("{name} may be given once only.")));
    }
    *kept = Some(value?);
    Ok(())
}

fn check_format(value: &str) -> Result<(), ApiError> {
    if FORMATS.contains(&value) {
        return Ok(());
    }
    let value = quoted(value);
    Err(ApiError::invalid(format!("_outputFormat {value} is not supported; use application/fhir+ndjson.")))
}

fn read_since(value: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
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
fn read_instant(name: &str, value: &str) -> Result<Timestamp, ApiError> {
    instant::parse(&value.replace(' ', "+")).map_err(|error| {
        let value = quoted(value);
        ApiError::invalid(format!(
            "{name} {value} is no FHIR instant: {error}; \
             give one such as 2024-01-31T08:30:00Z or 2024-01-31T08:30:00.123%2B01:00."
        ))
    })
}

/// Adds the names of one `_type`, a list that may repeat (K-6); repeated names collapse (K-19).
fn add_types(types: &mut Vec<String>, names: &str, level: &Level) -> Result<(), ApiError> {
    for name in names.split(',') {
        let name = resource_type(name, level)?.as_str();
        if !types.iter().any(|known| known == name) {
            types.push(name.into());
        }
    }
    Ok(())
}

/// A name of `_type` (C9): one that is no R4 type is invalid, a type that this level does not
/// export is not supported.
fn resource_type(name: &str, level: &Level) -> Result<ResourceType, ApiError> {
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
    use crate::fhir::IssueCode;

    const NOW: &str = "2024-06-01T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn parse(query: &str) -> Result<Parameters, ApiError> {
        Parameters::parse(query, &Level::Patient, at(NOW))
    }

    #[test]
    fn type_is_a_list_that_may_repeat_and_duplicates_collapse() {
        let types = |query: &str| parse(query).unwrap().types;
        assert_eq!(types("_type=Patient,Observation&_type=Patient"), ["Patient", "Observation"]);
        assert!(types("").is_empty());
        for format in
            ["application%2Ffhir%2Bndjson", "application/fhir+ndjson", "application/ndjson", "ndjson"]
        {
            assert!(types(&format!("_outputFormat={format}")).is_empty());
        }
    }

    #[test]
    fn bounds_are_instants_whose_plus_may_have_become_a_space() {
        let bounds = |query: &str| {
            let parameters = parse(query).unwrap();
            (parameters.since, parameters.until)
        };
        let noon = Some(at("2024-01-31T12:00:00Z"));
        for value in [
            "2024-01-31T12:00:00Z",
            "2024-01-31T14:00:00%2B02:00",
            "2024-01-31T14:00:00+02:00",
            "2024-01-31T14:00:00%2002:00",
            "2024-01-31T10:00:00.000-02:00",
        ] {
            assert_eq!(bounds(&format!("_since={value}")), (noon, None), "{value}");
            assert_eq!(bounds(&format!("_until={value}")), (None, noon), "{value}");
        }
        let end = Some(at("9999-01-01T00:00:00Z"));
        assert_eq!(bounds("_until=9999-01-01T00:00:00Z&_since=2024-01-31T12:00:00Z"), (noon, end));
    }

    #[test]
    fn a_since_may_be_ahead_of_our_clock_by_the_skew_and_no_more() {
        let since = |value: &str| parse(&format!("_since={value}")).map(|parameters| parameters.since);
        assert_eq!(since("2024-06-01T12:05:00Z"), Ok(Some(at("2024-06-01T12:05:00Z"))));
        let text = since("2024-06-01T12:05:00.000000001Z").unwrap_err().to_string();
        assert!(text.contains("future") && text.contains(NOW), "{text}");
        assert!(Parameters::parse("_since=9999-12-31T00:00:00Z", &Level::System, Timestamp::MAX).is_ok());
    }

    #[test]
    fn a_bad_instant_is_told_what_would_be_right() {
        let text = |query: &str| parse(query).unwrap_err().to_string();
        for (query, reason) in [
            ("_since=2023-02-29T00:00:00Z", "there is no such day"),
            ("_until=2023-01-01T24:00:00Z", "there is no such time of day"),
            ("_until=2023-01-01T00:00:00-14:30", "there is no such offset"),
            ("_since=2023-01-01", "of the form YYYY-MM-DDThh:mm:ss"),
        ] {
            let text = text(query);
            assert!(text.starts_with(&query[..6]) && text.contains(reason), "{text}");
            assert!(text.contains("2024-01-31T08:30:00Z"), "{text}");
        }
        // The example is one, as it stands in a URL.
        assert!(parse("_since=2024-01-31T08:30:00.123%2B01:00").is_ok());
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
            ("_since=", 400, IssueCode::Invalid),
            ("_since=2024-01-01", 400, IssueCode::Invalid),
            ("_until=tomorrow", 400, IssueCode::Invalid),
            ("_since=2024-01-01T00:00:00Z&_since=2024-01-01T00:00:00Z", 400, IssueCode::NotSupported),
            ("_until=2024-01-01T00:00:00Z&_until=2025-01-01T00:00:00Z", 400, IssueCode::NotSupported),
            ("_since=2024-01-01T00:00:00Z&_until=2024-01-01T00:00:00Z", 400, IssueCode::Invalid),
            ("_until=2023-12-31T23:59:59Z&_since=2024-01-01T00:00:00Z", 400, IssueCode::Invalid),
            ("_Since=2024-01-01T00:00:00Z", 400, IssueCode::NotSupported),
            ("_Type=Patient", 400, IssueCode::NotSupported),
            ("=x", 400, IssueCode::NotSupported),
            ("_type=%ff", 400, IssueCode::Structure),
        ] {
            let error = parse(query).unwrap_err();
            let shown = format!("{error:?}");
            assert!(shown.contains(&format!("status: {status}")), "{query}: {shown}");
            assert!(shown.contains(&format!("{code:?}")), "{query}: {shown}");
        }
    }
}
