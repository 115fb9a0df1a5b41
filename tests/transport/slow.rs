//! Clients that take their time: each of them is sent away in time, and the others are answered
//! meanwhile.

use super::*;

/// Short times, so that nobody waits long for the end of it.
fn hasty() -> Setup {
    Setup::new().set("limits.head_timeout=2s").set("limits.keep_alive=1s").set("limits.write_timeout=2s")
}

/// Sends a byte now and then until the server has had enough; gives what it answered, and how long
/// it took.
fn trickle(
    mut stream: impl Read + Write,
    bytes: impl IntoIterator<Item = u8>,
    socket: &TcpStream,
) -> (Vec<u8>, Duration) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let began = Instant::now();
    let mut answered = Vec::new();
    let mut buffer = [0; 4096];
    for byte in bytes {
        assert!(began.elapsed() < PATIENCE, "it goes on and on: {}", answered.escape_ascii());
        if stream.write_all(&[byte]).and_then(|()| stream.flush()).is_err() {
            break;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => answered.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    (answered, began.elapsed())
}

/// The bytes of a head that never ends.
fn endless_head() -> impl Iterator<Item = u8> {
    b"GET /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\nX: "
        .iter()
        .copied()
        .chain(std::iter::repeat(b'x'))
}

#[test]
fn a_first_head_that_comes_byte_by_byte_is_cut_off() {
    let setup = hasty();
    let server = setup.start();
    let stream = tcp(&server);
    let (answer, took) = trickle(&stream, endless_head(), &stream);
    assert_eq!(statuses(&answer), [408]);
    assert!(took >= Duration::from_millis(1900), "{took:?}");
}

#[test]
fn a_second_head_that_comes_byte_by_byte_is_cut_off_as_well() {
    let setup = hasty();
    let server = setup.start();
    let mut stream = tcp(&server);
    assert_eq!(ask(&mut stream, METADATA).0, 200);
    let (answer, took) = trickle(&stream, endless_head(), &stream);
    assert!(statuses(&answer).is_empty(), "{}", answer.escape_ascii());
    assert!(took >= Duration::from_millis(1900), "{took:?}");
    eventually("the account of it", || {
        (server.metric("evanesce_refused_connections_total") >= 1.0).then_some(())
    });
}

#[test]
fn a_connection_that_asks_for_nothing_is_closed_in_time_and_one_that_asks_goes_on() {
    let setup = hasty();
    let server = setup.start();
    let (mut idle, mut silent) = (tcp(&server), tcp(&server));
    assert_eq!(ask(&mut idle, METADATA).0, 200);
    let (rest, took) = timed(|| read_all(&mut idle));
    assert_eq!(rest, b"");
    assert!(took >= Duration::from_millis(900), "{took:?}");
    // Longer than any of the times, with a request now and then. If the machine stands still
    // meanwhile, this client is idle as well: then it begins again.
    let (mut busy, mut began, mut asked) = (tcp(&server), Instant::now(), Instant::now());
    assert_eq!(ask(&mut busy, METADATA).0, 200);
    while began.elapsed() < Duration::from_secs(4) {
        std::thread::sleep(Duration::from_millis(300));
        if asked.elapsed() > Duration::from_millis(700) {
            busy = tcp(&server);
            began = Instant::now();
        }
        asked = Instant::now();
        assert_eq!(ask(&mut busy, METADATA).0, 200);
    }
    // Who has never said anything has gone meanwhile, with a 408.
    assert_eq!(statuses(&read_all(&mut silent)), [408]);
}

#[test]
fn how_long_a_connection_may_be_idle_is_told() {
    let setup = Setup::new();
    let server = setup.start();
    let (_, head, _) = ask(&mut tcp(&server), METADATA);
    assert_eq!(field(&head, "keep-alive"), Some("timeout=75"), "longer than load balancers wait: {head}");
    let refused = b"PUT /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(field(&ask(&mut tcp(&server), refused).1, "keep-alive"), Some("timeout=75"));
    for request in [
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
    ] {
        let (_, head, _) = ask(&mut tcp(&server), request.as_bytes());
        assert_eq!(field(&head, "keep-alive"), None, "{head}");
    }
    for (setting, told) in [("limits.keep_alive=90s", Some("timeout=90")), ("limits.keep_alive=0s", None)] {
        let setup = Setup::new().set(setting);
        let server = setup.start();
        assert_eq!(field(&ask(&mut tcp(&server), METADATA).1, "keep-alive"), told, "{setting}");
    }
}

#[test]
fn the_rest_of_a_body_that_nobody_wants_is_not_waited_for() {
    let setup = hasty();
    let server = setup.start();
    let mut stream = tcp(&server);
    let head = "POST /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(ask(&mut stream, head.as_bytes()).0, 405);
    let chunks = std::iter::repeat(*b"1\r\nx\r\n").flatten();
    trickle(&stream, chunks, &stream);
}

#[test]
fn a_body_of_a_kick_off_that_comes_byte_by_byte_is_cut_off() {
    let setup = hasty().set("limits.body_timeout=3s");
    let server = setup.start();
    let mut stream = tcp(&server);
    let head = "POST /r4/default/$export HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nPrefer: respond-async\r\n\
                Content-Type: application/fhir+json\r\nContent-Length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // Its own time: others are answered meanwhile.
    assert_eq!(get(&format!("{}/metadata", server.base)).status, 200);
    let began = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = Vec::new();
    while answer.is_empty() {
        assert!(began.elapsed() < PATIENCE);
        let _ = stream.write_all(b" ");
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(e) => assert!(matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{e}"),
        }
    }
    assert_eq!(statuses(&answer), [408]);
}

#[test]
fn slow_tls_handshakes_are_cut_off_and_honest_ones_get_through() {
    let identity = Identity::new();
    let setup = identity.setup().set("limits.head_timeout=3s").set("limits.keep_alive=1s");
    let server = setup.start();
    // More than the library would shake hands with at once.
    let mut held: Vec<_> = (0..600).map(|_| tcp(&server)).collect();
    let first = tcp(&server);
    let record = [22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    let bytes = record.into_iter().chain(std::iter::repeat(7));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| trickle(&first, bytes, &first));
        assert_eq!(ask(&mut identity.connect(&server).unwrap(), METADATA).0, 200);
        assert!(!slow.is_finished(), "it waited for the slow ones");
        assert!(slow.join().unwrap().1 >= Duration::from_secs(1));
    });
    for stream in &mut held {
        assert_eq!(read_all(stream), b"");
    }
    // A second head that is slow, over TLS.
    let mut stream = identity.connect(&server).unwrap();
    assert_eq!(ask(&mut stream, METADATA).0, 200);
    let socket = stream.sock.try_clone().unwrap();
    trickle(stream, endless_head(), &socket);
}

#[test]
fn two_hundred_slow_heads_hold_nobody_up_and_are_gone_in_time() {
    let setup = hasty();
    let server = setup.start();
    let slow: Vec<_> = (0..200).map(|_| tcp(&server)).collect();
    let began = Instant::now();
    let (mut gone, mut answered) = (0, 0);
    let mut bytes = endless_head();
    let mut open: Vec<_> = slow.iter().collect();
    while !open.is_empty() {
        assert!(began.elapsed() < PATIENCE, "{} of 200 are still there", open.len());
        let byte = bytes.next().unwrap();
        // Whoever was answered 408 has been closed, or will be by the next byte.
        open.retain(|stream| {
            let mut stream = *stream;
            stream.set_nonblocking(true).unwrap();
            let is_gone = stream.read(&mut [0; 1024]).is_ok() || stream.write_all(&[byte]).is_err();
            gone += usize::from(is_gone);
            !is_gone
        });
        assert_eq!(get(&format!("{}/metadata", server.base)).status, 200);
        answered += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(gone, 200);
    // One that waits for the slow ones is answered when they are gone.
    assert!(answered > 2, "{answered} were answered meanwhile");
    assert!(began.elapsed() >= Duration::from_secs(2), "they were given their time");
}

/// How many files of exports the server has open.
fn open_files(server: &Server) -> usize {
    let ready = server.data_dir.join("ready");
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    targets
        .filter(|target| target.to_string_lossy().ends_with(".ndjson") && target.starts_with(&ready))
        .count()
}

pub fn resident(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A file that is larger than all buffers, as the path of its URL and its length.
fn big_file(server: &Server) -> (String, usize) {
    let (_, manifest) = server.export("$export");
    let url = manifest["output"][0]["url"].as_str().unwrap();
    let length = send("HEAD", url, &[]).header("content-length").parse().unwrap();
    (format!("/r4{}", url.split_once("/r4").unwrap().1), length)
}

fn begin(server: &Server, path: &str, fields: &str) -> TcpStream {
    let mut stream = tcp(server);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    stream
}

#[test]
fn g_11_who_does_not_read_its_download_is_cut_and_what_it_held_is_let_go_of() {
    let setup = hasty().source(crate::api::cut::big_source());
    let server = setup.start();
    let (path, length) = big_file(&server);
    eventually("the export's own files", || (open_files(&server) == 0).then_some(()));
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let held: Vec<_> = (0..30).map(|_| begin(&server, &path, "")).collect();
        assert!(open_files(&server) >= 30, "{}", open_files(&server));
        eventually("the end of the downloads", || (open_files(&server) == 0).then_some(()));
        sizes.push(resident(&server) >> 20);
        for mut stream in held {
            let got = read_all(&mut stream).len();
            assert!(got < length, "{got} of {length}: the client sees a failed transfer");
        }
    }
    eventually("the account of it", || {
        (server.metric("evanesce_refused_connections_total{reason=\"write\"}") >= 1.0).then_some(())
    });
    let line = |message: &str| {
        eventually(message, || setup.log().lines().find(|line| line.contains(message)).map(str::to_string))
    };
    assert!(line("takes nothing of its answer").contains("127.0.0.1"));
    let broken_off: serde_json::Value = serde_json::from_str(&line("a download broke off")).unwrap();
    assert!(path.contains(broken_off["job"].as_str().unwrap()) && broken_off["sent"].as_u64() > Some(0));
    assert!(broken_off["span"]["request_id"].is_string(), "{broken_off}");
    // Each of them had 1 MiB to send and more: what was not let go of would add up, once the
    // allocator of each thread has its share.
    assert!(sizes[5] < sizes[2] + 60, "{sizes:?} MiB");
    // The last of the file is deleted as ever.
    assert_eq!(get(&format!("{}/metadata", server.base)).status, 200);
}

#[test]
fn so_many_downloads_are_open_at_once_and_more_when_one_ends() {
    let setup = Setup::new().source(crate::api::cut::big_source()).set("limits.downloads=3");
    let server = setup.start();
    let (path, _) = big_file(&server);
    let url = format!("http://{}{path}", address(&server));
    let mut held: Vec<_> = (0..3).map(|_| begin(&server, &path, "")).collect();
    let refused = get(&url);
    assert_eq!(refused.outcome(), (429, "throttled".into()));
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(send("HEAD", &url, &[]).status, 200, "this holds nothing");
    held.pop();
    eventually("a place", || (get(&url).status == 200).then_some(()));
}

#[test]
fn who_reads_slowly_but_reads_gets_its_download_whole() {
    let setup = Setup::new().source(crate::api::cut::big_source()).set("limits.keep_alive=100ms");
    let server = setup.start();
    let (path, length) = big_file(&server);
    let mut stream = tcp(&server);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (mut got, mut buffer) = (0, vec![0; 2 << 20]);
    // The last megabytes stand in buffers while the client sleeps, for longer than it may be idle.
    while got < length {
        if got > length - (6 << 20) {
            std::thread::sleep(Duration::from_millis(1300));
        }
        let until = length.min(got + buffer.len());
        while got < until {
            let n = stream.read(&mut buffer).unwrap();
            assert!(n > 0, "{got} of {length}");
            got += n;
        }
    }
}

#[test]
fn an_answer_that_takes_the_server_its_time_is_no_idleness_of_the_client() {
    // What is hard to compress.
    let source = tempfile::tempdir().unwrap();
    let mut noise = 1_u32;
    let mut letter = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'A' + (noise >> 24) as u8 % 58).to_string().replace('\\', "x")
    };
    let data: String = (0..1 << 20).map(|_| letter()).collect();
    let line = format!("{{\"resourceType\":\"Media\",\"data\":\"{data}\"}}\n");
    let keep_alive = Duration::from_millis(300);
    // As many lines as it takes to keep this machine busy for longer than the client may be idle.
    for lines in [32, 128, 512, 2048] {
        std::fs::write(source.path().join("Media.ndjson"), line.repeat(lines)).unwrap();
        let setup = Setup::new().source(source.path()).set("download.compression_level=9");
        let setup = setup.set(&format!("limits.keep_alive={}ms", keep_alive.as_millis()));
        let server = setup.start();
        let (path, _) = big_file(&server);
        let mut stream = tcp(&server);
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n");
        let began = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let mut end = Vec::new();
        let mut buffer = [0; 1 << 16];
        while !end.ends_with(b"\r\n0\r\n\r\n") {
            let n = stream.read(&mut buffer).unwrap();
            assert!(n > 0);
            end.extend_from_slice(&buffer[..n]);
        }
        let took = began.elapsed();
        assert_eq!(ask(&mut stream, METADATA).0, 200, "the connection goes on");
        if took > 2 * keep_alive {
            return;
        }
    }
    panic!("no answer took the server its time");
}

#[test]
fn with_0_a_slow_client_has_all_the_time_there_is() {
    let setup = hasty().set("limits.head_timeout=0s").set("limits.write_timeout=0s");
    let server = setup.start();
    let mut stream = tcp(&server);
    stream.write_all(&METADATA[..20]).unwrap();
    // Longer than the times of the others here.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(ask(&mut stream, &METADATA[20..]).0, 200);
    // Without keep-alive each connection is closed after its answer.
    let setup = Setup::new().set("limits.keep_alive=0s");
    let server = setup.start();
    let mut stream = tcp(&server);
    assert_eq!(ask(&mut stream, METADATA).0, 200);
    assert_eq!(read_all(&mut stream), b"");
}
