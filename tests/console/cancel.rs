//! An operator watches an export, cancels it, sees its files go and finds its receipt.

use super::browser::Browser;
use super::{open, sign_in};
use crate::support::*;

/// The progress that the page of a job shows, in percent.
fn shown_progress(browser: &Browser) -> f64 {
    browser.run("return document.querySelector('main progress')?.value ?? 0").as_f64().unwrap()
}

#[test]
fn an_operator_watches_a_job_cancels_it_sees_its_files_go_and_finds_its_receipt() {
    let Some(browser) = Browser::start("cancel a job") else { return };
    let setup = Setup::new().braked(200_000);
    let server = setup.start();
    let polling = server.kickoff("$export");
    let job = job_id(&polling).to_string();
    sign_in(&browser, &server);
    open(&browser, &server, "/jobs");
    browser.click(&format!("main a[href$='{job}']"));
    eventually("the page of the job", || browser.url().contains(&format!("/jobs/{job}")).then_some(()));
    // By itself: nobody reloads the page.
    let first = eventually("progress", || Some(shown_progress(&browser)).filter(|shown| *shown > 5.0));
    setup.brake(600_000);
    eventually("more progress", || (shown_progress(&browser) > first + 5.0).then_some(()));
    let written = || server.operator("admin/jobs").json()[0]["files"].as_u64().unwrap();
    eventually("its files so far", || {
        browser.page_text().contains(&format!("Files so far\n{}\n", written())).then_some(())
    });
    assert!(written() > 0 && setup.disk().has(&job), "its files are there");

    browser.click(&format!("main a[href$='/jobs/{job}/cancel']"));
    browser.wait_text("404");
    assert_eq!(get(&polling).status, 202, "nothing is done before it is confirmed");
    browser.click("main form button[type=submit]");
    eventually("the end of the job", || (get(&polling).status == 404).then_some(()));
    browser.wait_text("erased");
    setup.disk().wait_gone(&job);
    assert_eq!(setup.receipt(&job)["reason"], "cancelled");

    open(&browser, &server, "/receipts");
    browser.fill("#job", &job);
    browser.click("form[role=search] button");
    browser.wait_text("Check it yourself");
    let shown = browser.page_text();
    assert!(shown.contains("cancelled") && shown.contains("operator-token"), "{shown}");
    let chain = std::fs::read_to_string(setup.data_dir().join("receipts.ndjson")).unwrap();
    let line = chain.lines().find(|line| line.contains(&job)).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    for hash in ["hash", "previous"] {
        assert!(shown.contains(line[hash].as_str().unwrap()), "{hash} of {line}: {shown}");
    }
    browser.click("a[href$='/receipts']");
    browser.click("a[href$='/receipts/verify']");
    browser.wait_text("each of its links was checked");
    assert_eq!(browser.complaints(), [""; 0]);
}
