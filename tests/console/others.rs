//! Who is no operator: somebody without the token, and a page of another origin in an operator's browser.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::browser::Browser;
use super::{open, sign_in};
use crate::support::*;

#[test]
fn a_wrong_token_opens_nothing() {
    let Some(browser) = Browser::start("a wrong token") else { return };
    let setup = Setup::new();
    let server = setup.start();
    browser.open(&format!("{}/console/receipts", server.operators));
    assert!(browser.url().contains("/console/sign-in"), "{}", browser.url());
    let token = server.operator_token();
    for wrong in [&token[..], &token["Bearer ".len() + 1..]] {
        browser.fill("#token", wrong);
        browser.click("button[type=submit]");
        browser.wait_text("not the operators' token");
        assert_eq!(browser.faults(), [""; 0]);
        assert!(!browser.has("header nav"));
    }
    for path in ["", "/jobs", "/erasures", "/receipts", "/receipts/download", "/applications", "/health"] {
        browser.open(&format!("{}/console{path}", server.operators));
        assert!(browser.url().contains("/console/sign-in"), "{path}: {}", browser.url());
    }
    // The right one leads to the page that was wanted.
    browser.open(&format!("{}/console/receipts", server.operators));
    browser.fill("#token", token.strip_prefix("Bearer ").unwrap());
    browser.click("button[type=submit]");
    browser.wait_text("There are no receipts yet");
    let cookies = browser.run("return document.cookie");
    assert_eq!(cookies, "", "no script reads the session");

    browser.click("header form button");
    browser.wait_text("Sign in");
    browser.open(&format!("{}/console/receipts", server.operators));
    assert!(browser.url().contains("/console/sign-in"), "signed out");
}

/// Serves one page to whoever asks, until the process ends. Gives its port.
fn serve_page(page: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let length = page.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{page}"
            );
        }
    });
    port
}

/// A page that tries whatever a page can: requests by script, with the operator's cookies, and a form.
fn evil_page(operators: &str, job: &str) -> String {
    format!(
        r#"<!doctype html><html lang="en"><title>evil</title><body><h1>Win a prize</h1>
        <iframe id="frame" src="{operators}/console"></iframe>
        <form id="cancel" method="post" action="{operators}/console/jobs/{job}/cancel"><input name="csrf" value="x"></form>
        <form id="pause" method="post" action="{operators}/console/reaper/pause">
          <input name="reason" value="evil"><input name="csrf" value="x"></form>
        <script>
          window.tried = (async () => {{
            const tries = [
              ["POST", "/console/reaper/pause", "reason=evil"],
              ["POST", "/console/jobs/{job}/cancel", ""],
              ["DELETE", "/admin/jobs/{job}", undefined],
              ["GET", "/admin/jobs", undefined],
              ["GET", "/console", undefined],
              ["GET", "/console/receipts/download", undefined],
            ];
            const read = [];
            for (const mode of ["cors", "no-cors"]) {{
              for (const [method, path, body] of tries) {{
                const headers = {{ "Content-Type": "application/x-www-form-urlencoded" }};
                try {{
                  const answer = await fetch("{operators}" + path, {{ method, body, headers, mode, credentials: "include" }});
                  const text = await answer.text();
                  if (text) read.push(`${{mode}} ${{method}} ${{path}}: ${{text.slice(0, 40)}}`);
                }} catch {{ }}
              }}
            }}
            try {{
              if (document.getElementById("frame").contentDocument?.body?.innerText) read.push("the frame");
            }} catch {{ }}
            return read;
          }})();
        </script>"#
    )
}

#[test]
fn a_page_of_another_origin_reads_nothing_and_does_nothing() {
    let Some(browser) = Browser::start("another origin") else { return };
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let job = job_id(&polling);
    sign_in(&browser, &server);
    let port = serve_page(evil_page(&server.operators, job));
    // Another site, whose requests go without the cookie; and another port of this host, which is the same
    // site to a browser, so that the cookie goes along.
    for origin in [format!("http://evil.test:{port}"), format!("http://127.0.0.1:{port}")] {
        browser.open(&origin);
        let read = browser.run_async("window.tried.then(arguments[0])");
        assert_eq!(read, serde_json::json!([]), "{origin}");
        for form in ["cancel", "pause"] {
            browser.open(&origin);
            browser.run(&format!("document.getElementById('{form}').submit()"));
            browser.wait_text("Nothing was done");
        }
        assert_eq!(get(&polling).status, 200, "{origin}: the job is there");
        let status = server.operator("admin/status").json();
        assert!(status["pause"].is_null(), "{origin}: {status}");
        assert_eq!(setup.chain(), [serde_json::Value::Null; 0], "{origin}");
    }
    // A name that leads here is not ours (DNS rebinding).
    let rebound = server.operators.replace("127.0.0.1", "rebound.test");
    browser.open(&format!("{rebound}/console"));
    assert!(!browser.has("header nav") && !browser.has("#token"), "{}", browser.page_text());
    // The operator is signed in all the while.
    open(&browser, &server, "");
    browser.find("header nav");
}
