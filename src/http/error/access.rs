//! Who may not: tokens, scopes, applications and operators.

use actix_web::http::StatusCode;

use super::ApiError;
use crate::auth::TokenError;
use crate::fhir::IssueCode;

impl ApiError {
    /// There is no access token (G-8). `realm` is the base URL that it would be for.
    pub fn no_token(realm: &str) -> Self {
        let text = "An access token is needed; {base}/.well-known/smart-configuration says where to get one.";
        let error = Self::new(StatusCode::UNAUTHORIZED, IssueCode::Login, text);
        error.challenging(format!("Bearer realm=\"{realm}\""))
    }

    /// The access token is not valid, or has expired.
    pub fn bad_token(realm: &str, error: TokenError) -> Self {
        let (code, text) = match error {
            TokenError::Invalid => (IssueCode::Login, "The access token is not valid here; get another one."),
            TokenError::Expired => (IssueCode::Expired, "The access token has expired; get another one."),
        };
        let error = Self::new(StatusCode::UNAUTHORIZED, code, text);
        error.challenging(format!("Bearer realm=\"{realm}\", error=\"invalid_token\""))
    }

    /// The access token stands where it should not, or more than once (RFC 6750 2 and 3.1).
    pub fn misplaced_token(realm: &str, text: &str) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, IssueCode::Login, text);
        error.challenging(format!("Bearer realm=\"{realm}\", error=\"invalid_request\""))
    }

    /// The scopes of a valid token do not reach so far (SCP-3, F-2, G-8). `realm` is the base URL that the token
    /// is for.
    pub fn beyond_scopes(realm: &str, text: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::FORBIDDEN, IssueCode::Security, text);
        error.challenging(format!("Bearer realm=\"{realm}\", error=\"insufficient_scope\""))
    }

    /// The application may not do this, whatever its token says.
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, text)
    }

    /// The tenant, or the application, is not known or not active.
    pub fn unknown_application() -> Self {
        let text =
            "The population application is not defined or not active; check the {tenant} in /r4/{tenant}.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// The application may not export the whole system, or all patients (section 3's table).
    pub fn not_configured(export: &str) -> Self {
        let text = format!(
            "The population application is not configured for {export} export; use Group/{{id}}/$export \
             with one of its groups."
        );
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// Exports of all patients are switched off (K-15).
    pub fn patient_export_disabled() -> Self {
        let text = "Exports of all patients are not offered here; use Group/{id}/$export.";
        Self::new(StatusCode::NOT_IMPLEMENTED, IssueCode::NotFound, text)
    }

    /// The caller is not the operator.
    pub fn not_the_operator() -> Self {
        let text = "Send Authorization: Bearer with the operator's token; it is in the file that \
                    admin.token_file names.";
        let error = Self::new(StatusCode::UNAUTHORIZED, IssueCode::Login, text);
        error.challenging("Bearer realm=\"operators\"".into())
    }

    /// An order is not carried out; the text says why.
    pub fn order_refused(text: String) -> Self {
        Self::new(StatusCode::CONFLICT, IssueCode::Conflict, text)
    }

    /// The request is for a host that the server does not answer for.
    pub fn misdirected() -> Self {
        let text = "This server answers only for localhost, loopback addresses and the host of server.public_url; \
                    use one of them in the URL.";
        Self::new(StatusCode::MISDIRECTED_REQUEST, IssueCode::Security, text)
    }
}
