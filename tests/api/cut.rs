//! A download that is open when its job is deleted (P4, G-11): cut after the grace, or whole
//! if the client is done before.

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::sync::OnceLock;

use super::*;

/// More than the buffers of a server's socket and of [`connect_to`] hold.
const LINES: usize = 16;
const LINE: usize = 1 << 20;

/// A source with one big file.
pub fn big_source() -> &'static Path {
    static SOURCE: OnceLock<TempDir> = OnceLock::new();
    let folder = SOURCE.get_or_init(|| {
        let folder = temporary_folder();
        let line = format!("{{\"resourceType\":\"Media\",\"data\":\"{}\"}}\n", "x".repeat(LINE));
        std::fs::write(folder.path().join("Media.ndjson"), line.repeat(LINES)).unwrap();
        folder
    });
    folder.path()
}

/// An open download of which the first byte has come, and its Content-Length.
pub fn begin(server: &Server, url: &str) -> (TcpStream, u64) {
    let (mut stream, answer) = raw::begin(server, url, "1.1", "Connection: close\r\n");
    assert_eq!(answer.status, 200);
    let length = answer.header("content-length").parse().unwrap();
    stream.read_exact(&mut [0]).unwrap();
    (stream, length)
}

/// Bytes until the connection ends, in whichever way.
pub fn drain(stream: &mut TcpStream) -> u64 {
    let (mut buffer, mut count) = (vec![0; 1 << 16], 0);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return count,
            Ok(n) => count += n as u64,
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return count,
            Err(e) => panic!("the connection should have ended: {e}"),
        }
    }
}

#[test]
fn a_download_that_outlives_the_grace_is_cut_and_the_files_go() {
    let setup = Setup::new().source(big_source()).set("download.delete_grace=100ms");
    let server = setup.start();
    let (polling, manifest) = server.export("$export");
    let url = first_file(&manifest);
    let (mut stream, length) = begin(&server, &url);
    assert!(length as usize > (LINES - 1) * LINE);
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(get(&url).outcome(), outcome(404, "deleted"), "D-4: no new download from the 202 on");
    // The client does not read: that holds nothing back.
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!((&receipt["cut_downloads"], &receipt["drained_downloads"]), (&1.into(), &0.into()));
    assert!(!setup.disk().has(job_id(&polling)));
    let got = 1 + drain(&mut stream);
    assert!(got < length, "the client must see a failed transfer: {got} of {length}");
}

#[test]
fn an_expiry_lets_an_open_download_come_to_its_end() {
    let setup = Setup::new().source(big_source()).set("retention.completed=1ms").set("reaper.interval=50ms");
    let server = setup.start();
    server.pause_reaper();
    let (polling, manifest) = server.export("$export");
    let url = first_file(&manifest);
    let (mut stream, length) = begin(&server, &url);
    server.resume_reaper();
    eventually("the expiry", || (get(&polling).status == 404).then_some(()));
    assert_eq!(get(&url).outcome(), outcome(404, "deleted"));
    // It is hidden a moment before open downloads are counted.
    setup.wait_logged("job hidden");
    assert_eq!(1 + drain(&mut stream), length, "P8");
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!((&receipt["reason"], &receipt["cut_downloads"]), (&"expired".into(), &0.into()));
    assert_eq!(receipt["drained_downloads"], 1);
    assert!(!setup.disk().has(job_id(&polling)));
}

#[test]
fn a_download_within_the_grace_is_whole_and_the_files_go_after_it() {
    let setup = Setup::new().source(big_source()).set("download.delete_grace=50s");
    let server = setup.start();
    let (polling, manifest) = server.export("$export");
    let url = first_file(&manifest);
    let (mut stream, length) = begin(&server, &url);
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(get(&url).outcome(), outcome(404, "deleted"));
    assert_eq!(get(&polling).outcome(), outcome(404, "deleted"));
    assert!(setup.disk().has(job_id(&polling)), "the download is still open");
    assert_eq!(setup.receipts(), Vec::<Value>::new(), "P4: not erased while somebody reads");
    assert_eq!(1 + drain(&mut stream), length);
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!((&receipt["cut_downloads"], receipt["bytes"].as_u64() >= Some(length)), (&0.into(), true));
    assert_eq!(receipt["drained_downloads"], 1);
    assert!(!setup.disk().has(job_id(&polling)));
}
