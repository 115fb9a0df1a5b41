//! SIGKILL at random instants under load, again and again on the same data directory: what
//! was acknowledged holds after each of them (P1, P2, P6, P8, P11), and in the end everything
//! can be deleted and is gone (P5, P9). `EVANESCE_KILLS` sets the number of kills;
//! `EVANESCE_SEED` makes the same choices again (threads still race as they like).

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::clients::Clients;
use crate::support::{
    Setup, assert_disk_equals_store, assert_receipts, eventually, number, seed, source, wait_settled,
};

const CLIENTS: u64 = 4;

/// What the kills hit; one may hit several.
#[derive(Default)]
struct Hits {
    starts: u32,
    exports: u32,
    deletions: u32,
    sweeps: u32,
}

impl Hits {
    /// Looks at what the process left.
    fn note(&mut self, setup: &Setup, clients: &Clients) {
        let disk = setup.disk();
        self.exports += u32::from(!disk.jobs("building").is_empty());
        self.deletions += u32::from(clients.unanswered() > 0);
        self.sweeps += u32::from(!disk.jobs("trash").is_empty());
    }
}

#[test]
fn what_was_acknowledged_holds_after_kills_at_random_instants() {
    let (kills, seed, began) = (number("EVANESCE_KILLS").unwrap_or(50), seed(), Instant::now());
    println!("EVANESCE_KILLS={kills} EVANESCE_SEED={seed}");
    let setup = Setup::new()
        .set("export.part_bytes=32768")
        .set("download.delete_grace=20ms")
        .set("download.expiry_drain=20ms")
        .set("retention.orphan_grace=0s")
        .set("reaper.interval=50ms");
    let mut clients = Clients::new(source());
    let mut random = Pcg64Mcg::seed_from_u64(seed);

    let mut hits = Hits::default();
    for round in 0..kills {
        if random.random_ratio(1, 5) {
            hits.starts += 1;
            kill_while_starting(&setup, Duration::from_micros(random.random_range(0..60_000)));
            continue;
        }
        let mut arguments = vec!["--set", "export.max_bytes_per_second=8000000"];
        let expiring = random.random_ratio(1, 5);
        if expiring {
            arguments.extend(["--set", "retention.completed=150ms"]);
        }
        clients.expire(expiring);
        let fault = format!("write:28:1:{}", random.random_range(0..60));
        if random.random_ratio(1, 5) {
            arguments.extend(["--fault", &fault]);
            clients.faults.fetch_add(1, Ordering::Relaxed);
        }
        let server = setup.start_with(&arguments);
        clients.check(&server);
        let life = Duration::from_micros(random.random_range(1_000..350_000));
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
        hits.note(&setup, &clients);
    }

    clients.expire(false);
    let server = setup.start();
    clients.check(&server);
    clients.delete_all(&setup, &server);
    wait_settled(&setup, &server, &BTreeSet::new());
    let acknowledged = clients.ids();
    eventually("all receipts", || acknowledged.is_subset(&receipt_jobs(&setup)).then_some(()));
    server.kill();
    // Jobs whose 202 was lost, and orphans, have receipts as well; nobody has two.
    let all = receipt_jobs(&setup);
    assert_receipts(&setup, &all);
    assert_disk_equals_store(&setup);
    let reasons = clients.check_receipts(&setup);
    let of = |reason| reasons.get(reason).copied().unwrap_or(0);
    let Hits { starts, exports, deletions, sweeps } = hits;
    let answered = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
    let counts = &clients.counts;
    println!(
        "summary kills={kills} in-a-start={starts} in-an-export={exports} in-a-deletion={deletions} \
         in-a-sweep={sweeps} kick-offs={} polls={} downloads={} abandoned-downloads={} \
         acknowledged-deletions={} write-faults={} receipts={} cancelled={} deleted={} expired={} orphans={} \
         recovered={} lost={} seconds={}",
        answered(&counts.kickoffs),
        answered(&counts.polls),
        answered(&counts.downloads),
        answered(&counts.abandoned),
        answered(&counts.deletes),
        answered(&clients.faults),
        all.len(),
        of("cancelled"),
        of("deleted"),
        of("expired"),
        of("orphan"),
        of("recovered"),
        of("lost"),
        began.elapsed().as_secs(),
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
