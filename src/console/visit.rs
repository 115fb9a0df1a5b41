//! The request of somebody who is signed in, as a page has it.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Query};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ConsoleError;
use super::guard::{CSRF_FIELD, CheckedForm};
use super::session::OpenSession;
use super::{Console, layout};
use crate::Evanesce;
use crate::control::{self, OperatorIdentity, OperatorRequest, OperatorResponse};
use crate::http::RequestId;
use crate::job::JobId;

/// The request of somebody who is signed in.
pub struct Visit {
    pub(super) console: Console,
    pub(super) session: OpenSession,
    request: HttpRequest,
    request_id: String,
}

impl FromRequest for Visit {
    type Error = ConsoleError;
    type Future = Ready<Result<Self, ConsoleError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let console = request.app_data::<Data<Console>>().map(|console| Console::clone(console));
        let extensions = request.extensions();
        let session = extensions.get::<OpenSession>().cloned();
        let id = extensions.get::<RequestId>().map(|RequestId(id)| id.clone());
        let visit = console.zip(session).zip(id).map(|((console, session), request_id)| Self {
            console,
            session,
            request: request.clone(),
            request_id,
        });
        ready(visit.ok_or(ConsoleError::SignedOut))
    }
}

impl Visit {
    /// Returns the instance that the console shows.
    pub fn evanesce(&self) -> &Evanesce {
        &self.console.0.evanesce
    }

    /// Returns a page in the layout of the console.
    pub fn page(&self, title: &str, content: Markup) -> HttpResponse {
        let done = self.query::<DoneQuery>().done.map(DoneOrder::text);
        let page = layout::page(self, title, done, content);
        HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page.into_string())
    }

    /// Returns a form that posts to `action`, with the CSRF token.
    pub fn form(&self, action: &str, fields: Markup) -> Markup {
        html! {
            form method="post" action=(action) {
                input type="hidden" name=(CSRF_FIELD) value=(self.session.csrf());
                (fields)
            }
        }
    }

    /// Returns the host and port that the page was asked for at.
    pub fn host(&self) -> &str {
        let host = self.request.headers().get(header::HOST);
        host.and_then(|host| host.to_str().ok()).unwrap_or("localhost")
    }

    /// Returns the path of the request.
    pub fn path(&self) -> &str {
        self.request.path()
    }

    /// Returns the parameters of the query. A query that cannot be read counts as an empty one.
    pub fn query<T: DeserializeOwned + Default>(&self) -> T {
        Query::from_query(self.request.query_string()).map(Query::into_inner).unwrap_or_default()
    }

    /// Returns a field of the form; an absent one is empty.
    pub fn field(&self, name: &str) -> String {
        let extensions = self.request.extensions();
        let form = extensions.get::<CheckedForm>();
        let found = form.and_then(|form| form.0.iter().find(|(known, _)| known == name));
        found.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    }

    /// Returns the reason in the form.
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn reason(&self) -> Result<String, ConsoleError> {
        Some(self.field("reason")).filter(|reason| !reason.is_empty()).ok_or(ConsoleError::NoReason)
    }

    /// Returns the job that the path names.
    ///
    /// # Errors
    /// Fails if the path names none.
    pub fn job(&self) -> Result<JobId, ConsoleError> {
        let job = self.request.match_info().get("job").and_then(|job| job.parse().ok());
        job.ok_or(ConsoleError::NoJob)
    }

    /// Performs a request as `evanesce` on the command line does, with the same audit event.
    ///
    /// # Errors
    /// Fails if it cannot be performed now.
    pub async fn order(&self, order: OperatorRequest) -> OperatorResponse {
        let operator =
            OperatorIdentity { name: control::TOKEN_OPERATOR.into(), request_id: self.request_id.clone() };
        control::perform(order, &operator, self.evanesce()).await
    }

    /// Performs a request and returns to a page, which says what was done.
    ///
    /// # Errors
    /// Fails if it cannot be performed now.
    pub async fn carry_out(
        &self,
        order: OperatorRequest,
        page: &str,
        done: DoneOrder,
    ) -> Result<HttpResponse, ConsoleError> {
        self.order(order).await.map_err(ConsoleError::Refused)?;
        Ok(redirect(&format!("{page}?done={}", done.name())))
    }
}

/// Returns an answer that leads to another page of the console, with GET.
pub fn redirect(url: &str) -> HttpResponse {
    HttpResponse::build(StatusCode::SEE_OTHER).insert_header((header::LOCATION, url)).finish()
}

/// An order that a page says was carried out, by its parameter `done`. The list is closed, so that a link
/// from elsewhere cannot put words into a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DoneOrder {
    /// A job was cancelled or deleted.
    Cancelled,
    /// A job was put under a hold.
    Held,
    /// A job was released.
    Released,
    /// The reaper was paused.
    Paused,
    /// The reaper was resumed.
    Resumed,
    /// The clock was confirmed.
    Confirmed,
}

#[derive(Default, Deserialize)]
struct DoneQuery {
    done: Option<DoneOrder>,
}

impl DoneOrder {
    fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Held => "held",
            Self::Released => "released",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Confirmed => "confirmed",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Cancelled => {
                "The job is deleted. Clients get 404 from now on. Its receipt comes when its files are gone."
            }
            Self::Held => "The job is under a hold. Its files stay until it is released.",
            Self::Released => "The job is released.",
            Self::Paused => {
                "The reaper is paused. Nothing is removed and nothing expires until it is resumed."
            }
            Self::Resumed => "The reaper goes on.",
            Self::Confirmed => "The clock is believed. Expiry goes on.",
        }
    }
}
