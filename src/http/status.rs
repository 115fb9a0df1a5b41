//! `GET {base}/bulk-api/request/{job}`: progress, then the manifest (REQUIREMENTS sections 4
//! and 6).

use std::time::{Duration, Instant, UNIX_EPOCH};

use actix_web::http::header::{self, HttpDate};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::accept::{JSON, check_accept};
use super::{Api, ApiError};
use crate::clock::after;
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
            let left = published.progress.time_left(Instant::now());
            Ok(HttpResponse::Accepted()
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .insert_header(("X-Progress", format!("{percent:.1}% complete")))
                .insert_header((header::RETRY_AFTER, retry_after(left).to_string()))
                .finish())
        }
    }
}

/// Whole seconds until another poll is worth while: half of what the job still needs, or one
/// if nobody can tell yet (ST-3).
fn retry_after(left: Option<Duration>) -> u64 {
    left.map_or(1, |left| (left / 2).as_secs().clamp(1, LONGEST_RETRY))
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
        "request": published.request.as_ref().map_or("", |request| &request.kickoff.url),
        "requiresAccessToken": false,
        "output": files(false),
        "error": files(true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_half_of_the_time_left_in_its_bounds() {
        let after = |seconds: f64| retry_after(Some(Duration::from_secs_f64(seconds)));
        assert_eq!(retry_after(None), 1);
        assert_eq!(after(0.0), 1);
        assert_eq!(after(3.9), 1);
        assert_eq!(after(20.0), 10);
        assert_eq!(after(59.9), 29);
        assert_eq!(after(1e9), LONGEST_RETRY);
    }
}
