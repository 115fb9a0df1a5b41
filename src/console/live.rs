//! Parts of a page that change by themselves, by server-sent events. A part has an id and a URL; the script
//! replaces what differs in it with what the URL sends. Without the script the page is as it was made.
//!
//! A part is made once a second, however many follow it, and only while somebody does: streams with the same
//! URL share one maker. So a part is the same for everybody and has no form. A stream holds nothing but its
//! permit: a reader who takes nothing for half a minute is left, and one part at most waits for it. A stream
//! ends with its session and with the server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{Error, HttpRequest, HttpResponse};
use futures_util::StreamExt;
use maud::{Markup, html};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::error::ConsoleError;
use super::session::SessionKey;
use super::visit::Visit;
use super::{Console, PageResult};
use crate::telemetry;

/// The most streams at once, and so the most parts that are made. A page that is not looked at closes its own.
pub const MOST_STREAMS: usize = 32;

/// How often a part is made again.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often a part is made again that takes long.
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);

/// How many times as long as all parts take they rest, within the intervals above: together they take a
/// twentieth of a core.
const REST: u32 = 20;

/// The longest time without a line: proxies close connections that are quiet, and a reader who has gone shows
/// by a line that cannot be sent.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// The media type of a stream.
const EVENT_STREAM: &str = "text/event-stream";

/// Returns a part with this id, which follows the stream at `url`.
pub fn part(id: &str, url: &str, content: Markup) -> Markup {
    html! { div id=(id) data-live=(url) { (content) } }
}

/// Returns whether a request wants a stream.
pub fn is_wanted_by(request: &HttpRequest) -> bool {
    request.headers().get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == EVENT_STREAM.as_bytes())
}

/// Answers with a stream of what `make` returns. It is not called if somebody follows the part at `url` already.
///
/// # Errors
/// Fails if there are as many streams as there may be.
pub fn stream<F>(visit: &Visit, url: &str, make: impl Fn() -> F + 'static) -> PageResult
where
    F: Future<Output = Markup> + 'static,
{
    let console = visit.console.clone();
    let permit = console.0.streams.clone().try_acquire_owned();
    let permit = permit.map_err(|_| ConsoleError::TooManyStreams)?;
    let part = console.0.parts.follow(url, make);
    let (sender, mut receiver) = mpsc::channel(1);
    let session = visit.session.key;
    actix_web::rt::spawn(async move {
        let _permit = permit;
        feed(&console, &session, &sender, part).await;
    });
    let events = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, EVENT_STREAM))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // nginx would collect the events.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events.map(Ok::<_, Error>)))
}

/// Sends a part to one reader whenever it has changed.
async fn feed(console: &Console, session: &SessionKey, sender: &mpsc::Sender<Bytes>, mut part: PartEvents) {
    let mut last_line = Instant::now();
    loop {
        let is_changed = tokio::select! {
            changed = part.changed() => {
                // Its maker has gone, and the browser asks again.
                if changed.is_err() {
                    return;
                }
                true
            }
            () = sleep(INTERVAL) => false,
            () = console.0.closed.cancelled() => {
                let _ = sender.try_send(event("stop", "The server is stopping."));
                return;
            }
            () = sender.closed() => return,
        };
        if !console.0.sessions.is_open(session, Instant::now()) {
            let _ = timeout(PATIENCE, sender.send(event("end", "You are signed out."))).await;
            return;
        }
        let line = if is_changed {
            part.borrow_and_update().clone()
        } else {
            (last_line.elapsed() >= HEARTBEAT).then(|| Bytes::from_static(b":\n\n"))
        };
        if let Some(line) = line {
            last_line = Instant::now();
            if !matches!(timeout(PATIENCE, sender.send(line)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// The event with what a part shows now; `None` until it is made for the first time.
type PartEvents = watch::Receiver<Option<Bytes>>;

/// Where a maker puts them.
type PartSender = Arc<watch::Sender<Option<Bytes>>>;

/// The parts that are followed, by their URLs. Clones share them.
#[derive(Clone, Default)]
pub struct LiveParts(Arc<Mutex<HashMap<String, PartSender>>>);

impl LiveParts {
    /// Returns the events of the part at `url`. The first who follows it starts its maker.
    fn follow<F>(&self, url: &str, make: impl Fn() -> F + 'static) -> PartEvents
    where
        F: Future<Output = Markup> + 'static,
    {
        let mut followed = self.0.lock();
        if let Some(events) = followed.get(url) {
            let mut events = events.subscribe();
            events.mark_changed();
            return events;
        }
        let (sender, events) = watch::channel(None);
        let maker = PartMaker { url: url.to_owned(), sender: Arc::new(sender), parts: self.clone() };
        followed.insert(maker.url.clone(), maker.sender.clone());
        actix_web::rt::spawn(maker.run(make));
        events
    }
}

/// Returns how long a part rests that took so long to make, if so many are followed.
fn rest(took: Duration, followed: usize) -> Duration {
    let parts = u32::try_from(followed).unwrap_or(u32::MAX);
    took.saturating_mul(REST).saturating_mul(parts).clamp(INTERVAL, LONGEST_INTERVAL)
}

/// Makes a part for all who follow it.
struct PartMaker {
    url: String,
    sender: PartSender,
    parts: LiveParts,
}

impl PartMaker {
    /// Makes the part again and again, until nobody follows it.
    async fn run<F: Future<Output = Markup>>(self, make: impl Fn() -> F) {
        loop {
            let tick = async {
                let began = Instant::now();
                let made = event("part", &make().await.into_string());
                telemetry::console_part_made();
                self.sender.send_if_modified(|shown| {
                    let is_changed = shown.as_ref() != Some(&made);
                    *shown = Some(made);
                    is_changed
                });
                let followed = self.parts.0.lock().len();
                sleep(rest(began.elapsed(), followed)).await;
            };
            tokio::select! {
                () = tick => {}
                () = self.left() => return,
            }
        }
    }

    /// Waits until nobody follows the part. Who comes later starts another maker.
    async fn left(&self) {
        loop {
            self.sender.closed().await;
            let mut followed = self.parts.0.lock();
            if self.sender.receiver_count() == 0 {
                followed.remove(&self.url);
                return;
            }
        }
    }
}

impl Drop for PartMaker {
    /// A maker that ends in any other way leaves nobody waiting for it.
    fn drop(&mut self) {
        let mut followed = self.parts.0.lock();
        if followed.get(&self.url).is_some_and(|sender| Arc::ptr_eq(sender, &self.sender)) {
            followed.remove(&self.url);
        }
    }
}

/// Returns an event. Its data is a JSON string: text may have line breaks, which would end the data.
fn event(name: &str, text: &str) -> Bytes {
    let data = serde_json::Value::from(text);
    format!("event: {name}\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Returns what makes a part that shows how often it was made.
    fn counting(made: &Rc<Cell<u32>>) -> impl Fn() -> std::future::Ready<Markup> + 'static {
        let made = made.clone();
        move || {
            made.set(made.get() + 1);
            std::future::ready(html! { (made.get()) })
        }
    }

    /// Runs a test where makers can be started.
    fn run(test: impl Future<Output = ()>) {
        actix_web::rt::System::new().block_on(test);
    }

    #[test]
    fn p13_a_part_is_made_once_a_second_for_all_who_follow_it_and_then_no_more() {
        run(async {
            let (parts, made, began) = (LiveParts::default(), Rc::default(), Instant::now());
            let follow = || parts.follow("/a", counting(&made));
            let mut followers: Vec<_> = (0..MOST_STREAMS).map(|_| follow()).collect();
            while made.get() < 3 {
                for follower in &mut followers {
                    follower.changed().await.unwrap();
                    let shown = follower.borrow_and_update().clone().unwrap();
                    assert_eq!(shown, event("part", &made.get().to_string()));
                }
                assert!(u64::from(made.get()) <= 1 + began.elapsed().as_secs(), "{}", made.get());
            }

            // Who comes later sees at once what the others see.
            let mut late = follow();
            late.changed().await.unwrap();
            assert_eq!(*late.borrow(), *followers[0].borrow());
            let others = Rc::default();
            let mut other = parts.follow("/b", counting(&others));
            other.changed().await.unwrap();
            assert_eq!(parts.0.lock().len(), 2);

            drop((followers, late, other));
            while !parts.0.lock().is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
            let before = (made.get(), others.get());
            sleep(2 * INTERVAL).await;
            assert_eq!((made.get(), others.get()), before, "nobody follows them");
        });
    }

    #[test]
    fn who_follows_a_part_whose_maker_has_gone_is_told() {
        run(async {
            let parts = LiveParts::default();
            let mut events = parts.follow("/a", || async { panic!("it cannot be made") });
            assert!(events.changed().await.is_err());
            assert!(parts.0.lock().is_empty(), "the next one starts another maker");
        });
    }

    #[test]
    fn p13_parts_that_take_long_are_made_less_often_and_at_least_every_five_seconds() {
        let milliseconds = Duration::from_millis;
        assert_eq!(rest(milliseconds(3), 1), INTERVAL);
        assert_eq!(rest(milliseconds(100), 1), milliseconds(2000));
        assert_eq!(rest(milliseconds(3), MOST_STREAMS), milliseconds(1920));
        assert_eq!(rest(milliseconds(100), MOST_STREAMS), LONGEST_INTERVAL);
    }

    #[test]
    fn a_text_with_line_breaks_is_one_event() {
        assert_eq!(event("part", "a\r\nb\n\n\"c\""), "event: part\ndata: \"a\\r\\nb\\n\\n\\\"c\\\"\"\n\n");
    }
}
