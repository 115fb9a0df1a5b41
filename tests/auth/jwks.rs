//! Keys at a URL (RG-2): a server of a client that behaves, and several that do not.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::PrivatePkcs8KeyDer;

use super::ALL;
use crate::support::Setup;
use crate::support::smart::{Client, Key, jwks};

/// A server of keys on loopback.
struct Keys {
    address: std::net::SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Keys {
    /// Answers each connection with `answer`, which gets what was asked and the number of the
    /// connection, from 1.
    fn serve(answer: impl Fn(&mut dyn Write, &str, usize) + Send + Sync + 'static) -> Self {
        Self::accept(move |mut stream, number| {
            let head = head(&mut BufReader::new(stream.try_clone().unwrap()));
            answer(&mut stream, &head, number);
        })
    }

    fn accept(handle: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let (counted, handle) = (asked.clone(), Arc::new(handle));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                let handle = handle.clone();
                std::thread::spawn(move || handle(stream.unwrap(), number));
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// The head of a request.
fn head(input: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && input.read_line(&mut head).unwrap_or(0) > 0 {}
    head
}

fn answer(out: &mut dyn Write, fields: &str, body: &str) {
    let length = body.len();
    let _ =
        write!(out, "HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
}

/// A client whose keys are at a URL; `sets` beside that this may be on loopback.
fn registered(client: &Client, url: &str, sets: &[&str]) -> Setup {
    let text = format!(
        "[[application]]\nclient_id = '{}'\ntenant = 'default'\njwks_url = '{url}'\n{ALL}",
        client.id
    );
    let setup = Setup::new().smart(&text).set("auth.jwks_allow_private_addresses=true");
    sets.iter().fold(setup, |setup, set| setup.set(set))
}

/// A client with keys at a server that answers as it should, with these header fields.
fn good(fields: &'static str) -> (Client, Keys) {
    let client = Client::new("acme");
    let set = jwks(&[&client.key]).to_string();
    let keys = Keys::serve(move |out, head, _| {
        let head = head.to_ascii_lowercase();
        assert!(head.contains("accept: application/json") && !head.contains("authorization"), "{head}");
        answer(out, fields, &set);
    });
    (client, keys)
}

#[test]
fn rg_1_keys_may_be_at_a_url() {
    let (client, keys) = good("Cache-Control: max-age=60\r\n");
    let setup = registered(&client, &keys.url(), &[]);
    let server = setup.start();
    for _ in 0..3 {
        assert_eq!(client.ask(&server, "system/*.rs").status, 200);
    }
    assert_eq!(keys.asked(), 1, "they were remembered");
}

#[test]
fn rg_2_what_may_not_be_kept_is_fetched_each_time() {
    let (client, keys) = good("Cache-Control: no-store\r\n");
    let setup = registered(&client, &keys.url(), &[]);
    let server = setup.start();
    for asked in 1..=3 {
        assert_eq!(client.ask(&server, "system/*.rs").status, 200);
        assert_eq!(keys.asked(), asked);
    }
}

#[test]
fn rg_2_requests_at_once_share_one_fetch() {
    let client = Client::new("acme");
    let set = jwks(&[&client.key]).to_string();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = parking_lot::Mutex::new(wait);
    let keys = Keys::serve(move |out, _, _| {
        wait.lock().recv().unwrap();
        answer(out, "", &set);
    });
    let setup = registered(&client, &keys.url(), &["auth.jwks_timeout=30s"]);
    let server = setup.start();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| client.ask(&server, "system/*.rs").status)).collect();
        crate::support::eventually("the fetch", || (keys.asked() == 1).then_some(()));
        go.send(()).unwrap();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 200));
    });
    assert_eq!(keys.asked(), 1);
}

#[test]
fn rg_2_a_key_that_is_not_known_is_looked_for_once_a_minute() {
    let (client, keys) = good("Cache-Control: max-age=600\r\n");
    let setup = registered(&client, &keys.url(), &[]);
    let server = setup.start();
    assert_eq!(client.ask(&server, "system/*.rs").status, 200);
    for n in 0..5 {
        let stranger = Client { id: "acme".into(), key: Key::es384(&format!("new-{n}")) };
        assert_eq!(stranger.ask(&server, "system/*.rs").status, 401);
    }
    assert_eq!(keys.asked(), 1, "the keys are not a minute old");
    assert_eq!(client.ask(&server, "system/*.rs").status, 200);
}

#[test]
fn t_4_a_jku_that_is_the_registered_url_is_followed_and_no_other() {
    let (client, keys) = good("");
    let (mallory, evil) = good("");
    let setup = registered(&client, &keys.url(), &[]);
    let server = setup.start();
    let ask = |client: &Client, jku: &str| {
        let mut header = client.header();
        header["jku"] = jku.into();
        let assertion = client.sign(&header, &client.claims(&server.base));
        crate::support::smart::ask(&server.base, &assertion, "system/*.rs").status
    };
    assert_eq!(ask(&client, &keys.url()), 200);
    assert_eq!(ask(&mallory, &evil.url()), 401);
    assert_eq!(ask(&client, &evil.url()), 401);
    assert_eq!(evil.asked(), 0);
}

#[test]
fn rg_2_a_server_of_keys_that_sends_too_much_is_not_heard_to_the_end() {
    let client = Client::new("acme");
    let mut set = jwks(&[&client.key]);
    set["more"] = "x".repeat(100_000).into();
    let whole = set.to_string();
    let keys = Keys::serve(move |out, _, _| answer(out, "", &whole));
    let setup = registered(&client, &keys.url(), &[]);
    assert_eq!(client.ask(&setup.start(), "system/*.rs").status, 401);
    setup.wait_logged("auth.jwks_max_bytes");

    let (told, sent) = std::sync::mpsc::channel();
    let told = parking_lot::Mutex::new(told);
    let endless = Keys::serve(move |out, _, _| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        let mut chunks = 0;
        while out.write_all(chunk.as_bytes()).is_ok() {
            chunks += 1;
        }
        told.lock().send(chunks * chunk.len()).unwrap();
    });
    let setup = registered(&client, &endless.url(), &["auth.jwks_timeout=60s"]);
    assert_eq!(client.ask(&setup.start(), "system/*.rs").status, 401);
    let sent = sent.recv_timeout(crate::support::PATIENCE).unwrap();
    // The buffers of two sockets are the system's.
    assert!(sent < 16 << 20, "{sent} bytes were read of an answer that may have 65536");
}

#[test]
fn rg_2_a_server_of_keys_that_drips_is_given_up() {
    let client = Client::new("acme");
    let keys = Keys::serve(move |out, _, _| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n";
        // Longer than a test may take.
        for byte in head.iter().chain(std::iter::repeat_n(&b' ', 60_000)) {
            if out.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let setup = registered(&client, &keys.url(), &["auth.jwks_timeout=1s"]);
    let server = setup.start();
    assert_eq!(client.ask(&server, "system/*.rs").status, 401);
    assert_eq!(client.ask(&server, "system/*.rs").status, 401);
    assert_eq!(keys.asked(), 1, "and not asked again at once");
}

#[test]
fn rg_2_a_redirect_is_not_followed() {
    let (client, target) = good("");
    let location = target.url();
    let keys = Keys::serve(move |out, _, _| {
        let _ = write!(out, "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    });
    let setup = registered(&client, &keys.url(), &[]);
    let server = setup.start();
    assert_eq!(client.ask(&server, "system/*.rs").status, 401);
    assert_eq!((keys.asked(), target.asked()), (1, 0));
}

#[test]
fn rg_2_what_is_no_key_set_is_none() {
    let client = Client::new("acme");
    for body in ["", "{}", "[]", "{\"keys\":7}", "<html>"] {
        let keys = Keys::serve(move |out, _, _| answer(out, "", body));
        let setup = registered(&client, &keys.url(), &[]);
        let server = setup.start();
        assert_eq!(client.ask(&server, "system/*.rs").status, 401, "{body}");
    }
}

#[test]
fn rg_2_addresses_of_the_servers_own_networks_are_not_connected_to() {
    let client = Client::new("acme");
    let keys = Keys::accept(|_, _| {});
    let port = keys.address.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1"] {
        let setup = registered(&client, &format!("https://{host}:{port}/jwks.json"), &[]);
        let setup = setup.set("auth.jwks_allow_private_addresses=false");
        let server = setup.start();
        assert_eq!(client.ask(&server, "system/*.rs").status, 401, "{host}");
        setup.wait_logged("no public address");
    }
    let setup = registered(&client, &keys.url(), &[]).set("auth.jwks_allow_private_addresses=false");
    let server = setup.start();
    assert_eq!(client.ask(&server, "system/*.rs").status, 401, "plain http");
    assert_eq!(keys.asked(), 0);
}

#[test]
fn rg_1_keys_are_fetched_by_tls_from_a_server_that_a_known_authority_names() {
    let client = Client::new("acme");
    let certified = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let private = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config =
        Arc::new(config.with_single_cert(vec![certified.cert.der().clone()], private.into()).unwrap());
    let set = jwks(&[&client.key]).to_string();
    let keys = Keys::accept(move |stream, _| {
        let connection = rustls::ServerConnection::new(config.clone()).unwrap();
        let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
        if !head(&mut stream).is_empty() {
            answer(stream.get_mut(), "", &set);
            stream.get_mut().conn.send_close_notify();
            let _ = stream.get_mut().flush();
        }
    });
    let url = format!("https://localhost:{}/jwks.json", keys.address.port());
    let setup = registered(&client, &url, &[]);
    assert_eq!(client.ask(&setup.start(), "system/*.rs").status, 401, "nobody knows that authority");
    let setup = registered(&client, &url, &[]);
    let file = setup.folder.path().join("authorities.pem");
    std::fs::write(&file, certified.cert.pem()).unwrap();
    let setup = setup.set(&format!("auth.jwks_ca_file={}", file.display()));
    let answer = client.ask(&setup.start(), "system/*.rs");
    assert_eq!(answer.status, 200, "{answer:?}\n{}", setup.log());
}
