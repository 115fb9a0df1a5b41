//! The accounts of disk space: what is written or promised to active exports, and the sizes of
//! finished ones. Complete exports are kept as sums, because there may be many of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::job::{JobId, TenantId};
use crate::view::ExportProgress;

/// A job that needs room.
#[derive(Debug, Clone)]
pub struct SpaceClaim {
    /// The tenant whose quota counts.
    pub tenant: TenantId,
    /// Counts what the job has written.
    pub progress: Arc<ExportProgress>,
}

/// The accounts of all jobs.
#[derive(Default)]
pub struct SpaceAccounts {
    /// Jobs that write, or have ended and are not erased yet.
    writing: HashMap<JobId, ActiveExport>,
    /// Jobs that were complete and are not erased yet.
    kept: HashMap<JobId, KeptExport>,
    accounts: HashMap<TenantId, TenantAccount>,
    /// Bytes of jobs that were complete, and are deleted but not erased yet.
    deleted: u64,
}

struct ActiveExport {
    claim: SpaceClaim,
    /// The most bytes that it may write in all; `None` once it has ended.
    promised: Option<u64>,
}

struct KeptExport {
    tenant: TenantId,
    bytes: u64,
    expiry: Timestamp,
}

/// The complete jobs of a tenant together.
#[derive(Default)]
struct TenantAccount {
    bytes: u64,
    jobs: usize,
    /// When those that are not deleted expire.
    expiries: BTreeSet<(Timestamp, JobId)>,
}

impl ActiveExport {
    /// Returns the bytes that are promised and not written yet.
    fn left(&self) -> Option<u64> {
        self.promised.map(|promised| promised.saturating_sub(self.claim.progress.written()))
    }

    /// Returns the bytes that are written or promised.
    fn takes(&self) -> u64 {
        self.promised.unwrap_or(0).max(self.claim.progress.written())
    }
}

impl SpaceAccounts {
    /// Adds a job that may write `promised` bytes.
    pub fn claim(&mut self, job: JobId, claim: SpaceClaim, promised: u64) {
        self.writing.insert(job, ActiveExport { claim, promised: Some(promised) });
    }

    /// Returns the tenant of a job that may still write, and the bytes that it may write in all.
    pub fn promise(&self, job: JobId) -> Option<(TenantId, u64)> {
        let writing = self.writing.get(&job)?;
        Some((writing.claim.tenant.clone(), writing.promised?))
    }

    /// Changes how many bytes a job may write in all, if it may still write.
    pub fn set_promise(&mut self, job: JobId, bytes: u64) {
        if let Some(promised) = self.writing.get_mut(&job).and_then(|writing| writing.promised.as_mut()) {
            *promised = bytes;
        }
    }

    /// Records that a job is complete, with this many bytes.
    pub fn keep(&mut self, job: JobId, tenant: &TenantId, bytes: u64, expiry: Timestamp) {
        self.release(job);
        let account = self.accounts.entry(tenant.clone()).or_default();
        account.bytes += bytes;
        account.jobs += 1;
        account.expiries.insert((expiry, job));
        self.kept.insert(job, KeptExport { tenant: tenant.clone(), bytes, expiry });
    }

    /// Records that a job has failed or is marked: it writes nothing more, and does not expire.
    pub fn end(&mut self, job: JobId) {
        if let Some(writing) = self.writing.get_mut(&job) {
            writing.promised = None;
        }
        if let Some(kept) = self.kept.get(&job)
            && let Some(account) = self.accounts.get_mut(&kept.tenant)
            && account.expiries.remove(&(kept.expiry, job))
        {
            self.deleted += kept.bytes;
        }
    }

    /// Removes a job of which nothing is left.
    pub fn release(&mut self, job: JobId) {
        self.end(job);
        self.writing.remove(&job);
        let Some(kept) = self.kept.remove(&job) else { return };
        self.deleted -= kept.bytes;
        if let Some(account) = self.accounts.get_mut(&kept.tenant) {
            account.bytes -= kept.bytes;
            account.jobs -= 1;
            if account.jobs == 0 {
                self.accounts.remove(&kept.tenant);
            }
        }
    }

    /// Returns the sum of `weigh` over what each active job will still write.
    pub fn outstanding(&self, weigh: impl Fn(u64) -> u64) -> u64 {
        let left = self.writing.values().filter_map(ActiveExport::left);
        left.filter(|left| *left > 0).map(weigh).fold(0, u64::saturating_add)
    }

    /// Returns the bytes of jobs that have failed or are deleted, and are not erased yet.
    pub fn ended(&self) -> u64 {
        let over = self.writing.values().filter(|writing| writing.promised.is_none());
        over.map(ActiveExport::takes).fold(self.deleted, u64::saturating_add)
    }

    /// Returns the bytes that a tenant's jobs take or are promised.
    pub fn used(&self, tenant: &TenantId) -> u64 {
        let kept = self.accounts.get(tenant).map_or(0, |account| account.bytes);
        let writing = self.writing.values().filter(|writing| writing.claim.tenant == *tenant);
        writing.map(ActiveExport::takes).fold(kept, u64::saturating_add)
    }

    /// Returns when the next of a tenant's jobs gives room back by itself: now if one is being
    /// erased, or when the next one expires.
    pub fn next_end(&self, tenant: &TenantId) -> Option<Timestamp> {
        let is_over = |writing: &ActiveExport| writing.claim.tenant == *tenant && writing.promised.is_none();
        let account = self.accounts.get(tenant);
        let is_erased = account.is_some_and(|account| account.jobs > account.expiries.len());
        if is_erased || self.writing.values().any(is_over) {
            return Some(Timestamp::MIN);
        }
        account?.expiries.first().map(|(expiry, _)| *expiry)
    }
}
