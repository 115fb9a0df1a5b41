//! The operators' console, in a real browser.

mod browser;
mod cancel;
pub mod http;
mod keyboard;
mod live;
mod others;
mod pages;

use browser::{Browser, PHONE};

use crate::support::{Server, eventually};

/// Signs in with the operators' token.
fn sign_in(browser: &Browser, server: &Server) {
    let token = server.operator_token();
    browser.open(&format!("{}/console", server.operators));
    browser.fill("#token", token.strip_prefix("Bearer ").unwrap());
    browser.click("button[type=submit]");
    browser.find("header nav");
}

/// Opens a page of the console, with its live parts in motion.
fn open(browser: &Browser, server: &Server, path: &str) {
    browser.open(&format!("{}/console{path}", server.operators));
    let is_live = || browser.text("#live").contains("Live").then_some(());
    if browser.has("[data-live]") {
        eventually(&format!("{path} to be live"), is_live);
    }
}

/// A page of one's own.
fn page(body: &str) -> String {
    let page = format!("<!doctype html><html lang=en><title>t</title><body>{body}");
    format!("data:text/html;charset=utf-8,{}", page.replace('%', "%25").replace('#', "%23"))
}

#[test]
fn what_keeps_people_from_using_a_page_is_found() {
    let Some(browser) = Browser::start("faults of pages") else { return };
    browser.open(&page("<main><h1>Jobs</h1><label>Id <input></label> <button>Cancel</button></main>"));
    assert_eq!(browser.faults(), [""; 0]);
    let faulty = [
        ("<h1>a</h1><h1>b</h1><main></main>", "the page has 2 h1"),
        ("<main><h1>a</h1><h3>b</h3></main>", "a heading jumps from h1 to h3: b"),
        ("<main><h1>a</h1><input id=x></main>", "input#x has no name"),
        ("<main><h1>a</h1><button></button></main>", "button has no name"),
        ("<main><h1>a</h1><svg></svg></main>", "svg is neither an image with a name nor hidden"),
        (
            "<main><h1>a</h1><div id=wide style='width:3000px'>.</div></main>",
            "the page scrolls sideways: div#wide",
        ),
        (
            "<main><h1>a</h1><p style='color:#999;background:#fff'>pale</p></main>",
            "p \"pale\" has a contrast of 2.85, and needs 4.5",
        ),
    ];
    for (body, fault) in faulty {
        browser.open(&page(body));
        assert_eq!(browser.faults(), [fault], "{body}");
    }
    browser.look_at(PHONE, "light");
    let wide = "<main><h1>a</h1><div id=cut style='overflow:auto'><p style='width:900px'>.</p></div></main>";
    browser.open(&page(&format!("<meta name=viewport content='width=device-width'>{wide}")));
    assert_eq!(browser.faults(), ["div#cut is cut"]);
    browser.open(&page("<main><h1>a</h1></main><script>console.error('oh'); nothing()</script>"));
    let complaints = browser.complaints();
    assert!(complaints.len() == 2 && complaints[0].contains("oh"), "{complaints:?}");
    assert_eq!(browser.complaints(), [""; 0]);
}
