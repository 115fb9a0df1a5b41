//! Out of descriptors: a running server may have no more than it has. What needs none goes on, a
//! deletion's 202 among it; what needs one is refused or tried again; when there are some again,
//! everything is as before.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::support::*;

/// So many the server has taken before it listens, and keeps.
const TAKEN: u64 = 8;

/// A connection that stays open from one request to the next.
struct Line(TcpStream);

impl Line {
    fn open(url: &str) -> Self {
        let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn ask(&mut self, method: &str, url: &str, headers: &str) -> (u16, String) {
        let path = url.strip_prefix("http://").and_then(|rest| rest.find('/').map(|n| &rest[n..])).unwrap();
        write!(self.0, "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), String::from_utf8(body).unwrap())
    }
}

/// Sets how many descriptors a running server may have, and gives how many it might have before.
fn limit_descriptors(server: &Server, most: Option<u64>) -> Option<u64> {
    let pid = Some(Pid::from_child(&server.child));
    // The upper one is that of this process, which started it.
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current: most, maximum }).unwrap().current
}

#[test]
fn a_server_without_descriptors_still_deletes_refuses_exports_and_recovers() {
    let setup = Setup::new().set("reaper.interval=50ms").set("retention.orphan_grace=0s");
    let setup = setup.set("reaper.retry_min=20ms").set("reaper.retry_max=50ms");
    let setup = setup.set("limits.keep_alive=60s");
    let server = setup.start();
    let [kept, deleted] = [(); 2].map(|()| {
        let (polling, manifest) = server.export("$export?_type=Patient");
        (polling.clone(), Exported::of(&polling, &manifest))
    });
    let mut line = Line::open(&server.base);
    let mut operator = Line::open(&server.operators);
    let token = format!("Authorization: {}\r\n", server.operator_token());
    let mut ask_operator =
        |name: &str| operator.ask("GET", &format!("{}/{name}", server.operators), &token).1;
    assert!(ask_operator("readyz").contains("\"ready\":true"));
    assert_eq!(line.ask("GET", &kept.0, "").0, 200);
    let limit = limit_descriptors(&server, Some(TAKEN));

    let url = format!("{}/$export", server.base);
    let headers = "Accept: application/fhir+json\r\nPrefer: respond-async\r\n";
    let (status, body) = line.ask("GET", &url, headers);
    assert_eq!(status, 500, "{body}");
    assert!(body.contains("\"exception\""), "{body}");
    let file = file_url(&server, &kept.1.id, &kept.1.files[0].0);
    assert_eq!(line.ask("GET", &file, "").0, 500);
    // Marked, durable and hidden: none of it needs a descriptor.
    let (status, body) = line.ask("DELETE", &deleted.0, "");
    assert_eq!(status, 202, "{body}");
    assert_eq!(line.ask("GET", &deleted.0, "").0, 404);
    eventually("the sweep to be tried", || {
        ask_operator("metrics").contains("evanesce_sweep_failures_total").then_some(())
    });
    setup.wait_logged("(os error 24)");
    assert!(ask_operator("readyz").contains("\"marked\":1"));
    assert!(setup.disk().has(&deleted.1.id));

    limit_descriptors(&server, limit);
    let receipt = assert_erased(&setup, &server, &deleted.1.id, &deleted.1.files, &["deleted"]);
    assert!(receipt["last_error"].as_str().unwrap().contains("os error 24"), "{receipt}");
    kept.1.assert_intact(&server);
    let (polling, _) = server.export("$export?_type=Patient");
    wait_settled(&setup, &server, &[job_id(&polling).to_string(), kept.1.id].into());
    server.kill();
    assert_disk_equals_store(&setup);
}
