//! What must hold when a schedule has come to its end, by other means than the product's own: what
//! clients saw, what stands on the disk, what the receipts say.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use evanesce::job::{JobId, StateName};
use serde_json::Value;

use super::exporter::plan_of;
use super::room::*;
use crate::support::Disk;

type Broken = Result<(), String>;

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Broken {
    if holds { Ok(()) } else { Err(otherwise()) }
}

pub fn check(room: &Room) -> Broken {
    let evanesce = room.evanesce().ok_or("no instance runs")?;
    let running = room.told.lock().unwrap().running;
    ensure(running == 0, || format!("{running} operations never ended"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let state = |id: JobId| {
        let finished =
            async { tokio::time::timeout(Duration::from_millis(1), evanesce.wait_finished(id)).await };
        runtime.block_on(finished).ok().flatten().map(|state| state.name())
    };
    let disk = Disk(room.data_dir());
    let receipts = receipts(room)?;
    if let Some(broken) = room.witness.broken.lock().unwrap().first() {
        return Err(broken.clone());
    }
    let told = room.told.lock().unwrap();
    for (number, job) in &told.jobs {
        let of_job =
            receipts.iter().filter(|receipt| receipt["job"] == job.id.to_string()).collect::<Vec<_>>();
        let state = state(job.id);
        let checks = [
            rest(state, job, &disk, &of_job),
            deletion(&told, job, &of_job),
            order(&told, job),
            files(state, job, &disk),
        ];
        if let Some(broken) = checks.into_iter().find_map(Result::err) {
            return Err(format!("job {number}, {state:?}: {broken}\n{:#?}\n{of_job:#?}", job.seen));
        }
    }
    strangers(&told, &disk)
}

/// P11, P5, P9: a job is complete, or erased with one receipt and without a directory.
fn rest(state: Option<StateName>, job: &Job, disk: &Disk, receipts: &[&Value]) -> Broken {
    let id = job.id.to_string();
    match state {
        Some(StateName::Complete) => {
            ensure(receipts.is_empty(), || "it has a receipt".into())?;
            ensure(disk.jobs("ready").contains(&id), || "it is not in ready/".into())
        }
        Some(StateName::Erased) => {
            ensure(receipts.len() == 1, || format!("it has {} receipts", receipts.len()))?;
            ensure(!disk.has(&id), || "its directory is still there".into())
        }
        state => Err(format!("nothing moves, and it is {state:?}")),
    }
}

/// D-8: of all DELETEs one is accepted, and the receipt names what ended the job.
fn deletion(told: &Told, job: &Job, receipts: &[&Value]) -> Broken {
    let accepted: BTreeSet<_> = job
        .seen
        .iter()
        .filter_map(|seen| match &seen.saw {
            Saw::Accepted(name) => Some(name),
            _ => None,
        })
        .collect();
    ensure(accepted.len() <= 1, || format!("more than one DELETE was accepted: {accepted:?}"))?;
    let Some(receipt) = receipts.first() else {
        return ensure(accepted.is_empty(), || "a DELETE was accepted, and nothing was erased".into());
    };
    let unanswered = job
        .seen
        .iter()
        .any(|seen| matches!(seen.saw, Saw::Stopped) || is_of_restart(told, seen.begun, seen.ended));
    match receipt["reason"].as_str().unwrap() {
        "cancelled" | "deleted" => {
            ensure(unanswered || accepted.len() == 1, || "no DELETE was accepted".into())
        }
        "expired" => ensure(told.clock_advanced && accepted.is_empty(), || "it expired too early".into()),
        other => Err(format!("it was erased as {other}")),
    }
}

/// P2, P10: what was seen once is not taken back.
fn order(told: &Told, job: &Job) -> Broken {
    for before in &job.seen {
        if job.owner != OWNERS[0]
            && matches!(before.saw, Saw::Active | Saw::Manifest(_) | Saw::File(..) | Saw::Deleted)
        {
            return Err(format!("somebody else saw {before:?}"));
        }
        if let Saw::Odd(what) = &before.saw {
            ensure(is_of_restart(told, before.begun, before.ended), || format!("odd: {what}"))?;
        }
        if before.saw == Saw::Unknown && job.owner == OWNERS[0] {
            return Err("it was unknown".into());
        }
        for after in job.seen.iter().filter(|after| after.begun > before.ended) {
            let kept = match (&before.saw, &after.saw) {
                (_, Saw::Stopped | Saw::Odd(_) | Saw::Unknown) => true,
                (Saw::Accepted(first), Saw::Accepted(again)) => first == again,
                (Saw::Accepted(_), after) => matches!(after, Saw::Deleted | Saw::AlreadyDeleted(_)),
                (Saw::Deleted | Saw::AlreadyDeleted(_), after) => {
                    matches!(after, Saw::Deleted | Saw::AlreadyDeleted(_) | Saw::Accepted(_))
                }
                (Saw::Manifest(first), Saw::Manifest(again)) => first == again,
                (Saw::Manifest(_) | Saw::File(..), after) => *after != Saw::Active,
                _ => true,
            };
            ensure(kept, || format!("{before:?} and then {after:?}"))?;
        }
    }
    Ok(())
}

/// Whether an instance went down meanwhile.
fn is_of_restart(told: &Told, begun: u64, ended: u64) -> bool {
    told.restarts.iter().any(|(down, up)| *down < ended && begun < *up)
}

/// P6: a complete job has the whole files of its manifest, all of one plan, and no others.
fn files(state: Option<StateName>, job: &Job, disk: &Disk) -> Broken {
    let mut plans = BTreeSet::new();
    for seen in &job.seen {
        match &seen.saw {
            Saw::File(_, plan) => drop(plans.insert(*plan)),
            Saw::Cut => {
                ensure(state == Some(StateName::Erased), || "a download of a live job was cut".into())?
            }
            _ => {}
        }
    }
    if state == Some(StateName::Complete) {
        let folder = disk.0.join("ready").join(job.id.to_string());
        let mut kinds = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| format!("its directory: {error}"))? {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if matches!(name, "request.json" | "plan.json" | "job.json") {
                continue;
            }
            let kind = name.split(['_', '.']).nth(1).unwrap_or_default();
            let plan = plan_of(kind, &crate::support::read_stored(&path).unwrap());
            plans.insert(plan.ok_or_else(|| format!("{name} is not whole"))?);
            kinds.push(kind.to_string());
        }
        kinds.sort();
        ensure(kinds == ["Goal", "Patient"], || format!("it has files of {kinds:?}"))?;
    }
    ensure(plans.len() <= 1, || format!("its files are of several plans: {plans:?}"))
}

/// P7: every directory is that of a job that a client knows, or of a kick-off without an answer.
fn strangers(told: &Told, disk: &Disk) -> Broken {
    let known: BTreeSet<_> = told.jobs.values().map(|job| job.id.to_string()).collect();
    let there = ["building", "ready", "trash"].map(|place| disk.jobs(place)).concat();
    let strangers: Vec<_> = there.into_iter().filter(|job| !known.contains(job)).collect();
    ensure(strangers.len() <= told.lost_kickoffs.len(), || format!("nobody knows of {strangers:?}"))?;
    let lost = told.lost_kickoffs.iter().find(|(begun, ended)| !is_of_restart(told, *begun, *ended));
    ensure(lost.is_none(), || "a kick-off was refused".into())
}

/// The receipts of erasures, of a chain that is whole.
fn receipts(room: &Room) -> Result<Vec<Value>, String> {
    let path = room.data_dir().join("receipts.ndjson");
    evanesce::receipts::verify(&path).map_err(|error| error.to_string())?;
    let text = fs::read_to_string(path).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["entry"].take());
    Ok(entries.filter(|entry| entry["kind"] == "erasure").collect())
}
