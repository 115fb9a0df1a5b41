//! The log as a witness of deletions (P2): how far it has followed the other witnesses, and which jobs
//! it has seen marked or erased. Events are recorded after the other witnesses are durable, so the log
//! is never ahead of them, unless they were restored from a backup. A line counts if its hash is that
//! of its content, whatever is broken elsewhere.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;
use memchr::memmem;

use super::AuditError;
use super::describe::RECEIPT;
use super::file::{file_name, files};
use super::line::{LineFacts, MAX_BYTES, check};
use crate::chain::{ChainHead, ChainLineReader, FileLine};
use crate::job::{ClientId, JobId, TenantId};

/// The text before the kind of an event. No other part of a line can contain these quotes.
const BEFORE_KIND: &[u8] = br#"{"type":"kind","valueString":""#;

/// The latest that the log has seen of the other witnesses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastWitnessed {
    /// The last mark in the store, and when it was recorded.
    pub mark: Option<(JobId, Timestamp)>,
    /// The last entry in the chain of receipts.
    pub receipts: Option<ChainHead>,
}

/// A job that the log has seen marked or erased, and its owner, if known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessedDeletion {
    /// The tenant.
    pub tenant: Option<TenantId>,
    /// The client.
    pub owner: Option<ClientId>,
}

/// Reads the log in `dir` backwards, file by file, until both are found.
///
/// # Errors
/// A file could not be read.
pub fn latest(dir: &Path) -> Result<LastWitnessed, AuditError> {
    let mut latest = LastWitnessed::default();
    for count in files(dir).map_err(AuditError::at("list", dir))?.into_iter().rev() {
        let mut of_file = LastWitnessed::default();
        visit(&dir.join(file_name(count)), |facts| {
            if is_mark(facts) {
                of_file.mark = job(facts).map(|job| (job, facts.recorded())).or(of_file.mark);
            }
            of_file.receipts = facts.head(RECEIPT).or(of_file.receipts);
        })?;
        latest.mark = latest.mark.or(of_file.mark);
        latest.receipts = latest.receipts.or(of_file.receipts);
        if latest.mark.is_some() && latest.receipts.is_some() {
            break;
        }
    }
    Ok(latest)
}

/// Reads the whole log in `dir` and returns the deleted jobs that `is_wanted` accepts. It is given the
/// instant of each mark and erasure. Other jobs take no memory.
///
/// # Errors
/// A file could not be read.
pub fn deletions(
    dir: &Path,
    is_wanted: impl Fn(JobId, Timestamp) -> bool,
) -> Result<HashMap<JobId, WitnessedDeletion>, AuditError> {
    let mut deletions = HashMap::new();
    for count in files(dir).map_err(AuditError::at("list", dir))? {
        visit(&dir.join(file_name(count)), |facts| {
            let deleted = is_mark(facts) || facts.kind() == "erase";
            if let Some(job) = job(facts).filter(|job| deleted && is_wanted(*job, facts.recorded())) {
                let name = |key| facts.detail(key);
                let tenant = name("tenant").and_then(|name| name.parse().ok());
                let owner = name("owner").and_then(|name| name.parse().ok());
                deletions.insert(job, WitnessedDeletion { tenant, owner });
            }
        })?;
    }
    Ok(deletions)
}

fn is_mark(facts: &LineFacts) -> bool {
    matches!(facts.kind(), "mark" | "expiry")
}

fn job(facts: &LineFacts) -> Option<JobId> {
    facts.job()?.strip_prefix("urn:uuid:")?.parse().ok()
}

/// Shows `show` the lines of a file that are about other witnesses and whose hash is right.
fn visit(path: &Path, mut show: impl FnMut(&LineFacts)) -> Result<(), AuditError> {
    let mut lines = ChainLineReader::open(path, MAX_BYTES).map_err(AuditError::at("open", path))?;
    let finder = memmem::Finder::new(BEFORE_KIND);
    while let Some(FileLine { text: line, .. }) = lines.next().map_err(AuditError::at("read", path))? {
        let Some(at) = finder.find(line) else { continue };
        let rest = &line[at + BEFORE_KIND.len()..];
        let kind = rest.split(|byte| *byte == b'"').next().unwrap_or_default();
        if !matches!(kind, b"mark" | b"expiry" | b"erase" | b"admin" | b"receipts") {
            continue;
        }
        let Some(text) = std::str::from_utf8(line).ok() else { continue };
        let Some(facts) = LineFacts::read(text) else { continue };
        if facts.behind().is_some_and(|behind| check(behind, text).is_ok()) {
            show(&facts);
        }
    }
    Ok(())
}
