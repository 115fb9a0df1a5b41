//! The kick-off of an export: its URL, and its body if it needs one (REQUIREMENTS section 3).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::error::ClientError;
use super::options::{ExportOptions, ParameterHandling};
use super::transport::parse_url;
use crate::fhir::Level;

/// Longest URL of a kick-off by GET in bytes. Proxies have their limits; a longer one becomes a POST.
const LONGEST_GET: usize = 4000;

/// What stands as it is in a query. A `+` would be read as a space.
const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b',').remove(b':');

/// Parameters that are one list, however often they are given (K-6).
const LISTS: [&str; 2] = ["_type", "_elements"];

/// A kick-off.
#[derive(Debug, PartialEq, Eq)]
pub struct KickoffRequest {
    /// Where it goes.
    pub url: Url,
    /// The Parameters resource of a POST. A GET has none.
    pub body: Option<String>,
}

/// Parses a base URL that a user gave, without a slash at its end.
///
/// # Errors
/// Fails if it is not an http or https URL.
pub fn base(text: &str) -> Result<Url, ClientError> {
    let wrong = |what: &str| {
        ClientError::unusable(format!("{text} {what}; give one such as https://fhir.example.org/r4"))
    };
    let mut url = parse_url(text, None).map_err(|error| wrong(&format!("is not a URL: {error}")))?;
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(wrong("is not a base URL: it has a query, a fragment or a user"));
    }
    if url.path().contains('$') {
        return Err(wrong("names an operation: the base URL ends before $export, Patient and Group"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Returns the kick-off of the options.
pub fn kickoff(options: &ExportOptions, base: &Url) -> Result<KickoffRequest, ClientError> {
    let parameters = parameters(options);
    let place = match &options.level {
        Level::System => String::from("$export"),
        Level::Patient => String::from("Patient/$export"),
        Level::Group { id } => format!("Group/{}/$export", utf8_percent_encode(id, QUERY)),
    };
    let place = format!("{}/{place}", base.as_str().trim_end_matches('/'));
    let query: Vec<_> = parameters
        .iter()
        .map(|(name, value)| {
            format!("{}={}", utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY))
        })
        .collect();
    let query = query.join("&");
    let is_get = options.patients.is_empty() && place.len() + query.len() < LONGEST_GET;
    let (text, body) = match is_get {
        true if query.is_empty() => (place, None),
        true => (format!("{place}?{query}"), None),
        false => (place, Some(parameters_resource(&parameters, &options.patients).to_string())),
    };
    let url = parse_url(&text, None);
    let url = url.map_err(|wrong| ClientError::unusable(format!("the URL of the kick-off {wrong}")))?;
    Ok(KickoffRequest { url, body })
}

/// Returns what tells one export from another: a folder holds only one.
pub fn fingerprint(options: &ExportOptions, base: &Url) -> String {
    let ExportOptions { level, patients, handling, .. } = options;
    let is_lenient = *handling == ParameterHandling::Lenient;
    let mut all = json!([base.as_str(), level, parameters(options), patients, is_lenient]);
    if options.leave_errors {
        // Folders of earlier versions have a hash without it.
        all = json!([all, "without errors"]);
    }
    hex::encode(Sha256::digest(all.to_string()))
}

/// Returns the parameters with each list as one.
fn parameters(options: &ExportOptions) -> Vec<(String, String)> {
    let mut joined: Vec<(String, String)> = Vec::new();
    for (name, value) in &options.parameters {
        let is_list = LISTS.contains(&name.as_str());
        match joined.iter_mut().find(|(known, _)| is_list && known == name) {
            Some((_, list)) => *list += &format!(",{value}"),
            None => joined.push((name.clone(), value.clone())),
        }
    }
    joined
}

fn parameters_resource(parameters: &[(String, String)], patients: &[String]) -> Value {
    let values = parameters.iter().map(|(name, value)| match (name.as_str(), value.as_str()) {
        ("_since" | "_until", _) => json!({"name": name, "valueInstant": value}),
        ("includeAssociatedData", _) => json!({"name": name, "valueCode": value}),
        ("allowPartialManifests", "true") => json!({"name": name, "valueBoolean": true}),
        ("allowPartialManifests", "false") => json!({"name": name, "valueBoolean": false}),
        _ => json!({"name": name, "valueString": value}),
    });
    let patients = patients.iter().map(|it| json!({"name": "patient", "valueReference": {"reference": it}}));
    json!({"resourceType": "Parameters", "parameter": values.chain(patients).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(parameters: &[(&str, &str)]) -> ExportOptions {
        let mut options = ExportOptions::new("https://h/r4/default/", "out");
        options.parameters = parameters.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        options
    }

    fn made(options: &ExportOptions) -> KickoffRequest {
        kickoff(options, &base(&options.base).unwrap()).unwrap()
    }

    #[test]
    fn k_6_lists_are_joined_and_others_repeat() {
        let options = options(&[
            ("_type", "Patient,Condition"),
            ("_typeFilter", "Condition?code=a b&x"),
            ("_type", "Observation"),
            ("_typeFilter", "Patient?active=true"),
            ("_since", "2024-01-01T00:00:00+01:00"),
        ]);
        let request = made(&options);
        assert_eq!(request.body, None);
        assert_eq!(
            request.url.as_str(),
            "https://h/r4/default/$export?_type=Patient,Condition,Observation\
             &_typeFilter=Condition%3Fcode%3Da%20b%26x&_typeFilter=Patient%3Factive%3Dtrue\
             &_since=2024-01-01T00:00:00%2B01:00"
        );
    }

    #[test]
    fn the_url_is_that_of_the_level() {
        let mut options = options(&[]);
        assert_eq!(made(&options).url.as_str(), "https://h/r4/default/$export");
        options.level = Level::Patient;
        assert_eq!(made(&options).url.as_str(), "https://h/r4/default/Patient/$export");
        options.level = Level::Group { id: "a/../b?c".into() };
        assert_eq!(made(&options).url.as_str(), "https://h/r4/default/Group/a%2F..%2Fb%3Fc/$export");
        options.base = "https://h".into();
        options.level = Level::System;
        assert_eq!(made(&options).url.as_str(), "https://h/$export");
    }

    #[test]
    fn k_1_named_patients_and_long_requests_are_posted() {
        let mut options = options(&[("_type", "Patient"), ("_since", "2024-01-01T00:00:00Z")]);
        options.level = Level::Patient;
        options.patients = vec!["Patient/1".into()];
        let request = made(&options);
        assert_eq!(request.url.as_str(), "https://h/r4/default/Patient/$export");
        let body: Value = serde_json::from_str(&request.body.unwrap()).unwrap();
        assert_eq!(
            body["parameter"],
            json!([
                {"name": "_type", "valueString": "Patient"},
                {"name": "_since", "valueInstant": "2024-01-01T00:00:00Z"},
                {"name": "patient", "valueReference": {"reference": "Patient/1"}},
            ])
        );
        let long = self::options(&[("_typeFilter", &"x".repeat(LONGEST_GET))]);
        assert!(made(&long).body.is_some());
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for bad in ["", "h", "ftp://h", "https://h/r4?x=1", "https://h/r4/$export", "https://me@h/r4"] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn another_request_has_another_fingerprint() {
        let of = |options: &ExportOptions| fingerprint(options, &base(&options.base).unwrap());
        let one = options(&[("_type", "Patient"), ("_type", "Condition")]);
        assert_eq!(of(&one), of(&options(&[("_type", "Patient,Condition")])));
        let mut other = one.clone();
        other.level = Level::Patient;
        assert_ne!(of(&one), of(&other));
        assert_ne!(of(&one), of(&options(&[("_type", "Patient")])));
        let mut without_errors = one.clone();
        without_errors.leave_errors = true;
        assert_ne!(of(&one), of(&without_errors));
    }
}
