//! `Prefer` (RFC 7240; K-3 to K-5). The header may repeat and be a list; its tokens are case-insensitive
//! and may have parameters.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

use crate::http::ApiError;

/// The name of the header.
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What becomes of parameters, or values of them, that cannot be served (K-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandlingPreference {
    /// They are refused.
    #[default]
    Strict,
    /// They are ignored, and each is named in an `error` file.
    Lenient,
}

/// The known preferences of a request. Others are ignored (RFC 7240).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestPreferences {
    /// `respond-async`.
    pub respond_async: bool,
    /// `handling=lenient` or `handling=strict`.
    pub handling: HandlingPreference,
    /// `separate-export-status` (K-4).
    pub separate_status: bool,
}

impl RequestPreferences {
    /// Returns the preferences of a request. Of a preference that is given twice the first counts.
    pub fn of(request: &HttpRequest) -> Self {
        let mut preferences = Self::default();
        let mut handling = None;
        let values = request.headers().get_all(PREFER).filter_map(|value| value.to_str().ok());
        for preference in values.flat_map(|value| value.split(',')) {
            let token = preference.split(';').next().unwrap_or_default();
            let (name, value) = token.split_once('=').unwrap_or((token, ""));
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            let is = |known: &str| name.eq_ignore_ascii_case(known) && value.is_empty();
            preferences.respond_async |= is("respond-async");
            preferences.separate_status |= is("separate-export-status");
            if name.eq_ignore_ascii_case("handling") {
                handling = handling.or(match value.to_ascii_lowercase().as_str() {
                    "lenient" => Some(HandlingPreference::Lenient),
                    "strict" => Some(HandlingPreference::Strict),
                    _ => None,
                });
            }
        }
        Self { handling: handling.unwrap_or_default(), ..preferences }
    }

    /// Fails with 406 without `respond-async`.
    pub fn require_respond_async(&self) -> Result<(), ApiError> {
        if self.respond_async {
            return Ok(());
        }
        Err(ApiError::not_acceptable("This operation is asynchronous only; send Prefer: respond-async."))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn of(values: &[&str]) -> RequestPreferences {
        let mut request = TestRequest::default();
        for value in values {
            request = request.append_header((PREFER, *value));
        }
        RequestPreferences::of(&request.to_http_request())
    }

    #[test]
    fn prefer_is_a_list_that_may_repeat() {
        let asynchronous = |values: &[&str]| of(values).require_respond_async().is_ok();
        assert!(asynchronous(&["respond-async"]));
        assert!(asynchronous(&["handling=lenient, Respond-Async; wait=10"]));
        assert!(asynchronous(&["handling=lenient", "respond-async"]));
        for bad in [&[][..], &["respond"], &["handling=respond-async"], &["return=minimal; respond-async"]] {
            assert!(!asynchronous(bad), "{bad:?}");
        }
    }

    #[test]
    fn handling_is_strict_unless_the_first_one_says_lenient() {
        for (values, handling) in [
            (&[][..], HandlingPreference::Strict),
            (&["handling=lenient"], HandlingPreference::Lenient),
            (&["respond-async, Handling = \"LENIENT\"; x=y"], HandlingPreference::Lenient),
            (&["handling=lenient", "handling=strict"], HandlingPreference::Lenient),
            (&["handling=strict, handling=lenient"], HandlingPreference::Strict),
            (&["handling=other, handling=lenient"], HandlingPreference::Lenient),
            (&["handling", "lenient"], HandlingPreference::Strict),
        ] {
            assert_eq!(of(values).handling, handling, "{values:?}");
        }
    }

    #[test]
    fn a_separate_status_is_a_token_of_its_own() {
        assert!(of(&["respond-async, Separate-Export-Status"]).separate_status);
        assert!(!of(&["separate-export-status=no"]).separate_status);
    }
}
