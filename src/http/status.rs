//! `GET {base}/bulk-api/request/{job}`: progress, then the manifest (REQUIREMENTS sections 4
//! and 6).

use std::time::{Duration, UNIX_EPOCH};

use actix_web::http::header::{self, HttpDate};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::accept::{JSON, check_accept};
use super::{Api, ApiError};
use crate::clock::{after, between};
use crate::job::{Completion, JobState};
use crate::store::{Lookup, Published};

/// The most seconds a client is asked to wait between two polls.
const LONGEST_RETRY: u64 = 30;

/// `GET {polling URL}`.
pub async fn status(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    check_accept(&request, JSON)?;
    api.check_tenant(&request)?;
    let job = Api::job(&request)?;
    let services = api.evanesce.services();
    let published = match services.view().lookup(&api.tenant, &api.client, job) {
        Lookup::Found(published) => published,
        Lookup::Deleted => return Err(ApiError::deleted()),
        Lookup::Unknown => return Err(ApiError::unknown_job()),
    };
    match &published.record.state {
        JobState::Complete(completion) => {
            let expires = after(completion.completed_at, services.config.retention.completed.0);
            let mut response = HttpResponse::Ok();
            response.insert_header((header::CACHE_CONTROL, "no-store"));
            response.insert_header((header::CONTENT_TYPE, "application/json"));
            response.insert_header((header::EXPIRES, http_date(expires)));
            Ok(response.body(manifest(&api, &published, completion).to_string()))
        }
        JobState::Failed(failure) => Err(ApiError::job_failed(failure.reason)),
        _ => {
            let percent = published.progress.percent();
            let running = between(published.record.submitted_at, services.clock.now());
            Ok(HttpResponse::Accepted()
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .insert_header(("X-Progress", format!("{percent:.1}% complete")))
                .insert_header((header::RETRY_AFTER, retry_after(running, percent).to_string()))
                .finish())
        }
    }
}

/// Whole seconds until another poll is worth while: half of what the job still needs if it
/// goes on as it did (ST-3).
fn retry_after(running: Duration, percent: f64) -> u64 {
    if percent <= 0.0 {
        return 1;
    }
    let left = running.as_secs_f64() * (100.0 - percent) / percent;
    (left / 2.0).clamp(1.0, LONGEST_RETRY as f64) as u64
}

/// An instant as an HTTP date, which knows whole seconds only.
pub fn http_date(instant: Timestamp) -> HttpDate {
    let seconds = u64::try_from(instant.as_second()).unwrap_or(0);
    // The year 9999 is the last that an HTTP date can show.
    HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799)))
}

/// The manifest (MF-1 to MF-5).
fn manifest(api: &Api, published: &Published, completion: &Completion) -> Value {
    let job = published.record.id;
    let files = |errors: bool| -> Vec<Value> {
        let files = published.files().filter(|file| file.is_error() == errors);
        files
            .map(|file| {
                let url = format!("{}/bulk-api/download/{job}/{}", api.base(), file.name);
                json!({"type": file.resource_type, "url": url, "count": file.count})
            })
            .collect()
    };
    json!({
        "transactionTime": completion.transaction_time.to_string(),
        "request": published.request.as_ref().map_or("", |request| &request.url),
        "requiresAccessToken": false,
        "output": files(false),
        "error": files(true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_follows_the_progress_and_stays_in_its_bounds() {
        let seconds = Duration::from_secs;
        assert_eq!(retry_after(seconds(100), 0.0), 1);
        assert_eq!(retry_after(seconds(1), 50.0), 1);
        assert_eq!(retry_after(seconds(20), 50.0), 10);
        assert_eq!(retry_after(seconds(1000), 1.0), LONGEST_RETRY);
        assert_eq!(retry_after(seconds(1000), 99.9), 1);
    }
}
