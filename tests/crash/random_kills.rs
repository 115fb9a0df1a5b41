//! SIGKILL at random instants under load, again and again on the same data directory: what
//! was acknowledged holds after each of them (P1, P2, P6, P11), and in the end everything can
//! be deleted and is gone (P5, P9). `EVANESCE_KILLS` sets the number of kills;
//! `EVANESCE_SEED` makes the same choices again (threads still race as they like).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{
    Exported, assert_disk_equals_store, assert_hidden, assert_receipts, file_url, polling_url, wait_settled,
};
use crate::support::{KICKOFF, Server, Setup, delete, eventually, get, job_id, try_send};

const CLIENTS: u64 = 3;

/// Jobs that may be alive at once; above that clients delete before they kick off.
const ALIVE: usize = 6;

/// The exports that clients ask for.
const EXPORTS: [(&str, &[&str]); 3] = [
    ("$export", &[]),
    ("$export?_type=Patient,Encounter", &["Patient", "Encounter"]),
    ("$export?_type=Goal", &["Goal"]),
];

/// What clients were told of a job, and what they asked.
#[derive(Default)]
struct Known {
    export: usize,
    /// What it gave when it was first seen complete.
    exported: Option<Exported>,
    delete_sent: bool,
    delete_acknowledged: bool,
}

#[derive(Default)]
struct Clients {
    jobs: Mutex<BTreeMap<String, Known>>,
    kickoffs: AtomicU32,
    deletes: AtomicU32,
    polls: AtomicU32,
    downloads: AtomicU32,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn count(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn what_was_acknowledged_holds_after_kills_at_random_instants() {
    let kills = number("EVANESCE_KILLS").unwrap_or(12);
    let seed = number("EVANESCE_SEED")
        .unwrap_or_else(|| u64::from(std::process::id()) ^ jiff::Timestamp::now().as_nanosecond() as u64);
    println!("EVANESCE_KILLS={kills} EVANESCE_SEED={seed}");
    let setup = Setup::new()
        .set("export.part_bytes=32768")
        .set("download.delete_grace=20ms")
        .set("retention.orphan_grace=0s")
        .set("reaper.interval=50ms");
    let clients = Clients::default();
    let mut random = Pcg64Mcg::seed_from_u64(seed);

    let mut early = 0;
    for round in 0..kills {
        if random.random_ratio(1, 4) {
            early += 1;
            kill_while_starting(&setup, Duration::from_micros(random.random_range(0..40_000)));
        }
        let server = setup.start_with(&["--set", "export.max_bytes_per_second=4000000"]);
        clients.check(&server);
        let life = Duration::from_micros(random.random_range(10_000..500_000));
        let base = server.base.clone();
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (clients, base) = (&clients, &base);
                let seed = seed ^ (round * CLIENTS + client + 1);
                scope.spawn(move || clients.run(base, &mut Pcg64Mcg::seed_from_u64(seed)));
            }
            // The instant of the kill is random; there is nothing to wait for.
            std::thread::sleep(life);
            server.kill();
        });
    }

    let server = setup.start();
    clients.check(&server);
    clients.delete_all(&setup, &server);
    wait_settled(&setup, &server, &BTreeSet::new());
    let acknowledged: BTreeSet<_> = clients.jobs.lock().unwrap().keys().cloned().collect();
    eventually("all receipts", || {
        let receipts: BTreeSet<_> = receipt_jobs(&setup);
        acknowledged.is_subset(&receipts).then_some(())
    });
    server.kill();
    // Jobs whose 202 was lost, and orphans, have receipts as well; nobody has two.
    let all = receipt_jobs(&setup);
    assert_receipts(&setup, &all);
    assert_disk_equals_store(&setup);
    println!(
        "{kills} kills under load and {early} while starting survived; {} kick-offs, {} polls, {} downloads and {} deletions answered; {} receipts",
        clients.kickoffs.into_inner(),
        clients.polls.into_inner(),
        clients.downloads.into_inner(),
        clients.deletes.into_inner(),
        all.len(),
    );
}

fn receipt_jobs(setup: &Setup) -> BTreeSet<String> {
    setup.receipts().iter().map(|receipt| receipt["job"].as_str().unwrap().to_string()).collect()
}

/// A process that does not get as far as listening, or just about.
fn kill_while_starting(setup: &Setup, after: Duration) {
    let mut child = setup.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

impl Clients {
    /// One client, until the server is gone.
    fn run(&self, base: &str, random: &mut Pcg64Mcg) {
        while self.act(base, random).is_ok() {}
    }

    fn act(&self, base: &str, random: &mut Pcg64Mcg) -> Result<(), ureq::Error> {
        let (chosen, alive) = {
            let jobs = self.jobs.lock().unwrap();
            let alive: Vec<_> =
                jobs.iter().filter(|(_, known)| !known.delete_sent).map(|(id, _)| id).collect();
            let chosen = (!alive.is_empty()).then(|| alive[random.random_range(0..alive.len())].clone());
            (chosen, alive.len())
        };
        match (random.random_range(0..10), chosen) {
            (0..3, _) | (_, None) if alive < ALIVE => {
                self.kick_off(base, random.random_range(0..EXPORTS.len()))
            }
            (0..2, Some(id)) => self.delete(base, &id),
            (_, Some(id)) => self.look(base, &id),
            (_, None) => Ok(()),
        }
    }

    fn kick_off(&self, base: &str, export: usize) -> Result<(), ureq::Error> {
        let answer = try_send("GET", &format!("{base}/{}", EXPORTS[export].0), &KICKOFF)?;
        assert_eq!(answer.status, 202, "{answer:?}");
        count(&self.kickoffs);
        let id = job_id(answer.header("content-location")).to_string();
        self.jobs.lock().unwrap().insert(id, Known { export, ..Known::default() });
        Ok(())
    }

    fn delete(&self, base: &str, id: &str) -> Result<(), ureq::Error> {
        let first = {
            let mut jobs = self.jobs.lock().unwrap();
            !std::mem::replace(&mut jobs.get_mut(id).unwrap().delete_sent, true)
        };
        let answer = try_send("DELETE", &format!("{base}/bulk-api/request/{id}"), &[])?;
        match answer.outcome() {
            (202, _) => {
                count(&self.deletes);
                self.jobs.lock().unwrap().get_mut(id).unwrap().delete_acknowledged = true;
            }
            (404, code) if code == "deleted" && !first => {}
            _ => panic!("DELETE {id}, first {first}: {answer:?}"),
        }
        Ok(())
    }

    /// Polls; reads the files of a job that is complete.
    fn look(&self, base: &str, id: &str) -> Result<(), ureq::Error> {
        let answer = try_send("GET", &format!("{base}/bulk-api/request/{id}"), &[])?;
        count(&self.polls);
        match answer.status {
            202 => Ok(()),
            200 => {
                let manifest = answer.json();
                let mut files = Vec::new();
                for file in manifest["output"].as_array().unwrap() {
                    let url = file["url"].as_str().unwrap();
                    let answer = match try_send("GET", url, &[]) {
                        // Cut by a DELETE, or by the kill.
                        Err(_) if self.delete_sent(id) => return Ok(()),
                        answer => answer?,
                    };
                    if answer.status == 404 && self.delete_sent(id) {
                        return Ok(());
                    }
                    assert_eq!(answer.status, 200, "{answer:?}");
                    count(&self.downloads);
                    files.push((job_id(url).to_string(), answer.body));
                }
                self.seen(Exported { id: id.into(), files });
                Ok(())
            }
            404 if self.delete_sent(id) => Ok(()),
            _ => panic!("GET {id}: {answer:?}"),
        }
    }

    fn delete_sent(&self, id: &str) -> bool {
        self.jobs.lock().unwrap()[id].delete_sent
    }

    /// A complete job has all that its export should have, and never changes (P6, P11).
    fn seen(&self, exported: Exported) {
        let mut jobs = self.jobs.lock().unwrap();
        let known = jobs.get_mut(&exported.id).unwrap();
        match &known.exported {
            Some(before) => assert!(before.files == exported.files, "{}: other files", exported.id),
            None => {
                let types = EXPORTS[known.export].1;
                let chosen =
                    |name: &str| types.is_empty() || types.iter().any(|t| name == format!("{t}.ndjson"));
                exported.assert_is_the_source(crate::support::source(), chosen);
                known.exported = Some(exported);
            }
        }
    }

    /// After a start: all that was acknowledged is as it was.
    fn check(&self, server: &Server) {
        let mut jobs = self.jobs.lock().unwrap();
        for (id, known) in &mut *jobs {
            let files = known.exported.as_ref().map(|exported| &exported.files[..]).unwrap_or_default();
            let answer = get(&polling_url(server, id));
            match answer.status {
                // If it was not acknowledged the mark was durable, and only its 202 was lost.
                404 if known.delete_sent => {
                    assert_hidden(server, id, files);
                    known.delete_acknowledged = true;
                    // Its files need not be asked for after every kill.
                    known.exported = None;
                }
                _ if known.delete_acknowledged => panic!("{id} is back: {answer:?}"),
                200 => {
                    for (name, before) in files {
                        let now = get(&file_url(server, id, name));
                        assert!(now.status == 200 && now.body == *before, "{id}/{name}");
                    }
                    known.delete_sent = false;
                }
                202 => {
                    assert!(known.exported.is_none(), "{id} was complete and is not any more");
                    known.delete_sent = false;
                }
                _ => panic!("{id}: {answer:?}\n"),
            }
        }
    }

    /// Waits for what still runs, then deletes all that is there, known to clients or not.
    fn delete_all(&self, setup: &Setup, server: &Server) {
        let alive = |known: &Known| !known.delete_acknowledged;
        let ids: Vec<_> = {
            let jobs = self.jobs.lock().unwrap();
            jobs.iter().filter(|(_, known)| alive(known)).map(|(id, _)| id.clone()).collect()
        };
        for id in ids {
            self.seen(Exported::wait(server, &id));
            assert_eq!(delete(&polling_url(server, &id)).status, 202);
        }
        // Their 202 was lost: they were resumed all the same, unless they are orphans.
        let disk = setup.disk();
        for id in [disk.jobs("building"), disk.jobs("ready")].concat() {
            let answer = delete(&polling_url(server, &id));
            assert!(matches!(answer.status, 202 | 404), "{answer:?}");
        }
    }
}
