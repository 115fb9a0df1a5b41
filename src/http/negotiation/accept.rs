//! Content negotiation: `Accept` and `_format` (C3, C4, F-4; R4 3.1.0.1.9 and 3.1.0.1.11), and
//! `Accept-Encoding` (F-5). Clients are many and old, so fields are read leniently: an item with an
//! unreadable weight is acceptable, and an empty field counts as absent.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};

use crate::fhir::quoted;
use crate::http::ApiError;
use crate::http::error::FHIR_JSON;
use crate::http::input::query;
use crate::job::ContentCoding;

/// The media types of JSON answers.
const JSON: &[&str] = &[FHIR_JSON, PLAIN_JSON, "application/json+fhir"];

/// The media type of plain JSON.
const PLAIN_JSON: &str = "application/json";

/// The media types of NDJSON files.
pub const NDJSON: &[&str] = &["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// Returns whether a media type is one of JSON.
pub fn is_json(media_type: &str) -> bool {
    JSON.iter().any(|json| json.eq_ignore_ascii_case(media_type))
}

/// Returns the media type of a JSON answer: FHIR's, unless the client prefers plain JSON. `_format` takes
/// precedence over `Accept`.
///
/// # Errors
/// Fails with 406 if the client takes no JSON.
pub fn json(request: &HttpRequest) -> Result<&'static str, ApiError> {
    // A query that cannot be decoded is refused where the other parameters are read.
    json_by(request, &query::parse(request.query_string()).unwrap_or_default())
}

/// Returns the media type of a JSON answer for a client that gave these parameters.
pub fn json_by(request: &HttpRequest, parameters: &[(String, String)]) -> Result<&'static str, ApiError> {
    let formats = parameters.iter().filter(|(name, _)| name == "_format");
    let formats = formats.map(|(_, value)| of_format(value)).collect::<Result<Vec<_>, _>>()?;
    if let Some(format) = formats.first() {
        return Ok(format);
    }
    let Some(items) = accepted(request) else { return Ok(FHIR_JSON) };
    // `max_by_key` returns the last maximum: reversed, the first offer of those with the same weight.
    let wishes = JSON.iter().rev().map(|offer| (wish(offer, &items), *offer));
    match wishes.max_by_key(|(weight, _)| *weight) {
        Some((weight, offer)) if weight > 0 => Ok(if offer == PLAIN_JSON { PLAIN_JSON } else { FHIR_JSON }),
        _ => Err(excluded(JSON)),
    }
}

/// Returns what [`json`] does. Fails also if neither `Accept` nor `_format` is there (C4).
pub fn require_json(request: &HttpRequest) -> Result<&'static str, ApiError> {
    let parameters = query::parse(request.query_string()).unwrap_or_default();
    if accepted(request).is_some() || parameters.iter().any(|(name, _)| name == "_format") {
        return json_by(request, &parameters);
    }
    let text = format!("The Accept header is missing; send Accept: {FHIR_JSON}.");
    Err(ApiError::not_acceptable(text))
}

/// Returns the JSON type for a client that names one, by `_format` or in `Accept`. A wildcard names none.
///
/// # Errors
/// Fails with 406 if `_format` is not JSON.
pub fn wants_json(request: &HttpRequest) -> Result<Option<&'static str>, ApiError> {
    let parameters = query::parse(request.query_string()).unwrap_or_default();
    let is_named = accepted(request).into_iter().flatten().any(|item| item.weight > 0 && is_json(&item.name));
    let is_wanted = is_named || parameters.iter().any(|(name, _)| name == "_format");
    is_wanted.then(|| json_by(request, &parameters)).transpose()
}

/// Refuses a request whose `Accept` excludes every type of `offered`. A request without `Accept` takes
/// anything.
pub fn check_accept(request: &HttpRequest, offered: &[&str]) -> Result<(), ApiError> {
    let Some(items) = accepted(request) else { return Ok(()) };
    let is_accepted = offered.iter().any(|offer| wish(offer, &items) > 0);
    if is_accepted { Ok(()) } else { Err(excluded(offered)) }
}

fn excluded(offered: &[&str]) -> ApiError {
    let offered = offered.join(", ");
    ApiError::not_acceptable(format!("The Accept header excludes what this URL answers: {offered}."))
}

/// Returns the JSON type that a `_format` asks for. Its `+` may have become a space.
fn of_format(value: &str) -> Result<&'static str, ApiError> {
    let value = value.trim().replace(' ', "+");
    if value.eq_ignore_ascii_case(PLAIN_JSON) {
        return Ok(PLAIN_JSON);
    }
    if value.eq_ignore_ascii_case("json") || is_json(&value) {
        return Ok(FHIR_JSON);
    }
    Err(ApiError::not_acceptable(format!(
        "_format {} is not supported; use json or application/fhir+json.",
        quoted(&value)
    )))
}

/// An item of a list with weights.
struct WeightedItem {
    /// Its name, without parameters.
    name: String,
    /// Its weight in millionths, from 0 to 1. It is 0 only if the client wrote 0.
    weight: u32,
}

/// Returns the items of `Accept`; `None` if there are none.
fn accepted(request: &HttpRequest) -> Option<Vec<WeightedItem>> {
    Some(items(request, header::ACCEPT)).filter(|items| !items.is_empty())
}

/// Returns the items of a field in all its lines.
fn items(request: &HttpRequest, name: HeaderName) -> Vec<WeightedItem> {
    let mut items = Vec::new();
    for line in request.headers().get_all(name) {
        let line = String::from_utf8_lossy(line.as_bytes());
        for item in split(&line, ',').filter(|item| !item.is_empty()) {
            let mut parts = split(item, ';');
            let name = parts.next().unwrap_or_default().to_string();
            items.push(WeightedItem { name, weight: weight(parts) });
        }
    }
    items
}

/// Splits at a separator outside of quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let parts = text.split(move |c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    });
    parts.map(str::trim)
}

/// Returns the weight among the parameters of an item. A missing or unreadable weight is 1.
fn weight<'a>(parameters: impl Iterator<Item = &'a str>) -> u32 {
    let mut pairs = parameters.filter_map(|parameter| parameter.split_once('='));
    let weight = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let weight =
        weight.and_then(|(_, value)| value.trim().parse::<f64>().ok()).filter(|weight| *weight >= 0.0);
    (weight.unwrap_or(1.0).min(1.0) * 1e6).ceil() as u32
}

/// Returns the weight of `offer`: that of the most specific item that matches it, or 0.
fn wish(offer: &str, items: &[WeightedItem]) -> u32 {
    let kind = offer.split('/').next().unwrap_or_default();
    let specificity = |name: &str| match name.split_once('/') {
        // Old clients write `*` for `*/*`.
        None if name == "*" => Some(0),
        Some(("*", "*")) => Some(0),
        Some((theirs, "*")) if theirs.eq_ignore_ascii_case(kind) => Some(1),
        _ if name.eq_ignore_ascii_case(offer) => Some(2),
        _ => None,
    };
    let matching = items.iter().filter_map(|item| Some((specificity(&item.name)?, item.weight)));
    matching.max().map_or(0, |(_, weight)| weight)
}

/// Returns the coding that the client prefers of those `offered`, the cheapest first; `None` is plain
/// text. Of equal ones, the first is chosen. A client that does not mention codings gets plain text (F-5).
///
/// # Errors
/// Fails with 406 if the header excludes all that is offered (RFC 9110, 12.5.3).
pub fn choose_coding(
    request: &HttpRequest,
    offered: &[Option<ContentCoding>],
) -> Result<Option<ContentCoding>, ApiError> {
    let items = items(request, header::ACCEPT_ENCODING);
    if items.is_empty() {
        return Ok(None);
    }
    // Plain text that is not mentioned comes last.
    let wish = |form: &Option<ContentCoding>| match (weight_of(&items, *form), form) {
        (None, Some(_)) => None,
        (None, None) => Some(0),
        (Some(weight), _) => (weight > 0).then_some(weight),
    };
    let wishes = offered.iter().filter_map(|form| Some((wish(form)?, *form)));
    // `max_by_key` returns the last maximum: reversed, the first that was offered.
    let best = wishes.rev().max_by_key(|(wish, _)| *wish);
    best.map(|(_, form)| form).ok_or_else(|| {
        let names: Vec<_> = offered.iter().map(|form| form.map_or("identity", ContentCoding::name)).collect();
        ApiError::not_acceptable(format!(
            "The Accept-Encoding header excludes what this URL answers: {}.",
            names.join(", ")
        ))
    })
}

/// Returns the weight that the list gives a coding: its own, or that of `*`.
fn weight_of(items: &[WeightedItem], form: Option<ContentCoding>) -> Option<u32> {
    let names = match form {
        None => ["identity", "identity"],
        // An alias that recipients should know (RFC 9110, 8.4.1.3).
        Some(ContentCoding::Gzip) => ["gzip", "x-gzip"],
        Some(ContentCoding::Zstd) => ["zstd", "zstd"],
    };
    let of = |known: &[&str]| {
        let mut found =
            items.iter().filter(|item| known.iter().any(|name| item.name.eq_ignore_ascii_case(name)));
        found.next().map(|item| item.weight)
    };
    of(&names).or_else(|| of(&["*"]))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn accept_is_read_with_its_weights_and_wildcards() {
        let accepts = |value: &str| {
            let request = TestRequest::default().insert_header((header::ACCEPT, value)).to_http_request();
            json(&request).is_ok()
        };
        for good in [
            "*/*",
            "application/*",
            "application/json",
            "application/fhir+json",
            "application/json+fhir",
            "Application/FHIR+JSON; charset=utf-8",
            "text/html, application/json;q=0.1",
            "application/fhir+json, */*; q=0.1",
            "application/json;q=0, */*",
            // Java's, up to the present day.
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
            "*/*;q=0.1234",
            "*/*; q=0.0000001",
            "*/*;q=1.5",
            "*/*;q=much",
            "*/*;q=",
            "*/*;q=-1",
            "text/html;x=\"a,b;c\", */*;Q=1",
            "",
            " , ,",
            "text/html;level=\u{e9}, application/json",
        ] {
            assert!(accepts(good), "{good}");
        }
        for bad in [
            "text/html",
            "text/*",
            "application/xml",
            "application/json;q=0",
            "*/*;q=0",
            "*;q=0.000",
            "nonsense",
            ";",
            "text/html;x=\", */*\"",
            "application/fhir+json;q=0, application/*;q=0",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
        assert!(json(&TestRequest::default().to_http_request()).is_ok());
        let required = |value: &str| {
            let request = TestRequest::default().insert_header((header::ACCEPT, value)).to_http_request();
            require_json(&request).is_ok()
        };
        assert!(required("*/*") && !required("") && !required(" ,"));
        assert!(require_json(&TestRequest::default().to_http_request()).is_err());
        assert!(require_json(&TestRequest::with_uri("/x?_format=json").to_http_request()).is_ok());
    }

    #[test]
    fn r4_3_1_0_1_9_json_is_of_the_type_that_was_asked_for() {
        let (fhir, plain) = (Ok(FHIR_JSON), Ok(PLAIN_JSON));
        for (accept, query, expected) in [
            ("application/json", "", plain),
            ("Application/JSON; charset=utf-8", "", plain),
            ("application/json, text/html", "", plain),
            ("application/json, */*;q=0.1", "", plain),
            ("application/json, application/fhir+json;q=0.9", "", plain),
            ("application/fhir+json;q=0, */*", "", plain),
            // The client has no preference.
            ("application/json, text/plain, */*", "", fhir),
            ("application/json, application/fhir+json", "", fhir),
            ("application/*", "", fhir),
            ("application/json+fhir", "", fhir),
            ("", "", fhir),
            // `_format` takes precedence over Accept (3.1.0.1.11).
            ("text/html", "_format=json", fhir),
            ("application/json", "_format=application/fhir%2Bjson", fhir),
            ("application/fhir+json", "_format=application/json", plain),
            ("application/json", "_format=xml", Err(406)),
            ("application/json", "_pretty=true", plain),
        ] {
            let request =
                TestRequest::with_uri(&format!("/x?{query}")).insert_header((header::ACCEPT, accept));
            let chosen = json(&request.to_http_request());
            let chosen = chosen.map_err(|error| actix_web::ResponseError::status_code(&error).as_u16());
            assert_eq!(chosen, expected, "{accept} {query}");
        }
    }

    #[test]
    fn accept_is_of_the_type_that_is_offered() {
        let takes = |accept: &str| {
            let request = TestRequest::default().insert_header((header::ACCEPT, accept)).to_http_request();
            check_accept(&request, &["text/plain"]).is_ok()
        };
        for accept in ["*/*", "text/*", "text/plain", "text/html;q=0, */*;q=0.1"] {
            assert!(takes(accept), "{accept}");
        }
        for accept in ["application/*", "text/html", "*/*, text/plain;q=0", "text/*;q=0, */*", "nonsense"] {
            assert!(!takes(accept), "{accept}");
        }
    }

    #[test]
    fn accept_encoding_is_read_with_its_weights_and_wildcards() {
        use ContentCoding::{Gzip, Zstd};
        let choose = |value: &str, offered: &[Option<ContentCoding>]| {
            let request = TestRequest::default().insert_header((header::ACCEPT_ENCODING, value));
            choose_coding(&request.to_http_request(), offered).ok()
        };
        let (plain, as_gzip) = (&[None, Some(Zstd), Some(Gzip)], &[Some(Gzip), None, Some(Zstd)]);
        for (value, of_plain, of_gzip) in [
            ("", Some(None), Some(None)),
            ("identity", Some(None), Some(None)),
            ("gzip", Some(Some(Gzip)), Some(Some(Gzip))),
            ("GZip", Some(Some(Gzip)), Some(Some(Gzip))),
            ("x-gzip", Some(Some(Gzip)), Some(Some(Gzip))),
            ("zstd", Some(Some(Zstd)), Some(Some(Zstd))),
            ("gzip, zstd", Some(Some(Zstd)), Some(Some(Gzip))),
            ("gzip, deflate, br", Some(Some(Gzip)), Some(Some(Gzip))),
            ("gzip;q=0.1", Some(Some(Gzip)), Some(Some(Gzip))),
            ("gzip;q=0.1, zstd;q=0.2", Some(Some(Zstd)), Some(Some(Zstd))),
            ("gzip, identity", Some(None), Some(Some(Gzip))),
            ("gzip;q=0.5, identity;q=0.6", Some(None), Some(None)),
            ("gzip; q=0.5, identity; q=0", Some(Some(Gzip)), Some(Some(Gzip))),
            ("*", Some(None), Some(Some(Gzip))),
            ("*;q=0.3, gzip;q=0", Some(None), Some(None)),
            ("*, identity;q=0", Some(Some(Zstd)), Some(Some(Gzip))),
            ("br", Some(None), Some(None)),
            ("br;q=0", Some(None), Some(None)),
            ("gzip;q=0", Some(None), Some(None)),
            ("gzip;q=0, *;q=0", None, None),
            ("identity;q=0", None, None),
            ("br, *;q=0", None, None),
            ("*;q=0, gzip", Some(Some(Gzip)), Some(Some(Gzip))),
            ("*;q=0, identity;q=0.1", Some(None), Some(None)),
            ("gzip;q=seven", Some(Some(Gzip)), Some(Some(Gzip))),
            ("gzip;q=.9, identity;q=0", Some(Some(Gzip)), Some(Some(Gzip))),
            ("gzip;q=0.00001, *;q=0", Some(Some(Gzip)), Some(Some(Gzip))),
            ("gzip;q=0.1234, identity;q=0.1233", Some(Some(Gzip)), Some(Some(Gzip))),
            (";;;", Some(None), Some(None)),
        ] {
            assert_eq!(choose(value, plain), of_plain, "{value}");
            assert_eq!(choose(value, as_gzip), of_gzip, "{value}");
        }
        let nothing = TestRequest::default().to_http_request();
        assert_eq!(choose_coding(&nothing, as_gzip).ok(), Some(None));
    }
}
