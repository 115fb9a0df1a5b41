//! Out of descriptors: clients hold as many connections as the server may have descriptors.
//! What needs none goes on, a deletion's 202 among it; what needs one is refused or tried
//! again; when the connections close, everything is as before.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::crash::{Exported, assert_disk_equals_store, assert_erased, file_url, wait_settled};
use crate::support::*;

const LIMIT: usize = 160;

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
        write!(self.0, "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").unwrap();
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

fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count()
}

#[test]
fn a_server_without_descriptors_still_deletes_refuses_exports_and_recovers() {
    let setup = Setup::new().set("reaper.interval=50ms").set("retention.orphan_grace=0s");
    let setup = setup.set("reaper.retry_min=20ms").set("reaper.retry_max=50ms");
    let limited = |server: Command| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -Sn $0 && ulimit -Hn $0 && exec \"$@\""]).arg(LIMIT.to_string());
        command.arg(server.get_program()).args(server.get_args());
        for (name, _) in server.get_envs() {
            command.env_remove(name);
        }
        command
    };
    let server = setup.launch(limited(setup.command()));
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
    let mut crowd = Vec::new();
    eventually("the last descriptor to be taken", || {
        crowd.push(Line::open(&server.base));
        (descriptors(&server) >= LIMIT).then_some(())
    });
    // They wait for a descriptor, should one become free.
    crowd.extend((0..16).map(|_| Line::open(&server.base)));

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
    assert!(setup.log().contains("(os error 24)"), "{}", setup.log());
    assert!(ask_operator("readyz").contains("\"marked\":1"));
    assert!(setup.disk().has(&deleted.1.id));

    drop(crowd);
    let receipt = assert_erased(&setup, &server, &deleted.1.id, &deleted.1.files, &["deleted"]);
    assert!(receipt["last_error"].as_str().unwrap().contains("os error 24"), "{receipt}");
    kept.1.assert_intact(&server);
    let (polling, _) = server.export("$export?_type=Patient");
    wait_settled(&setup, &server, &[job_id(&polling).to_string(), kept.1.id].into());
    server.kill();
    assert_disk_equals_store(&setup);
}
