//! Conditional requests (RFC 9110, section 13): whether the version that a client knows is the current
//! one. Conditions are evaluated when a request would otherwise succeed (13.2.1), in the order of 13.2.2.
//! An unreadable tag matches nothing; an unreadable date is ignored.

use actix_web::HttpRequest;
use actix_web::http::header::{
    self, EntityTag, Header, HeaderMap, HeaderName, HttpDate, IfMatch, IfNoneMatch,
};

use crate::http::ApiError;

/// The current version of what a URL names.
#[derive(Debug, Clone, Copy, Default)]
pub struct CurrentVersion<'a> {
    /// Its entity tag. Without one, no tag of a client matches.
    pub tag: Option<&'a EntityTag>,
    /// When it was last modified, to the second, if that is sent with it.
    pub modified: Option<HttpDate>,
}

impl<'a> CurrentVersion<'a> {
    /// Returns a version with this tag.
    pub fn tagged(tag: &'a EntityTag) -> Self {
        Self { tag: Some(tag), modified: None }
    }

    /// Returns whether the client has this version already, so that a 304 will do.
    ///
    /// # Errors
    /// Fails with 412 if a condition does not hold.
    pub fn is_unchanged_for(&self, request: &HttpRequest) -> Result<bool, ApiError> {
        self.check(request, true)
    }

    /// Checks whether a request may change this version.
    ///
    /// # Errors
    /// Fails with 412 if a condition does not hold; nothing must be done then.
    pub fn check_change(&self, request: &HttpRequest) -> Result<(), ApiError> {
        self.check(request, false).map(drop)
    }

    fn check(&self, request: &HttpRequest, is_read: bool) -> Result<bool, ApiError> {
        let headers = request.headers();
        if headers.contains_key(header::IF_MATCH) {
            let is_it = match IfMatch::parse(request) {
                Ok(IfMatch::Any) => true,
                Ok(IfMatch::Items(tags)) => {
                    self.tag.is_some_and(|own| tags.iter().any(|tag| tag.strong_eq(own)))
                }
                Err(_) => false,
            };
            if !is_it {
                return Err(ApiError::precondition_failed("If-Match names another version"));
            }
        } else if let (Some(modified), Some(date)) =
            (self.modified, date(headers, header::IF_UNMODIFIED_SINCE))
            && modified > date
        {
            return Err(ApiError::precondition_failed("it was modified after the If-Unmodified-Since"));
        }
        if headers.contains_key(header::IF_NONE_MATCH) {
            let is_it = match IfNoneMatch::parse(request) {
                Ok(IfNoneMatch::Any) => true,
                Ok(IfNoneMatch::Items(tags)) => {
                    self.tag.is_some_and(|own| tags.iter().any(|tag| tag.weak_eq(own)))
                }
                Err(_) => false,
            };
            return match (is_it, is_read) {
                (true, false) => {
                    Err(ApiError::precondition_failed("If-None-Match names the version that there is"))
                }
                (is_it, _) => Ok(is_it),
            };
        }
        let since = date(headers, header::IF_MODIFIED_SINCE).filter(|_| is_read);
        Ok(self.modified.zip(since).is_some_and(|(modified, since)| modified <= since))
    }
}

/// Returns the date of a field that is there once.
fn date(headers: &HeaderMap, name: HeaderName) -> Option<HttpDate> {
    let mut lines = headers.get_all(name);
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    line.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const BEFORE: &str = "Wed, 31 Dec 2025 23:59:59 GMT";
    const THEN: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
    const AFTER: &str = "Thu, 01 Jan 2026 00:00:01 GMT";

    #[test]
    fn conditions_are_looked_at_in_the_order_of_the_standard() {
        let tag = EntityTag::new_strong("a".into());
        let whole = CurrentVersion { tag: Some(&tag), modified: THEN.parse().ok() };
        let (go_on, has_it, failed) = (Ok(false), Ok(true), Err(412));
        let (matches, none_match) = ("If-Match", "If-None-Match");
        let (unmodified, modified) = ("If-Unmodified-Since", "If-Modified-Since");
        // The outcome of a read and of a change.
        for (fields, of_read, of_change) in [
            (&[][..], go_on, go_on),
            (&[(matches, "\"a\"")], go_on, go_on),
            (&[(matches, "\"x\", \"a\"")], go_on, go_on),
            (&[(matches, "\"x\""), (matches, "\"a\"")], go_on, go_on),
            (&[(matches, "*")], go_on, go_on),
            (&[(matches, "\"x\"")], failed, failed),
            (&[(matches, "W/\"a\"")], failed, failed),
            (&[(matches, "garbage")], failed, failed),
            (&[(matches, "")], failed, failed),
            (&[(unmodified, BEFORE)], failed, failed),
            (&[(unmodified, THEN)], go_on, go_on),
            (&[(unmodified, AFTER)], go_on, go_on),
            (&[(unmodified, "garbage")], go_on, go_on),
            (&[(unmodified, BEFORE), (unmodified, BEFORE)], go_on, go_on),
            (&[(none_match, "\"a\"")], has_it, failed),
            (&[(none_match, "W/\"a\"")], has_it, failed),
            (&[(none_match, "*")], has_it, failed),
            (&[(none_match, "\"x\"")], go_on, go_on),
            (&[(none_match, "garbage")], go_on, go_on),
            (&[(modified, BEFORE)], go_on, go_on),
            (&[(modified, THEN)], has_it, go_on),
            (&[(modified, AFTER)], has_it, go_on),
            (&[(modified, "garbage")], go_on, go_on),
            // If-Match goes before If-Unmodified-Since, If-None-Match before If-Modified-Since.
            (&[(matches, "\"a\""), (unmodified, BEFORE)], go_on, go_on),
            (&[(matches, "\"x\""), (unmodified, AFTER)], failed, failed),
            (&[(none_match, "\"x\""), (modified, AFTER)], go_on, go_on),
            (&[(none_match, "\"a\""), (modified, BEFORE)], has_it, failed),
            // All conditions must hold.
            (&[(matches, "\"a\""), (none_match, "\"a\"")], has_it, failed),
            (&[(matches, "\"x\""), (none_match, "\"a\"")], failed, failed),
            (&[(unmodified, AFTER), (modified, THEN)], has_it, go_on),
            (&[(unmodified, BEFORE), (modified, THEN)], failed, failed),
        ] {
            let mut request = TestRequest::default();
            for field in fields {
                request = request.append_header(*field);
            }
            let request = request.to_http_request();
            let status = |error: ApiError| actix_web::ResponseError::status_code(&error).as_u16();
            assert_eq!(whole.is_unchanged_for(&request).map_err(status), of_read, "{fields:?}");
            let changed = whole.check_change(&request).map(|()| false);
            assert_eq!(changed.map_err(status), of_change, "{fields:?}");
        }
    }

    #[test]
    fn what_has_no_tag_and_no_date_is_there_all_the_same() {
        let had = |field: (&'static str, &str)| {
            let request = TestRequest::default().insert_header(field).to_http_request();
            CurrentVersion::default().is_unchanged_for(&request).map_err(|_| ())
        };
        for (name, value, expected) in [
            ("If-Match", "*", Ok(false)),
            ("If-Match", "\"a\"", Err(())),
            ("If-None-Match", "*", Ok(true)),
            ("If-None-Match", "\"a\"", Ok(false)),
            ("If-Unmodified-Since", BEFORE, Ok(false)),
            ("If-Modified-Since", AFTER, Ok(false)),
        ] {
            assert_eq!(had((name, value)), expected, "{name}: {value}");
        }
    }
}
