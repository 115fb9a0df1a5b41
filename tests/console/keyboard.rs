//! The console without a mouse: what has the focus is seen, and Tab reaches what there is to do.

use super::browser::{Browser, ENTER, TAB};
use super::open;
use crate::support::*;

/// What has the focus, as people would call it, and whether they see that it has.
fn focus(browser: &Browser) -> (String, bool) {
    let script = "const one = document.activeElement; const style = getComputedStyle(one); \
                  const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; \
                  const text = one.getAttribute('aria-label') || one.innerText || one.id || one.tagName; \
                  return [text.trim(), outline]";
    let found = browser.run(script);
    (found[0].as_str().unwrap().to_string(), found[1].as_bool().unwrap())
}

/// Presses Tab until this has the focus. Everything on the way must show that it has it.
fn tab_to(browser: &Browser, text: &str) {
    let mut passed = Vec::new();
    for _ in 0..60 {
        browser.press(TAB);
        let (found, is_seen) = focus(browser);
        assert!(is_seen, "the focus is on {found}, and nobody sees it");
        if found.contains(text) {
            return;
        }
        passed.push(found);
    }
    panic!("Tab does not reach {text}: {passed:?}");
}

#[test]
fn an_operator_without_a_mouse_signs_in_and_cancels_a_job() {
    let Some(browser) = Browser::start("keyboard") else { return };
    let setup = Setup::new().braked(200_000);
    let server = setup.start();
    let polling = server.kickoff("$export");
    let job = job_id(&polling);
    browser.open(&format!("{}/console", server.operators));
    let (field, is_seen) = focus(&browser);
    assert_eq!((&*field, is_seen), ("token", true), "the field has the focus from the beginning");
    browser.type_text(server.operator_token().strip_prefix("Bearer ").unwrap());
    browser.press(ENTER);
    browser.find("header nav");

    // The first thing is a way past the navigation.
    browser.press(TAB);
    assert!(focus(&browser).0.contains("Skip to the content"));
    open(&browser, &server, "/jobs");
    tab_to(&browser, &job[..8]);
    browser.press(ENTER);
    eventually("the page of the job", || browser.url().contains(&format!("/jobs/{job}")).then_some(()));
    tab_to(&browser, "Cancel");
    browser.press(ENTER);
    browser.wait_text("404");
    assert_eq!(get(&polling).status, 202, "nothing is done before it is confirmed");
    tab_to(&browser, "End this job");
    browser.press(ENTER);
    eventually("the end of the job", || (get(&polling).status == 404).then_some(()));
    assert_eq!(setup.receipt(job)["by"], "operator-token");
}
