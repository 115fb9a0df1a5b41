//! The form that a client posts to an OAuth endpoint. A parameter that is there twice, or cannot be
//! decoded, is refused.

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::Payload;

use crate::http::error::oauth::OAuthError;
use crate::http::input::intake::RequestIntake;
use crate::http::input::{body, query};

/// The media type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The most bytes of a form.
const LONGEST: usize = 64 << 10;

/// The parameters of a form, each name once.
pub struct OAuthForm(Vec<(String, String)>);

impl OAuthForm {
    /// Reads the form of a request.
    pub async fn read(
        request: &HttpRequest,
        payload: Payload,
        intake: &RequestIntake,
    ) -> Result<Self, OAuthError> {
        let invalid = |text: &str| OAuthError::InvalidRequest(text.into());
        if body::is_coded(request) {
            return Err(OAuthError::Coded);
        }
        let mut types = request.headers().get_all(header::CONTENT_TYPE);
        let essence = match (types.next(), types.next()) {
            (Some(one), None) => one.to_str().ok().and_then(|text| text.parse::<mime::Mime>().ok()),
            _ => None,
        };
        if essence.is_none_or(|mime| mime.essence_str() != FORM) {
            return Err(invalid("The Content-Type must be application/x-www-form-urlencoded."));
        }
        let body = match intake.in_time(payload.to_bytes_limited(LONGEST)).await {
            Some(Ok(Ok(body))) => body,
            Some(Err(_too_long)) => return Err(OAuthError::TooLong),
            Some(Ok(Err(_))) | None => return Err(invalid("The body could not be read to its end.")),
        };
        let text = std::str::from_utf8(&body).map_err(|_| invalid("The body is not UTF-8."))?;
        let pairs = query::parse(text).map_err(|_| invalid("The body is not a form."))?;
        let mut names: Vec<_> = pairs.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        if names.windows(2).any(|two| two[0] == two[1]) {
            return Err(invalid("A parameter is given twice."));
        }
        Ok(Self(pairs))
    }

    /// Returns the value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of a required parameter. An empty value is a missing one (RFC 6749 3.2).
    pub fn required(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| OAuthError::missing(name))
    }
}
