//! The reaper's queue, which is the real one: when a marked job is swept, held back, or tried again.
//! Time stands still in it; a back-off is over when the model says so.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use evanesce::erase::{NextSweep, WarrantRefusal};
use evanesce::job::SweepCounts;
use evanesce::job::life::Input;

use super::actor::{feed, job};
use super::directory::first_stage;
use super::flaws::Flaw;
use super::process::*;
use super::world::*;

static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

const BACK_OFF: Duration = Duration::from_secs(1);

/// The reaper hears of a marked job.
pub fn asked(world: &mut World, flaw: Flaw) {
    world.running().queue.add(job());
    sweep_next(world, flaw);
}

/// The reaper begins what may be swept now. Only this begins a sweep, and it is called when the
/// real reaper does.
fn sweep_next(world: &mut World, flaw: Flaw) {
    let stage = first_stage(world.key.seen, flaw);
    if flaw == Flaw::DestroyHeldKey {
        world.destroy_key();
        world.key.sync();
    }
    let process = world.running();
    let book = &mut process.book;
    let grant = |job| match book.grant(job) {
        Err(_) if flaw == Flaw::SweepHeld => Ok(()),
        Err(WarrantRefusal::Paused) if flaw == Flaw::DropPaused => Err(WarrantRefusal::Unfounded),
        granted => granted,
    };
    if let NextSweep::Sweep(_) = process.queue.next(*NOW, 0, grant) {
        process.begin(Doing { stage, ..Doing::new(Work::Sweep) });
    }
}

/// A sweep has ended; after a failure the reaper comes again (P5).
pub fn swept(world: &mut World, flaw: Flaw, error: Option<&str>) {
    let process = world.running();
    process.queue.sweep_ended();
    if error.is_some() && flaw != Flaw::ForgetFailedSweep {
        process.queue.failed(job(), *NOW, BACK_OFF, BACK_OFF);
        process.begin(Doing::new(Work::AwaitSweepRetry));
    } else {
        process.queue.swept(job());
    }
    feed(world, flaw, Input::SweepDone { swept: SweepCounts::default(), error: error.map(Into::into) });
    sweep_next(world, flaw);
}

/// The back-off of a failed sweep is over.
pub fn retried(world: &mut World, flaw: Flaw) {
    world.running().queue.retry_due(*NOW + BACK_OFF);
    sweep_next(world, flaw);
}

/// The job is under no hold any more, or the pause has ended.
pub fn order_ended(world: &mut World, flaw: Flaw, is_release: bool) {
    if is_release && flaw != Flaw::ForgetHeldBack {
        world.running().queue.release(job());
    }
    sweep_next(world, flaw);
}
