//! The connection of a request: where it comes from, whether it is TLS, and whether an answer is under way
//! on it. `transport` attaches one to each connection. A host's own server attaches none; then only the
//! peer address of the request is known.

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

/// A connection as its requests see it.
#[derive(Clone)]
pub struct RequestConnection {
    /// The address at its other end: the client's, or the last proxy's.
    pub peer: IpAddr,
    /// Whether it is TLS.
    pub is_tls: bool,
    /// Its activity.
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
    /// Returns an activity that is idle from now on.
    #[cfg(feature = "cli")]
    pub fn new() -> Rc<Self> {
        let since = Cell::new(Instant::now());
        Rc::new(Self { has_begun: Cell::new(false), under_way: Cell::new(0), since })
    }

    /// Returns whether there was a request.
    pub fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// Returns since when the connection is idle; `None` while an answer is under way.
    #[cfg(feature = "cli")]
    pub fn idle_since(&self) -> Option<Instant> {
        (self.under_way.get() == 0).then(|| self.since.get())
    }

    /// Notes a request, which is under way until the returned guard is dropped.
    pub fn begin(self: &Rc<Self>) -> RunningRequest {
        self.has_begun.set(true);
        self.under_way.set(self.under_way.get() + 1);
        RunningRequest(self.clone())
    }
}

/// A request that is under way until this is dropped.
pub struct RunningRequest(Rc<ConnectionActivity>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.since.set(Instant::now());
    }
}

/// A body whose request is under way until it is dropped.
pub struct TrackedBody {
    body: BoxBody,
    _under_way: Option<RunningRequest>,
}

impl TrackedBody {
    /// Returns the body with the guard of its request.
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
