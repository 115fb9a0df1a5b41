//! The bodies of POSTs, and the Parameters resource of a kick-off (K-1). Its parameters become pairs of
//! name and value, as in a query, and are read by the same code.

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::Payload;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::fhir::quoted;
use crate::http::input::intake::ReceivedBody;
use crate::http::{Api, ApiError};
use crate::job::bounds::{MAX_FILTER_BYTES, MAX_PARAMETERS, check_bytes, check_items};

/// The most bytes of one parameter in the body: all filters may stand in one, with escapes.
const MAX_PARAMETER_BYTES: usize = 2 * MAX_FILTER_BYTES;

/// Returns the whole body of a request.
pub async fn read(
    request: &HttpRequest,
    payload: Payload,
    api: &Api,
    limit: usize,
) -> Result<ReceivedBody, ApiError> {
    if is_coded(request) {
        return Err(ApiError::unsupported_content_coding());
    }
    api.intake.body(payload, limit).await
}

/// Returns whether the `Content-Type` of a request is as it should be.
pub fn is_of(request: &HttpRequest, is_right: impl Fn(&str) -> bool) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|text| text.parse::<mime::Mime>().ok());
    media_type.is_some_and(|media_type| is_right(media_type.essence_str()))
}

/// A Parameters resource. An unknown element is refused, not ignored: it might narrow the export.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParametersResource<'a> {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default, borrow)]
    parameter: Vec<&'a RawValue>,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "meta")]
    _meta: IgnoredAny,
}

#[derive(Deserialize)]
struct BodyParameter {
    name: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Returns whether the body of a request is in a content coding. No coding is decoded: a small body may
/// become huge.
pub fn is_coded(request: &HttpRequest) -> bool {
    let mut codings = request.headers().get_all(header::CONTENT_ENCODING);
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Returns the names and values of a body's parameters, in their order. They are read one by one, so that
/// little more than their text is ever in memory (P13).
///
/// # Errors
/// Fails with 400 `structure` if the body is not a Parameters resource, `invalid` for a parameter without
/// exactly one readable value, `too-costly` for too many or too long ones.
pub fn parameters(body: &[u8]) -> Result<Vec<(String, String)>, ApiError> {
    // An error's message may quote what the client sent; its place does not.
    let resource: ParametersResource<'_> = serde_json::from_slice(body)
        .map_err(|error| not_one(format_args!("line {}, column {}", error.line(), error.column())))?;
    if resource.resource_type != "Parameters" {
        return Err(ApiError::malformed_body(format!(
            "The body is a resource of type {}; send a Parameters resource.",
            quoted(&resource.resource_type)
        )));
    }
    check_items("the Parameters resource", resource.parameter.len(), MAX_PARAMETERS)?;
    let pair = |(n, text): (usize, &RawValue)| {
        check_bytes("a parameter", text.get().len(), MAX_PARAMETER_BYTES)?;
        let parameter: BodyParameter = serde_json::from_str(text.get())
            .map_err(|_| not_one(format_args!("parameter {n}, counted from 1")))?;
        value(&parameter).map(|value| (parameter.name, value))
    };
    (1..).zip(resource.parameter).map(pair).collect()
}

fn not_one(place: std::fmt::Arguments<'_>) -> ApiError {
    ApiError::malformed_body(format!(
        "The body is not a Parameters resource ({place}); send {{\"resourceType\":\"Parameters\",\
         \"parameter\":[{{\"name\":\"_type\",\"valueString\":\"Patient\"}}]}}."
    ))
}

/// Returns the one value of a parameter, as text.
fn value(parameter: &BodyParameter) -> Result<String, ApiError> {
    let name = quoted(&parameter.name);
    let mut values = parameter.rest.iter().filter(|(key, _)| !matches!(key.as_str(), "id" | "extension"));
    let (Some((key, value)), None) = (values.next(), values.next()) else {
        return Err(ApiError::invalid(format!("The parameter {name} does not have exactly one value.")));
    };
    let text = match (key.as_str(), value) {
        (
            "valueString" | "valueCode" | "valueInstant" | "valueDateTime" | "valueUri" | "valueUrl"
            | "valueCanonical" | "valueId" | "valueMarkdown",
            Value::String(text),
        ) => Some(text.clone()),
        ("valueBoolean", Value::Bool(value)) => Some(value.to_string()),
        ("valueReference", Value::Object(reference)) => text_of(reference, "reference"),
        ("valueCoding", Value::Object(coding)) => text_of(coding, "code"),
        _ => None,
    };
    text.ok_or_else(|| {
        let key = quoted(key);
        ApiError::invalid(format!(
            "The parameter {name} has a {key} that cannot be read; use valueString, valueInstant, valueCode, \
             valueBoolean, valueCoding with a code, or valueReference with a reference."
        ))
    })
}

fn text_of(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parameters_resource_gives_names_and_values() {
        let body = r#"{"resourceType":"Parameters","id":"x","parameter":[
            {"name":"_type","valueString":"Patient,Group"},
            {"name":"_since","valueInstant":"2024-01-01T00:00:00Z"},
            {"name":"allowPartialManifests","valueBoolean":true},
            {"name":"patient","valueReference":{"reference":"Patient/1","display":"x"}},
            {"name":"includeAssociatedData","valueCoding":{"system":"s","code":"LatestProvenanceResources"}},
            {"name":"includeAssociatedData","valueCode":"_custom","extension":[]}]}"#;
        let given = parameters(body.as_bytes()).unwrap();
        let given: Vec<_> = given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            given,
            [
                ("_type", "Patient,Group"),
                ("_since", "2024-01-01T00:00:00Z"),
                ("allowPartialManifests", "true"),
                ("patient", "Patient/1"),
                ("includeAssociatedData", "LatestProvenanceResources"),
                ("includeAssociatedData", "_custom"),
            ]
        );
        assert_eq!(parameters(br#"{"resourceType":"Parameters"}"#).unwrap(), []);
    }

    #[test]
    fn what_is_none_is_refused_and_told_what_would_be_right() {
        for (body, expected) in [
            ("", "not a Parameters resource"),
            ("[]", "not a Parameters resource"),
            ("{}", "not a Parameters resource"),
            (r#"{"resourceType":"Parameters","parameter":{}}"#, "not a Parameters resource"),
            (r#"{"resourceType":"Parameters","parameters":[]}"#, "not a Parameters resource"),
            (r#"{"resourceType":"Parameters"}{}"#, "not a Parameters resource"),
            (r#"{"resourceType":"Patient"}"#, "send a Parameters resource"),
            (
                r#"{"resourceType":"Parameters","parameter":[{"valueString":"x"}]}"#,
                "not a Parameters resource",
            ),
            (r#"{"resourceType":"Parameters","parameter":[{"name":"_type"}]}"#, "not have exactly one value"),
            (
                r#"{"resourceType":"Parameters","parameter":[{"name":"_type","valueString":"a","valueCode":"b"}]}"#,
                "not have exactly one value",
            ),
            (
                r#"{"resourceType":"Parameters","parameter":[{"name":"_type","valueString":7}]}"#,
                "cannot be read",
            ),
            (r#"{"resourceType":"Parameters","parameter":[{"name":"_type","part":[]}]}"#, "cannot be read"),
            (
                r#"{"resourceType":"Parameters","parameter":[{"name":"patient","valueReference":{"display":"x"}}]}"#,
                "cannot be read",
            ),
        ] {
            let text = parameters(body.as_bytes()).unwrap_err().to_string();
            assert!(text.contains(expected), "{body}: {text}");
        }
    }

    #[test]
    fn p13_parameters_are_counted_before_they_are_read_and_none_may_be_long_or_deep() {
        let of = |parameters: &str| {
            let body = format!(r#"{{"resourceType":"Parameters","parameter":[{parameters}]}}"#);
            super::parameters(body.as_bytes()).map(|given| given.len()).map_err(|error| error.to_string())
        };
        let some = |n: usize| vec![r#"{"name":"patient","valueString":"x"}"#; n].join(",");
        assert_eq!(of(&some(MAX_PARAMETERS)), Ok(MAX_PARAMETERS));
        assert!(of(&some(MAX_PARAMETERS + 1)).unwrap_err().contains("more than 12000 values"));
        // They are not looked at.
        assert!(of(&vec!["0"; MAX_PARAMETERS + 1].join(",")).unwrap_err().contains("12000"));
        let frame = r#"{"name":"x","valueString":""}"#.len();
        let long = |bytes: usize| format!(r#"{{"name":"x","valueString":"{}"}}"#, "y".repeat(bytes - frame));
        assert_eq!(of(&long(MAX_PARAMETER_BYTES)), Ok(1));
        assert!(of(&long(MAX_PARAMETER_BYTES + 1)).unwrap_err().contains("a parameter has more than"));
        let deep = |n: usize| format!(r#"{{"name":"x","valueString":{}{}}}"#, "[".repeat(n), "]".repeat(n));
        for n in [100, 1000, 100_000] {
            assert!(of(&deep(n)).is_err(), "{n}");
        }
        let outside = format!(r#"{{"resourceType":"Parameters","meta":{}}}"#, "[".repeat(500_000));
        assert!(super::parameters(outside.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parameters(&body);
        }
    }
}
