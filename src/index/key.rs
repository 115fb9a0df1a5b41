//! Names of resources in the index: hashes of `Type/id`. The index holds no ids.

use xxhash_rust::xxh3::xxh3_128;

/// A 128-bit hash of `Type/id`. Two resources of a source never share one by chance.
pub type ResourceKey = [u64; 2];

/// The key of a resource without an id.
pub const NO_KEY: ResourceKey = [0, 0];

/// Returns the key of `Type/id`.
pub fn key(type_and_id: &str) -> ResourceKey {
    let hash = xxh3_128(type_and_id.as_bytes());
    [(hash >> 64) as u64, hash as u64]
}
