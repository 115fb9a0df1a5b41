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
mod assets;
mod error;
mod guard;
mod job;
mod jobs;
mod layout;
mod live;
mod overview;
mod parts;
mod session;
mod sign_in;
mod visit;

use std::sync::Arc;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, FormConfig, ServiceConfig};
use actix_web::{HttpResponse, Route};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::http::{self, AllowedHosts};
use crate::{Evanesce, OperatorToken};

use error::ConsoleError;
use session::SessionTable;
use sign_in::SignInLimit;

/// The path of the console.
const ROOT: &str = "/console";

/// The pages, in the order of the navigation.
static PAGES: &[&ConsolePage] = &[&overview::PAGE, &jobs::PAGE];

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
/// let console = Console::new(evanesce, token);
/// let app = actix_web::App::new().configure(console::configure(console));
/// let app = actix_web::test::init_service(app).await;
/// let request = actix_web::test::TestRequest::get().uri("/console/sign-in").to_request();
/// assert_eq!(actix_web::test::call_service(&app, request).await.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Console(Arc<ConsoleCore>);

struct ConsoleCore {
    evanesce: Evanesce,
    token: OperatorToken,
    hosts: AllowedHosts,
    sessions: SessionTable,
    sign_ins: SignInLimit,
    /// One permit a live stream.
    streams: Arc<Semaphore>,
    /// Fires when the console is closed.
    closed: CancellationToken,
}

impl Console {
    /// Returns the console of an instance, for whoever has the operators' token. It answers for loopback
    /// names and the hosts of `admin.hosts`.
    pub fn new(evanesce: Evanesce, token: OperatorToken) -> Self {
        let admin = &evanesce.config().admin;
        let hosts = AllowedHosts::of_operators(admin);
        let sessions = SessionTable::new(admin.session_idle.0, admin.session_lifetime.0);
        let streams = Arc::new(Semaphore::new(live::MOST_STREAMS));
        let (sign_ins, closed) = (SignInLimit::new(), CancellationToken::new());
        Self(Arc::new(ConsoleCore { evanesce, token, hosts, sessions, sign_ins, streams, closed }))
    }

    /// Returns the token that ends all live streams, so that a server that stops does not wait for them.
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
/// let console = console::Console::new(evanesce, token);
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
