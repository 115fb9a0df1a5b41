//! What carries HTTP: TLS (G-2), proxies, and limits against abuse (G-11), with certificates of our
//! own, plain sockets, and clients that do what no library would.

mod bodies;
mod floods;
mod hosts;
mod many;
mod proxies;
mod reload;
mod slow;
mod smuggling;
mod tls;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use tempfile::TempDir;

use crate::support::*;

const METADATA: &[u8] = b"GET /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Where a server listens.
fn address(server: &Server) -> SocketAddr {
    server.base.split('/').nth(2).unwrap().parse().unwrap()
}

fn tcp(server: &Server) -> TcpStream {
    patient(connect_to(address(server)))
}

/// A connection from another address of this machine: 127.0.0.`last`.
fn tcp_from(server: &Server, last: u8) -> std::io::Result<TcpStream> {
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&stream, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0))?;
    connect(&stream, &address(server))?;
    Ok(patient(stream.into()))
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything until the connection ends, in whichever way.
fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return bytes,
            // A TLS connection that was not said goodbye on.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return bytes,
            Err(e) => panic!("the connection should have ended: {e}"),
        }
    }
}

/// One answer whose length is told: its status, its head, its body.
fn read_answer(stream: &mut impl Read) -> (u16, String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let n = stream.read(&mut byte).unwrap_or_else(|e| panic!("{e}: {}", head.escape_ascii()));
        assert_eq!(n, 1, "the connection ended: {}", head.escape_ascii());
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (status, head, body)
}

/// A field of a head in lower case.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Sends a request, closes nothing, and reads the answer.
fn ask(stream: &mut (impl Read + Write), request: &[u8]) -> (u16, String, Vec<u8>) {
    stream.write_all(request).unwrap();
    stream.flush().unwrap();
    read_answer(stream)
}

/// The statuses of all answers in what a connection gave.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices("HTTP/1.1 ")
        .filter_map(|(at, found)| text.get(at + found.len()..)?.get(..3)?.parse().ok())
        .collect()
}

/// A certificate of its own authority, and its key, as files.
pub struct Identity {
    pub folder: TempDir,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Identity {
    pub fn new() -> Self {
        Self::until(2099)
    }

    /// One that expires at the beginning of `year`.
    pub fn until(year: i32) -> Self {
        let mut params = CertificateParams::new(["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self { folder, der: certificate.der().clone(), key }
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// A setup whose server has it.
    pub fn setup(&self) -> Setup {
        let set = |key: &str, path: &Path| format!("tls.{key}={}", path.display());
        Setup::new().set(&set("certificate", &self.certificate())).set(&set("key", &self.key()))
    }

    /// The configuration of a client that trusts it.
    fn client(&self, versions: &[&'static SupportedProtocolVersion], own: Option<&Self>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::try_from(own.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![own.der.clone()], key).unwrap()
            }
        }
    }

    /// A connection of TLS; the error is that of the handshake.
    fn connect(&self, server: &Server) -> std::io::Result<Tls> {
        connect_with(server, self.client(rustls::ALL_VERSIONS, None))
    }

    /// A client of HTTP that trusts it.
    fn agent(&self) -> ureq::Agent {
        let root = ureq::tls::Certificate::from_der(&self.der).to_owned();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::new_with_certs(&[root]))
            .unversioned_rustls_crypto_provider(provider);
        let config = ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls.build());
        config.timeout_global(Some(PATIENCE)).build().into()
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect_with(server: &Server, config: ClientConfig) -> std::io::Result<Tls> {
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = tcp(server);
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// How long something took.
fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (act(), began.elapsed())
}
