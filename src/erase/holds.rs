//! Who may unlink and who forbids it, in one book: the warrants that are out, the jobs under a
//! hold, the pause. A hold and a warrant for the same job exclude each other, so a hold that is
//! answered came before the first unlink. Pure: the registry locks it, the model searches it.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::JobId;

/// Why an order was not taken.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// assert_eq!(evanesce.hold(JobId::random(), "legal", "").await, Err(OrderError::NoSuchJob));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such job, or it is erased.
    #[error("there is no such job, or its files are gone already")]
    NoSuchJob,
    /// It comes too late.
    #[error("the job's files are being removed at this moment, or are gone")]
    BeingErased,
    /// The job is under a hold.
    #[error("the job is under a hold already")]
    AlreadyHeld,
    /// The job is under no hold.
    #[error("the job is under no hold")]
    NotHeld,
    /// The reaper is paused.
    #[error("the reaper is paused already")]
    AlreadyPaused,
    /// The reaper is not paused.
    #[error("the reaper is not paused")]
    NotPaused,
    /// The instance is going down; ask again after the next start.
    #[error("the instance is going down")]
    Stopped,
}

/// Why a warrant was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WarrantRefusal {
    /// The job is under a hold.
    #[error("the job is under a hold")]
    Held,
    /// The reaper is paused.
    #[error("the reaper is paused")]
    Paused,
    /// No witness shows the ground.
    #[error("no witness shows that its files may go")]
    Unfounded,
}

/// The warrants that are out and the orders that forbid new ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct HoldBook {
    held: BTreeSet<JobId>,
    is_paused: bool,
    /// Warrants that are out, by job.
    out: BTreeMap<JobId, usize>,
    /// Jobs whose files are gone, until their erasure is published.
    gone: BTreeSet<JobId>,
}

impl HoldBook {
    /// Creates a book with the orders that were in force before.
    pub fn new(held: impl IntoIterator<Item = JobId>, is_paused: bool) -> Self {
        Self { held: held.into_iter().collect(), is_paused, ..Self::default() }
    }

    /// Notes a warrant for the job.
    ///
    /// # Errors
    /// Fails under a pause or a hold.
    pub fn grant(&mut self, job: JobId) -> Result<(), WarrantRefusal> {
        if self.is_paused {
            return Err(WarrantRefusal::Paused);
        }
        if self.held.contains(&job) {
            return Err(WarrantRefusal::Held);
        }
        *self.out.entry(job).or_default() += 1;
        Ok(())
    }

    /// Takes a warrant back; with `all_gone` no file of the job is left.
    pub fn give_back(&mut self, job: JobId, all_gone: bool) {
        if let Some(count) = self.out.get_mut(&job) {
            *count -= 1;
            if *count == 0 {
                self.out.remove(&job);
            }
        }
        if all_gone {
            self.gone.insert(job);
        }
    }

    /// Puts a job under a hold, which is in force from here on.
    ///
    /// # Errors
    /// Fails if the job is held already, a warrant for it is out, or its files are gone.
    pub fn hold(&mut self, job: JobId) -> Result<(), OrderError> {
        if self.out.contains_key(&job) || self.gone.contains(&job) {
            return Err(OrderError::BeingErased);
        }
        if self.held.insert(job) { Ok(()) } else { Err(OrderError::AlreadyHeld) }
    }

    /// Ends a hold.
    pub fn release(&mut self, job: JobId) {
        self.held.remove(&job);
    }

    /// Returns whether the job's files must stay.
    pub fn is_held(&self, job: JobId) -> bool {
        self.held.contains(&job)
    }

    /// Pauses everything: no warrant is granted from here on.
    ///
    /// # Errors
    /// Fails if it is paused already.
    pub fn pause(&mut self) -> Result<(), OrderError> {
        if std::mem::replace(&mut self.is_paused, true) { Err(OrderError::AlreadyPaused) } else { Ok(()) }
    }

    /// Ends a pause.
    pub fn resume(&mut self) {
        self.is_paused = false;
    }

    /// Returns whether a pause is in force.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Returns whether no warrant is out.
    pub fn is_quiet(&self) -> bool {
        self.out.is_empty()
    }

    /// Forgets jobs whose erasure is published.
    pub fn forget_gone(&mut self, is_awaited: impl Fn(JobId) -> bool) {
        self.gone.retain(|job| is_awaited(*job));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hold_and_a_warrant_for_the_same_job_exclude_each_other() {
        let (job, other) = (JobId::random(), JobId::random());
        let mut book = HoldBook::default();
        book.grant(job).unwrap();
        assert_eq!(book.hold(job), Err(OrderError::BeingErased));
        assert_eq!(book.hold(other), Ok(()));
        assert_eq!(book.hold(other), Err(OrderError::AlreadyHeld));
        assert_eq!(book.grant(other), Err(WarrantRefusal::Held));
        // A second warrant for the job: both must come back.
        book.grant(job).unwrap();
        book.give_back(job, false);
        assert_eq!(book.hold(job), Err(OrderError::BeingErased));
        book.give_back(job, false);
        assert_eq!(book.hold(job), Ok(()));
        book.release(job);
        assert_eq!(book.grant(job), Ok(()));
    }

    #[test]
    fn a_hold_on_files_that_are_gone_is_refused_until_the_erasure_is_published() {
        let job = JobId::random();
        let mut book = HoldBook::default();
        book.grant(job).unwrap();
        book.give_back(job, true);
        assert_eq!(book.hold(job), Err(OrderError::BeingErased));
        book.forget_gone(|_| true);
        assert_eq!(book.hold(job), Err(OrderError::BeingErased));
        book.forget_gone(|_| false);
        assert_eq!(book.hold(job), Ok(()));
    }

    #[test]
    fn a_pause_forbids_new_warrants_at_once_and_is_quiet_when_the_last_one_is_back() {
        let job = JobId::random();
        let mut book = HoldBook::new([], false);
        book.grant(job).unwrap();
        book.pause().unwrap();
        assert_eq!(book.pause(), Err(OrderError::AlreadyPaused));
        assert_eq!(book.grant(JobId::random()), Err(WarrantRefusal::Paused));
        assert!(!book.is_quiet());
        book.give_back(job, false);
        assert!(book.is_quiet() && book.is_paused());
        book.resume();
        assert_eq!(book.grant(job), Ok(()));
    }

    proptest! {
        #[test]
        fn no_job_is_ever_held_while_a_warrant_for_it_is_out(steps in prop::collection::vec((0..6, 0..3usize), 0..60)) {
            let jobs = [(); 3].map(|()| JobId::random());
            let mut book = HoldBook::default();
            let mut out = [0usize; 3];
            for (what, n) in steps {
                let job = jobs[n];
                match what {
                    0 => out[n] += usize::from(book.grant(job).is_ok()),
                    1 if out[n] > 0 => {
                        out[n] -= 1;
                        book.give_back(job, false);
                    }
                    2 => drop(book.hold(job)),
                    3 => book.release(job),
                    4 => drop(book.pause()),
                    _ => book.resume(),
                }
                for (job, out) in jobs.iter().zip(out) {
                    prop_assert!(out == 0 || !book.is_held(*job));
                }
                prop_assert_eq!(book.is_quiet(), out == [0; 3]);
            }
        }
    }
}
