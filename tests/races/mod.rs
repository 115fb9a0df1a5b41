//! Cancel, workers, completion, download, expiry, restart, scan and resend of the real thing in
//! random interleavings: real store, real files, real actors, and a schedule made by a seed.
//!
//! Every thread that comes to a step (`Hooks::directed`), to a write of the exporter or to a read
//! of a client is parked by the director. When nothing moves any more (`threads.rs` asks the
//! kernel), the schedule lets one parked thread go on, or begins one more action. At the end
//! everybody is let go, all must come to rest, and `check.rs` looks at what clients saw, at the
//! disk and at the receipts.
//!
//! All other threads must be ours, so the schedules run in a process of their own.
//! How far a seed repeats its schedule: all choices are the seed's, but threads that one choice
//! sets going together may race to their next steps, timers of the product are real, and names of
//! files are random. Measured on a busy machine, the most frequent run of a seed came in 10 to 17
//! of 20 runs. So a failure is repeated by a few runs of its seed; the schedule is printed as well.
//!
//! What is out of reach here: a restart commits what was submitted (`tests/crash` kills), and
//! nothing fails by itself (`tests/faults`). Beside the schedules stand what they found, as tests.
//!
//! `lives.rs` drives the job's `Life` alone, without server, files and threads: there the lives are
//! many, and a seed repeats one exactly.
//!
//! `EVANESCE_RACES=N` sets their number (otherwise: a few),
//! `EVANESCE_SEED=S` the first seed; the others follow it. `scripts/races` runs many.

mod actions;
mod check;
mod director;
mod exporter;
mod life_ends;
mod life_steps;
mod life_world;
mod lives;
mod resent;
mod room;
mod schedule;
mod stopped;
mod threads;
mod witness;

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::process::Command;
use std::time::Instant;

use schedule::Schedule;

/// How many schedules are run when their number is not given: 12 seconds' worth on two cores.
const SCHEDULES: u64 = 28;

const CHILD: &str = "EVANESCE_RACES_CHILD";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn every_promise_holds_in_random_interleavings() {
    if std::env::var_os(CHILD).is_some() {
        return run();
    }
    let test = "races::every_promise_holds_in_random_interleavings";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads", "1"]).env(CHILD, "1");
    assert!(command.status().unwrap().success(), "see above for the seed and the schedule");
}

fn run() {
    let first = number("EVANESCE_SEED").unwrap_or(0);
    let count = number("EVANESCE_RACES").unwrap_or(SCHEDULES);
    let began = Instant::now();
    let (mut done, mut choices) = (0, 0);
    while done < count {
        let seed = first.wrapping_add(done);
        let mut schedule = Schedule::new(seed);
        let outcome = schedule.run();
        if let Err(broken) = outcome {
            let trace = schedule.trace.join("\n");
            panic!("EVANESCE_SEED={seed} EVANESCE_RACES=1\n{trace}\n=> {broken}");
        }
        if count == 1 {
            let hasher = BuildHasherDefault::<DefaultHasher>::default();
            let trace = schedule.trace.join("\n");
            println!("{trace}\ntrace {:016x}", hasher.hash_one(&trace));
        }
        choices += schedule.trace.len() - 1;
        done += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{done} schedules from seed {first} with {choices} choices held, {seconds:.1} s");
}
