//! What carries HTTP: the socket, TLS, and limits on connections and on waiting for them. Each
//! admitted connection becomes a [`ClientConnection`], on which actix-web speaks HTTP/1.1. It notices
//! when the client is too slow.
//!
//! HTTP/2 is not offered. One HTTP/2 connection has many streams, each of which may wait for ever
//! for its window, and nothing here would count them.

mod admission;
mod connection;
mod listen;
mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive};
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, Extensions, Server};
use actix_web::rt::net::TcpStream;
use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay, set_tcp_user_timeout};

use self::admission::ConnectionAdmission;
use self::connection::{ClientConnection, ClientStream, ClientTimeouts};
use self::tls::TlsReloader;
use crate::config::{Config, LimitsConfig};
use crate::http::{self, Api, RequestConnection};
use crate::telemetry;

pub use self::listen::{ListenError, listen};

/// Bytes that a connection may buffer: one chunk of a download.
const WRITE_BUFFER: usize = 1 << 20;

/// How long to wait for what a client still sends after the last answer.
const LINGER: Duration = Duration::from_secs(1);

/// Descriptors that connections leave to files.
const SPARE_DESCRIPTORS: usize = 1000;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A file that the TLS settings name cannot be used.
    #[error("{key} ({}): {reason}", path.display())]
    Certificate {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
}

/// Checks that the files that the TLS settings name can be used, if they name any.
///
/// # Errors
/// Fails if a file cannot be read or used, or if the key does not belong to the certificate.
pub fn check_certificate(config: &Config) -> Result<(), TransportError> {
    TlsReloader::load(&config.tls).map(drop)
}

/// A listening socket, and the rules for its connections.
pub struct Transport {
    listener: TcpListener,
    address: SocketAddr,
    front: Arc<ConnectionAcceptor>,
    limits: LimitsConfig,
}

impl Transport {
    /// Listens, and reads the certificate.
    ///
    /// # Errors
    /// Fails if the address is taken or the TLS files cannot be used.
    pub fn bind(config: &Config) -> Result<Self, TransportError> {
        let cannot_listen = |error| ListenError::new(config.server.listen, "--listen", error);
        let tls = TlsReloader::load(&config.tls)?.map(Arc::new);
        let listener = listen(config.server.listen, "--listen")?;
        // Listens again, with the wanted backlog.
        rustix::net::listen(&listener, config.limits.backlog).map_err(|e| cannot_listen(e.into()))?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let limits = config.limits.clone();
        let admission =
            ConnectionAdmission::new(&limits, config.server.trusted_proxies.clone(), descriptors());
        let front =
            ConnectionAcceptor { tls, admission: Arc::new(admission), patience: ClientTimeouts::of(&limits) };
        Ok(Self { listener, address, front: Arc::new(front), limits })
    }

    /// Returns the scheme, address and port that clients use.
    pub fn origin(&self) -> String {
        let scheme = if self.front.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves the routes of `api`, and keeps the certificate up to date while the server runs.
    ///
    /// # Errors
    /// Fails if the socket cannot be used.
    pub fn serve(self, api: Api, workers: usize, grace: Duration) -> io::Result<Server> {
        let Self { listener, address, front, limits } = self;
        if let Some(tls) = front.tls.clone() {
            actix_web::rt::spawn(tls.keep_current());
        }
        let builder = Server::build()
            .workers(workers)
            // More than there can ever be, so that surplus connections are refused at once instead
            // of waiting.
            .max_concurrent_connections(usize::MAX >> 8)
            .shutdown_timeout(grace.as_secs())
            .disable_signals();
        let stopping = builder.graceful_shutdown_signal();
        let service = move || {
            let (front, stopping) = (front.clone(), stopping.clone());
            let app = App::new().configure(http::configure(api.clone())).default_service(http::not_found());
            let http = HttpService::build()
                .keep_alive(keep_alive(&limits))
                .client_request_timeout(limits.head_timeout.0)
                .client_disconnect_timeout(LINGER)
                .h1_write_buffer_size(WRITE_BUFFER)
                .local_addr(address)
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .on_connect_ext(|connection: &ClientConnection, data: &mut Extensions| {
                    data.insert::<RequestConnection>(connection.wire());
                })
                .h1(map_config(app, |()| AppConfig::default()));
            fn_service(move |stream: TcpStream| {
                let front = front.clone();
                async move { front.receive(stream).await.ok_or(()) }
            })
            .and_then(
                http.map_err(|error| tracing::debug!(%error, "a connection ended")).map_init_err(|_| ()),
            )
        };
        Ok(builder.listen("evanesce", listener, service)?.run())
    }
}

/// Accepts connections, before HTTP.
struct ConnectionAcceptor {
    tls: Option<Arc<TlsReloader>>,
    admission: Arc<ConnectionAdmission>,
    patience: ClientTimeouts,
}

impl ConnectionAcceptor {
    /// Turns a socket into a connection. Returns `None` if it is refused, which closes it.
    async fn receive(&self, stream: TcpStream) -> Option<(ClientConnection, Option<SocketAddr>)> {
        let peer = stream.peer_addr().ok()?;
        let place = match self.admission.admit(peer.ip()) {
            Ok(place) => place,
            Err(reason) => {
                telemetry::connection_refused(reason);
                forget(&stream);
                return None;
            }
        };
        self.set_options(&stream);
        let io = match &self.tls {
            None => ClientStream::Plain(stream),
            Some(tls) => ClientStream::Tls(Box::new(self.shake_hands(tls, stream).await?)),
        };
        Some((ClientConnection::new(io, peer.ip(), self.patience, place), Some(peer)))
    }

    async fn shake_hands(
        &self,
        tls: &TlsReloader,
        stream: TcpStream,
    ) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
        let handshake = tls.acceptor().accept(stream);
        let shaken = match self.patience.head {
            None => handshake.await,
            Some(patience) => match tokio::time::timeout(patience, handshake).await {
                Ok(shaken) => shaken,
                Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
            },
        };
        shaken
            .inspect_err(|error| {
                telemetry::connection_refused("handshake");
                tracing::debug!(%error, "a TLS handshake failed");
            })
            .ok()
    }

    fn set_options(&self, stream: &TcpStream) {
        // The head and body of a small file are two writes: the second must not wait for an ACK.
        let mut set = set_tcp_nodelay(stream, true);
        if let Some(patience) = self.patience.write {
            // This also limits what the system holds for a client that takes nothing.
            let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
            set = set.and(set_tcp_user_timeout(stream, milliseconds));
        }
        if let Err(error) = set {
            tracing::debug!(%error, "an option of a socket could not be set");
        }
    }
}

/// Lets the system drop what it holds for a socket as soon as that is closed.
fn forget(stream: &TcpStream) {
    if let Err(error) = set_socket_linger(stream, Some(Duration::ZERO)) {
        tracing::debug!(%error, "an option of a socket could not be set");
    }
}

/// Returns whether connections carry several requests. [`ClientConnection`] decides how long to wait for
/// them.
fn keep_alive(limits: &LimitsConfig) -> KeepAlive {
    if limits.keep_alive.0.is_zero() { KeepAlive::Disabled } else { KeepAlive::Os }
}

/// Returns how many connections the limit of open files allows.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    limit.saturating_sub(SPARE_DESCRIPTORS).max(limit / 2)
}
