//! Honest clients beside slow ones: how long they wait for an answer, and what a thousand slow
//! connections cost the server, against none in the same run.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::server::Server;
use crate::source::generate;
use crate::{Args, summary};

const SLOW: usize = 1000;

/// The beginning of a head, of which more comes a byte at a time.
const HEAD: &str = "GET /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\nX: ";

/// Nobody, slow heads, slow second heads, and downloads that are not read, in turn.
pub fn beside(args: &Args) {
    let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
    let source = folder.path().join("source");
    generate(args, &source, 2000, &[]);
    let rounds = if args.quick { 500 } else { 5000 };
    // As long as the measurement takes, slow clients are not sent away.
    let sets = ["limits.head_timeout=10min", "limits.write_timeout=10min", "limits.keep_alive=10min"];
    let server = Server::start(&args.server, folder.path(), &source, &sets);
    server.wait_indexed();
    let address = server.base.split('/').nth(2).expect("an address").to_owned();
    let file = file(&server);
    println!("\n{rounds} requests of metadata, each on a new connection, beside {SLOW} slow clients");
    measure(&server, "nobody else, to warm up", rounds);
    measure(&server, "nobody else", rounds);
    let connect = || TcpStream::connect(&address).expect("a connection");
    let begun = |text: &str| {
        let mut stream = connect();
        stream.write_all(text.as_bytes()).expect("to be heard");
        stream
    };
    beside_these(&server, "heads of a byte a second", rounds, || begun(HEAD), true);
    let second = || {
        let mut stream = begun("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let _ = stream.read(&mut [0; 4096]).expect("an answer");
        stream.write_all(HEAD.as_bytes()).expect("to be heard");
        stream
    };
    beside_these(&server, "second heads of a byte a second", rounds, second, true);
    let download = || begun(&format!("GET {file} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    beside_these(&server, "downloads that nobody reads, as many as are let in", rounds, download, false);
    measure(&server, "nobody else any more", rounds);
}

fn beside_these(server: &Server, what: &str, rounds: usize, slow: impl Fn() -> TcpStream, trickles: bool) {
    let mut held: Vec<_> = (0..SLOW).map(|_| slow()).collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while trickles && !is_over.load(Ordering::Relaxed) {
                for stream in &mut held {
                    stream.write_all(b"x").expect("to be heard");
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        measure(server, what, rounds);
        is_over.store(true, Ordering::Relaxed);
    });
}

fn measure(server: &Server, what: &str, rounds: usize) {
    let url = format!("{}/metadata", server.base);
    let mut times: Vec<_> = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            let mut answer = ureq::get(&url).call().expect("an answer");
            answer.body_mut().read_to_vec().expect("a body");
            began.elapsed()
        })
        .collect();
    println!("  {what}: {}; resident {:.0} MB", summary(&mut times), resident(server));
}

/// The path of a file that is larger than all buffers.
fn file(server: &Server) -> String {
    let manifest = server.wait(&server.kickoff(""));
    let files = manifest["output"].as_array().expect("files");
    let sizes = files.iter().filter_map(|file| {
        let url = file["url"].as_str()?;
        let head = ureq::head(url).call().expect("a head");
        Some((head.headers()["content-length"].to_str().ok()?.parse::<u64>().ok()?, url))
    });
    let (_, url) = sizes.max().expect("a file");
    url.splitn(4, '/').last().map(|path| format!("/{path}")).expect("a path")
}

/// Megabytes that are resident.
fn resident(server: &Server) -> f64 {
    let status = Path::new("/proc").join(server.pid().to_string()).join("status");
    let status = std::fs::read_to_string(status).expect("Linux");
    let text = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = text.and_then(|text| text.split_ascii_whitespace().next()?.parse::<f64>().ok());
    number.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
}
