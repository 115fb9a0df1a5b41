//! What reads and searches have in common: their parameters, checked strictly (K-5), and the way to the
//! source.

use actix_web::HttpRequest;
use actix_web::web::Payload;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::SourceReadError;
use crate::export::{ExportError, Exporter};
use crate::fhir::quoted;
use crate::http::input::body;
use crate::http::input::form::FORM;
use crate::http::input::query::{self, percent_decoded};
use crate::http::negotiation::preferences::{HandlingPreference, RequestPreferences};
use crate::http::operations::operation::OperationUrl;
use crate::http::{Api, ApiError};
use crate::job::TenantId;

/// Seconds after which a client may ask a busy source again.
const RETRY_AFTER: u64 = 5;

/// All characters but those that are never reserved in a URL.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the `known` parameters of a read or search, in their order.
///
/// # Errors
/// Fails with 400 `structure` if the query cannot be decoded, and with 400 `not-supported` for other
/// parameters, unless the client sends `Prefer: handling=lenient`.
pub fn parameters(request: &HttpRequest, known: &[&str]) -> Result<Vec<(String, String)>, ApiError> {
    retain_known(request, query::specific(request.query_string())?, known)
}

/// Returns the `known` ones of the parameters that were given.
pub fn retain_known(
    request: &HttpRequest,
    given: Vec<(String, String)>,
    known: &[&str],
) -> Result<Vec<(String, String)>, ApiError> {
    let is_strict = RequestPreferences::of(request).handling == HandlingPreference::Strict;
    let mut kept = Vec::new();
    for (name, value) in given {
        if known.contains(&name.as_str()) {
            kept.push((name, value));
        } else if is_strict && !query::is_general(&name) {
            let supported = [known, &["_format", "_pretty"]].concat().join(", ");
            return Err(ApiError::unsupported_parameter(format!(
                "The parameter {} is not supported; supported are {supported}.",
                quoted(&name)
            )));
        }
    }
    Ok(kept)
}

/// Returns the id at the end of the path as it was sent: the router keeps some escapes and replaces bytes
/// that are not UTF-8. The id may name a patient, so it is neither logged nor echoed (P12).
pub fn id(request: &HttpRequest) -> Result<String, ApiError> {
    percent_decoded(request.path().rsplit('/').next().unwrap_or_default())
}

/// Returns the URL of a search under the base URL of a tenant.
pub fn url(url: &OperationUrl, base: &str, parameters: &[(String, String)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    let url = url.at(base, &[]);
    if query.is_empty() { url } else { format!("{url}?{query}") }
}

/// Escapes a text for any place in a URL.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Asks the source of a tenant, on a thread for calls that block.
///
/// # Errors
/// Fails with 404 if there is no such tenant, 503 `transient` if the source does not answer soon, 500 if
/// it cannot be read.
pub async fn ask<T: Send + 'static>(
    api: &Api,
    tenant: &TenantId,
    question: impl FnOnce(&dyn Exporter) -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ApiError> {
    api.evanesce.ask_source(tenant, question).await.map_err(|error| match error {
        SourceReadError::UnknownTenant => ApiError::unknown_application(),
        SourceReadError::Busy => ApiError::busy(RETRY_AFTER),
        SourceReadError::Failed => ApiError::internal(),
    })
}

/// Returns the parameters of a search by POST: those of its URL, and those of its body, a form (R4
/// 3.1.1.1) that may be as long as a URL (P13).
///
/// # Errors
/// Fails as the reading of a body does, and with 400 `structure` if it cannot be decoded.
pub async fn posted(
    request: &HttpRequest,
    payload: Payload,
    api: &Api,
) -> Result<Vec<(String, String)>, ApiError> {
    let mut given = query::parse(request.query_string())?;
    let form = body::read(request, payload, api, api.max_url_bytes).await?.bytes;
    if form.is_empty() {
        return Ok(given);
    }
    if !body::is_of(request, |media_type| media_type == FORM) {
        return Err(ApiError::unsupported_media_type(FORM));
    }
    let form = std::str::from_utf8(&form).map_err(|_| ApiError::malformed_body("The body is not UTF-8."))?;
    given.extend(query::parse(form)?);
    Ok(given)
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn what_is_not_known_is_refused_unless_the_client_is_lenient() {
        let read = |query: &str, prefer: &str| {
            let request = TestRequest::with_uri(&format!("/x?{query}")).insert_header(("Prefer", prefer));
            parameters(&request.to_http_request(), &["name"])
        };
        let status = |query: &str, prefer: &str| read(query, prefer).map_err(|error| error.status_code());
        let name = Ok(vec![("name".to_string(), "x".to_string())]);
        assert_eq!(status("_format=json&_pretty=true&name=x", ""), name);
        assert_eq!(status("name=x&other=y", "handling=strict"), Err(StatusCode::BAD_REQUEST));
        for lenient in
            ["handling=lenient", "x, Handling=\"Lenient\"; y=1", "respond-async, handling = lenient"]
        {
            assert_eq!(status("name=x&other=y", lenient), name);
        }
        assert_eq!(status("name=%ff", "handling=lenient"), Err(StatusCode::BAD_REQUEST));
    }
}
