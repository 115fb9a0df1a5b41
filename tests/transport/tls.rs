//! G-2: TLS 1.2 and 1.3, and nothing else on that port.

use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::*;

/// Also INF-1.
#[test]
fn g_2_tls_1_2_and_1_3_are_spoken() {
    let identity = Identity::new();
    let setup = identity.setup();
    let server = setup.start();
    assert!(server.base.starts_with("https://"), "{}", server.base);
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut config = identity.client(&[version], None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut stream = connect_with(&server, config).unwrap();
        assert_eq!(stream.conn.protocol_version(), Some(expected));
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]), "HTTP/2 is not offered");
        // Twice on the same connection.
        for _ in 0..2 {
            assert_eq!(ask(&mut stream, METADATA).0, 200);
        }
    }
}

/// The first message of a client whose newest version is 3.`minor`.
fn client_hello(minor: u8) -> Vec<u8> {
    let suites = [0xc0, 0x2b, 0xc0, 0x13, 0xc0, 0x14, 0xc0, 0x09, 0xc0, 0x0a, 0x00, 0x2f, 0x00, 0x35];
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.extend([0, 0, suites.len() as u8]);
    body.extend(suites);
    body.extend([1, 0]);
    // Groups, point formats, signature algorithms, and (for TLS 1.2) extended master secret.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3, 0, 23, 0, 0];
    body.extend([0, extensions.len() as u8]);
    body.extend(extensions);
    let mut hello = vec![1, 0, 0, body.len() as u8];
    hello.extend(body);
    let mut record = vec![22, 3, 1, 0, hello.len() as u8];
    record.extend(hello);
    record
}

/// Also C22.
#[test]
fn g_2_older_versions_and_plain_http_are_refused() {
    let identity = Identity::new();
    let setup = identity.setup();
    let server = setup.start();
    for minor in [0, 1, 2] {
        let mut stream = tcp(&server);
        stream.write_all(&client_hello(minor)).unwrap();
        assert_eq!(read_all(&mut stream), [21, 3, 3, 0, 2, 2, 70], "a fatal alert: protocol_version");
    }
    // Nothing else was wrong with it: with TLS 1.2 the handshake goes on.
    let mut stream = tcp(&server);
    stream.write_all(&client_hello(3)).unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(first, [22], "a handshake message");
    let mut stream = tcp(&server);
    stream.write_all(METADATA).unwrap();
    let answer = read_all(&mut stream);
    assert!(!answer.starts_with(b"HTTP"), "{}", answer.escape_ascii());
    assert_eq!(identity.connect(&server).map(|mut stream| ask(&mut stream, METADATA).0).unwrap(), 200);
}

#[test]
fn an_export_comes_whole_over_tls_and_its_urls_are_https() {
    let identity = Identity::new();
    let setup = identity.setup().source(crate::api::cut::big_source());
    let server = setup.start();
    let agent = identity.agent();
    let call = |method: &str, url: &str| {
        let request = ureq::http::Request::builder().method(method).uri(url);
        let request = request.header("accept", "application/fhir+json").header("prefer", "respond-async");
        agent.run(request.body(()).unwrap()).unwrap()
    };
    let kickoff = call("GET", &format!("{}/$export", server.base));
    let polling = kickoff.headers()["content-location"].to_str().unwrap().to_string();
    assert!(polling.starts_with(&server.base), "{polling}");
    let manifest = eventually("the export", || {
        let mut answer = call("GET", &polling);
        (answer.status() == 200).then(|| answer.body_mut().read_to_string().unwrap())
    });
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let mut content = Vec::new();
    for file in manifest["output"].as_array().unwrap() {
        let url = file["url"].as_str().unwrap();
        assert!(url.starts_with(&server.base), "{url}");
        let mut file = agent.get(url).call().unwrap();
        assert_eq!(file.headers()["strict-transport-security"], "max-age=31536000");
        content.extend(file.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap());
    }
    let written = std::fs::read(crate::api::cut::big_source().join("Media.ndjson")).unwrap();
    assert!(content == written, "{} and {} bytes", content.len(), written.len());
    assert_eq!(call("DELETE", &polling).status(), 202);
}

#[test]
fn a_download_that_is_cut_is_a_failed_transfer_over_tls_too() {
    let identity = Identity::new();
    let setup = identity.setup().source(crate::api::cut::big_source()).set("download.delete_grace=100ms");
    let server = setup.start();
    let mut stream = identity.connect(&server).unwrap();
    let get = |path: &str, method: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nPrefer: respond-async\r\n\r\n")
    };
    let (status, head, _) = ask(&mut stream, get("/r4/default/$export", "GET").as_bytes());
    assert_eq!(status, 202);
    let polling = field(&head, "content-location").unwrap().split_once("/r4").unwrap().1;
    let polling = format!("/r4{polling}");
    let manifest = eventually("the export", || {
        let (status, _, body) = ask(&mut stream, get(&polling, "GET").as_bytes());
        (status == 200).then(|| serde_json::from_slice::<serde_json::Value>(&body).unwrap())
    });
    let file = manifest["output"][0]["url"].as_str().unwrap().split_once("/r4").unwrap().1.to_string();
    let mut download = identity.connect(&server).unwrap();
    download.write_all(get(&format!("/r4{file}"), "GET").as_bytes()).unwrap();
    let mut first = [0; 4096];
    let n = download.read(&mut first).unwrap();
    let head = String::from_utf8_lossy(&first[..n]).to_ascii_lowercase();
    let length: usize = field(&head, "content-length").unwrap().parse().unwrap();
    assert_eq!(ask(&mut stream, get(&polling, "DELETE").as_bytes()).0, 202);
    setup.receipt(job_id(&polling));
    let got = n + read_all(&mut download).len();
    assert!(got < length, "{got} of {length}");
}

#[test]
fn hsts_is_told_to_those_who_use_tls_and_to_nobody_else() {
    let identity = Identity::new();
    let hsts = |server: &Server| {
        let (_, head, _) = ask(&mut identity.connect(server).unwrap(), METADATA);
        field(&head, "strict-transport-security").map(str::to_string)
    };
    let setup = identity.setup();
    let server = setup.start();
    assert_eq!(hsts(&server).as_deref(), Some("max-age=31536000"));
    // A refusal, and what no route leads to, as well.
    let (status, head, _) =
        ask(&mut identity.connect(&server).unwrap(), b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((status, field(&head, "strict-transport-security")), (404, Some("max-age=31536000")));
    let setup = identity.setup().set("server.hsts_max_age=1h");
    assert_eq!(hsts(&setup.start()).as_deref(), Some("max-age=3600"));
    let setup = identity.setup().set("server.hsts_max_age=0s");
    assert_eq!(hsts(&setup.start()), None);
    let setup = Setup::new();
    let server = setup.start();
    assert_eq!(get(&format!("{}/metadata", server.base)).header("strict-transport-security"), "");
}

#[test]
fn with_client_ca_who_has_no_certificate_of_it_is_not_spoken_to() {
    let (identity, known, unknown) = (Identity::new(), Identity::new(), Identity::new());
    let setup = identity.setup().set(&format!("tls.client_ca={}", known.certificate().display()));
    let server = setup.start();
    for version in [&TLS12, &TLS13] {
        let answer = |own: Option<&Identity>| {
            let mut stream = connect_with(&server, identity.client(&[version], own)).ok()?;
            // In TLS 1.3 the refusal comes after the handshake.
            stream.write_all(METADATA).ok()?;
            stream.read(&mut [0; 12]).ok().filter(|n| *n > 0)
        };
        assert!(answer(Some(&known)).is_some());
        assert_eq!(answer(Some(&unknown)), None);
        assert_eq!(answer(None), None);
    }
}

#[test]
fn what_cannot_be_used_is_refused_at_the_start_and_named() {
    let (identity, other) = (Identity::new(), Identity::new());
    let garbage = identity.folder.path().join("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\nxx").unwrap();
    let show = |path: PathBuf| path.display().to_string();
    let (cert, key, garbage) = (show(identity.certificate()), show(identity.key()), show(garbage));
    for (certificate, key, expected) in [
        (cert.as_str(), show(other.key()).as_str(), "is not the key of tls.certificate"),
        (cert.as_str(), cert.as_str(), "tls.key"),
        (key.as_str(), key.as_str(), "has no certificate"),
        (garbage.as_str(), key.as_str(), "is not PEM"),
        ("/nowhere/cert.pem", key.as_str(), "tls.certificate (/nowhere/cert.pem): cannot be read"),
        (cert.as_str(), garbage.as_str(), "is not a private key"),
    ] {
        let setup =
            Setup::new().set(&format!("tls.certificate={certificate}")).set(&format!("tls.key={key}"));
        let end = setup.try_launch(setup.command()).err().expect("it should not start");
        assert_eq!(end.code(), Some(2), "{}", setup.log());
        setup.wait_logged(expected);
        assert!(!setup.log().contains("PRIVATE KEY"), "{}", setup.log());
    }
}

#[test]
fn a_network_without_tls_and_without_a_proxy_is_not_listened_on() {
    let setup = Setup::new();
    let mut command = evanesce_command();
    command.args(["serve", "--listen", "0.0.0.0:0", "--set", "admin.listen=127.0.0.1:0"]);
    command.arg("--data-dir").arg(setup.data_dir()).arg("--source").arg(&setup.source);
    let end = setup.try_launch(command).err().expect("it should not start");
    assert_eq!(end.code(), Some(2));
    for way in ["tls.certificate and tls.key", "server.trusted_proxies", "127.0.0.1"] {
        setup.wait_logged(way);
    }
}

#[test]
fn a_certificate_that_has_expired_or_soon_will_is_warned_of() {
    for (year, is_expired) in [(2020, true), (2099, false)] {
        let identity = Identity::until(year);
        let setup = identity.setup();
        let server = setup.start();
        let log = setup.settled_log(&server);
        assert_eq!(log.contains("has expired"), is_expired, "{log}");
    }
}
