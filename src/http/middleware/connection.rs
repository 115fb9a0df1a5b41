//! What a request's connection is to the HTTP face: from where it comes, whether it is TLS, and
//! whether an answer is under way on it. `transport` gives each connection one; in a host's own
//! server there is none, and the peer address of the request is all that is known.

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

/// A connection, seen from its requests.
#[derive(Clone)]
pub struct RequestConnection {
    /// Who is at its other end: the client, or the last proxy.
    pub peer: IpAddr,
    /// Whether it is TLS.
    pub is_tls: bool,
    /// What goes on.
    pub activity: Rc<ConnectionActivity>,
}

/// Whether answers are under way on a connection.
#[derive(Debug)]
pub struct ConnectionActivity {
    has_begun: Cell<bool>,
    under_way: Cell<usize>,
    since: Cell<Instant>,
}

impl ConnectionActivity {
    /// Idle from now on.
    pub fn new() -> Rc<Self> {
        let since = Cell::new(Instant::now());
        Rc::new(Self { has_begun: Cell::new(false), under_way: Cell::new(0), since })
    }

    /// Whether there was a request at all.
    pub fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// Since when nothing is asked for; `None` while an answer is under way.
    pub fn idle_since(&self) -> Option<Instant> {
        (self.under_way.get() == 0).then(|| self.since.get())
    }

    /// A request came; it is under way until what is given is dropped.
    pub fn begin(self: &Rc<Self>) -> RunningRequest {
        self.has_begun.set(true);
        self.under_way.set(self.under_way.get() + 1);
        RunningRequest(self.clone())
    }
}

/// See [`ConnectionActivity::begin`].
pub struct RunningRequest(Rc<ConnectionActivity>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.since.set(Instant::now());
    }
}

/// A body that is under way until it is dropped.
pub struct TrackedBody {
    body: BoxBody,
    _under_way: Option<RunningRequest>,
}

impl TrackedBody {
    /// `body`, until whose end the request is under way.
    pub fn new(body: BoxBody, under_way: Option<RunningRequest>) -> Self {
        Self { body, _under_way: under_way }
    }
}

impl MessageBody for TrackedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
