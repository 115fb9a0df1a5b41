//! The console: pages for operators on their listener, made on the server and readable without a script.
//! [`Console`] is what the pages share, `guard` is what every request passes, and `PAGES` lists the pages.
//!
//! # A page
//! Each page is one file (or one folder) with three things, and one line in `PAGES`:
//!
//! ```text
//! pub static PAGE: ConsolePage = ConsolePage { path: "/receipts", label: "Receipts", mount };
//!
//! fn mount(config: &mut ServiceConfig) {
//!     config.route("/receipts", web::get().to(show));
//! }
//!
//! /// Gathers the data of the page.
//! async fn show(visit: Visit) -> PageResult {
//!     let data = ReceiptsData { receipts: ... };       // from visit.evanesce()
//!     Ok(visit.page("Receipts", page(&data)))          // the layout comes around it
//! }
//!
//! /// Returns the page: pure, so that a test needs no server.
//! fn page(data: &ReceiptsData) -> Markup { html! { ... } }
//! ```
//!
//! `Visit` is the request of somebody who is signed in: its query, the fields of its form, and
//! `Visit::order`, the one way in which a page changes anything. A form is made with `Visit::form`, which
//! adds the CSRF token; the guard refuses every POST without it, so that a page cannot forget it. What
//! changes by itself is a `live` part. `parts` has badges, sizes, ages, tables and empty states.
//!
//! A page shows no kick-off parameter and nothing of a patient (P12): it reads records, receipts and
//! counts, never `request.json`. Everything that is shown is escaped by `maud`.

mod actions;
mod applications;
mod assets;
mod erasures;
mod error;
mod guard;
mod health;
mod history;
mod job;
mod job_orders;
mod jobs;
mod jobs_query;
mod layout;
mod live;
mod overview;
mod parts;
mod plots;
mod receipts;
mod session;
mod sign_in;
mod visit;

use std::sync::Arc;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, FormConfig, ServiceConfig};
use actix_web::{HttpResponse, Route};
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::http::{self, AllowedHosts, Api};
use crate::{Authority, Evanesce, OperatorToken};

use error::ConsoleError;
use history::History;
use live::LiveParts;
use session::SessionTable;
use sign_in::SignInLimit;

/// The path of the console.
const ROOT: &str = "/console";

/// The pages, in the order of the navigation.
static PAGES: &[&ConsolePage] =
    &[&overview::PAGE, &jobs::PAGE, &erasures::PAGE, &receipts::PAGE, &applications::PAGE, &health::PAGE];

/// A page, and whatever stands below it.
struct ConsolePage {
    /// Its path below `/console`.
    path: &'static str,
    /// Its name in the navigation.
    label: &'static str,
    /// Adds its routes, whose paths begin with its own.
    mount: fn(&mut ServiceConfig),
}

/// The answer of a page's handler.
type PageResult = Result<HttpResponse, ConsoleError>;

/// The console of an instance. Clones share its sessions.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (folder, evanesce) = example::host().await?;
/// use evanesce::console::{self, Console};
///
/// let token = OperatorToken::open(&folder.path().join("operator-token"))?;
/// let console = Console::new(&http::Api::new(evanesce, "https://fhir.example.org"), token);
/// let app = actix_web::App::new().configure(console::configure(console));
/// let app = actix_web::test::init_service(app).await;
/// let request = || actix_web::test::TestRequest::get().uri("/console/sign-in");
/// assert_eq!(actix_web::test::call_service(&app, request().to_request()).await.status(), 200);
/// // A name of elsewhere that was pointed at this machine.
/// let rebound = request().insert_header(("Host", "console.example.org")).to_request();
/// assert_eq!(actix_web::test::call_service(&app, rebound).await.status(), 421);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Console(Arc<ConsoleCore>);

struct ConsoleCore {
    evanesce: Evanesce,
    authority: Option<Arc<Authority>>,
    metrics: Option<PrometheusHandle>,
    started_at: Timestamp,
    history: History,
    token: OperatorToken,
    hosts: AllowedHosts,
    sessions: SessionTable,
    sign_ins: SignInLimit,
    /// One permit a live stream.
    streams: Arc<Semaphore>,
    /// What the streams follow.
    parts: LiveParts,
    /// Fires when the console is closed.
    closed: CancellationToken,
}

impl Console {
    /// Returns the console of the instance that `api` serves, with its authority and metrics if it has them, for
    /// whoever has the operators' token. It answers for loopback names and the hosts of `admin.hosts`.
    pub fn new(api: &Api, token: OperatorToken) -> Self {
        let evanesce = api.evanesce().clone();
        let admin = &evanesce.config().admin;
        let hosts = AllowedHosts::of_operators(admin);
        let sessions = SessionTable::new(admin.session_idle.0, admin.session_lifetime.0);
        let metrics = api.metrics().cloned();
        Self(Arc::new(ConsoleCore {
            authority: api.authorized_by().cloned(),
            started_at: api.started_at(),
            history: History::start(&evanesce, metrics.clone()),
            evanesce,
            metrics,
            token,
            hosts,
            sessions,
            sign_ins: SignInLimit::new(),
            streams: Arc::new(Semaphore::new(live::MOST_STREAMS)),
            parts: LiveParts::default(),
            closed: CancellationToken::new(),
        }))
    }

    fn evanesce(&self) -> &Evanesce {
        &self.0.evanesce
    }

    /// Returns who issues access tokens, if there is authentication.
    fn authority(&self) -> Option<&Authority> {
        self.0.authority.as_deref()
    }

    fn metrics(&self) -> Option<&PrometheusHandle> {
        self.0.metrics.as_ref()
    }

    /// Returns when the process began to serve.
    fn started_at(&self) -> Timestamp {
        self.0.started_at
    }

    fn history(&self) -> &History {
        &self.0.history
    }

    /// Returns the token that ends all live streams, so that a server that stops does not wait for them.
    #[cfg(feature = "cli")]
    pub(crate) fn closing(&self) -> CancellationToken {
        self.0.closed.clone()
    }
}

/// Mounts the console below `/console`.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (folder, evanesce) = example::host().await?;
/// let token = OperatorToken::open(&folder.path().join("operator-token"))?;
/// let console = console::Console::new(&http::Api::new(evanesce, "https://fhir.example.org"), token);
/// let app = actix_web::App::new().configure(console::configure(console));
/// # Ok(())
/// # }
/// ```
pub fn configure(console: Console) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        let pages = |config: &mut ServiceConfig| {
            PAGES.iter().for_each(|page| (page.mount)(config));
            [sign_in::mount, actions::mount].iter().for_each(|mount| mount(config));
        };
        let scope = web::scope(ROOT)
            .app_data(Data::new(console))
            .app_data(FormConfig::default().limit(guard::LONGEST_FORM))
            .service(assets::resource())
            .configure(pages)
            .default_service(web::to(no_page))
            .wrap(from_fn(guard::guarded))
            .wrap(from_fn(http::around));
        config.service(scope);
    }
}

/// Returns a route that leads to the console, for `/` of the operators' listener.
#[cfg(feature = "cli")]
pub(crate) fn home() -> Route {
    web::to(|| async { visit::redirect(ROOT) }).wrap(from_fn(http::around))
}

async fn no_page() -> PageResult {
    Err(ConsoleError::NoPage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_path_and_a_name_of_its_own() {
        for (n, page) in PAGES.iter().enumerate() {
            assert!(page.path.is_empty() || page.path.starts_with('/'), "{}", page.path);
            assert!(!page.label.is_empty());
            let others = || PAGES[..n].iter();
            assert!(others().all(|other| other.path != page.path && other.label != page.label));
        }
    }
}
