//! Which job has an actor. One job never has two, and a message never meets none: an actor is let go
//! of only when it has handled every message that was sent to it.

use std::collections::HashMap;

use crate::job::JobId;

/// The addresses of all actors of jobs.
pub struct ActorRegistry<A> {
    entries: HashMap<JobId, ActorEntry<A>>,
}

struct ActorEntry<A> {
    address: A,
    /// Messages sent to it.
    sent: u64,
}

impl<A> Default for ActorRegistry<A> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

impl<A> ActorRegistry<A> {
    /// Returns whether the job has an actor.
    pub fn has(&self, job: JobId) -> bool {
        self.entries.contains_key(&job)
    }

    /// Adds the actor of a job.
    pub fn insert(&mut self, job: JobId, address: A) {
        self.entries.insert(job, ActorEntry { address, sent: 0 });
    }

    /// Returns where to send one message for the job, which counts as sent.
    pub fn send_to(&mut self, job: JobId) -> Option<&A> {
        let entry = self.entries.get_mut(&job)?;
        entry.sent += 1;
        Some(&entry.address)
    }

    /// Removes an actor that has nothing to do after `handled` messages, unless another one is on its way
    /// to it.
    pub fn release(&mut self, job: JobId, handled: u64) -> Option<A> {
        let is_done = self.entries.get(&job).is_some_and(|entry| entry.sent == handled);
        if is_done { self.entries.remove(&job).map(|entry| entry.address) } else { None }
    }

    /// Returns all addresses, in no order.
    pub fn all(&self) -> impl Iterator<Item = &A> {
        self.entries.values().map(|entry| &entry.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_let_go_of_only_when_it_has_handled_every_message_that_was_sent_to_it() {
        let mut registry = ActorRegistry::default();
        let (job, other) = (JobId::random(), JobId::random());
        assert_eq!(registry.send_to(job), None);
        assert_eq!(registry.release(job, 0), None);
        registry.insert(job, "first");
        registry.insert(other, "other");
        assert_eq!(registry.send_to(job), Some(&"first"));
        assert_eq!(registry.send_to(job), Some(&"first"));
        assert_eq!(registry.release(job, 1), None, "the second message is on its way");
        assert!(registry.has(job));
        assert_eq!(registry.release(job, 2), Some("first"));
        assert!(!registry.has(job));
        registry.insert(job, "second");
        assert_eq!(registry.release(job, 2), None, "it was said by the first one");
        let mut all: Vec<_> = registry.all().copied().collect();
        all.sort_unstable();
        assert_eq!(all, ["other", "second"]);
    }
}
