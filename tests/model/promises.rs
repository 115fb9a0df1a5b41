//! The promises of DESIGN section 1 as predicates over one state.

use std::fmt;

use evanesce::job::{MarkReason, StateName};

use super::actor::request_of;
use super::downloads::CHUNKS;
use super::process::*;
use super::restart::{Remains, outcome, testimony};
use super::world::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    AcknowledgedIsDurable,
    MarkedTwice,
    AcceptedIsDurable,
    ShownStays,
    ShownIsDurable,
    NoResurrection,
    LastOneOut,
    NothingForgotten,
    NothingLiveLost,
    OnlyItsFiles,
    NothingUnasked,
    HeldStays,
    UsersWaitedFor,
    KeyGoneFirst,
    KeyNotInUse,
    ServedHasKey,
    HonestExpiry,
    ExpiryWaits,
    WholeOrFailed,
    OneAnswer,
    OneReceipt,
    ChainUnbroken,
    OnePlan,
    NotStuck,
}

use Promise::*;

impl Promise {
    pub const ALL: [Self; 24] = [
        AcknowledgedIsDurable,
        MarkedTwice,
        AcceptedIsDurable,
        ShownStays,
        ShownIsDurable,
        NoResurrection,
        LastOneOut,
        // Before `NothingForgotten`, which says less of the same state.
        NotStuck,
        NothingForgotten,
        NothingLiveLost,
        OnlyItsFiles,
        NothingUnasked,
        HeldStays,
        UsersWaitedFor,
        KeyGoneFirst,
        KeyNotInUse,
        ServedHasKey,
        HonestExpiry,
        ExpiryWaits,
        WholeOrFailed,
        OneAnswer,
        OneReceipt,
        ChainUnbroken,
        OnePlan,
    ];

    pub fn holds(self, world: &World, at_rest: bool) -> bool {
        let acknowledged = world.answers.contains(&Answer::Got202);
        let process = world.process.as_ref();
        let state = process.and_then(Process::state);
        let view = process.and_then(|process| process.view).map(|view| view.name);
        let reason = process.and_then(|process| process.record()?.reason);
        match self {
            AcknowledgedIsDurable => {
                let marked = |name: Option<StateName>| name >= Some(StateName::Marked);
                !acknowledged || marked(joined(world)) && (process.is_none() || marked(state))
            }
            // Directories only move forward and records too, but for a lost tail.
            MarkedTwice => {
                let stored = world.store.now.synced.is_some_and(|record| record.name.is_deleted());
                !acknowledged
                    || (stored || world.tail_lost)
                        && (world.place.synced >= Place::Trash || world.stand_in.synced)
            }
            AcceptedIsDurable => {
                world.kickoff != Kickoff::Got202 || world.tail_lost || joined(world).is_some()
            }
            ShownStays => {
                process.is_none()
                    || world.shown.is_none_or(|shown| {
                        let turned = shown == StateName::Failed && view == Some(StateName::Complete);
                        shown.is_active() || view >= Some(shown) && !turned
                    })
            }
            ShownIsDurable => world.shown.is_none_or(StateName::is_active) || joined(world) >= world.shown,
            NoResurrection => {
                !is_erased(world)
                    || world.place == Cached::durable(Place::Gone)
                        && world.stand_in == Cached::durable(false)
                        && !world.has_names()
            }
            LastOneOut => {
                state != Some(StateName::Erased)
                    || process.is_none_or(|process| {
                        let finisher_out = !process.is_doing(|doing| doing.work.holds_directory());
                        world.writers_out() && !process.download.has_file() && finisher_out
                    })
            }
            NothingForgotten => !at_rest || is_in_order(world),
            NothingLiveLost => {
                let shown_files =
                    view != Some(StateName::Complete) || all_files(world) && world.has_directory();
                let whole = world.place == Cached::durable(Place::Ready) && all_files(world);
                let gives_room = world.disk_was_full && state >= Some(StateName::Marked);
                world.vandalized
                    || (shown_files || gives_room) && (whole || state != Some(StateName::Complete))
            }
            OnlyItsFiles => {
                let is_stale = world.parts.iter().any(|part| part.stale.seen);
                view != Some(StateName::Complete) || !is_stale || world.kept_stale
            }
            NothingUnasked => match reason {
                Some(MarkReason::Orphan) => world.kickoff != Kickoff::Got202 || world.tail_lost,
                Some(MarkReason::Lost) => world.vandalized || world.tail_lost,
                // On a full disk the place in `trash/` comes before the mark.
                Some(MarkReason::Recovered) => world.vandalized || world.tail_lost || world.disk_was_full,
                _ => true,
            },
            HeldStays => !world.hold_broken,
            UsersWaitedFor => !world.readers_forgotten,
            KeyGoneFirst => !is_erased(world) || world.key == Cached::durable(false),
            KeyNotInUse => !world.key_misused,
            ServedHasKey => view.is_none_or(StateName::is_deleted) || world.key.seen,
            HonestExpiry => reason != Some(MarkReason::Expired) || world.due,
            ExpiryWaits => process.is_none_or(|process| {
                let cut = matches!(process.download, Download::Cutting(_) | Download::Cut);
                let patient = world.luck.slow_clients > 0;
                !(cut && patient && reason == Some(MarkReason::Expired))
            }),
            WholeOrFailed => process.is_none_or(|process| match process.download {
                Download::Whole(chunks) => chunks == CHUNKS,
                Download::Got500 => world.vandalized,
                _ => true,
            }),
            OneAnswer => {
                let accepted = |index: &usize| world.answers[*index] == Answer::Got202;
                let requests: Vec<_> = (0..3).filter(accepted).map(request_of).collect();
                requests.windows(2).all(|pair| pair[0] == pair[1])
            }
            OneReceipt => {
                let Receipts { lines, .. } = world.receipts.seen;
                lines <= 1 && (!at_rest || world.tail_lost || (lines == 1) == is_erased(world))
            }
            ChainUnbroken => !world.receipts.seen.broken,
            OnePlan => {
                let sealed = world.parts.iter().filter(|part| part.sealed.now.seen);
                let of_this = |part: &Part| part.plan == world.plan.seen;
                world.plan.seen == 0 || sealed.into_iter().all(of_this)
            }
            NotStuck => !at_rest || !state.is_some_and(StateName::is_active),
        }
    }
}

/// What the next process would make of it if the power failed now.
fn joined(world: &World) -> Option<StateName> {
    outcome(testimony(Remains {
        store: world.store.now.synced,
        place: world.place.synced,
        stand_in: world.stand_in.synced,
        plan: world.plan.synced,
        job_json: world.job_json.synced,
        receipts: world.receipts.synced.lines,
        audit: world.audit.synced,
        has_key: world.key.synced,
    }))
}

fn is_erased(world: &World) -> bool {
    let erased = Some(StateName::Erased);
    let remembered = world.process.as_ref().and_then(Process::state) == erased;
    let stored = world.store.now.seen.map(|record| record.name) == erased;
    remembered || stored || world.receipts.seen.lines > 0
}

fn all_files(world: &World) -> bool {
    world.parts.iter().all(|part| part.file == Cached::durable(true))
}

/// What a system with nothing left to do looks like: memory, store, view and disk agree, nobody
/// waits, and no state that was meant to pass has remained.
fn is_in_order(world: &World) -> bool {
    let Some(process) = &world.process else {
        return false;
    };
    let agreed = world.store.now == Cached::durable(process.view)
        && process.memory().is_none_or(|memory| Some(memory) == process.view);
    let waiting = world.answers.contains(&Answer::Waiting) || world.is_kicking_off();
    let finished = matches!(process.state(), Some(StateName::Complete | StateName::Failed));
    let overdue = world.due && finished;
    let reading = match process.download {
        // A client may take its time, as long as nobody wants the files gone.
        Download::Open(_) | Download::Slow(_) => process.state() != Some(StateName::Complete),
        download => download.has_ticket() || download == Download::Missing,
    };
    let has_files = world
        .parts
        .iter()
        .any(|part| part.file != Cached::durable(false) || part.stale != Cached::durable(false));
    let in_place = match process.state() {
        None => !world.has_directory(),
        Some(StateName::Complete) => world.place == Cached::durable(Place::Ready),
        Some(StateName::Failed) => world.place == Cached::durable(Place::Building) && !has_files,
        Some(StateName::Erased) => world.place == Cached::durable(Place::Gone),
        _ => false,
    };
    let forbidden = world.hold == Hold::Yes || world.pause == Hold::Yes;
    if forbidden && matches!(process.state(), Some(StateName::Marked | StateName::Failed)) {
        return agreed && !waiting;
    }
    let overdue = overdue && !forbidden;
    agreed && !waiting && !overdue && !reading && process.doing.is_empty() && world.writers_out() && in_place
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcknowledgedIsDurable => "P1: a mark that was acknowledged holds, whatever happens",
            MarkedTwice => "P1: when a 202 leaves, store and disk both hold the mark durably",
            AcceptedIsDurable => "a kick-off that was answered is not forgotten",
            ShownStays => "P2: nothing that was shown is taken back; deleted stays deleted",
            ShownIsDurable => "P2: nothing is shown that a power loss could take back",
            NoResurrection => "P3: once erased, no name of the job is on disk and none comes back",
            LastOneOut => "P4: erased only when writers, downloads and finisher are out",
            NothingForgotten => "P5: at rest nothing is left over",
            NothingLiveLost => "P6: the files of a complete job that nobody marked stay",
            OnlyItsFiles => "P6: a complete job has its sealed files and no others",
            NothingUnasked => "P6: no job is taken for lost that is there",
            HeldStays => {
                "no file is unlinked and no key destroyed from when a hold or a pause is answered to its end"
            }
            UsersWaitedFor => "P4: no swept name is that of a file that somebody still uses",
            KeyGoneFirst => "P14: once erased, the key is destroyed and does not come back",
            KeyNotInUse => "P14: no key is destroyed while somebody writes or reads with it",
            ServedHasKey => "P14: no job is shown as there whose key is gone",
            HonestExpiry => "P8: nothing expires before its time",
            ExpiryWaits => "P8: an expiry lets open downloads finish",
            WholeOrFailed => "a download is whole, or is seen to fail, or is 404",
            OneAnswer => "DELETE by state: of two DELETEs exactly one gets 202",
            OneReceipt => "P9: one receipt for each erasure, and only one",
            ChainUnbroken => "P9: a receipt is never appended to a torn one",
            OnePlan => "P11: all parts of a job are of one plan",
            NotStuck => "P11: no job is stuck; from every state the system can come to rest by itself",
        })
    }
}
