//! Power loss at random instants under load: several copies of the disk of one running server,
//! each of them started. What had been acknowledged before a copy was begun is there; what was
//! asked for and not answered may be either way. `EVANESCE_POWER_LOSSES` sets the number of
//! copies, `EVANESCE_SEED` makes the same choices again (threads still race as they like).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::clients::Clients;
use super::machine::Machine;
use super::witnesses::witnesses;
use crate::support::{
    assert_disk_equals_store, assert_receipts, eventually, number, seed, source, wait_settled,
};

const CLIENTS: u64 = 3;

/// Copies of one server.
const COPIES: u64 = 3;

#[test]
fn what_was_acknowledged_holds_after_power_losses_at_random_instants() {
    let (losses, seed, began) = (number("EVANESCE_POWER_LOSSES").unwrap_or(6), seed(), Instant::now());
    println!("EVANESCE_POWER_LOSSES={losses} EVANESCE_SEED={seed}");
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let blank = Clients::new(source());
    let (mut left, mut acknowledged, mut receipts) = (losses, 0, 0);
    while left > 0 {
        let Some(mut machine) = Machine::new("power loss at random instants") else { return };
        let more = ["retention.orphan_grace=0s", "reaper.interval=50ms", "download.delete_grace=20ms"]
            .map(String::from);
        machine.setup.sets.extend(more);
        let clients = blank.snapshot();
        for (copy, clients) in lose_power(&machine, &clients, left.min(COPIES), &mut random) {
            left -= 1;
            acknowledged += clients.ids().len();
            receipts += check(&copy, &clients);
        }
    }
    println!(
        "summary power-losses={losses} acknowledged-jobs={acknowledged} receipts={receipts} lost=0 seconds={}",
        began.elapsed().as_secs()
    );
}

/// The copies of one server under load, each with what clients knew when it was made.
fn lose_power(
    machine: &Machine,
    clients: &Clients,
    copies: u64,
    random: &mut Pcg64Mcg,
) -> Vec<(Machine, Clients)> {
    let server = machine.setup.start_with(&["--set", "export.max_bytes_per_second=6000000"]);
    let base = server.base.clone();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (mut random, base) = (Pcg64Mcg::seed_from_u64(random.random()), &base);
            scope.spawn(move || clients.run(base, &mut random));
        }
        let copy = |_| {
            // The instant is random; there is nothing to wait for.
            std::thread::sleep(Duration::from_micros(random.random_range(10_000..400_000)));
            let before = clients.snapshot();
            let copy = machine.without_power(&server);
            (copy, before.asked_by(&clients.snapshot()))
        };
        let copies = (0..copies).map(copy).collect();
        server.kill();
        copies
    })
}

/// Starts a server on what is left, and has everything deleted. Gives the number of receipts.
fn check(machine: &Machine, clients: &Clients) -> usize {
    let setup = &machine.setup;
    witnesses(setup);
    let server = setup.start();
    clients.check(&server);
    clients.delete_all(setup, &server);
    wait_settled(setup, &server, &BTreeSet::new());
    let receipts = || -> BTreeSet<_> {
        setup.receipts().iter().map(|receipt| receipt["job"].as_str().unwrap().to_string()).collect()
    };
    eventually("all receipts", || clients.ids().is_subset(&receipts()).then_some(()));
    server.kill();
    assert_receipts(setup, &receipts());
    assert_disk_equals_store(setup);
    clients.check_receipts(setup);
    receipts().len()
}
