//! The form of `jobs.<epoch>`: a head, then slots of 128 bytes that are rewritten in place. A slot holds
//! the wrapped key of one job, or says when it was destroyed.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;
use zeroize::Zeroizing;

use super::epoch_keys::EpochKey;
use super::{JobKey, KEY_BYTES};
use crate::job::{JobId, KeyDestruction};

/// Bytes of the head, and of a slot.
pub const SLOT_BYTES: usize = 128;

/// What a file begins with.
const MAGIC: [u8; 8] = *b"EVKEYS\x00\x01";

/// Bytes of a wrapped key: nonce, key and tag.
pub const WRAPPED_BYTES: usize = 12 + KEY_BYTES + 16;

/// What keys of jobs are wrapped for, behind the job and the epoch.
const PURPOSE: &[u8] = b"evanesce job key 1";

/// A slot as it is stored, or a head.
pub type StoredSlot = [u8; SLOT_BYTES];

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySlot {
    /// Nothing.
    Free,
    /// The key of a job, wrapped.
    Live(JobId, [u8; WRAPPED_BYTES]),
    /// The key of this job was destroyed.
    Destroyed(JobId, KeyDestruction),
}

/// Returns the head of the file of an epoch that began at `begun`.
pub fn head(epoch: u64, begun: Timestamp) -> StoredSlot {
    let mut head = [0; SLOT_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..16].copy_from_slice(&epoch.to_le_bytes());
    head[16..24].copy_from_slice(&begun.as_microsecond().to_le_bytes());
    summed(head)
}

/// Returns when the epoch began whose file has this head, or `None` if it is not the head of that epoch.
pub fn begun_at(stored: &StoredSlot, epoch: u64) -> Option<Timestamp> {
    let begun = i64::from_le_bytes(stored[16..24].try_into().expect("eight bytes"));
    let begun = Timestamp::from_microsecond(begun).ok()?;
    (head(epoch, begun) == *stored).then_some(begun)
}

/// Puts the checksum at the end.
fn summed(mut stored: StoredSlot) -> StoredSlot {
    let (content, sum) = stored.split_at_mut(SLOT_BYTES - 8);
    sum.copy_from_slice(&xxh3_64(content).to_le_bytes());
    stored
}

impl KeySlot {
    /// Returns the slot as it is stored.
    pub fn stored(&self) -> StoredSlot {
        let mut stored = [0; SLOT_BYTES];
        match self {
            Self::Free => {}
            Self::Live(job, wrapped) => {
                stored[0] = 1;
                stored[16..32].copy_from_slice(job.as_bytes());
                stored[32..32 + WRAPPED_BYTES].copy_from_slice(wrapped);
            }
            Self::Destroyed(job, KeyDestruction { destroyed_at: at, epoch }) => {
                stored[0] = 2;
                stored[8..16].copy_from_slice(&epoch.to_le_bytes());
                stored[16..32].copy_from_slice(job.as_bytes());
                stored[32..40].copy_from_slice(&at.as_microsecond().to_le_bytes());
            }
        }
        summed(stored)
    }

    /// Parses a stored slot, or returns `None` if it is damaged. A slot of zeros was never written.
    pub fn parse(stored: &StoredSlot) -> Option<Self> {
        if *stored == [0; SLOT_BYTES] {
            return Some(Self::Free);
        }
        if *stored != summed(*stored) {
            return None;
        }
        let number = |at: usize| u64::from_le_bytes(stored[at..at + 8].try_into().expect("eight bytes"));
        let job = JobId::from_bytes(stored[16..32].try_into().expect("sixteen bytes"));
        let slot = match stored[0] {
            0 => Self::Free,
            1 => Self::Live(
                job,
                stored[32..32 + WRAPPED_BYTES].try_into().expect("the length of a wrapped key"),
            ),
            2 => {
                let at = Timestamp::from_microsecond(number(32).cast_signed()).ok()?;
                Self::Destroyed(job, KeyDestruction { destroyed_at: at, epoch: number(8) })
            }
            _ => return None,
        };
        (slot.stored() == *stored).then_some(slot)
    }
}

/// Wraps and unwraps keys of jobs with the key of an epoch.
pub struct KeyWrap {
    key: LessSafeKey,
    epoch: u64,
}

impl KeyWrap {
    /// Takes the key of an epoch.
    pub fn new(epoch: u64, key: &EpochKey) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &**key).expect("a key of 32 bytes");
        Self { key: LessSafeKey::new(key), epoch }
    }

    /// Returns the epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    fn associated(&self, job: JobId) -> Aad<Vec<u8>> {
        Aad::from([job.as_bytes(), &self.epoch.to_le_bytes()[..], PURPOSE].concat())
    }

    /// Wraps the key of a job; `None` if there is no randomness.
    pub fn wrap(&self, job: JobId, key: &JobKey) -> Option<[u8; WRAPPED_BYTES]> {
        let mut wrapped = [0; WRAPPED_BYTES];
        aws_lc_rs::rand::fill(&mut wrapped[..12]).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(&wrapped[..12]).ok()?;
        let (_, sealed) = wrapped.split_at_mut(12);
        sealed[..KEY_BYTES].copy_from_slice(key.as_bytes());
        let tag = self.key.seal_in_place_separate_tag(nonce, self.associated(job), &mut sealed[..KEY_BYTES]);
        sealed[KEY_BYTES..].copy_from_slice(tag.ok()?.as_ref());
        Some(wrapped)
    }

    /// Unwraps the key of a job; `None` if it is not one that was wrapped for this job in this epoch.
    pub fn unwrap(&self, job: JobId, wrapped: &[u8; WRAPPED_BYTES]) -> Option<JobKey> {
        let (nonce, sealed) = wrapped.split_at(12);
        let (sealed, tag) = sealed.split_at(KEY_BYTES);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        self.key.open_separate_gather(nonce, self.associated(job), sealed, tag, &mut *key).ok()?;
        Some(JobKey(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(epoch: u64) -> KeyWrap {
        KeyWrap::new(epoch, &Zeroizing::new([epoch as u8; KEY_BYTES]))
    }

    #[test]
    fn a_slot_comes_back_and_with_any_bit_changed_it_is_none() {
        let job = JobId::random();
        let live = KeySlot::Live(job, wrap(1).wrap(job, &JobKey::new([9; 32])).unwrap());
        let at = "2026-12-01T02:03:04.567891Z".parse().unwrap();
        for slot in
            [KeySlot::Free, live, KeySlot::Destroyed(job, KeyDestruction { destroyed_at: at, epoch: 7 })]
        {
            let stored = slot.stored();
            assert_eq!(KeySlot::parse(&stored), Some(slot));
            for n in 0..SLOT_BYTES {
                for bit in 0..8 {
                    let mut damaged = stored;
                    damaged[n] ^= 1 << bit;
                    assert_eq!(KeySlot::parse(&damaged), None, "bit {bit} of byte {n} of {slot:?}");
                }
            }
        }
        assert_eq!(KeySlot::parse(&[0; SLOT_BYTES]), Some(KeySlot::Free), "a block that was never written");
    }

    #[test]
    fn a_wrapped_key_is_that_of_its_job_and_its_epoch_only() {
        let (job, key) = (JobId::random(), JobKey::new([9; 32]));
        let wrapped = wrap(1).wrap(job, &key).unwrap();
        assert_eq!(wrap(1).unwrap(job, &wrapped).unwrap().as_bytes(), key.as_bytes());
        assert!(wrap(2).unwrap(job, &wrapped).is_none(), "another epoch's key");
        assert!(wrap(1).unwrap(JobId::random(), &wrapped).is_none(), "another job");
        let same_key = KeyWrap::new(2, &Zeroizing::new([1; KEY_BYTES]));
        assert!(same_key.unwrap(job, &wrapped).is_none(), "the same key in another epoch");
        for n in 0..WRAPPED_BYTES {
            let mut damaged = wrapped;
            damaged[n] ^= 1;
            assert!(wrap(1).unwrap(job, &damaged).is_none(), "byte {n}");
        }
        assert!(!wrapped.windows(4).any(|window| window == [9; 4]));
    }
}
