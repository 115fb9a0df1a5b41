//! An exhaustive model of one job's life.
mod actor;
mod flaws;
mod promises;
mod restart;
mod search;
mod steps;
mod world;

use flaws::Flaw;
use promises::Promise;
use search::{Report, search};
use steps::JobLife;

fn explore(flaw: Flaw, promises: &'static [Promise]) -> Report<Promise> {
    let start = std::time::Instant::now();
    let report = search(&JobLife { flaw, promises });
    println!(
        "{flaw:?}: {} states, {} transitions, depth {}, {:.1} s",
        report.states,
        report.transitions,
        report.depth,
        start.elapsed().as_secs_f64()
    );
    report
}

#[test]
fn the_protocol_keeps_its_promises_in_every_state() {
    let report = explore(Flaw::None, &Promise::ALL);
    if let Some(counterexample) = report.counterexample {
        panic!("\n{counterexample}");
    }
}
