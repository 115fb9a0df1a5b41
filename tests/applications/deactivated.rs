//! What becomes of the jobs of an application that may do nothing any more.

use std::sync::Arc;

use evanesce::auth::{Applications, DeactivatedApplication, ReloadOutcome, Watch, revocation};
use evanesce::export::{Part, Plan};
use evanesce::job::{JobState, MarkReason, StateName};
use evanesce::{Evanesce, Kickoff};
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::{application, folder, replace};
use crate::support::{Disk, FakeExporter, InstanceDir, Setup, get, job_id, write_patient};

/// Rows without end for a system export; three for all patients.
fn rows(halfway: Arc<Notify>) -> FakeExporter {
    let exporter = FakeExporter::writes_nothing().plan(|request| {
        let is_endless = *request.level() == evanesce::job::Level::System;
        let part = Part { weight: 1000, content: is_endless.into() };
        Ok(Plan::new(Timestamp::now(), vec![part]))
    });
    exporter.run(move |part, out, _| {
        let rows = if part.content == true { u64::MAX } else { 3 };
        for n in 0..rows {
            write_patient(out, &format!("p{n}"))?;
            if n == 100 {
                halfway.notify_one();
            }
        }
        Ok(())
    })
}

fn departed(client_id: &str) -> DeactivatedApplication {
    DeactivatedApplication { tenant: "default".parse().unwrap(), client_id: client_id.parse().unwrap() }
}

#[tokio::test]
async fn the_jobs_of_a_deactivated_application_are_erased_with_a_receipt_that_says_why() {
    let (_apps, file) = folder();
    let both = application("default", "acme", "") + &application("default", "other", "");
    std::fs::write(&file, &both).unwrap();
    let applications = Applications::open(&file, None).unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let never = std::time::Duration::from_secs(3600);
    let watch = Watch::start(applications.clone(), never, move |reload| tell.send(reload).unwrap());
    let _watch = watch.unwrap();

    let folder = InstanceDir::new();
    let halfway = Arc::new(Notify::new());
    let exporter = rows(halfway.clone());
    let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(exporter).start().await.unwrap();
    let (acme, other) = (|| "acme".parse().unwrap(), || "other".parse().unwrap());
    let finished = evanesce.submit(Kickoff::new(evanesce::job::Level::Patient), acme()).await.unwrap();
    evanesce.wait_finished(finished).await;
    let running = evanesce.submit(Kickoff::system(), acme()).await.unwrap();
    halfway.notified().await;
    let elsewhere = evanesce.submit_for("u".parse().unwrap(), Kickoff::system(), acme()).await.unwrap();
    let foreign = evanesce.submit(Kickoff::system(), other()).await.unwrap();

    replace(&file, &both.replacen("a.json\"\n", "a.json\"\nactive = false\n", 1));
    let Some(ReloadOutcome::Taken { departed: gone }) = told.recv().await else { panic!("not taken") };
    assert_eq!(gone, [departed("acme")]);
    let revoked = revocation::cancel_jobs(&evanesce, &gone).await;
    assert_eq!((revoked.jobs.as_slice(), revoked.failed.len()), (&[running][..], 0));
    // Durable from here on, in both witnesses.
    let disk = Disk(folder.path().into());
    assert!(!disk.jobs("building").contains(&running.to_string()));
    let receipt = evanesce.wait_erased(running).await.unwrap().unwrap();
    assert_eq!((receipt.reason, receipt.was), (MarkReason::Revoked, StateName::Running));
    assert_eq!((receipt.by, receipt.request_id), (None, Some(revoked.request_id)));
    assert!(receipt.files > 0 && !disk.has(&running.to_string()));

    // Who is still active, another tenant's application of the same name, and what is finished.
    assert!(disk.has(&elsewhere.to_string()) && disk.has(&foreign.to_string()));
    assert!(disk.jobs("ready").contains(&finished.to_string()));
    let state = evanesce.wait_finished(finished).await;
    assert!(matches!(state, Some(JobState::Complete(_))), "{state:?}");
    let again = revocation::cancel_jobs(&evanesce, &gone).await;
    assert_eq!((again.jobs.len(), again.failed.len()), (0, 0), "twice is once");

    // Whoever is no application at all is found by the jobs that it has.
    let owners = revocation::departed_owners(&evanesce, &applications).await;
    let stranger = DeactivatedApplication { tenant: "u".parse().unwrap(), client_id: acme() };
    assert_eq!(owners, [stranger]);
    assert_eq!(revocation::cancel_jobs(&evanesce, &owners).await.jobs, [elsewhere]);
}

/// A server whose exports stand still in the middle, and its file of applications.
fn braked(policy: &str) -> (tempfile::TempDir, std::path::PathBuf, Setup) {
    let (folder, file) = folder();
    std::fs::write(&file, application("default", "built-in", "")).unwrap();
    let setup = Setup::new()
        .set(&format!("auth.applications={}", file.display()))
        .set(&format!("auth.on_deactivation={policy}"))
        .braked(200_000);
    (folder, file, setup)
}

#[test]
fn a_server_ends_the_running_jobs_of_an_application_that_the_operator_disables() {
    let (_folder, file, setup) = braked("cancel");
    let server = setup.start();
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    super::done(&["app", "disable", "built-in", "--tenant", "default", "--applications", super::text(&file)]);
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!((&receipt["reason"], &receipt["was"]), (&"revoked".into(), &"running".into()));
    assert!(receipt["by"].is_null() && receipt["files"].as_u64().unwrap() > 0, "{receipt}");
    assert!(!setup.disk().has(job_id(&polling)));
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()), "P2");
    let data_dir = setup.data_dir();
    let listed =
        super::done(&["receipts", "list", "--reason", "revoked", "--data-dir", super::text(&data_dir)]);
    assert!(listed.contains(job_id(&polling)) && listed.contains("revoked"), "{listed}");
}

#[test]
fn an_application_that_is_disabled_while_no_server_runs_has_no_job_after_the_next_start() {
    let (_folder, file, setup) = braked("cancel");
    let server = setup.start();
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    server.kill();
    std::fs::write(&file, application("default", "built-in", "active = false")).unwrap();
    let _server = setup.start();
    assert_eq!(setup.receipt(job_id(&polling))["reason"], "revoked");
}

#[test]
fn jobs_of_a_disabled_application_go_on_unless_the_settings_say_otherwise() {
    let (_folder, file, setup) = braked("keep");
    let server = setup.start();
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    std::fs::write(&file, application("default", "built-in", "active = false")).unwrap();
    setup.wait_logged("reloaded");
    setup.release_brake();
    server.wait_complete(&polling);
    assert!(setup.receipts().is_empty());
}
