//! Ten thousand connections at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

const MANY: usize = 10_000;

/// How long each of so many requests took, in order.
fn answers(server: &Server, count: usize) -> Vec<Duration> {
    let url = format!("{}/metadata", server.base);
    let one = || {
        let (answer, took) = timed(|| get(&url));
        assert_eq!(answer.status, 200);
        took
    };
    std::iter::repeat_with(one).take(count).collect()
}

#[test]
fn ten_thousand_open_connections_hold_nobody_up_and_cost_little() {
    let limit = getrlimit(Resource::Nofile);
    let needed = MANY as u64 + 1500;
    if limit.maximum.is_some_and(|most| most < needed) {
        let why = format!("there may be but {:?}", limit.maximum);
        return skip(Need::OpenFiles, "ten thousand connections", &why);
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let setup = Setup::new()
        .set(&format!("limits.connections={}", MANY + 100))
        .set("limits.head_timeout=300s")
        .set("limits.keep_alive=300s");
    let server = setup.start();
    assert_eq!(get(&format!("{}/metadata", server.base)).status, 200);
    let before = slow::resident(&server);
    let alone = answers(&server, 50).into_iter().max().unwrap();
    let mut held = Vec::with_capacity(MANY);
    for n in 0..MANY {
        // There are but 28,000 ports an address; and the server has to come along.
        let mut stream = tcp_from(&server, 1 + (n % 4) as u8).unwrap();
        if n % 2 == 0 {
            stream.write_all(&METADATA[..30]).unwrap();
        }
        if n % 10 == 1 {
            assert_eq!(ask(&mut stream, METADATA).0, 200);
        }
        held.push(stream);
    }
    eventually("all of them", || (server.metric("evanesce_connections") >= MANY as f64).then_some(()));
    let mut times = answers(&server, 200);
    times.sort_unstable();
    let each = (slow::resident(&server) - before) / MANY;
    println!("{each} bytes a connection; p50 {:?}, p99 {:?}", times[100], times[198]);
    assert!(each < 64 << 10, "{each} bytes a connection");
    // What a busy machine takes by itself is no fault of the connections.
    assert!(times[198] < Duration::from_secs(1).max(20 * alone), "{:?} and {alone:?} alone", times[198]);
    // One too many is refused, and those that are there go on.
    assert_eq!(ask(&mut held[0], &METADATA[30..]).0, 200);
    drop(held);
    eventually("their end", || (server.metric("evanesce_connections") < 10.0).then_some(()));
}
