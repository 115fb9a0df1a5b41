//! What several operations answer with.

pub mod bundle;
pub mod documents;
pub mod manifest;

use std::time::{Duration, UNIX_EPOCH};

use actix_web::http::header::HttpDate;
use jiff::Timestamp;

/// Returns an instant as an HTTP date, which has whole seconds only.
pub fn http_date(instant: Timestamp) -> HttpDate {
    let seconds = u64::try_from(instant.as_second()).unwrap_or(0);
    // The year 9999 is the last that an HTTP date can show.
    HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799)))
}
