//! SIGTERM at random instants under load: the server ends in order and in time, and the next
//! one goes on where it was (P1, P2, P6, P11). `EVANESCE_STOPS` sets the number of stops,
//! `EVANESCE_SEED` makes the same choices again (threads still race as they like).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use evanesce::job::StateName;
use evanesce::store::{SledStore, Store};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rustix::process::Signal;

use super::clients::Clients;
use crate::support::{
    Exported, Server, Setup, assert_disk_equals_store, assert_receipts, copy_folder, delete, eventually,
    file_url, get, job_id, number, polling_url, seed, source, wait_settled,
};

const CLIENTS: u64 = 3;
const GRACE: Duration = Duration::from_secs(20);
const PART: u64 = 32 * 1024;

/// Parts of one job that may be in flight: those of the steady workers and of one more.
const IN_FLIGHT: u64 = 3;

#[test]
fn a_stopped_server_goes_on_where_it_was() {
    let (stops, seed, began) = (number("EVANESCE_STOPS").unwrap_or(8), seed(), Instant::now());
    println!("EVANESCE_STOPS={stops} EVANESCE_SEED={seed}");
    let setup = Setup::new()
        .set(&format!("export.part_bytes={PART}"))
        .set("server.shutdown_grace=20s")
        .set("download.delete_grace=20ms")
        .set("retention.orphan_grace=0s")
        .set("reaper.interval=50ms");
    let clients = Clients::new(source());
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Observation");
    let kept = Exported::of(&polling, &manifest);
    server.kill();

    let (finished, mut resumed, mut sealed_parts) = (AtomicU32::new(0), 0, 0);
    let mut slowest = Duration::ZERO;
    let mut long: Option<String> = None;
    for _ in 0..stops.div_ceil(2) {
        let server = setup.start_with(&["--set", "export.max_bytes_per_second=2000000"]);
        clients.check(&server);
        let id = long.take().unwrap_or_else(|| job_id(&server.kickoff("$export")).into());
        let life = Duration::from_micros(random.random_range(5_000..600_000));
        let (polling, base) = (polling_url(&server, &id), server.base.clone());
        let url = file_url(&server, &kept.id, &kept.files[0].0);
        let (before, took) = std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let (mut random, base, clients) = (Pcg64Mcg::seed_from_u64(random.random()), &base, &clients);
                scope.spawn(move || clients.run(base, &mut random));
            }
            scope.spawn(|| {
                while read_slowly(&url) {
                    finished.fetch_add(1, Ordering::Relaxed);
                }
            });
            // The instant of the stop is random; there is nothing to wait for.
            std::thread::sleep(life);
            let before = progress(&polling);
            (before, stop(server))
        });
        slowest = slowest.max(took);

        // The next one hardly exports at all: what it shows is what it has kept.
        let sealed = sealed_files(&setup);
        let still = setup.start_with(&["--set", "export.max_bytes_per_second=1"]);
        clients.check(&still);
        if let Some(before) = before {
            let after = polling_url(&still, &id);
            let total = kept_bytes();
            let least = before - 100.0 * (IN_FLIGHT * PART) as f64 / total as f64 - 1.0;
            eventually("the progress of before", || match progress(&after) {
                Some(now) => (now >= least).then_some(()),
                None => Some(()),
            });
            resumed += 1;
        }
        sealed_parts += sealed.values().map(Vec::len).sum::<usize>();
        assert_kept(&setup, &sealed);
        long = progress(&polling_url(&still, &id)).map(|_| id);
        slowest = slowest.max(stop(still));
    }

    let server = setup.start();
    clients.check(&server);
    kept.assert_intact(&server);
    if let Some(id) = long {
        Exported::wait(&server, &id).assert_is_the_source(source(), |_| true);
    }
    assert_eq!(delete(&polling_url(&server, &kept.id)).status, 202);
    clients.delete_all(&setup, &server);
    wait_settled(&setup, &server, &BTreeSet::new());
    server.kill();
    let receipts =
        setup.receipts().iter().map(|receipt| receipt["job"].as_str().unwrap().to_string()).collect();
    assert_receipts(&setup, &receipts);
    assert_disk_equals_store(&setup);
    clients.check_receipts(&setup);
    println!(
        "summary stops={} exit-code-0={} slowest-milliseconds={} resumed={resumed} sealed-files-kept={sealed_parts} \
         downloads-finished={} receipts={} lost=0 seconds={}",
        2 * stops.div_ceil(2),
        2 * stops.div_ceil(2),
        slowest.as_millis(),
        finished.into_inner(),
        receipts.len(),
        began.elapsed().as_secs()
    );
}

/// SIGTERM, and how long the server takes to end in order.
fn stop(mut server: Server) -> Duration {
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(began.elapsed() < GRACE, "{:?}", began.elapsed());
    began.elapsed()
}

/// Per cent, of a job that is not complete yet.
fn progress(polling: &str) -> Option<f64> {
    let answer = get(polling);
    match answer.status {
        202 => Some(answer.header("x-progress").trim_end_matches("% complete").parse().unwrap_or(0.0)),
        200 => None,
        _ => panic!("{answer:?}"),
    }
}

fn kept_bytes() -> u64 {
    std::fs::read_dir(source()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Name, inode and content of files, by job.
type Sealed = BTreeMap<String, Vec<(String, u64, Vec<u8>)>>;

/// Name, inode and content of every sealed file of the exports that were interrupted, while
/// nobody runs.
fn sealed_files(setup: &Setup) -> Sealed {
    let folder = setup.folder.path().join("looked-into");
    let _ = std::fs::remove_dir_all(&folder);
    copy_folder(&setup.data_dir().join("store"), &folder);
    let jobs = SledStore::open(&folder).unwrap().load().unwrap();
    let running = jobs.into_iter().filter(|job| job.record.state.name() == StateName::Running);
    let sealed = |job: evanesce::store::StoredJob| {
        let id = job.record.id.to_string();
        let folder = place_of(setup, &id).unwrap_or_else(|| panic!("{id} has no directory"));
        let read = |name: String| {
            let path = folder.join(&name);
            (name, path.metadata().unwrap().ino(), std::fs::read(path).unwrap())
        };
        let files = job.parts.into_iter().flat_map(|part| part.files).map(|file| read(file.name)).collect();
        (id, files)
    };
    running.map(sealed).collect()
}

fn place_of(setup: &Setup, id: &str) -> Option<PathBuf> {
    let places = ["building", "ready"].map(|place| setup.data_dir().join(place).join(id));
    places.into_iter().find(|folder| folder.exists())
}

/// The sealed files are the very same.
fn assert_kept(setup: &Setup, sealed: &Sealed) {
    for (id, files) in sealed {
        for (name, inode, bytes) in files {
            let path = place_of(setup, id).unwrap_or_else(|| panic!("{id} is gone")).join(name);
            let now = path.metadata().map(|metadata| metadata.ino()).ok();
            assert!(now == Some(*inode), "{id}/{name} was made again or is gone");
            assert!(std::fs::read(path).unwrap() == *bytes, "{id}/{name} has other bytes");
        }
    }
}

/// Downloads a file slowly. An answer that was begun comes whole; false if there was none,
/// because the server does not take connections any more.
fn read_slowly(url: &str) -> bool {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let Ok(mut stream) = TcpStream::connect(host) else { return false };
    stream.set_read_timeout(Some(GRACE)).unwrap();
    if write!(stream, "GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_err() {
        return false;
    }
    let (mut answer, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) if answer.is_empty() => return false,
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(e) => panic!("an answer was cut after {} bytes: {e}", answer.len()),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    let length: usize =
        text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    assert_eq!(answer.len() - head - 4, length, "an answer was cut");
    true
}
