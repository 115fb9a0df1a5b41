//! Named steps between two effects, and faults, for the crash and fault tests. With the
//! feature `breakpoints` (never in a release binary) a test may say, per instance, that the
//! process is killed or held when it reaches a step, or that a system call fails. Without
//! the feature every call here is empty.

use std::io;

/// A step that a test can stop at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "breakpoints", derive(clap::ValueEnum))]
#[expect(missing_docs, reason = "the names say where")]
pub enum Step {
    DirectoryCreated,
    QueuedCommitted,
    PlanWritten,
    PartSealed,
    JobJsonWritten,
    MovedToReady,
    MarkCommitted,
    MovedToTrash,
    SweepBegins,
    FileUnlinked,
    SweepEnds,
    ReceiptAppended,
}

/// A system call that a test can let fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "breakpoints", derive(clap::ValueEnum))]
#[expect(missing_docs, reason = "the system calls' names")]
pub enum Fault {
    Unlink,
    Rename,
    Write,
    Commit,
}

#[cfg(not(feature = "breakpoints"))]
mod active {
    use super::{Fault, Step, io};

    /// No hooks: this build has none.
    #[derive(Debug, Clone, Default)]
    pub struct Hooks(());

    impl Hooks {
        /// Says that the instance is at `step`.
        #[inline]
        pub fn reach(&self, _step: Step) {}

        /// Gives the error that a test asked for.
        #[inline]
        pub fn fault(&self, _fault: Fault) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(feature = "breakpoints")]
mod active {
    use std::str::FromStr;
    use std::sync::Arc;

    use clap::ValueEnum;
    use parking_lot::Mutex;

    use super::{Fault, Step, io};

    #[derive(Debug, Clone, Copy)]
    enum Action {
        Kill,
        Hold,
        Panic,
    }

    /// `STEP[:N]=kill|hold|panic`: at the N-th time (from 1) that the step is reached.
    #[derive(Debug, Clone)]
    pub struct Breakpoint {
        step: Step,
        countdown: u32,
        action: Action,
    }

    impl FromStr for Breakpoint {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            let (place, action) = text.split_once('=').ok_or("expected STEP[:N]=kill|hold|panic")?;
            let action = match action {
                "kill" => Action::Kill,
                "hold" => Action::Hold,
                "panic" => Action::Panic,
                _ => return Err("expected kill, hold or panic".into()),
            };
            let (step, countdown) = place.split_once(':').unwrap_or((place, "1"));
            let countdown = countdown.parse().map_err(|_| "expected a number after the colon")?;
            Ok(Self { step: Step::from_str(step, false)?, countdown, action })
        }
    }

    /// `CALL:ERRNO:N[:AFTER]`: N calls fail with that error number, after AFTER that do not.
    #[derive(Debug, Clone)]
    pub struct FaultPlan {
        fault: Fault,
        errno: i32,
        times: u32,
        after: u32,
    }

    impl FromStr for FaultPlan {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            let number = |text: &str| text.parse::<u32>().map_err(|e| e.to_string());
            let parts: Vec<_> = text.split(':').collect();
            let (fault, errno, times, after) = match parts[..] {
                [fault, errno, times] => (fault, errno, times, "0"),
                [fault, errno, times, after] => (fault, errno, times, after),
                _ => return Err("expected CALL:ERRNO:N[:AFTER]".into()),
            };
            let errno = number(errno)? as i32;
            Ok(Self {
                fault: Fault::from_str(fault, false)?,
                errno,
                times: number(times)?,
                after: number(after)?,
            })
        }
    }

    #[derive(Debug, Default)]
    struct Plans {
        breakpoints: Vec<Breakpoint>,
        faults: Vec<FaultPlan>,
    }

    /// The breakpoints and faults of one instance.
    #[derive(Debug, Clone, Default)]
    pub struct Hooks(Arc<Mutex<Plans>>);

    impl Hooks {
        /// Hooks that follow these plans.
        pub fn new(breakpoints: Vec<Breakpoint>, faults: Vec<FaultPlan>) -> Self {
            Self(Arc::new(Mutex::new(Plans { breakpoints, faults })))
        }

        /// Says that the instance is at `step`; kills the process, holds the thread or panics if so planned.
        pub fn reach(&self, step: Step) {
            let action = {
                let mut plans = self.0.lock();
                let found = plans.breakpoints.iter_mut().find(|b| b.step == step && b.countdown > 0);
                found.and_then(|b| {
                    b.countdown -= 1;
                    (b.countdown == 0).then_some(b.action)
                })
            };
            match action {
                None => {}
                Some(Action::Kill) => {
                    let own = rustix::process::getpid();
                    let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
                    std::thread::park();
                }
                Some(Action::Panic) => panic!("on purpose, at {step:?}"),
                Some(Action::Hold) => loop {
                    std::thread::park();
                },
            }
        }

        /// Gives the error that a test asked for.
        pub fn fault(&self, fault: Fault) -> io::Result<()> {
            let mut plans = self.0.lock();
            match plans.faults.iter_mut().find(|plan| plan.fault == fault && plan.times > 0) {
                Some(plan) if plan.after > 0 => {
                    plan.after -= 1;
                    Ok(())
                }
                Some(plan) => {
                    plan.times -= 1;
                    Err(io::Error::from_raw_os_error(plan.errno))
                }
                None => Ok(()),
            }
        }
    }
}

pub use active::*;
