//! What several operations answer with.

pub mod bundle;
pub mod documents;
pub mod manifest;

use std::time::{Duration, UNIX_EPOCH};

use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ETag, EntityTag, HeaderValue, HttpDate};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_128;

use super::ApiResult;
use super::negotiation::conditions::CurrentVersion;

/// Returns an instant as an HTTP date, which has whole seconds only.
pub fn http_date(instant: Timestamp) -> HttpDate {
    let seconds = u64::try_from(instant.as_second()).unwrap_or(0);
    // The year 9999 is the last that an HTTP date can show.
    HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799)))
}

/// Returns an answer with this content, or 304 if the client has it. Its media type may have been negotiated.
///
/// # Errors
/// Fails with 412 if the client's condition does not hold.
pub fn answer(
    request: &HttpRequest,
    media_type: &str,
    content: impl MessageBody + AsRef<[u8]> + 'static,
) -> ApiResult {
    let tag = EntityTag::new_strong(format!("{:032x}", xxh3_128(content.as_ref())));
    let has_it = CurrentVersion::tagged(&tag).is_unchanged_for(request)?;
    let mut response = HttpResponse::build(if has_it { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    response.insert_header(ETag(tag));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header((header::VARY, "Accept"));
    Ok(if has_it {
        response.finish()
    } else {
        response.insert_header((header::CONTENT_TYPE, media_type)).body(content)
    })
}

/// Returns what [`answer`] does, for content that anybody may read: caches may keep it, and revalidate it.
pub fn published(request: &HttpRequest, media_type: &str, content: String) -> ApiResult {
    let mut response = answer(request, media_type, content)?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
