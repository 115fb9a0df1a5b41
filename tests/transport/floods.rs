//! Too many requests, too many connections, too many at once on one connection.

use super::*;

/// Nobody is exempt: the tests come from loopback.
fn strict() -> Setup {
    Setup::new().set("limits.exempt=")
}

#[test]
fn g_11_an_address_that_asks_too_often_gets_429_and_another_does_not() {
    let setup = strict().set("limits.requests_per_second_per_address=1");
    let server = setup.start();
    let mut stream = tcp_from(&server, 7).unwrap();
    let began = Instant::now();
    let refused = (0..200).find_map(|n| {
        let (status, head, body) = ask(&mut stream, METADATA);
        (status != 200).then_some((n, status, head, body))
    });
    let (n, status, head, body) = refused.expect("a refusal");
    let most = 11 + began.elapsed().as_secs();
    assert!((10..=most).contains(&n), "{n}: ten seconds' worth, and what came meanwhile");
    assert_eq!((status, field(&head, "retry-after")), (429, Some("1")));
    assert!(field(&head, "x-request-id").is_some());
    let outcome: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&outcome["resourceType"], &outcome["issue"][0]["code"]),
        (&"OperationOutcome".into(), &"throttled".into())
    );
    assert_eq!(ask(&mut tcp_from(&server, 8).unwrap(), METADATA).0, 200);
    // What no route leads to counts as well, and time heals.
    let nowhere = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!((0..200).any(|_| ask(&mut tcp_from(&server, 7).unwrap(), nowhere).0 == 429));
    eventually("the budget", || (ask(&mut tcp_from(&server, 7).ok()?, METADATA).0 == 200).then_some(()));
}

#[test]
fn by_default_loopback_has_no_limits_by_address() {
    let setup = Setup::new();
    let server = setup.start();
    let held: Vec<_> = (0..150).map(|_| tcp(&server)).collect();
    let mut stream = tcp(&server);
    for _ in 0..700 {
        assert_eq!(ask(&mut stream, METADATA).0, 200);
    }
    drop(held);
}

#[test]
fn an_address_has_so_many_connections_and_gets_new_ones_when_they_end() {
    let setup = strict().set("limits.connections_per_address=5");
    let server = setup.start();
    let mut held: Vec<_> = (0..5).map(|_| tcp_from(&server, 7).unwrap()).collect();
    for stream in &mut held {
        assert_eq!(ask(stream, METADATA).0, 200);
    }
    let answer = || {
        let mut stream = tcp_from(&server, 7).ok()?;
        stream.write_all(METADATA).ok()?;
        Some(statuses(&read_all(&mut stream))).filter(|statuses| !statuses.is_empty())
    };
    assert_eq!(answer(), None, "closed at once");
    assert_eq!(ask(&mut tcp_from(&server, 8).unwrap(), METADATA).0, 200, "another address");
    held.pop();
    eventually("a place", || {
        let mut stream = tcp_from(&server, 7).ok()?;
        stream.write_all(METADATA).ok()?;
        stream.read_exact(&mut [0; 12]).ok()
    });
}

#[test]
fn all_together_have_so_many_connections() {
    let setup = Setup::new().set("limits.connections=20");
    let server = setup.start();
    let mut held: Vec<_> = (0..20).map(|_| tcp(&server)).collect();
    for stream in &mut held {
        assert_eq!(ask(stream, METADATA).0, 200);
    }
    let mut more = tcp(&server);
    let _ = more.write_all(METADATA);
    assert_eq!(read_all(&mut more), b"");
    assert_eq!(ask(&mut held[0], METADATA).0, 200, "those that are there go on");
}

#[test]
fn a_tls_handshake_counts_as_a_connection() {
    let identity = Identity::new();
    let setup = identity.setup().set("limits.exempt=127.0.0.1").set("limits.connections_per_address=3");
    let server = setup.start();
    let open = || {
        let text = server.metrics();
        // Before the first connection there is no such line.
        let open = text.lines().find_map(|line| line.strip_prefix("evanesce_connections "));
        open.map_or(0, |open| open.parse::<usize>().unwrap())
    };
    // They say nothing at all.
    let held: Vec<_> = (0..3).map(|_| tcp_from(&server, 7).unwrap()).collect();
    eventually("the places to be taken", || (open() == 3).then_some(()));
    assert_eq!(read_all(&mut tcp_from(&server, 7).unwrap()), b"");
    assert_eq!(open(), 3, "it was refused at once, not when its handshake had taken too long");
    drop(held);
    eventually("their end", || (open() == 0).then_some(()));
}

#[test]
fn a_flood_of_requests_on_one_connection_is_answered_and_holds_nobody_up() {
    let setup = Setup::new();
    let server = setup.start();
    // All that the server reads at once, of answers that take their time.
    let flood = METADATA.repeat(20_000);
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let stream = tcp(&server);
        let (mut writing, mut reading) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = writing.write_all(&flood);
            });
            let answers = scope.spawn(move || statuses(&read_all(&mut reading)));
            for _ in 0..20 {
                assert_eq!(get(&server.base.replace("/r4/default", "/healthz")).status, 200);
                std::thread::sleep(Duration::from_millis(50));
            }
            sizes.push(slow::resident(&server) >> 20);
            stream.shutdown(std::net::Shutdown::Both).unwrap();
            let answers = answers.join().unwrap();
            assert!(answers.len() > 20 && answers.iter().all(|status| *status == 200), "{answers:?}");
        });
    }
    // What is still to be answered is not piled up. Each worker has its turn before that.
    assert!(sizes[3] < sizes[1] + 16, "{sizes:?} MiB");
}
