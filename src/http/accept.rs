//! Content negotiation: `Accept` (C3, C4, F-4).

use actix_web::HttpRequest;
use actix_web::http::header::{self, Accept, Header, QualityItem};
use mime::Mime;

use super::ApiError;

/// The media types of JSON answers.
pub const JSON: &[&str] = &["application/fhir+json", "application/json", "application/json+fhir"];

/// The media types of NDJSON files.
pub const NDJSON: &[&str] = &["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// Refuses a request whose `Accept` excludes every type of `offered`; one without `Accept`
/// takes anything.
pub fn check_accept(request: &HttpRequest, offered: &[&str]) -> Result<(), ApiError> {
    let refuse = || {
        ApiError::not_acceptable(format!(
            "The Accept header excludes what this URL answers: {}.",
            offered.join(", ")
        ))
    };
    if !request.headers().contains_key(header::ACCEPT) {
        return Ok(());
    }
    // `ndjson` alone is no media type, and yet documented as one.
    let mut values = request.headers().get_all(header::ACCEPT);
    if values.any(|value| value.as_bytes() == b"ndjson") && offered.contains(&"ndjson") {
        return Ok(());
    }
    let Accept(items) = Accept::parse(request).map_err(|_| refuse())?;
    if offered.iter().any(|offer| is_accepted(offer, &items)) { Ok(()) } else { Err(refuse()) }
}

/// As `check_accept`, for operations that need the header to be there (C4).
pub fn require_accept(request: &HttpRequest, offered: &[&str]) -> Result<(), ApiError> {
    if request.headers().contains_key(header::ACCEPT) {
        return check_accept(request, offered);
    }
    Err(ApiError::not_acceptable(format!("The Accept header is missing; send Accept: {}.", offered[0])))
}

/// Whether the most specific item that matches `offer` does not exclude it with q=0.
fn is_accepted(offer: &str, items: &[QualityItem<Mime>]) -> bool {
    let specificity = |mime: &Mime| match mime.essence_str() {
        "*/*" => Some(0),
        "application/*" => Some(1),
        essence if essence.eq_ignore_ascii_case(offer) => Some(2),
        _ => None,
    };
    let matching = items.iter().filter_map(|item| Some((specificity(&item.item)?, item.quality)));
    matching.max().is_some_and(|(_, quality)| quality > header::Quality::ZERO)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn accept_is_read_with_its_weights_and_wildcards() {
        let accepts = |value: &str| {
            let request = TestRequest::default().insert_header((header::ACCEPT, value)).to_http_request();
            check_accept(&request, JSON).is_ok()
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
        ] {
            assert!(accepts(good), "{good}");
        }
        for bad in
            ["text/html", "text/*", "application/xml", "application/json;q=0", "*/*;q=0", "", "nonsense", ";"]
        {
            assert!(!accepts(bad), "{bad}");
        }
        assert!(check_accept(&TestRequest::default().to_http_request(), JSON).is_ok());
        assert!(require_accept(&TestRequest::default().to_http_request(), JSON).is_err());
    }
}
