//! The population applications: what each may do, and when it last got a token. Read-only: they are changed
//! in their file, by `evanesce app` or an editor. Groups and the parameters of scopes may be named after
//! patients, so they are counted and not shown (P12).

use std::sync::Arc;

use actix_web::web::{self, ServiceConfig};
use jiff::Timestamp;
use maud::{Markup, html};

use super::parts::{self, Tone};
use super::visit::Visit;
use super::{ConsolePage, PageResult};
use crate::auth::{Application, Authority, ClientKeys, Groups};
use crate::config::AuthMode;

/// The page.
pub static PAGE: ConsolePage = ConsolePage { path: "/applications", label: "Applications", mount };

/// The most applications that are shown (P13).
const MOST_ROWS: usize = 500;

fn mount(config: &mut ServiceConfig) {
    config.service(web::resource("/applications").get(show));
}

/// An application and its last token.
struct ShownApplication {
    application: Arc<Application>,
    last_token: Option<Timestamp>,
}

/// What the page shows.
struct ApplicationsData {
    now: Timestamp,
    /// The file, if one is set.
    file: Option<String>,
    /// Why the file as it is now is not in force.
    stale: Option<Arc<str>>,
    applications: Vec<ShownApplication>,
}

async fn show(visit: Visit) -> PageResult {
    let now = visit.evanesce().now();
    let content = match (visit.evanesce().config().auth.mode, visit.console.authority()) {
        (AuthMode::None, _) | (_, None) => without_authentication(),
        (_, Some(authority)) => page(&gather(authority, now)),
    };
    Ok(visit.page("Applications", content))
}

fn gather(authority: &Authority, now: Timestamp) -> ApplicationsData {
    let applications = authority.applications();
    let mut all = applications.map(|applications| applications.all()).unwrap_or_default();
    all.sort_by(|one, other| (&one.tenant, &one.client_id).cmp(&(&other.tenant, &other.client_id)));
    let with_token = |application: Arc<Application>| {
        let last_token = authority.last_token(&application.tenant, &application.client_id);
        ShownApplication { application, last_token }
    };
    ApplicationsData {
        now,
        file: applications.map(|applications| applications.path().display().to_string()),
        stale: applications.and_then(|applications| applications.stale()),
        applications: all.into_iter().map(with_token).collect(),
    }
}

fn without_authentication() -> Markup {
    html! {
        h1 { "Applications" }
        p class="alert warn" role="status" {
            "Authentication is off (" code { "auth.mode" } " is none): whoever can connect may export everything, as one client."
        }
        p { "To let only registered applications in, start the server with " code { "--auth smart" } " and a file of applications (" code { "auth.applications" } "); " code { "evanesce app add" } " writes it." }
    }
}

fn page(data: &ApplicationsData) -> Markup {
    let columns = ["Client id", "Name", "Tenant", "State", "May export", "Scopes", "Keys", "Last token"]
        .map(parts::column);
    html! {
        h1 { "Applications" }
        @if let Some(stale) = &data.stale {
            p class="alert bad" role="alert" { "The file of applications cannot be used as it is now, so the version before is in force: " (stale) }
        }
        @match &data.file {
            None => p class="alert warn" role="status" { "No file of applications is set (" code { "auth.applications" } "), so nobody can get a token." },
            Some(file) => p { "They are registered in " code { (file) } ". A change of it is in force within seconds; " code { "evanesce app" } " makes it for you." },
        }
        @if data.applications.is_empty() {
            (parts::empty("No application is registered.", "evanesce app add registers one."))
        } @else {
            (parts::table("Registered applications", &columns, html! {
                @for shown in data.applications.iter().take(MOST_ROWS) { (row(shown, data.now)) }
            }))
            p class="quiet" {
                @if data.applications.len() > MOST_ROWS { "The first " (MOST_ROWS) " of " (data.applications.len()) " are shown. " }
                "The last token is since the start of this process; the audit log has all of them."
            }
        }
    }
}

fn row(shown: &ShownApplication, now: Timestamp) -> Markup {
    let application = &*shown.application;
    let state = if application.active { (Tone::Good, "active") } else { (Tone::Plain, "inactive") };
    html! {
        tr {
            th scope="row" { (application.client_id) }
            td data-label="Name" { @match &application.name { Some(name) => (name), None => "–" } }
            td data-label="Tenant" { (application.tenant) }
            td data-label="State" { (parts::badge(state.0, state.1)) }
            td data-label="May export" { (levels(application)) }
            td data-label="Scopes" { code { (scopes(application)) } }
            td data-label="Keys" { (keys(&application.keys)) }
            td class="nowrap" data-label="Last token" { @match shown.last_token { Some(at) => (parts::ago(at, now)), None => "–" } }
        }
    }
}

fn levels(application: &Application) -> String {
    let groups = match &application.groups {
        Groups::All => "all Groups".into(),
        Groups::Only(ids) if ids.is_empty() => String::new(),
        Groups::Only(ids) if ids.len() == 1 => "1 Group".into(),
        Groups::Only(ids) => format!("{} Groups", ids.len()),
    };
    let system = if application.system_export { "the system" } else { "" };
    let patients = if application.patient_export { "all patients" } else { "" };
    let levels: Vec<_> = [system, patients, &groups].into_iter().filter(|level| !level.is_empty()).collect();
    if levels.is_empty() { "nothing".into() } else { levels.join(", ") }
}

/// Returns the scopes without their parameters.
fn scopes(application: &Application) -> String {
    let text = application.scopes.to_string();
    let without = |scope: &str| {
        scope.split_once('?').map_or_else(|| scope.to_string(), |(scope, _)| format!("{scope}?…"))
    };
    text.split(' ').map(without).collect::<Vec<_>>().join(" ")
}

fn keys(keys: &ClientKeys) -> Markup {
    match keys {
        ClientKeys::Inline(keys) => html! { (keys.keys.len()) " in the file" },
        ClientKeys::File(_) => html! { "in a file of their own" },
        ClientKeys::Url(_) => html! { "fetched from its URL" },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::auth::Registry;

    fn application(rest: &str) -> Application {
        let text = format!(
            "[[application]]\nclient_id = \"acme\"\ntenant = \"default\"\njwks_url = \"https://a.example/k\"\n{rest}"
        );
        let registry = Registry::parse(&text, Path::new(""), None).unwrap();
        let found = registry.all().next().unwrap();
        (**found).clone()
    }

    #[test]
    fn p12_neither_a_group_nor_a_parameter_of_a_scope_is_shown() {
        let acme = application(
            "scopes = \"system/Patient.rs?_id=jane-doe\"\ngroups = [\"jane-doe\"]\nname = \"<Acme>\"\n",
        );
        let data = ApplicationsData {
            now: Timestamp::UNIX_EPOCH,
            file: Some("apps.toml".into()),
            stale: None,
            applications: vec![ShownApplication { application: Arc::new(acme), last_token: None }],
        };
        let shown = page(&data).into_string();
        assert!(!shown.contains("jane"), "{shown}");
        assert!(shown.contains("1 Group") && shown.contains("&lt;Acme&gt;"), "{shown}");
    }

    #[test]
    fn what_an_application_may_export_is_said_in_words() {
        let levels_of = |rest: &str| levels(&application(&format!("scopes = \"system/*.rs\"\n{rest}")));
        assert_eq!(levels_of(""), "nothing");
        assert_eq!(levels_of("groups = \"*\"\nsystem_export = true"), "the system, all Groups");
        assert_eq!(levels_of("groups = [\"a\", \"b\"]\npatient_export = true"), "all patients, 2 Groups");
    }
}
