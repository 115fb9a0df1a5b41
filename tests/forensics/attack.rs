//! The attack on the keys: every wrapped key that is left anywhere on a raw disk, whatever file or free
//! block it is in, against every key of an epoch that is left anywhere. It reads the forms that
//! `docs/encryption.md` describes and uses none of the server's code.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use evanesce::JobId;
use xxhash_rust::xxh3::xxh3_64;

use super::scan::each_part;

/// Bytes of a slot of `jobs.<epoch>`, and where the id of the job and its wrapped key are in it.
const SLOT_BYTES: usize = 128;
const JOB_AT: usize = 16;
const WRAPPED_AT: usize = 32;
const WRAPPED_BYTES: usize = 12 + 32 + 16;

/// Epochs are numbered from the first one; no run of a test has more.
const EPOCHS: u64 = 2_000;

type EpochKey = [u8; 32];

/// What a thief has taken from all copies together.
#[derive(Default)]
pub struct Loot {
    /// The jobs that are erased.
    pub erased: Vec<JobId>,
    /// Wrapped keys, by the job that stands before them.
    pub slots: BTreeSet<([u8; 16], [u8; WRAPPED_BYTES])>,
    /// The keys of epochs that were there before the end of the epoch.
    pub keys_before: HashSet<EpochKey>,
    /// Those that are left after it.
    pub keys_after: HashSet<EpochKey>,
}

impl Loot {
    /// Takes whatever may be the slot of a job.
    pub fn take_slots(&mut self, image: &Path) {
        each_part(image, |_, part, end| {
            for slot in (0..end).step_by(8).filter_map(|at| part.get(at..at + SLOT_BYTES)) {
                let is_random = slot[JOB_AT + 6] >> 4 == 4 && slot[JOB_AT + 8] >> 6 == 2;
                let sum = u64::from_le_bytes(slot[SLOT_BYTES - 8..].try_into().unwrap());
                if is_random && slot[0] == 1 && xxh3_64(&slot[..SLOT_BYTES - 8]) == sum {
                    let job = slot[JOB_AT..WRAPPED_AT].try_into().unwrap();
                    let wrapped = slot[WRAPPED_AT..WRAPPED_AT + WRAPPED_BYTES].try_into().unwrap();
                    self.slots.insert((job, wrapped));
                }
            }
        });
    }

    pub fn take_keys_before(&mut self, image: &Path, outside: Option<&Path>) {
        self.keys_before = keys_on(image, outside);
    }

    pub fn take_keys_after(&mut self, image: &Path, outside: Option<&Path>) {
        self.keys_after = keys_on(image, outside);
    }
}

/// Returns whatever is followed by its checksum, as the keys of epochs are: in every block of the image, and in
/// the files beside it.
fn keys_on(image: &Path, outside: Option<&Path>) -> HashSet<EpochKey> {
    let mut keys = HashSet::new();
    let mut take = |bytes: &[u8], end: usize| {
        for found in (0..end).filter_map(|at| bytes.get(at..at + 40)) {
            // Sums that are all zeros or ones come before few random keys.
            if found[32..40] == xxh3_64(&found[..32]).to_le_bytes() {
                keys.insert(found[..32].try_into().unwrap());
            }
        }
    };
    each_part(image, |_, part, end| {
        for block in (0..end).step_by(4096) {
            let bytes = &part[block..part.len().min(block + 4096 + 40)];
            if bytes.iter().any(|byte| *byte != 0) {
                take(bytes, 4096);
            }
        }
    });
    if let Some(folder) = outside {
        let files = std::fs::read_dir(folder.join("keys")).into_iter().flatten();
        for file in files {
            let content = std::fs::read(file.unwrap().path()).unwrap_or_default();
            take(&content, content.len());
        }
    }
    keys
}

/// Returns the jobs whose key comes out of one of these slots with one of these keys.
pub fn opened(
    slots: &BTreeSet<([u8; 16], [u8; WRAPPED_BYTES])>,
    keys: &HashSet<EpochKey>,
) -> BTreeSet<JobId> {
    let mut by_job = BTreeMap::<_, Vec<_>>::new();
    for (job, wrapped) in slots {
        by_job.entry(*job).or_default().push(wrapped);
    }
    let opens = |job: &[u8; 16], wrapped: &[u8; WRAPPED_BYTES]| {
        keys.iter().any(|key| (0..EPOCHS).any(|epoch| unwraps(key, epoch, job, wrapped)))
    };
    let open = by_job.iter().filter(|(job, wrapped)| wrapped.iter().any(|wrapped| opens(job, wrapped)));
    open.map(|(job, _)| uuid::Uuid::from_bytes(*job).to_string().parse().unwrap()).collect()
}

fn unwraps(key: &EpochKey, epoch: u64, job: &[u8; 16], wrapped: &[u8; WRAPPED_BYTES]) -> bool {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&wrapped[..12]).unwrap();
    let associated = [&job[..], &epoch.to_le_bytes(), b"evanesce job key 1"].concat();
    key.open_in_place(nonce, Aad::from(associated), &mut wrapped[12..].to_vec()).is_ok()
}
