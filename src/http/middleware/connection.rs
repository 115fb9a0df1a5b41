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
pub struct Wire {
    /// Who is at its other end: the client, or the last proxy.
    pub peer: IpAddr,
    /// Whether it is TLS.
    pub is_tls: bool,
    /// What goes on.
    pub activity: Rc<Activity>,
}

/// Whether answers are under way on a connection.
#[derive(Debug)]
pub struct Activity {
    has_begun: Cell<bool>,
    under_way: Cell<usize>,
    since: Cell<Instant>,
}

impl Activity {
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
    pub fn begin(self: &Rc<Self>) -> UnderWay {
        self.has_begun.set(true);
        self.under_way.set(self.under_way.get() + 1);
        UnderWay(self.clone())
    }
}

/// See [`Activity::begin`].
pub struct UnderWay(Rc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.since.set(Instant::now());
    }
}

/// A body that is under way until it is dropped.
pub struct Lasting {
    body: BoxBody,
    _under_way: Option<UnderWay>,
}

impl Lasting {
    /// `body`, until whose end the request is under way.
    pub fn new(body: BoxBody, under_way: Option<UnderWay>) -> Self {
        Self { body, _under_way: under_way }
    }
}

impl MessageBody for Lasting {
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
