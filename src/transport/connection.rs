//! A connection, and how long it may keep the server waiting. The HTTP library has a timer for the
//! first head of a connection, but none for a second head that comes byte by byte, for the rest of
//! an unwanted body, or for a client that does not read. Its idle timer begins while the last
//! megabyte is still on its way. These timers are here. They depend on the bytes and on whether an
//! answer is under way ([`ConnectionActivity`]).

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::admission::ConnectionPermit;
use super::forget;
use crate::config::LimitsConfig;
use crate::http::{ConnectionActivity, RequestConnection};
use crate::telemetry;

/// How long the server waits for a client; `None` = for ever.
#[derive(Debug, Clone, Copy)]
pub struct ClientTimeouts {
    /// For a TLS handshake, and for the head of a request.
    pub head: Option<Duration>,
    /// For the next request to begin.
    pub keep_alive: Duration,
    /// For the client to take some of the answer.
    pub write: Option<Duration>,
}

impl ClientTimeouts {
    /// Reads the timeouts from the settings.
    pub fn of(limits: &LimitsConfig) -> Self {
        let unless_zero = |time: Duration| Some(time).filter(|time| !time.is_zero());
        Self {
            head: unless_zero(limits.head_timeout.0),
            keep_alive: limits.keep_alive.0,
            write: unless_zero(limits.write_timeout.0),
        }
    }

    /// Returns how often to check, at least.
    fn tick(&self) -> Duration {
        let times = [self.head, Some(self.keep_alive)].into_iter().flatten();
        times.filter(|time| !time.is_zero()).min().unwrap_or(Duration::from_secs(1))
    }
}

/// How much earlier the library's 408 comes than the end of the connection.
const COURTESY: Duration = Duration::from_secs(1);

/// What carries the bytes.
pub enum ClientStream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A client's connection with its timers.
pub struct ClientConnection {
    io: ClientStream,
    peer: IpAddr,
    patience: ClientTimeouts,
    activity: Rc<ConnectionActivity>,
    /// When the client last sent something.
    heard: Instant,
    /// When the client last took something.
    written: Instant,
    /// Fires when the connection may have been idle for too long.
    timer: Pin<Box<Sleep>>,
    /// Fires when the client has taken nothing for too long. Set while it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: ConnectionPermit,
}

impl ClientConnection {
    /// Creates a connection that waits for its first request.
    pub fn new(io: ClientStream, peer: IpAddr, patience: ClientTimeouts, place: ConnectionPermit) -> Self {
        let now = Instant::now();
        let timer = Box::pin(sleep(patience.tick()));
        let activity = ConnectionActivity::new();
        Self { io, peer, patience, activity, heard: now, written: now, timer, stalled: None, _place: place }
    }

    /// Returns what requests see of the connection.
    pub fn wire(&self) -> RequestConnection {
        let is_tls = matches!(self.io, ClientStream::Tls(_));
        RequestConnection { peer: self.peer, is_tls, activity: self.activity.clone() }
    }

    fn stream(&self) -> &TcpStream {
        match &self.io {
            ClientStream::Plain(stream) => stream,
            ClientStream::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Returns when to stop waiting for the client's request; `None` if it is not the client's
    /// turn.
    fn deadline(&self) -> Option<Instant> {
        let idle = Instant::from_std(self.activity.idle_since()?);
        if self.stalled.is_some() {
            return None;
        }
        let since = idle.max(self.written);
        let ClientTimeouts { head, keep_alive, .. } = self.patience;
        if !self.activity.has_begun() {
            Some(since + head? + COURTESY)
        } else if self.heard > idle {
            Some(since + keep_alive + head? + COURTESY)
        } else {
            Some(since + keep_alive)
        }
    }

    /// Called when there is nothing to read. After too long, behaves as if the client had closed
    /// the connection.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            match self.deadline() {
                Some(deadline) if deadline <= now => {
                    telemetry::connection_refused("idle");
                    return Poll::Ready(Ok(()));
                }
                Some(deadline) => self.timer.as_mut().reset(deadline),
                None => self.timer.as_mut().reset(now + self.patience.tick()),
            }
        }
        Poll::Pending
    }

    /// Watches the attempts to write. Fails if none has made progress for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            // A write that did not wait says nothing: each poll of the connection flushes it.
            if self.stalled.take().is_some() {
                self.written = Instant::now();
            }
            return written;
        }
        let Some(patience) = self.patience.write else { return Poll::Pending };
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        timer.as_mut().poll(context).map(|()| {
            telemetry::connection_refused("write");
            tracing::warn!(peer = %self.peer, ?patience, "a client takes nothing of its answer: the connection is cut");
            forget(self.stream());
            Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing"))
        })
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = match &mut self.io {
            ClientStream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            ClientStream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if read.is_pending() {
            return self.poll_idle(context);
        }
        self.heard = Instant::now();
        read
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.io {
            ClientStream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.io {
            ClientStream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        };
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            ClientStream::Plain(stream) => stream.is_write_vectored(),
            ClientStream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.io {
            ClientStream::Plain(stream) => Pin::new(stream).poll_flush(context),
            ClientStream::Tls(stream) => Pin::new(stream).poll_flush(context),
        };
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = match &mut self.io {
            ClientStream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            ClientStream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        };
        self.watch(context, closed)
    }
}

impl ActixStream for ClientConnection {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.stream(), context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.stream(), context)
    }
}
