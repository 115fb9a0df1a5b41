//! What a page answers when it cannot do what was asked: a status, a sentence that says why, and a way back.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use maud::html;

use super::{ROOT, layout};

/// Why a request of the console is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The request is for another host, as after DNS rebinding.
    #[error(
        "This name is not one that the console answers for. Use localhost or 127.0.0.1, or add the name to \
         admin.hosts."
    )]
    WrongHost,
    /// The form was sent by a page of another site, or by no browser.
    #[error("This form was not sent by a page of this console. Nothing was done.")]
    CrossSite,
    /// The form has no CSRF token, or that of another session.
    #[error("This form belongs to another session. Nothing was done. Open the page again.")]
    StaleForm,
    /// The form cannot be read.
    #[error("The form cannot be read. Nothing was done. Open the page again.")]
    BadForm,
    /// The form came without a session.
    #[error("You are signed out. Nothing was done. Sign in and try again.")]
    SignedOut,
    /// There were too many attempts to sign in.
    #[error(
        "There were too many attempts to sign in. Wait a minute, or use the command line, which needs no \
         token."
    )]
    TooManySignIns,
    /// An order that needs a reason has none.
    #[error("Say why: the reason goes into the receipts. Nothing was done.")]
    NoReason,
    /// There is no such page.
    #[error("There is no such page.")]
    NoPage,
    /// There is no such job.
    #[error("There is no such job. Its tombstone may have ended: look for its receipt.")]
    NoJob,
    /// The order cannot be carried out now.
    #[error("{0}")]
    Refused(String),
    /// There are as many live streams as there may be.
    #[error("Too many pages are being watched. Close some of them.")]
    TooManyStreams,
    /// The chain of receipts is being read for somebody else.
    #[error("The receipts are being read for somebody else. Try again in a moment.")]
    Busy,
    /// The fault is ours.
    #[error("The server could not do this. Try again; the log says more.")]
    Internal,
}

impl ResponseError for ConsoleError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::CrossSite | Self::StaleForm => StatusCode::FORBIDDEN,
            Self::BadForm | Self::NoReason => StatusCode::BAD_REQUEST,
            Self::SignedOut => StatusCode::UNAUTHORIZED,
            Self::TooManySignIns => StatusCode::TOO_MANY_REQUESTS,
            Self::NoPage | Self::NoJob => StatusCode::NOT_FOUND,
            Self::Refused(_) => StatusCode::CONFLICT,
            Self::TooManyStreams | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let title = status.canonical_reason().unwrap_or("Error");
        let page = layout::bare(
            title,
            html! {
                h1 { (title) }
                p role="alert" { (self.to_string()) }
                p { a href=(ROOT) { "Back to the console" } }
            },
        );
        let mut answer = HttpResponse::build(status);
        if matches!(self, Self::TooManySignIns | Self::TooManyStreams) {
            answer.insert_header((header::RETRY_AFTER, "60"));
        }
        answer.content_type("text/html; charset=utf-8").body(page.into_string())
    }
}
