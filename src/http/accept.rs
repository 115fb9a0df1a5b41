//! Content negotiation: `Accept` (C3, C4, F-4) and `Accept-Encoding` (F-5).

use actix_web::HttpRequest;
use actix_web::http::header::{
    self, Accept, AcceptEncoding, Encoding, Header, Preference, Quality, QualityItem,
};
use mime::Mime;

use super::ApiError;
use crate::job::Coding;

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
    let kind = offer.split('/').next().unwrap_or_default();
    let specificity = |mime: &Mime| match (mime.type_(), mime.subtype()) {
        (mime::STAR, mime::STAR) => Some(0),
        (theirs, mime::STAR) if theirs == kind => Some(1),
        _ if mime.essence_str().eq_ignore_ascii_case(offer) => Some(2),
        _ => None,
    };
    let matching = items.iter().filter_map(|item| Some((specificity(&item.item)?, item.quality)));
    matching.max().is_some_and(|(_, quality)| quality > header::Quality::ZERO)
}

/// The form that the client prefers of those `offered`, the cheapest first; `None` is plain text. A
/// client that prefers none gets the first of them; one that does not speak of codings plain text
/// (F-5), which is what remains for one that excludes nothing.
///
/// actix-web's own negotiation takes `*;q=1, identity;q=0` for a wish for plain text, so only its
/// parser is used.
///
/// # Errors
/// The header excludes all that is offered (RFC 9110, 12.5.3).
pub fn choose_coding(request: &HttpRequest, offered: &[Option<Coding>]) -> Result<Option<Coding>, ApiError> {
    // What is no list is none; an empty one asks for plain text.
    let items = AcceptEncoding::parse(request).map_or_else(|_| Vec::new(), |AcceptEncoding(items)| items);
    if items.is_empty() {
        return Ok(None);
    }
    // Plain text that is not spoken of is what the client wants least.
    let wish = |form: &Option<Coding>| match (weight(&items, *form), form) {
        (None, Some(_)) => None,
        (None, None) => Some(None),
        (Some(weight), _) => (weight > Quality::ZERO).then_some(Some(weight)),
    };
    let wishes = offered.iter().filter_map(|form| Some((wish(form)?, *form)));
    // The last of several that are largest is the first that was offered.
    let best = wishes.rev().max_by_key(|(wish, _)| *wish);
    best.map(|(_, form)| form).ok_or_else(|| {
        let names: Vec<_> = offered.iter().map(|form| form.map_or("identity", Coding::name)).collect();
        ApiError::not_acceptable(format!(
            "The Accept-Encoding header excludes what this URL answers: {}.",
            names.join(", ")
        ))
    })
}

/// The weight that the list gives a form: its own, or that of `*`.
fn weight(items: &[QualityItem<Preference<Encoding>>], form: Option<Coding>) -> Option<Quality> {
    let names = match form {
        None => ["identity", "identity"],
        // An alias, which recipients should know (RFC 9110, 8.4.1.3).
        Some(Coding::Gzip) => ["gzip", "x-gzip"],
        Some(Coding::Zstd) => ["zstd", "zstd"],
    };
    let is_it = |item: &Preference<Encoding>| match item {
        Preference::Specific(coding) => {
            let coding = coding.to_string();
            names.iter().any(|name| coding.eq_ignore_ascii_case(name))
        }
        Preference::Any => false,
    };
    let of = |matches: &dyn Fn(&Preference<Encoding>) -> bool| {
        items.iter().find(|item| matches(&item.item)).map(|item| item.quality)
    };
    of(&is_it).or_else(|| of(&|item| matches!(item, Preference::Any)))
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
        use Coding::{Gzip, Zstd};
        let choose = |value: &str, offered: &[Option<Coding>]| {
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
            ("gzip;q=seven", Some(None), Some(None)),
            (";;;", Some(None), Some(None)),
        ] {
            assert_eq!(choose(value, plain), of_plain, "{value}");
            assert_eq!(choose(value, as_gzip), of_gzip, "{value}");
        }
        let nothing = TestRequest::default().to_http_request();
        assert_eq!(choose_coding(&nothing, as_gzip).ok(), Some(None));
    }
}
