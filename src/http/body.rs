//! The body of a kick-off by POST: a Parameters resource (K-1). Its parameters become pairs of
//! name and value, as a query has them, and are read by the same code.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ApiError;
use crate::fhir::quoted;

/// A Parameters resource as far as it is looked at. What is unknown in it is refused, not
/// ignored: it might narrow what is exported.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    parameter: Vec<Parameter>,
    #[serde(default, rename = "id")]
    _id: Option<Value>,
    #[serde(default, rename = "meta")]
    _meta: Option<Value>,
}

#[derive(Deserialize)]
struct Parameter {
    name: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The names and values of a body's parameters, in their order.
///
/// # Errors
/// 400 `structure` for what is no Parameters resource, 400 `invalid` for a parameter without
/// exactly one value of a kind that can be read.
pub fn parameters(body: &[u8]) -> Result<Vec<(String, String)>, ApiError> {
    let not_one = |error: serde_json::Error| {
        // The message may quote what the client sent; the place does not.
        ApiError::malformed_body(format!(
            "The body is no Parameters resource (line {}, column {}); send {{\"resourceType\":\"Parameters\",\
             \"parameter\":[{{\"name\":\"_type\",\"valueString\":\"Patient\"}}]}}.",
            error.line(),
            error.column()
        ))
    };
    let resource: Resource = serde_json::from_slice(body).map_err(not_one)?;
    if resource.resource_type != "Parameters" {
        return Err(ApiError::malformed_body(format!(
            "The body is a resource of type {}; send a Parameters resource.",
            quoted(&resource.resource_type)
        )));
    }
    let pair = |parameter: Parameter| value(&parameter).map(|value| (parameter.name, value));
    resource.parameter.into_iter().map(pair).collect()
}

/// The one value of a parameter, as text.
fn value(parameter: &Parameter) -> Result<String, ApiError> {
    let name = quoted(&parameter.name);
    let mut values = parameter.rest.iter().filter(|(key, _)| !matches!(key.as_str(), "id" | "extension"));
    let (Some((key, value)), None) = (values.next(), values.next()) else {
        return Err(ApiError::invalid(format!("The parameter {name} has not exactly one value.")));
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
            ("", "no Parameters resource"),
            ("[]", "no Parameters resource"),
            ("{}", "no Parameters resource"),
            (r#"{"resourceType":"Parameters","parameter":{}}"#, "no Parameters resource"),
            (r#"{"resourceType":"Parameters","parameters":[]}"#, "no Parameters resource"),
            (r#"{"resourceType":"Parameters"}{}"#, "no Parameters resource"),
            (r#"{"resourceType":"Patient"}"#, "send a Parameters resource"),
            (r#"{"resourceType":"Parameters","parameter":[{"valueString":"x"}]}"#, "no Parameters resource"),
            (r#"{"resourceType":"Parameters","parameter":[{"name":"_type"}]}"#, "not exactly one value"),
            (
                r#"{"resourceType":"Parameters","parameter":[{"name":"_type","valueString":"a","valueCode":"b"}]}"#,
                "not exactly one value",
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

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parameters(&body);
        }
    }
}
