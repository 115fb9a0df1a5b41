//! The live parts of pages: how many may be followed, how often they are made, and when they end.

use std::time::Instant;

use super::http::{SignedIn, read_until, text};
use crate::support::*;

#[test]
fn p13_live_streams_are_bounded_and_end_with_the_session_and_with_the_server() {
    let setup = Setup::new();
    let mut server = setup.start();
    let signed_in = SignedIn::new(&server);
    let (mut streams, began) = (Vec::new(), Instant::now());
    for _ in 0..32 {
        let (mut stream, head) = signed_in.follow("/console/jobs/live");
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        if !head.contains("event: part") {
            assert!(read_until(&mut stream, "event: part").contains("There are no jobs"));
        }
        streams.push(stream);
    }
    // However many follow the page, it is made once a second.
    let made = server.metric("evanesce_console_parts_made_total");
    let most = 1.0 + began.elapsed().as_secs_f64();
    assert!((1.0..=most).contains(&made), "{made} in {:?}", began.elapsed());
    let (_, head) = signed_in.follow("/console/live");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    let refused = text(&signed_in.get("/console/live"));
    assert!(refused.contains("Too many pages are being watched. Close some of them."), "{refused}");
    // The pages themselves go on, and a stream that is left gives its place back.
    assert!(signed_in.page("/console").contains("every promise"));
    streams.truncate(16);
    eventually("a place for a stream", || {
        let (stream, head) = signed_in.follow("/console/live");
        head.starts_with("HTTP/1.1 200").then_some(stream)
    });

    // What happens shows by itself.
    let polling = server.kickoff("$export?_type=Patient");
    assert!(read_until(&mut streams[0], job_id(&polling)).contains(job_id(&polling)));
    server.wait_complete(&polling);

    let other = SignedIn::new(&server);
    let (mut stream, _) = other.follow("/console/live");
    assert_eq!(signed_in.post("/console/sign-out", "").status, 303);
    assert!(read_until(&mut streams[1], "event: end").contains("You are signed out."));
    server.signal(rustix::process::Signal::TERM);
    assert!(read_until(&mut stream, "event: stop").contains("The server is stopping."));
    assert!(server.wait_exit().success());
}
