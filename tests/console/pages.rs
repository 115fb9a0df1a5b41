//! Every page of a server with much to show: no complaint of the browser, nothing that keeps people from using
//! it, no name of a patient; and pictures of each in `target/screenshots`.

use super::browser::Browser;
use super::{open, sign_in};
use crate::support::smart::{Client, jwks};
use crate::support::*;

const SCOPE: &str = "system/*.rs";

/// A word that stands in parameters of kick-offs alone.
const SECRET: &str = "secret-of-a-patient";

/// Kicks an export of a client off.
fn kickoff(server: &Server, bearer: &str, path: &str) -> String {
    let fields = [KICKOFF[0], KICKOFF[1], ("Authorization", bearer)];
    let answer = send("GET", &format!("{}/{path}", server.base), &fields);
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("content-location").to_string()
}

fn ask(method: &str, url: &str, bearer: &str) -> Answer {
    send(method, url, &[("Authorization", bearer), ("Accept", "application/json")])
}

fn wait_done(polling: &str, bearer: &str) -> Answer {
    eventually("the export", || Some(ask("GET", polling, bearer)).filter(|answer| answer.status != 202))
}

fn order(server: &Server, method: &str, path: &str, reason: &str) {
    let (url, token) = (format!("{}/{path}", server.operators), server.operator_token());
    let token = [("Authorization", token.as_str())];
    let answer = match method {
        "PUT" => put(&url, &token, &serde_json::json!({ "reason": reason }).to_string()),
        _ => send(method, &url, &token),
    };
    assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
}

/// A server with jobs in many states, receipts, a hold and a sweep that fails.
struct BusyServer {
    server: Server,
    running: String,
    /// One whose kick-off names a patient.
    filtered: String,
    complete: String,
    held: String,
    failing: String,
    erased: String,
}

fn busy(setup: &Setup, acme: &Client, research: &Client) -> BusyServer {
    // Once a download was opened, there is room for the documents of one more export and not for its output.
    let server = setup.start_with(&["--fault", "download-opened>write:5:ever:12"]);
    let [of_acme, of_research] = [acme, research].map(|client| client.bearer(&server, SCOPE));
    let of_goals = format!("Patient/$export?_type=Goal&_typeFilter=Goal%3Fidentifier%3D{SECRET}");
    let mut erased = String::new();
    for n in 0..8 {
        let (bearer, path) = if n % 3 == 2 {
            (&of_research, &*of_goals)
        } else {
            (&of_acme, "$export?_type=Patient,Observation")
        };
        let polling = kickoff(&server, bearer, path);
        if n % 4 != 3 {
            assert_eq!(wait_done(&polling, bearer).status, 200);
        }
        assert_eq!(ask("DELETE", &polling, bearer).status, 202);
        erased = job_id(&polling).to_string();
        server.wait_erased(&erased);
    }
    let [complete, held, failing, other] = [(); 4].map(|()| {
        let polling = kickoff(&server, &of_acme, "$export?_type=Patient,Observation,Encounter");
        let answer = wait_done(&polling, &of_acme);
        assert_eq!(answer.status, 200, "{answer:?}");
        polling
    });
    order(&server, "PUT", &format!("admin/jobs/{}/hold", job_id(&held)), "Case 2026-117, legal department");
    order(&server, "PUT", "admin/reaper/pause", "Backup of the data directory");
    order(&server, "DELETE", "admin/reaper/pause", "");
    let file = wait_done(&other, &of_acme).json()["output"][0]["url"].as_str().unwrap().to_string();
    assert_eq!(send("GET", &file, &[("Authorization", &of_acme)]).status, 200);
    let failed = kickoff(&server, &of_research, "Patient/$export");
    assert_eq!(wait_done(&failed, &of_research).status, 500);
    server.kill();

    // Now exports stand still half-way, and nothing can be removed.
    setup.brake(500_000);
    let server = setup.start_with(&["--fault", "unlink:13:ever"]);
    let [of_acme, of_research] = [acme, research].map(|client| client.bearer(&server, SCOPE));
    let [complete, held, failing] =
        [complete, held, failing].map(|polling| polling_url(&server, job_id(&polling)));
    let running = kickoff(&server, &of_acme, "$export");
    let filtered = kickoff(
        &server,
        &of_research,
        &format!("Patient/$export?_elements=id&_typeFilter=Patient%3Fname%3D{SECRET}"),
    );
    assert_eq!(ask("DELETE", &failing, &of_acme).status, 202);
    setup.wait_logged("a sweep failed and will be tried again");
    let [running, filtered, complete, held, failing] =
        [running, filtered, complete, held, failing].map(|polling| job_id(&polling).to_string());
    BusyServer { server, running, filtered, complete, held, failing, erased }
}

#[test]
fn every_page_can_be_used_by_everybody_and_tells_of_no_patient() {
    let Some(browser) = Browser::start("all pages") else { return };
    let clients = ["acme-analytics", "research-hub", "old-partner"].map(Client::new);
    let setup = Setup::new().set("reaper.retry_min=20s").set("reaper.retry_max=60s");
    for client in &clients {
        setup.publish(&format!("{}.jwks.json", client.id), &jwks(&[&client.key]));
    }
    let rest = [
        format!(
            "name = 'Acme Analytics'\nscopes = '{SCOPE}'\nsystem_export = true\npatient_export = true\ngroups = '*'"
        ),
        format!(
            "name = 'Research hub'\nscopes = 'system/*.rs system/Group.r?_id={SECRET}'\npatient_export = true"
        ),
        format!("scopes = 'system/Patient.rs'\ngroups = ['{SECRET}']\nactive = false"),
    ];
    let entries: Vec<_> = clients.iter().zip(&rest).map(|(client, rest)| client.registered(rest)).collect();
    let setup = setup.smart(&entries.join("\n"));
    let busy = busy(&setup, &clients[0], &clients[1]);
    let server = &busy.server;

    browser.open(&format!("{}/console", server.operators));
    let mut faults = browser.pictures("sign-in");
    sign_in(&browser, server);
    // The plots have something to show.
    eventually("a line in each plot", || {
        browser.reload();
        open(&browser, server, "/erasures");
        let lines = "return [...document.querySelectorAll('figure.plot')].filter((plot) => plot.querySelector('polyline[stroke=\"#0B5CAD\"]')).length";
        (browser.run(lines).as_u64().unwrap() >= 4).then_some(())
    });
    let pages = [
        ("overview", String::new(), "What is known"),
        ("jobs", "/jobs".into(), &busy.running[..8]),
        ("jobs-complete", "/jobs?state=complete".into(), &busy.complete[..8]),
        ("job-running", format!("/jobs/{}", busy.running), &busy.running[..8]),
        ("job-filtered", format!("/jobs/{}", busy.filtered), &busy.filtered[..8]),
        ("job-complete", format!("/jobs/{}", busy.complete), &busy.complete[..8]),
        ("job-held", format!("/jobs/{}", busy.held), "Case 2026-117"),
        ("job-failing", format!("/jobs/{}", busy.failing), &busy.failing[..8]),
        ("job-cancel", format!("/jobs/{}/cancel", busy.running), &busy.running[..8]),
        ("erasures", "/erasures".into(), "EACCES"),
        ("receipts", "/receipts".into(), &busy.erased[..8]),
        ("receipts-none", "/receipts?client=nobody".into(), "Nothing matches"),
        ("receipt", format!("/receipts/{}", busy.erased), "Check it yourself"),
        ("receipt-none", format!("/receipts/{}", busy.running), "No receipt"),
        ("receipts-verify", "/receipts/verify".into(), "each of its links"),
        ("applications", "/applications".into(), "Acme Analytics"),
        ("health", "/health".into(), "/readyz"),
        ("no-page", "/nothing".into(), "no such page"),
    ];
    for (name, path, text) in &pages {
        let before = browser.complaints();
        assert_eq!(before, [""; 0]);
        open(&browser, server, path);
        browser.wait_text(text);
        faults.extend(browser.pictures(name));
        let source = browser.run("return document.documentElement.outerHTML").to_string();
        assert!(!source.contains(SECRET), "{name} tells of a patient");
        // That a page is not there is said by the status.
        let is_status =
            |complaint: &String| complaint.contains("404") && matches!(*name, "no-page" | "receipt-none");
        let complaints = browser.complaints().into_iter().filter(|complaint| !is_status(complaint));
        faults.extend(complaints.map(|complaint| format!("{name}: {complaint}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
