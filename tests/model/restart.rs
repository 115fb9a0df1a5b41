//! Crashes, and what the next process makes of what it finds: it syncs it and does what the
//! real table of the reconcile says for the three witnesses of the job.

use evanesce::erase::HoldBook;
use evanesce::erase::reconcile::{BuildingEvidence, JobTestimony, JoinCure};
use evanesce::job::{MarkReason, StateName};

use super::actor::{job, wake};
use super::flaws::Flaw;
use super::process::*;
use super::record::Record;
use super::search::Next;
use super::world::*;

/// The ends that a process may come to now, each with what may survive it. A failed fsync is
/// one of them: it ends the process, and what was being synced is there or not.
pub fn crashes(world: &World) -> Vec<Next<World>> {
    if world.process.is_none() || world.luck.crashes == 0 {
        return Vec::new();
    }
    let mut after = world.clone();
    after.luck.crashes -= 1;
    after.process = None;
    for part in &mut after.parts {
        (part.writer, part.is_recording) = (Writer::Out, false);
    }
    for answer in &mut after.answers {
        if *answer == Answer::Waiting {
            *answer = Answer::Lost;
        }
    }
    for order in [&mut after.hold, &mut after.pause] {
        *order = if *order == Hold::Ordered { Hold::No } else { *order };
    }
    if after.is_kicking_off() {
        after.kickoff = Kickoff::Failed;
    }

    // After a power loss all that is left is durable. What was not synced is there or not. Between
    // two unsynced changes of one thing it cannot stop: that equals a crash one step earlier.
    let unsynced = [
        !after.is_store_synced(),
        !after.place.is_synced(),
        // A directory that is gone for good has no names to come back to.
        !after.are_names_synced(),
        !after.receipts.is_synced(),
        !after.stand_in.is_synced(),
        !after.audit.is_synced(),
        !after.key.is_synced(),
    ];
    let unsynced = (0..7).fold(0, |all, bit| all | u8::from(unsynced[bit]) << bit);
    let mut crashes = vec![("SIGKILL, or a failed fsync", after.clone())];
    // sled keeps part of its log in memory, so SIGKILL may lose it or not; the kernel keeps the rest.
    if unsynced & 1 != 0 {
        let mut killed = after.clone();
        killed.lose_store();
        crashes.push(("SIGKILL; sled had not written all", killed));
    }
    for case in (1..=unsynced).filter(|case| case & !unsynced == 0).chain((unsynced != 0).then_some(0)) {
        let lost = |what: u8| case & what != 0;
        let mut dark = after.clone();
        if lost(1) {
            dark.lose_store();
        }
        if lost(2) {
            dark.place.lose();
        }
        if lost(4) && dark.has_directory() {
            dark.lose_names();
        }
        if lost(8) {
            dark.receipts.lose();
        }
        if lost(16) {
            dark.stand_in.lose();
        }
        if lost(32) {
            dark.audit.lose();
        }
        if lost(64) {
            dark.key.lose();
        }
        sync_all(&mut dark);
        crashes.push(("power loss", dark));
    }
    crashes
}

fn sync_all(world: &mut World) {
    world.sync_store();
    world.sync_places();
    world.sync_names();
    world.receipts.sync();
    world.audit.sync();
    world.key.sync();
}

/// The next process starts.
pub fn restart(world: &World, flaw: Flaw) -> Option<Next<World>> {
    start(world, flaw, |_| Some("restart: the witnesses are joined"))
}

/// Starts that meet, or end with, another misfortune.
pub fn unlucky_restarts(world: &World, flaw: Flaw) -> Vec<Next<World>> {
    let lost_store = start(world, flaw, |next| {
        next.luck.lost_stores = next.luck.lost_stores.checked_sub(1)?;
        next.tail_lost = true;
        next.cut_store();
        Some("restart: the store has lost its tail")
    });
    let lost_receipt = start(world, flaw, |next| {
        next.luck.lost_receipts = next.luck.lost_receipts.checked_sub(1)?;
        next.tail_lost = true;
        let lines = next.receipts.seen.lines.checked_sub(1)?;
        next.receipts = Cached::durable(Receipts { lines, ..next.receipts.seen });
        Some("restart: the receipts have lost their last line")
    });
    let dies = start(world, flaw, |next| {
        next.luck.crashes = next.luck.crashes.checked_sub(1)?;
        Some("a start dies after its commit, before it moves anything")
    });
    let dies = dies.map(|(words, next)| {
        let luck = Luck { crashes: next.luck.crashes, ..world.luck };
        let (place, receipts, shown, stand_in) = (world.place, world.receipts, world.shown, world.stand_in);
        (words, World { place, receipts, shown, stand_in, process: None, luck, ..next })
    });
    let stays = start(world, flaw, |next| {
        next.luck.failing_moves = next.luck.failing_moves.checked_sub(1)?;
        Some("restart: the rename to trash/ fails")
    });
    let restored = start(world, flaw, |next| {
        next.luck.restores = next.luck.restores.checked_sub(1)?;
        // What neither its log nor its keys have got to the disk nobody remembers.
        let is_shown_deleted = next.shown.is_some_and(StateName::is_deleted);
        (next.audit.seen || !next.key.seen || !is_shown_deleted).then_some(())?;
        next.restore();
        Some("restart: an older copy of the data directory was put in its place")
    });
    [lost_store, lost_receipt, dies, stays, restored].into_iter().flatten().collect()
}

fn start(
    world: &World,
    flaw: Flaw,
    misfortune: impl Fn(&mut World) -> Option<&'static str>,
) -> Option<Next<World>> {
    if world.process.is_some() {
        return None;
    }
    let mut next = world.clone();
    if flaw != Flaw::TrustUnsynced {
        // What a killed process left in the kernel's cache can be read and is not durable (P2).
        sync_all(&mut next);
    }
    if flaw != Flaw::KeepTornReceipt && next.receipts.seen.torn {
        next.receipts = Cached::durable(Receipts { torn: false, ..next.receipts.seen });
    }
    let words = misfortune(&mut next)?;
    let moves = next.luck.failing_moves == world.luck.failing_moves && flaw != Flaw::ServeBeforeMoveToTrash;
    join(&mut next, flaw, moves);
    Some((words, next))
}

/// What is left of a job for a start, in the page cache or on the medium.
pub struct Remains {
    pub store: Option<Record>,
    pub place: Place,
    pub stand_in: bool,
    pub plan: u8,
    pub job_json: Option<StateName>,
    pub receipts: u8,
    pub audit: bool,
    pub has_key: bool,
}

/// What store, disk, receipts and audit log say of the job.
pub fn testimony(remains: Remains) -> JobTestimony {
    let Remains { store, place, stand_in, plan, job_json, receipts, audit, has_key } = remains;
    let keyless = !has_key && matches!(place, Place::Building | Place::Ready);
    let building = match (job_json, plan) {
        // Nothing can be read.
        _ if keyless => BuildingEvidence::Bare,
        (Some(StateName::Failed), _) => BuildingEvidence::Failed,
        (_, 0) => BuildingEvidence::Bare,
        _ => BuildingEvidence::Planned,
    };
    let is_deleted = store.is_some_and(|record| record.name.is_deleted());
    JobTestimony {
        store: store.map(|record| record.name),
        building: (place == Place::Building).then_some(building),
        ready: place == Place::Ready,
        trash: place == Place::Trash || stand_in,
        receipt: receipts > 0,
        // It is asked only what nobody else remembers.
        audit: audit && !is_deleted && receipts == 0,
        unvouched: false,
        keyless,
    }
}

/// The state that a start comes to.
pub fn outcome(testimony: JobTestimony) -> Option<StateName> {
    match testimony.cure() {
        JoinCure::Watch => None,
        JoinCure::MarkLost => Some(StateName::Marked),
        _ => testimony.joined(),
    }
}

fn join(world: &mut World, flaw: Flaw, moves: bool) {
    let stored = world.store.now.seen;
    let receipts = if flaw == Flaw::IgnoreReceipt { 0 } else { world.receipts.seen.lines };
    let testimony = testimony(Remains {
        store: stored,
        place: world.place.seen,
        stand_in: world.stand_in.seen,
        plan: world.plan.seen,
        job_json: world.job_json.seen,
        receipts,
        audit: world.audit.seen && flaw != Flaw::IgnoreAudit,
        has_key: world.key.seen || flaw == Flaw::IgnoreKeys,
    });
    let cure = testimony.cure();
    let recorded = match cure {
        JoinCure::Resume => stored.or(Some(Record::new(StateName::Queued))),
        JoinCure::SettleFailure => Some(Record::new(StateName::Failed)),
        JoinCure::RollForward if world.job_json.seen.is_none() => Some(Record::marked(MarkReason::Lost)),
        JoinCure::RollForward => {
            world.parts.iter_mut().for_each(|part| part.sealed = Logged::durable(true));
            Some(Record::new(StateName::Complete))
        }
        JoinCure::MarkLost => Some(Record::marked(MarkReason::Lost)),
        JoinCure::Erase if testimony.store != Some(StateName::Marked) => {
            let reason = if testimony.keyless { MarkReason::Lost } else { MarkReason::Recovered };
            Some(Record::marked(reason))
        }
        JoinCure::Bury => Some(Record::new(StateName::Erased)),
        JoinCure::Nothing | JoinCure::Watch | JoinCure::MoveToReady | JoinCure::Erase => stored,
    };
    if recorded != stored {
        world.store.now.seen = recorded;
        world.sync_store();
    }
    match cure {
        JoinCure::Resume => set_stale_files_aside(world),
        JoinCure::MoveToReady => world.place = Cached::durable(Place::Ready),
        // Before anything is served: a client that once read "deleted" relies on both witnesses (P2).
        JoinCure::Erase if moves && world.is_immovable => {
            world.stand_in = Cached::durable(world.has_directory() || world.stand_in.seen);
        }
        JoinCure::Erase if moves => world.place = Cached::durable(world.place.seen.max(Place::Trash)),
        JoinCure::Bury => {
            world.unlink_all();
            world.sync_names();
            world.place = Cached::durable(Place::Gone);
            world.stand_in = Cached::durable(false);
        }
        _ => {}
    }
    if recorded.is_none() && !world.has_directory() {
        // A key that nobody knows.
        world.key = Cached::durable(false);
    }
    let mut process = Process::new(recorded);
    process.book = HoldBook::new((world.hold == Hold::Yes).then(job), world.pause == Hold::Yes);
    world.process = Some(process);
    world.publish(recorded);
    let awake = recorded.is_some_and(|record| match record.name {
        StateName::Queued | StateName::Running | StateName::Finishing => flaw != Flaw::ForgetToResume,
        StateName::Failed | StateName::Marked => true,
        StateName::Complete | StateName::Erased => false,
    });
    if awake {
        wake(world, flaw);
    }
}

/// A part that was not sealed is run again, into a file of another name.
fn set_stale_files_aside(world: &mut World) {
    for part in world.parts.iter_mut().filter(|part| !part.sealed.now.seen && part.file.seen) {
        part.stale = Cached { seen: true, synced: part.stale.synced || part.file.synced };
        part.file = Cached::durable(false);
    }
}
