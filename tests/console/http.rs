//! The console without a browser: who gets in, which forms are taken, what every answer has (P12, P13).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::support::*;

/// The pages of the navigation.
pub const PAGES: [&str; 6] = [
    "/console",
    "/console/jobs",
    "/console/erasures",
    "/console/receipts",
    "/console/applications",
    "/console/health",
];

/// Sends a request and follows no redirect.
fn ask(method: &str, url: &str, headers: &[(&str, &str)], form: Option<&str>) -> Answer {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    let agent: ureq::Agent = config.max_redirects(0).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = match form {
        Some(form) => {
            let request = request.header("Content-Type", "application/x-www-form-urlencoded");
            agent.run(request.body(form.to_owned()).unwrap())
        }
        None => agent.run(request.body(()).unwrap()),
    };
    let mut response = response.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.body_mut().read_to_vec().unwrap() }
}

pub fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

/// Somebody who is signed in.
pub struct SignedIn {
    root: String,
    cookie: String,
}

impl SignedIn {
    pub fn new(server: &Server) -> Self {
        let root = server.operators.clone();
        let answer = sign_in(&root, &token(server), &[("Origin", &root)]);
        assert_eq!(answer.status, 303, "{}", text(&answer));
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_string();
        Self { root, cookie }
    }

    pub fn get(&self, path: &str) -> Answer {
        ask("GET", &format!("{}{path}", self.root), &[("Cookie", &self.cookie)], None)
    }

    /// A page, which must be there.
    pub fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", text(&answer));
        text(&answer)
    }

    fn csrf(&self) -> String {
        let page = self.page("/console");
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_string()
    }

    fn post_with(&self, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let headers = [&[("Cookie", &*self.cookie)], headers].concat();
        ask("POST", &format!("{}{path}", self.root), &headers, Some(form))
    }

    pub fn post(&self, path: &str, fields: &str) -> Answer {
        let form = format!("csrf={}&{fields}", self.csrf());
        self.post_with(path, &[("Origin", &self.root)], &form)
    }

    /// Opens a live stream and returns the beginning of the answer.
    pub fn follow(&self, path: &str) -> (TcpStream, String) {
        let address = self.root.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let cookie = &self.cookie;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nAccept: text/event-stream\r\n\r\n"
        )
        .unwrap();
        let beginning = read_until(&mut stream, "\r\n\r\n");
        (stream, beginning)
    }
}

/// Reads until the text was there, or to the end.
pub fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
    let began = Instant::now();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        // A stream that goes on has something to say for ever.
        assert!(began.elapsed() < PATIENCE, "{wanted} did not come: {text}");
        match stream.read(&mut chunk) {
            _ if text.contains(wanted) => return text,
            Ok(0) => return text,
            Ok(n) => read.extend_from_slice(&chunk[..n]),
            Err(error) => panic!("{error}: {text}"),
        }
        let text = String::from_utf8_lossy(&read).into_owned();
        if text.contains(wanted) {
            return text;
        }
    }
}

fn token(server: &Server) -> String {
    server.operator_token().strip_prefix("Bearer ").unwrap().to_string()
}

fn sign_in(root: &str, token: &str, headers: &[(&str, &str)]) -> Answer {
    ask(
        "POST",
        &format!("{root}/console/sign-in?next=%2Fconsole%2Fjobs"),
        headers,
        Some(&format!("token={token}")),
    )
}

#[test]
fn whoever_is_not_signed_in_gets_the_sign_in_page_and_nothing_else() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let (root, job) = (&server.operators, job_id(&polling));
    let home = ask("GET", root, &[], None);
    assert_eq!((home.status, home.header("location")), (303, "/console"));
    let job_page = format!("/console/jobs/{job}");
    for path in PAGES.into_iter().chain([&*job_page, &format!("{job_page}/cancel")]) {
        for cookie in ["", "evanesce-console=x", "evanesce-console-1=x"] {
            let answer = ask("GET", &format!("{root}{path}"), &[("Cookie", cookie)], None);
            let expected = format!("/console/sign-in?next={}", path.replace('/', "%2F").replace('-', "%2D"));
            assert_eq!((answer.status, answer.header("location")), (303, &*expected));
            assert!(answer.body.is_empty());
        }
    }
    for order in [format!("{job_page}/cancel"), format!("{job_page}/hold"), "/console/reaper/pause".into()] {
        let answer = ask("POST", &format!("{root}{order}"), &[("Origin", root)], Some("reason=x"));
        assert_eq!(answer.status, 401, "{order}");
    }
    let live = ask("GET", &format!("{root}/console/live"), &[("Accept", "text/event-stream")], None);
    assert_eq!((live.status, live.body.len()), (204, 0));
    assert_eq!(get(&polling).status, 200, "nothing was done");
    let page = ask("GET", &format!("{root}/console/sign-in"), &[], None);
    assert!(page.status == 200 && text(&page).contains("type=\"password\""));
}

#[test]
fn the_operators_token_alone_signs_in_and_attempts_are_bounded() {
    let setup = Setup::new();
    let server = setup.start();
    let root = &server.operators;
    let token = token(&server);
    let here = [("Origin", root.as_str())];
    for wrong in ["", "x", &token[1..], &format!("{token}0")] {
        let answer = sign_in(root, wrong, &here);
        assert_eq!(answer.status, 401, "{wrong}");
        assert_eq!(answer.header("set-cookie"), "");
        assert!(text(&answer).contains("not the operators") && !text(&answer).contains(&token));
    }
    let answer = sign_in(root, &token, &here);
    assert_eq!((answer.status, answer.header("location")), (303, "/console/jobs"));
    let cookie = answer.header("set-cookie").to_string();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/console"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(&token), "{cookie}");
    let secure = root.replace("http://", "https://");
    let answer = sign_in(root, &token, &[("Origin", &secure)]);
    assert!(answer.header("set-cookie").contains("Secure"), "{answer:?}");

    let signed_in = SignedIn::new(&server);
    let attempts = (0..40).map(|_| sign_in(root, "wrong", &here).status);
    let refused = attempts.filter(|status| *status == 429).count();
    assert!(refused > 10, "{refused}");
    assert!(signed_in.page("/console").contains("every promise"), "sessions go on");
    assert!(server.metric("evanesce_console_sign_ins_total{outcome=\"refused\"}") >= 4.0);
    assert_eq!(server.metric("evanesce_console_sign_ins_total{outcome=\"accepted\"}"), 3.0);

    let answer = signed_in.post("/console/sign-out", "");
    assert_eq!((answer.status, answer.header("location")), (303, "/console/sign-in"));
    assert_eq!(signed_in.get("/console").status, 303, "the session is over");
}

#[test]
fn a_form_is_taken_from_a_page_of_this_session_only() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let signed_in = SignedIn::new(&server);
    let other = SignedIn::new(&server);
    let cancel = format!("/console/jobs/{}/cancel", job_id(&polling));
    let (root, csrf) = (signed_in.root.clone(), signed_in.csrf());
    let form = format!("csrf={csrf}");
    for headers in [
        &[][..],
        &[("Origin", "null")],
        &[("Origin", "http://evil.example")],
        &[("Origin", &root.replace("127.0.0.1", "localhost"))],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Origin", &*root), ("Sec-Fetch-Site", "same-site")],
    ] {
        assert_eq!(signed_in.post_with(&cancel, headers, &form).status, 403, "{headers:?}");
        assert_eq!(sign_in(&root, &token(&server), headers).status, 403, "{headers:?}");
    }
    for form in ["", "csrf=", "csrf=x", &format!("csrf={}", other.csrf()), &format!("x={csrf}")] {
        let answer = signed_in.post_with(&cancel, &[("Origin", &root)], form);
        assert_eq!(answer.status, 403, "{form}");
        assert!(text(&answer).contains("Nothing was done"));
    }
    let long = format!("csrf={csrf}&reason={}", "x".repeat(17 << 10));
    assert_eq!(signed_in.post_with(&cancel, &[("Origin", &root)], &long).status, 400);
    assert_eq!(get(&polling).status, 200, "nothing was done");
    let refused = crate::audit::audit_of(&setup.data_dir(), &["export"]);
    assert!(refused.contains("console-form"), "{refused}");
    assert_eq!(signed_in.post_with(&cancel, &[("Sec-Fetch-Site", "same-origin")], &form).status, 303);
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
}

#[test]
fn a_name_that_is_pointed_at_this_machine_reaches_nothing() {
    let setup = Setup::new().set("admin.hosts=console.example.org");
    let server = setup.start();
    let signed_in = SignedIn::new(&server);
    let port = server.operators.rsplit_once(':').unwrap().1;
    let status = |host: &str, path: &str| {
        let headers = [("Cookie", &*signed_in.cookie), ("Host", host)];
        ask("GET", &format!("{}{path}", server.operators), &headers, None).status
    };
    for path in ["/console", "/console/jobs", "/console/sign-in", "/"] {
        for host in ["evil.example", "127.0.0.1.evil.example", &format!("evil.example:{port}")] {
            assert_eq!(status(host, path), 421, "{host} {path}");
        }
    }
    for host in ["localhost", "127.0.0.1", "console.example.org", "console.example.org:8443"] {
        assert_eq!(status(host, "/console/sign-in"), 200, "{host}");
    }
}

#[test]
fn a_session_ends_after_its_lifetime_and_when_it_is_idle() {
    for setting in ["admin.session_lifetime=0s", "admin.session_idle=0s"] {
        let setup = Setup::new().set(setting);
        let server = setup.start();
        let signed_in = SignedIn::new(&server);
        assert_eq!(signed_in.get("/console").status, 303, "{setting}");
    }
}

#[test]
fn every_answer_has_the_strict_fields_and_pages_have_nothing_inline() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let signed_in = SignedIn::new(&server);
    let job = format!("/console/jobs/{}", job_id(&polling));
    let others = [job.clone(), format!("{job}/cancel"), "/console/sign-in".into(), "/console/none".into()];
    for path in PAGES.into_iter().map(String::from).chain(others) {
        let answer = signed_in.get(&path);
        assert_eq!(answer.status, if path.ends_with("none") { 404 } else { 200 }, "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let page = text(&answer);
        for inline in [" style=", "<style", " onclick=", "javascript:", "=\"http", "=\"//", "<script>"] {
            assert!(!page.contains(inline), "{path}: {inline}");
        }
        assert!(page.contains("<main id=\"main\"") && page.contains("lang=\"en\""), "{path}");
        assert_eq!(page.matches("<h1").count(), 1, "{path}");
    }
    let page = signed_in.page("/console");
    let assets = page.split('"').filter(|text| text.starts_with("/console/assets/"));
    let assets: Vec<_> = assets.map(String::from).collect();
    assert_eq!(assets.len(), 3);
    for asset in assets {
        let answer = ask("GET", &format!("{}{asset}", server.operators), &[], None);
        assert_eq!((answer.status, answer.header("x-content-type-options")), (200, "nosniff"), "{asset}");
        assert!(answer.header("cache-control").contains("immutable"), "{asset}");
    }
    let old = format!("{}/console/assets/console.0000000000000000.js", server.operators);
    assert_eq!(ask("GET", &old, &[], None).status, 404);
}

#[test]
fn a_job_is_held_released_and_cancelled_as_from_the_command_line() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let signed_in = SignedIn::new(&server);
    let id = job_id(&polling);
    let job = format!("/console/jobs/{id}");
    assert!(signed_in.page("/console/jobs").contains(id));
    let file = manifest["output"][0]["url"].as_str().unwrap().rsplit_once('/').unwrap().1;
    assert!(signed_in.page(&job).contains(file), "its files are listed");

    assert_eq!(signed_in.post(&format!("{job}/hold"), "reason=").status, 400);
    assert_eq!(signed_in.post(&format!("{job}/hold"), "reason=case+4711+%3Cscript%3E").status, 303);
    let page = signed_in.page(&format!("{job}?done=held"));
    assert!(
        page.contains("case 4711 &lt;script&gt;")
            && page.contains("operator-token")
            && page.contains("under a hold")
    );
    assert_eq!(server.operator("admin/jobs").json()[0]["held"], true);
    assert_eq!(signed_in.post(&format!("{job}/release"), "").status, 303);
    assert_eq!(signed_in.post(&format!("{job}/release"), "").status, 409, "it is not held");

    let asked = signed_in.page(&format!("{job}/cancel"));
    assert!(asked.contains("404 at once") && asked.contains("cannot be undone") && asked.contains(" with "));
    assert_eq!(get(&polling).status, 200, "asking does nothing");
    let done = signed_in.post(&format!("{job}/cancel"), "");
    assert_eq!((done.status, done.header("location")), (303, &*format!("{job}?done=cancelled")));
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    let receipt = setup.receipt(id);
    assert_eq!((&receipt["reason"], &receipt["by"]), (&"deleted".into(), &"operator-token".into()));
    let request = done.header("x-request-id");
    assert_eq!(receipt["request_id"], request);
    // The receipt is in the file before the server knows it as durable, and a request is logged when it
    // has been answered.
    let texts = ["Its receipt", "Gone: ", request, "answered"];
    eventually("the receipt and the log lines", || {
        let page = signed_in.page(&job);
        texts.iter().all(|text| page.contains(text)).then_some(())
    });
    let audited = crate::audit::audit_of(&setup.data_dir(), &["export"]);
    assert!(audited.contains("\"cancel\"") && audited.contains("operator-token"), "{audited}");

    for (order, fields) in [("pause", "reason=an+audit"), ("resume", "")] {
        assert_eq!(signed_in.post(&format!("/console/reaper/{order}"), fields).status, 303);
        let is_paused = signed_in.page("/console").contains("paused by operator-token");
        assert_eq!(is_paused, order == "pause");
    }
    assert_eq!(signed_in.post("/console/clock/confirm", "").status, 409, "it did not jump");
    assert_eq!(signed_in.get(&format!("/console/jobs/{}", uuid::Uuid::new_v4())).status, 404);
    assert_eq!(signed_in.get("/console/jobs/x").status, 404);
}

#[test]
fn p13_a_search_for_a_job_that_nobody_knows_does_not_read_the_chain() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let id = job_id(&polling);
    assert_eq!(send("DELETE", &polling, &[]).status, 202);
    server.wait_erased(id);
    let signed_in = SignedIn::new(&server);
    let receipt = format!("/console/receipts/{id}");
    assert!(signed_in.page(&receipt).contains("The whole chain was checked"));
    let key =
        get(&format!("{}/receipts/key", server.base)).json()["public_key"].as_str().unwrap().to_string();
    assert!(signed_in.page(&receipt).contains(&format!("--key {key}")));
    let proof = signed_in.get(&format!("{receipt}/proof"));
    assert_eq!((proof.status, proof.header("content-type")), (200, "application/json"));
    assert!(proof.header("content-disposition").contains(&format!("receipt-{id}.json")), "{proof:?}");
    let entry: serde_json::Value =
        serde_json::from_str(proof.json()["erasure"]["entry"].as_str().unwrap()).unwrap();
    assert_eq!(entry["job"], id);
    let unknown = signed_in.get(&format!("/console/receipts/{}/proof", uuid::Uuid::new_v4()));
    assert_eq!(unknown.status, 404);
    // Whoever reads the chain now sees that it is broken.
    let path = setup.data_dir().join("receipts.ndjson");
    let chain = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, chain.replacen("deleted", "expired", 1)).unwrap();
    assert!(signed_in.page(&receipt).contains("The chain is broken"));
    let unknown = signed_in.get(&format!("/console/receipts/{}", uuid::Uuid::new_v4()));
    assert_eq!(unknown.status, 404);
    assert!(text(&unknown).contains("The receipts say nothing of the job"));
}
