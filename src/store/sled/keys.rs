//! The keys and values in sled. Records are below `j/`; below `p/`, each part sorts before its files,
//! in the order of the plan. Values are JSON.

use serde::{Deserialize, Serialize};

use crate::job::JobId;
use crate::store::StoreError;

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have string keys only and always serialize")
}

pub(super) fn parse<'a, T: Deserialize<'a>>(key: &[u8], value: &'a [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value)
        .map_err(|e| StoreError::Damaged { place: key.escape_ascii().to_string(), reason: e.to_string() })
}

pub(super) fn key(kind: u8, job: JobId) -> Vec<u8> {
    let mut key = vec![kind, b'/'];
    key.extend_from_slice(job.as_bytes());
    key
}

pub(super) fn record_key(job: JobId) -> Vec<u8> {
    key(b'j', job)
}

/// Numbers are big-endian, so that keys sort as the plan does.
pub(super) fn part_key(job: JobId, part: u32) -> Vec<u8> {
    let mut key = key(b'p', job);
    key.extend_from_slice(&part.to_be_bytes());
    key
}

pub(super) fn file_key(job: JobId, part: u32, n: u32) -> Vec<u8> {
    let mut key = part_key(job, part);
    key.extend_from_slice(&n.to_be_bytes());
    key
}

/// Parses a key below `p/`. Returns the job, the part, and whether the key is that of a file.
pub(super) fn split_key(key: &[u8]) -> Result<(JobId, u32, bool), StoreError> {
    let damaged =
        || StoreError::Damaged { place: key.escape_ascii().to_string(), reason: "too short".into() };
    let job = key.get(2..18).and_then(|b| b.try_into().ok()).ok_or_else(damaged)?;
    let part = key.get(18..22).and_then(|b| b.try_into().ok()).ok_or_else(damaged)?;
    Ok((JobId::from_bytes(job), u32::from_be_bytes(part), key.len() > 22))
}
