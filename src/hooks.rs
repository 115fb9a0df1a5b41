//! Named steps between two effects, and faults, for tests of crashes, faults and races. With the
//! feature `breakpoints`, which is never in a release binary, a test can kill or hold the process
//! at a step of one instance, let a system call fail, let exports stand still, or direct each thread
//! that reaches a step.
//! Without the feature every call here is empty.

use std::io;

/// A step at which a test can stop. A step is what has just been done, unless its name says that it
/// begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "breakpoints", derive(clap::ValueEnum))]
#[allow(missing_docs, reason = "the names say where")]
pub enum HookStep {
    // A kick-off. `DocumentWritten` and `DocumentRenamed` are those of each document:
    // request.json, plan.json, job.json.
    DirectoryMade,
    DocumentWritten,
    DocumentRenamed,
    DirectoryCreated,
    QueuedCommitted,
    // The run of an export.
    PlanWritten,
    PartialsRemoved,
    WriteBegins,
    OutputWritten,
    OutputSynced,
    DirectorySynced,
    PartSealed,
    // A completion.
    JobJsonWritten,
    RenamedToReady,
    ReadySynced,
    MovedToReady,
    // Every commit of the committer.
    BatchApplied,
    LogFlushed,
    LogSynced,
    Published,
    // A deletion.
    MarkCommitted,
    RenamedToTrash,
    TrashSynced,
    MovedToTrash,
    PartsStopped,
    Acknowledged,
    LastOneOut,
    SweepBegins,
    UnlinkBegins,
    FileUnlinked,
    DirectoryRemoved,
    SweepEnds,
    ReceiptWritten,
    ReceiptSigned,
    ReceiptAppended,
    // A download.
    DownloadRegistered,
    DownloadOpened,
    // Keys: one of a job, and a turn of the epoch.
    JobKeyWritten,
    JobKeyDestroyed,
    EpochKeyMade,
    KeysRewrapped,
    KeysMoved,
    OldKeysDestroyed,
    EpochKeyDestroyed,
    EpochNoted,
    // The ballast.
    BallastReleased,
    BallastMade,
    BallastRestored,
    // The join at a start.
    JoinBegins,
    JoinDecided,
    JoinCommitted,
    JoinMoved,
    JoinEnds,
}

/// A system call, a commit of the store, or a write of keys that a test can let fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "breakpoints", derive(clap::ValueEnum))]
#[allow(missing_docs, reason = "the system calls' names")]
pub enum HookFault {
    Open,
    Write,
    Fsync,
    Rename,
    Unlink,
    Readdir,
    Statvfs,
    Commit,
    Keys,
}

#[cfg(not(feature = "breakpoints"))]
mod active {
    use super::{HookFault, HookStep, io};

    /// No hooks: this build has none.
    #[derive(Debug, Clone, Default)]
    pub struct Hooks(());

    impl Hooks {
        /// Reports that the instance is at `step`.
        #[inline]
        pub fn reach(&self, _step: HookStep) {}

        /// Returns the error that a test asked for.
        #[inline]
        pub fn fault(&self, _fault: HookFault) -> io::Result<()> {
            Ok(())
        }

        /// Returns whether a job that has written so many bytes stands still.
        #[inline]
        pub fn is_braked(&self, _written: u64) -> bool {
            false
        }
    }
}

#[cfg(feature = "breakpoints")]
mod active {
    use std::fmt;
    use std::path::PathBuf;
    use std::str::FromStr;
    use std::sync::Arc;

    use clap::ValueEnum;
    use parking_lot::Mutex;

    use super::{HookFault, HookStep, io};

    #[derive(Debug, Clone, Copy, ValueEnum)]
    enum BreakpointAction {
        Kill,
        Hold,
        Panic,
    }

    /// `[FIRST>]STEP[:N]=kill|hold|panic`: acts the N-th time (from 1) that the step is reached,
    /// counted from the moment FIRST was reached.
    #[derive(Debug, Clone)]
    pub struct Breakpoint {
        first: Option<HookStep>,
        step: HookStep,
        countdown: u32,
        action: BreakpointAction,
    }

    impl FromStr for Breakpoint {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            let (place, action) = text.split_once('=').ok_or("expected [FIRST>]STEP[:N]=kill|hold|panic")?;
            let action = BreakpointAction::from_str(action, false)?;
            let (first, place) = first_step(place)?;
            let (step, countdown) = place.split_once(':').unwrap_or((place, "1"));
            let countdown = countdown.parse().map_err(|_| "expected a number after the colon")?;
            Ok(Self { first, step: HookStep::from_str(step, false)?, countdown, action })
        }
    }

    /// `[FIRST>]CALL:ERRNO:N[:AFTER]`: N calls (all if N is `ever`) fail with that error number,
    /// after AFTER calls that succeed, counted from the moment FIRST was reached.
    #[derive(Debug, Clone)]
    pub struct FaultPlan {
        first: Option<HookStep>,
        fault: HookFault,
        errno: i32,
        times: u32,
        after: u32,
    }

    impl FromStr for FaultPlan {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            let number = |text: &str| text.parse::<u32>().map_err(|e| e.to_string());
            let (first, text) = first_step(text)?;
            let parts: Vec<_> = text.split(':').collect();
            let (fault, errno, times, after) = match parts[..] {
                [fault, errno, times] => (fault, errno, times, "0"),
                [fault, errno, times, after] => (fault, errno, times, after),
                _ => return Err("expected [FIRST>]CALL:ERRNO:N[:AFTER]".into()),
            };
            let errno = number(errno)? as i32;
            Ok(Self {
                first,
                fault: HookFault::from_str(fault, false)?,
                errno,
                times: if times == "ever" { u32::MAX } else { number(times)? },
                after: number(after)?,
            })
        }
    }

    /// Splits `FIRST>` off.
    fn first_step(text: &str) -> Result<(Option<HookStep>, &str), String> {
        match text.split_once('>') {
            Some((first, rest)) => Ok((Some(HookStep::from_str(first, false)?), rest)),
            None => Ok((None, text)),
        }
    }

    #[derive(Debug, Default)]
    struct HookPlans {
        breakpoints: Vec<Breakpoint>,
        faults: Vec<FaultPlan>,
    }

    type Director = dyn Fn(HookStep) + Send + Sync;

    /// The breakpoints and faults of one instance.
    #[derive(Clone, Default)]
    pub struct Hooks {
        plans: Arc<Mutex<HookPlans>>,
        director: Option<Arc<Director>>,
        brake: Option<PathBuf>,
    }

    impl fmt::Debug for Hooks {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Hooks").finish_non_exhaustive()
        }
    }

    impl Hooks {
        /// Creates hooks that follow these plans.
        pub fn new(breakpoints: Vec<Breakpoint>, faults: Vec<FaultPlan>) -> Self {
            Self { plans: Arc::new(Mutex::new(HookPlans { breakpoints, faults })), ..Self::default() }
        }

        /// Adds a brake. While there is a file `brake`, each job stands still once it has written
        /// as many bytes as the file says. As under a limit, it can be paused and cancelled.
        pub fn with_brake(self, brake: Option<PathBuf>) -> Self {
            Self { brake, ..self }
        }

        /// Creates hooks that call `director` at each step, on the thread that reached it. The
        /// thread goes on when the call returns.
        pub fn directed(director: impl Fn(HookStep) + Send + Sync + 'static) -> Self {
            Self { director: Some(Arc::new(director)), ..Self::default() }
        }

        /// Reports that the instance is at `step`. Kills the process, holds the thread or panics if
        /// planned.
        pub fn reach(&self, step: HookStep) {
            if let Some(director) = &self.director {
                director(step);
            }
            let action = {
                let mut plans = self.plans.lock();
                for breakpoint in plans.breakpoints.iter_mut().filter(|b| b.first == Some(step)) {
                    breakpoint.first = None;
                }
                for fault in plans.faults.iter_mut().filter(|f| f.first == Some(step)) {
                    fault.first = None;
                }
                let here = |b: &&mut Breakpoint| b.first.is_none() && b.step == step && b.countdown > 0;
                let found = plans.breakpoints.iter_mut().find(here);
                found.and_then(|b| {
                    b.countdown -= 1;
                    (b.countdown == 0).then_some(b.action)
                })
            };
            match action {
                None => {}
                Some(BreakpointAction::Kill) => {
                    let own = rustix::process::getpid();
                    let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
                    std::thread::park();
                }
                Some(BreakpointAction::Panic) => panic!("on purpose, at {step:?}"),
                Some(BreakpointAction::Hold) => {
                    // The test may wait for this line.
                    tracing::info!("held at {step:?}");
                    loop {
                        std::thread::park();
                    }
                }
            }
        }

        /// Returns the error that a test asked for.
        pub fn fault(&self, fault: HookFault) -> io::Result<()> {
            let mut plans = self.plans.lock();
            let here = |plan: &&mut FaultPlan| plan.first.is_none() && plan.fault == fault && plan.times > 0;
            match plans.faults.iter_mut().find(here) {
                Some(plan) if plan.after > 0 => {
                    plan.after -= 1;
                    Ok(())
                }
                Some(plan) => {
                    plan.times -= u32::from(plan.times < u32::MAX);
                    Err(io::Error::from_raw_os_error(plan.errno))
                }
                None => Ok(()),
            }
        }

        /// Returns whether a job that has written so many bytes stands still.
        pub fn is_braked(&self, written: u64) -> bool {
            let text = self.brake.as_ref().and_then(|brake| std::fs::read_to_string(brake).ok());
            // A file that has no number yet is about to have one.
            text.is_some_and(|most| written >= most.parse().unwrap_or(0))
        }
    }
}

pub use active::*;
