//! A stop that meets a job at the moment before its parts are queued. The random schedules found
//! it: a partial file of the instance that had stopped stood in a complete job of the next one.

use std::sync::Arc;
use std::time::Duration;

use evanesce::hooks::{HookStep, Hooks};
use evanesce::{Evanesce, Kickoff};

use super::director::Director;
use super::exporter::{Directed, Plans};
use super::witness::Witness;
use crate::support::{InstanceDir, eventually};

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits until a thread is parked at the step, and lets it go on.
fn go_on(director: &Director, step: &str) {
    let parked =
        eventually(step, || director.parked().into_iter().find(|parked| parked.at.starts_with(step)));
    director.release(&parked);
}

#[test]
fn no_part_begins_when_an_instance_has_begun_to_stop() {
    // Whether the parts or the stop come first to the actors is theirs to choose.
    for _ in 0..5 {
        stop_before_parts_are_queued();
    }
}

fn stop_before_parts_are_queued() {
    let folder = InstanceDir::new();
    let steps = [HookStep::QueuedCommitted, HookStep::PlanWritten, HookStep::LogSynced, HookStep::Published];
    let director = Arc::new(Director::new(steps.into()));
    let exporter = Directed {
        director: director.clone(),
        plans: Plans::default(),
        witness: Witness::new(folder.path().into()),
    };
    let directed = director.clone();
    let hooks = Hooks::directed(move |step| directed.reach(step));
    let builder = Evanesce::builder().data_dir(folder.path()).exporter(exporter).hooks(hooks);
    let evanesce = wait_for(builder.start()).unwrap();
    let submit = || {
        let evanesce = evanesce.clone();
        std::thread::spawn(move || wait_for(evanesce.submit(Kickoff::system(), "host".parse().unwrap())))
    };

    // The first job has its plan; the second one keeps the committer while the plan is written.
    let first = submit();
    for step in ["LogSynced", "Published", "QueuedCommitted"] {
        go_on(&director, step);
    }
    let second = submit();
    eventually("the second job's commit", || {
        director.parked().iter().any(|parked| parked.at.starts_with("LogSynced")).then_some(())
    });
    for step in ["the exporter plans", "PlanWritten"] {
        go_on(&director, step);
    }
    // Then the second job keeps the actors' thread while the first is recorded as running.
    for step in ["LogSynced", "Published", "LogSynced", "Published"] {
        go_on(&director, step);
    }
    let stopping = {
        let evanesce = evanesce.clone();
        std::thread::spawn(move || wait_for(evanesce.stop(Duration::from_secs(10))))
    };
    std::thread::sleep(Duration::from_millis(50));
    go_on(&director, "QueuedCommitted");
    let writes = |parked: Vec<super::director::Parked>| parked.iter().any(|p| p.at.contains("writes"));
    eventually("the end of the stop, or a writer", || {
        let waits_for_plan = director.parked().into_iter().find(|parked| parked.at.contains("plans"));
        if let Some(parked) = waits_for_plan {
            director.release(&parked);
        }
        (stopping.is_finished() || writes(director.parked())).then_some(())
    });
    assert!(!writes(director.parked()), "a part began");
    director.let_all_go();
    assert!(first.join().unwrap().is_ok());
    // The second one may not have its answer any more.
    let _ = second.join().unwrap();
}
