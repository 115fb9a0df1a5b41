//! Parts of a page that change by themselves, by server-sent events. A part has an id and a URL; the script
//! replaces what differs in it with what the URL sends. Without the script the page is as it was made.
//!
//! A stream is a task that makes the part once a second and sends it if it changed. It holds nothing but
//! its permit: a reader who takes nothing for half a minute is left, and one part at most waits for it. A
//! stream ends with its session and with the server.

use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{Error, HttpRequest, HttpResponse};
use futures_util::StreamExt;
use maud::{Markup, html};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::error::ConsoleError;
use super::session::SessionKey;
use super::visit::Visit;
use super::{Console, PageResult};

/// The most streams at once. A page that is not looked at closes its own.
pub const MOST_STREAMS: usize = 32;

/// How often a part is made again.
const INTERVAL: Duration = Duration::from_secs(1);

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

/// Answers with a stream of what `make` returns.
///
/// # Errors
/// Fails if there are as many streams as there may be.
pub fn stream<F>(visit: &Visit, make: impl Fn() -> F + 'static) -> PageResult
where
    F: Future<Output = Markup> + 'static,
{
    let console = visit.console.clone();
    let permit = console.0.streams.clone().try_acquire_owned();
    let permit = permit.map_err(|_| ConsoleError::TooManyStreams)?;
    let (sender, mut receiver) = mpsc::channel(1);
    let session = visit.session.key;
    actix_web::rt::spawn(async move {
        let _permit = permit;
        feed(&console, &session, &sender, make).await;
    });
    let events = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, EVENT_STREAM))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // nginx would collect the events.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events.map(Ok::<_, Error>)))
}

async fn feed<F>(console: &Console, session: &SessionKey, sender: &mpsc::Sender<Bytes>, make: impl Fn() -> F)
where
    F: Future<Output = Markup>,
{
    let (mut shown, mut last_line) = (String::new(), Instant::now());
    loop {
        if !console.0.sessions.is_open(session, Instant::now()) {
            let _ = timeout(PATIENCE, sender.send(event("end", "You are signed out."))).await;
            return;
        }
        let made = make().await.into_string();
        let line = if made != shown {
            shown = made;
            Some(event("part", &shown))
        } else {
            (last_line.elapsed() >= HEARTBEAT).then(|| Bytes::from_static(b":\n\n"))
        };
        if let Some(line) = line {
            last_line = Instant::now();
            if !matches!(timeout(PATIENCE, sender.send(line)).await, Ok(Ok(()))) {
                return;
            }
        }
        tokio::select! {
            () = sleep(INTERVAL) => {}
            () = console.0.closed.cancelled() => {
                let _ = sender.try_send(event("stop", "The server is stopping."));
                return;
            }
            () = sender.closed() => return,
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
    use super::*;

    #[test]
    fn a_text_with_line_breaks_is_one_event() {
        assert_eq!(event("part", "a\r\nb\n\n\"c\""), "event: part\ndata: \"a\\r\\nb\\n\\n\\\"c\\\"\"\n\n");
    }
}
