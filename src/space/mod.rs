//! Room on the disk and in the quotas of tenants: what exports take, what running ones will still
//! take, and whether one more fits. All decisions that take room are made here, one after the
//! other, so the same room is never given twice. Giving room back never blocks: the accounts are
//! not locked while the file system is asked, which may hang. A running export is never stopped for
//! its bytes, and deletions and downloads need no room.

mod accounts;

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::clock::{Clock, after, between};
use crate::config::Config;
use crate::job::{JobId, JobState, OutputFile, TenantId};
use crate::telemetry;
use crate::view::PublishedJob;

use accounts::SpaceAccounts;
pub use accounts::SpaceClaim;

/// The least time that a client is told to wait for room.
const SHORTEST_RETRY: Duration = Duration::from_secs(30);

/// The longest.
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

/// What it is told if nothing of its tenant will end by itself.
const RETRY_UNKNOWN: Duration = Duration::from_secs(300);

/// Bytes beside its output that a running export may need for its documents. Those of a large
/// export grow with it, because the plan lists each run of bytes that is copied.
const DOCUMENT_BYTES: u64 = 64 << 10;

/// The least output bytes per byte of documents.
const DOCUMENT_SHARE: u64 = 64;

/// The least output bytes per byte of encryption: a frame of 64 KiB has a tag of 16 bytes. The quotas of
/// tenants count output as it is before it is encrypted.
const FRAME_SHARE: u64 = 4096;

/// Why there is no room for an export.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// let mut config = config::Config::default();
/// # let folder = tempfile::tempdir()?;
/// # config.storage.data_dir = folder.path().into();
/// config.storage.min_free = u64::MAX;
/// let evanesce = Evanesce::builder().config(config).exporter(example::Patients).start().await?;
/// let refused = evanesce.submit(Kickoff::system(), "me".parse()?).await;
/// assert!(matches!(refused, Err(SubmitError::NoRoom(NoRoom::Disk { .. }))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Less than `storage.min_free` would stay free, or the free space is unknown.
    #[error("there is no room on the disk to store another export")]
    Disk {
        /// How long it may take until there is room: the next expiry, 30 s to 1 h.
        retry_after: Duration,
    },
    /// The tenant's exports would take more than its `max_bytes`.
    #[error("the exports of the tenant have used up its quota")]
    Quota {
        /// How long it may take, as above.
        retry_after: Duration,
    },
    /// The export alone is larger than the tenant's `max_bytes`.
    #[error("the export is larger than all exports of the tenant may be together")]
    TooLarge,
}

impl NoRoom {
    /// Returns the limit's name in metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Disk { .. } => "disk",
            Self::Quota { .. } => "quota",
            Self::TooLarge => "too-large",
        }
    }
}

/// Returns the free bytes, or why they are unknown.
type MeasureFree = Box<dyn Fn() -> Result<u64, String> + Send + Sync>;

/// The disk space that jobs have reserved and taken.
pub struct SpaceReservations {
    min_free: u64,
    max_bytes: u64,
    /// The quotas of tenants that have their own.
    own_max_bytes: HashMap<TenantId, u64>,
    retention: Duration,
    clock: Clock,
    free: MeasureFree,
    /// Locked during a decision, from reading the reservations to making one.
    deciding: Mutex<()>,
    book: Mutex<SpaceAccounts>,
}

impl SpaceReservations {
    /// Creates the accounts under the limits of `config`, with the `jobs` found at a start. `free` asks
    /// the file system and may block.
    pub fn new(
        config: &Config,
        clock: Clock,
        jobs: &[PublishedJob],
        free: impl Fn() -> Result<u64, String> + Send + Sync + 'static,
    ) -> Self {
        let own_max_bytes =
            config.tenants.keys().map(|id| (id.clone(), config.tenant(id).max_bytes)).collect();
        let space = Self {
            min_free: config.storage.min_free,
            max_bytes: config.storage.max_bytes,
            own_max_bytes,
            retention: config.retention.completed.0,
            clock,
            free: Box::new(free),
            deciding: Mutex::new(()),
            book: Mutex::default(),
        };
        jobs.iter().for_each(|published| space.recall(published));
        space
    }

    /// Adds a job found at a start. What a marked job had not sealed is no longer known.
    fn recall(&self, published: &PublishedJob) {
        let record = &published.record;
        let sealed = published.files().map(OutputFile::stored_bytes).sum();
        let mut book = self.book.lock();
        match &record.state {
            JobState::Queued | JobState::Running { .. } | JobState::Finishing { .. } => {
                published.progress.wrote(sealed);
                published.progress.opened(published.files().count() as u64);
                let claim =
                    SpaceClaim { tenant: record.tenant.clone(), progress: published.progress.clone() };
                let estimate = published.request.as_ref().and_then(|request| request.estimate);
                book.claim(record.id, claim, estimate.unwrap_or(0));
            }
            JobState::Complete(completion) => {
                let expiry = after(completion.completed_at, self.retention);
                book.keep(record.id, &record.tenant, completion.stored_bytes(), expiry);
            }
            JobState::Marked(_) => {
                book.keep(record.id, &record.tenant, sealed, Timestamp::MAX);
                book.end(record.id);
            }
            JobState::Failed(_) | JobState::Erased(_) => {}
        }
    }

    /// Reserves room for a new job, which will write `estimate` bytes at most. If that is unknown,
    /// only what it has written counts, and nothing is reserved. Blocks.
    pub fn reserve(&self, job: JobId, claim: SpaceClaim, estimate: Option<u64>) -> Result<(), NoRoom> {
        let _deciding = self.deciding.lock();
        self.decide(job, &claim.tenant, 0, estimate)?;
        self.book.lock().claim(job, claim, estimate.unwrap_or(0));
        Ok(())
    }

    /// Sets the most bytes that a job will write in all. Gives back what was reserved beyond that,
    /// or reserves what is missing. Does nothing for a job that has ended. Blocks.
    pub fn plan(&self, job: JobId, bytes: u64) -> Result<(), NoRoom> {
        let _deciding = self.deciding.lock();
        let Some((tenant, promised)) = self.book.lock().promise(job) else { return Ok(()) };
        if bytes > promised {
            self.decide(job, &tenant, promised, Some(bytes))?;
        }
        self.book.lock().set_promise(job, bytes);
        Ok(())
    }

    /// Sets the bytes as [`SpaceReservations::plan`] does, for a job that was accepted before a restart. Never
    /// refuses.
    pub fn resume(&self, job: JobId, bytes: u64) {
        self.book.lock().set_promise(job, bytes);
    }

    /// Follows a job to another state. A finished or ended job gives back what it will not write
    /// any more, and an erased one everything.
    pub fn follow(&self, job: JobId, tenant: &TenantId, state: &JobState) {
        let mut book = self.book.lock();
        match state {
            JobState::Queued | JobState::Running { .. } | JobState::Finishing { .. } => {}
            JobState::Complete(completion) => {
                let expiry = after(completion.completed_at, self.retention);
                book.keep(job, tenant, completion.stored_bytes(), expiry);
            }
            JobState::Failed(_) | JobState::Marked(_) => book.end(job),
            JobState::Erased(_) => book.release(job),
        }
    }

    /// Gives back everything of a job of which nothing is left.
    pub fn release(&self, job: JobId) {
        self.book.lock().release(job);
    }

    /// Returns the bytes that running exports will still need.
    pub fn reserved(&self) -> u64 {
        self.book.lock().outstanding(with_documents)
    }

    /// Returns the bytes of deleted and failed exports that wait for their removal.
    pub fn ended(&self) -> u64 {
        self.book.lock().ended()
    }

    /// Asks the file system for the free bytes, and sets their metric. Blocks.
    ///
    /// # Errors
    /// Fails with the file system's error.
    pub fn measure(&self) -> Result<u64, String> {
        (self.free)().inspect(|free| telemetry::free_bytes(*free))
    }

    /// Returns how long a client of that tenant should wait for room: until its next export
    /// expires, or shortly if one is being erased.
    pub fn retry_after(&self, tenant: &TenantId) -> Duration {
        let next = self.book.lock().next_end(tenant);
        let wait = next.map_or(RETRY_UNKNOWN, |next| between(self.clock.now(), next));
        wait.clamp(SHORTEST_RETRY, LONGEST_RETRY)
    }

    /// Decides whether `bytes` fit instead of those that were `promised` to the job. The caller
    /// holds `deciding`, so nobody else takes room meanwhile.
    fn decide(&self, job: JobId, tenant: &TenantId, promised: u64, bytes: Option<u64>) -> Result<(), NoRoom> {
        let (used, reserved) = {
            let book = self.book.lock();
            (book.used(tenant), book.outstanding(with_documents))
        };
        let max_bytes = self.own_max_bytes.get(tenant).copied().unwrap_or(self.max_bytes);
        let retry_after = self.retry_after(tenant);
        let more = bytes.map_or(0, |bytes| bytes - promised);
        let refuse = |limit: NoRoom, free: Option<u64>| {
            tracing::warn!(
                %job, %tenant, limit = limit.name(), estimate = bytes, used, max_bytes,
                reserved, free, min_free = self.min_free, "there is no room for an export"
            );
            limit
        };
        if max_bytes > 0 {
            if bytes.is_some_and(|bytes| bytes > max_bytes) {
                return Err(refuse(NoRoom::TooLarge, None));
            }
            let is_used_up = bytes.is_none() && used >= max_bytes;
            if is_used_up || used.saturating_add(more) > max_bytes {
                return Err(refuse(NoRoom::Quota { retry_after }, None));
            }
        }
        if self.min_free > 0 {
            // Asked after the reservations were summed: bytes that are written in between count
            // twice.
            let free = self.measure().map_err(|error| {
                tracing::error!(error, "the free space of the disk is unknown");
                refuse(NoRoom::Disk { retry_after }, None)
            })?;
            let needed = bytes.map_or(0, |_| with_documents(more));
            if free < self.min_free.saturating_add(reserved).saturating_add(needed) {
                return Err(refuse(NoRoom::Disk { retry_after }, Some(free)));
            }
        }
        Ok(())
    }
}

/// Returns the bytes of disk for this many bytes of output: with the documents beside it, all encrypted.
fn with_documents(bytes: u64) -> u64 {
    let documents = (bytes / DOCUMENT_SHARE).saturating_add(DOCUMENT_BYTES);
    bytes.saturating_add(documents).saturating_add(bytes / FRAME_SHARE)
}

#[cfg(test)]
mod tests;
