//! `GET {base}/Binary/{id}` (O-4): what attachments refer to, as FHIR JSON or as it is.

use std::borrow::Cow;

use actix_web::http::header::{self, Accept, Header, HeaderValue, Quality};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mime::Mime;
use serde::Deserialize;

use super::accept::{JSON, check_accept};
use super::error::FHIR_JSON;
use super::{Api, ApiError, reading};
use crate::fhir::ResourceType;

/// The resource, as far as it is looked at.
#[derive(Deserialize)]
struct Binary<'a> {
    #[serde(rename = "contentType", borrow)]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
}

/// `GET {base}/Binary/{id}`.
pub async fn read(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&request)?;
    let has_format = !reading::parameters(&request, &["_format"])?.is_empty();
    let id = reading::id(&request)?;
    let text =
        reading::ask(&api, &caller.tenant, move |exporter| exporter.read(ResourceType::BINARY, &id)).await?;
    let text = text.ok_or_else(ApiError::unknown_resource)?;
    if has_format || asks_for_json(&request) {
        return Ok(with_choice(reading::answer(&request, FHIR_JSON, text)));
    }
    let (media_type, content) = content(&text)?;
    if check_accept(&request, &[media_type.essence_str()]).is_err() {
        return Err(ApiError::not_acceptable(format!(
            "The Accept header excludes what this URL answers: {media_type}, application/fhir+json."
        )));
    }
    let mut response = with_choice(reading::answer(&request, media_type.as_ref(), content));
    // It may be a page with scripts: no browser is to run it in the name of this server.
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok(response)
}

fn with_choice(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Whether `Accept` names a JSON type: then that is what is wanted, whatever else would do. A
/// wildcard alone asks for the content itself.
fn asks_for_json(request: &HttpRequest) -> bool {
    let Ok(Accept(items)) = Accept::parse(request) else { return false };
    items.iter().any(|item| item.quality > Quality::ZERO && JSON.contains(&item.item.essence_str()))
}

/// The media type and the bytes of a Binary.
fn content(text: &[u8]) -> Result<(Mime, Vec<u8>), ApiError> {
    let unreadable = || {
        ApiError::not_acceptable(
            "The content of this Binary cannot be read; send Accept: application/fhir+json.",
        )
    };
    let Binary { content_type, data } = serde_json::from_slice(text).map_err(|_| unreadable())?;
    let media_type = content_type.and_then(|content_type| content_type.parse().ok());
    let mut data = data.unwrap_or_default().into_owned();
    data.retain(|character| !character.is_ascii_whitespace());
    let content = STANDARD.decode(data).map_err(|_| unreadable())?;
    Ok((media_type.unwrap_or(mime::APPLICATION_OCTET_STREAM), content))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn json_is_for_those_who_name_it() {
        let asks = |accept: &str| {
            asks_for_json(&TestRequest::default().insert_header((header::ACCEPT, accept)).to_http_request())
        };
        for accept in ["application/fhir+json", "*/*, Application/JSON", "application/json;q=0.1, text/plain"]
        {
            assert!(asks(accept), "{accept}");
        }
        for accept in ["*/*", "application/*", "application/pdf", "application/json;q=0, */*", "nonsense"] {
            assert!(!asks(accept), "{accept}");
        }
        assert!(!asks_for_json(&TestRequest::default().to_http_request()));
    }

    #[test]
    fn content_is_decoded_and_what_is_odd_does_no_harm() {
        let read = |text: &str| content(text.as_bytes()).map(|(kind, bytes)| (kind.to_string(), bytes));
        assert_eq!(
            read(r#"{"contentType":"text/plain","data":"aGV\nsbG8="}"#),
            Ok(("text/plain".into(), b"hello".to_vec()))
        );
        assert_eq!(read("{}"), Ok(("application/octet-stream".into(), Vec::new())));
        let odd = r#"{"contentType":"text/html\r\nSet-Cookie: x","data":"aA=="}"#;
        assert_eq!(read(odd), Ok(("application/octet-stream".into(), b"h".to_vec())));
        for bad in [r#"{"data":"!"}"#, r#"{"data":1}"#, "[]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
