//! The keys of jobs on disk: `jobs.<epoch>` in the folder `keys/` of the data directory, whose slots are
//! rewritten in place. A turn of the epoch wraps the surviving keys anew and destroys what wrapped them
//! before, so that no copy of anything opens what was erased.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use zeroize::Zeroizing;

use super::epoch_keys::EpochKeys;
use super::slots::{KeySlot, KeyWrap, SLOT_BYTES, begun_at, head};
use super::{JobKey, JobKeys, KEY_BYTES, KeyState, KeysError, overwrite};
use crate::clock::{Clock, after};
use crate::hooks::{HookFault, HookStep, Hooks};
use crate::job::{JobId, KeyDestruction};
use crate::plain_file::{self, LinkPolicy};
use crate::telemetry;

/// Slots that are added to a file at once: 16 KiB, so that an overwrite finds blocks that are written.
const GROWTH: usize = 128;

/// The most bytes of a file: 4 million jobs (P13).
const MAX_BYTES: u64 = 512 << 20;

/// The keys of jobs.
pub struct KeyStore {
    folder: PathBuf,
    provider: Box<dyn EpochKeys>,
    clock: Clock,
    hooks: Hooks,
    /// The file of the current epoch; `None` if this is only a look. Locked before `known`.
    current: Mutex<Option<CurrentFile>>,
    known: RwLock<KnownKeys>,
}

struct CurrentFile {
    epoch: u64,
    file: File,
    wrap: Arc<KeyWrap>,
    /// Slots that may be written.
    free: Vec<usize>,
    /// All slots of the file.
    slots: usize,
}

#[derive(Default)]
struct KnownKeys {
    jobs: HashMap<JobId, KnownKey>,
    /// Slots and files that cannot be understood. If there are any, nobody can say that a job has no key.
    damaged: usize,
    /// Epochs of earlier files that are kept, because their keys are not there.
    kept: BTreeSet<u64>,
    /// Whether what is left of earlier epochs could not be destroyed yet.
    is_half_turned: bool,
    epoch: u64,
    begun: Timestamp,
}

enum KnownKey {
    Live {
        slot: usize,
        wrapped: Wrapped,
        wrap: Arc<KeyWrap>,
    },
    Destroyed {
        /// The epoch of the file that it stands in.
        file: u64,
        slot: usize,
        destruction: KeyDestruction,
    },
    /// Its epoch's key is not there.
    Unavailable {
        epoch: u64,
        slot: usize,
    },
}

type Wrapped = [u8; super::slots::WRAPPED_BYTES];

/// What is known of the keys as a whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyStoreStatus {
    /// Where the keys of epochs are, in words.
    pub provider: String,
    /// The current epoch, from 1; 0 if there is none.
    pub epoch: u64,
    /// When it began.
    pub begun: Timestamp,
    /// Jobs whose key is there.
    pub live: usize,
    /// Jobs whose key cannot be told, because the key of its epoch is not there.
    pub unavailable: usize,
    /// Slots and files that are damaged.
    pub damaged: usize,
    /// Earlier epochs whose files are kept, because their keys are not there.
    pub kept_epochs: usize,
}

impl KeyStore {
    /// Opens the keys of a data directory, begins the first epoch, and finishes a turn that was
    /// interrupted.
    ///
    /// # Errors
    /// Fails if the files cannot be read or written, or nobody can tell whether the key of an epoch is there.
    /// One that is certainly not there is no error: its jobs are [`KeyState::Unavailable`].
    pub fn open(
        folder: &Path,
        provider: Box<dyn EpochKeys>,
        clock: Clock,
        hooks: Hooks,
    ) -> Result<Self, KeysError> {
        let store = Self::look(folder, provider, clock)?;
        let store = Self { hooks, ..store };
        store.take_up()?;
        Ok(store)
    }

    /// Looks at the keys of a data directory and changes nothing. No key can be made or destroyed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn look(folder: &Path, provider: Box<dyn EpochKeys>, clock: Clock) -> Result<Self, KeysError> {
        let mut known = KnownKeys::default();
        for (epoch, path) in files(folder).map_err(KeysError::io("list", "keys"))? {
            let name = name(epoch);
            let file = plain_file::open(&path, LinkPolicy::Refuse).map_err(KeysError::io("open", &name))?;
            let content = plain_file::read_all(file, MAX_BYTES).map_err(KeysError::io("read", &name))?;
            let wrap = provider.load(epoch)?.map(|key| Arc::new(KeyWrap::new(epoch, &key)));
            known.read(epoch, &content, wrap.as_ref());
        }
        let (current, hooks) = (Mutex::default(), Hooks::default());
        Ok(Self { folder: folder.into(), provider, clock, hooks, current, known: RwLock::new(known) })
    }

    /// Makes the newest file whose epoch's key is there the current one, or begins an epoch.
    fn take_up(&self) -> Result<(), KeysError> {
        match std::fs::DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(KeysError::io("make the folder of", "keys")(error));
            }
            _ => {}
        }
        let mut current = self.current.lock();
        let (epoch, newest) = {
            let known = self.known.read();
            let files = files(&self.folder).map_err(KeysError::io("list", "keys"))?;
            (known.epoch, files.keys().next_back().copied().unwrap_or(0))
        };
        if epoch == 0 || self.known.read().kept.iter().any(|kept| *kept > epoch) {
            // Nothing of before can be gone on with, or an older file would be.
            self.begin(&mut current, newest + 1, |_| false)?;
        } else {
            let name = name(epoch);
            let open = || {
                let mut options = OpenOptions::new();
                let path = self.folder.join(&name);
                let file = plain_file::open_with(options.read(true).write(true), &path, LinkPolicy::Refuse)?;
                // What a killed process left may be readable and yet not durable.
                file.sync_all()?;
                let slots = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)? / SLOT_BYTES;
                Ok((file, slots.saturating_sub(1)))
            };
            let (file, slots) = open().map_err(KeysError::io("open", &name))?;
            let key = self.provider.load(epoch)?.ok_or(KeysError::EpochKeyLost { epoch })?;
            let wrap = Arc::new(KeyWrap::new(epoch, &key));
            let mut known = self.known.write();
            let free = known.free_slots(epoch, slots);
            let mut open = CurrentFile { epoch, file, wrap, free, slots };
            self.adopt(&mut open, &mut known)?;
            *current = Some(open);
        }
        self.settle()
    }

    /// Wraps what an earlier file has more than the current one: its epoch's key was not there before.
    fn adopt(&self, current: &mut CurrentFile, known: &mut KnownKeys) -> Result<(), KeysError> {
        let mut slots = Vec::new();
        for (job, key) in &mut known.jobs {
            if let KnownKey::Live { slot, wrapped, wrap } = key
                && wrap.epoch() != current.epoch
                && let Some(opened) = wrap.unwrap(*job, wrapped)
            {
                *wrapped = current.wrap.wrap(*job, &opened).ok_or(KeysError::NoRandomness)?;
                (*slot, *wrap) = (current.take_slot()?, current.wrap.clone());
                slots.push((*slot, KeySlot::Live(*job, *wrapped)));
            }
        }
        if slots.is_empty() { Ok(()) } else { current.write(&slots, &self.hooks) }
    }

    /// Begins an epoch: the keys that are there are wrapped by a new key, in a new file.
    fn begin(
        &self,
        current: &mut Option<CurrentFile>,
        epoch: u64,
        has_receipt: impl Fn(JobId) -> bool,
    ) -> Result<(), KeysError> {
        let key = self.provider.create(epoch)?;
        self.hooks.reach(HookStep::EpochKeyMade);
        let (wrap, begun) = (Arc::new(KeyWrap::new(epoch, &key)), self.clock.now());
        let mut jobs = HashMap::new();
        let mut content = head(epoch, begun).to_vec();
        let mut slot = 0;
        {
            let known = self.known.read();
            for (job, key) in &known.jobs {
                let (stored, renewed) = match key {
                    KnownKey::Live { wrapped, wrap: old, .. } => {
                        let Some(key) = old.unwrap(*job, wrapped) else { continue };
                        let wrapped = wrap.wrap(*job, &key).ok_or(KeysError::NoRandomness)?;
                        (KeySlot::Live(*job, wrapped), KnownKey::Live { slot, wrapped, wrap: wrap.clone() })
                    }
                    KnownKey::Destroyed { .. } if has_receipt(*job) => continue,
                    // The erasure may still ask when it was.
                    KnownKey::Destroyed { destruction, .. } => {
                        let destruction = *destruction;
                        let renewed = KnownKey::Destroyed { file: epoch, slot, destruction };
                        (KeySlot::Destroyed(*job, destruction), renewed)
                    }
                    KnownKey::Unavailable { epoch, slot } => {
                        jobs.insert(*job, KnownKey::Unavailable { epoch: *epoch, slot: *slot });
                        continue;
                    }
                };
                content.extend_from_slice(&stored.stored());
                jobs.insert(*job, renewed);
                slot += 1;
            }
        }
        let slots = (slot + 1).next_multiple_of(GROWTH);
        content.resize((slots + 1) * SLOT_BYTES, 0);
        let name = name(epoch);
        let write = || {
            let new = self.folder.join(format!("{name}.new"));
            let mut options = OpenOptions::new();
            let mut file = plain_file::replace_with(options.read(true).write(true).mode(0o600), &new)?;
            self.hooks.fault(HookFault::Keys)?;
            file.write_all(&content)?;
            telemetry::timed_sync("keys", || file.sync_all())?;
            self.hooks.reach(HookStep::KeysRewrapped);
            std::fs::rename(&new, self.folder.join(&name))?;
            self.sync_folder()?;
            self.hooks.reach(HookStep::KeysMoved);
            Ok(file)
        };
        let file = write().map_err(KeysError::io("write", &name))?;
        let free = (slot..slots).rev().collect();
        *current = Some(CurrentFile { epoch, file, wrap, free, slots });
        let mut known = self.known.write();
        let kept = std::mem::take(&mut known.kept);
        *known = KnownKeys { jobs, damaged: 0, kept, is_half_turned: true, epoch, begun };
        Ok(())
    }

    /// Destroys what is left of earlier epochs, but of those whose keys are not there.
    fn settle(&self) -> Result<(), KeysError> {
        let (epoch, kept) = {
            let known = self.known.read();
            (known.epoch, known.kept.clone())
        };
        let destroy = || -> io::Result<()> {
            for (old, path) in files(&self.folder)? {
                if old < epoch && !kept.contains(&old) {
                    overwrite(&path)?;
                }
            }
            for entry in std::fs::read_dir(&self.folder)? {
                let path = entry?.path();
                let is_unfinished = |name: &str| name.starts_with("jobs.") && name.ends_with(".new");
                if path.file_name().and_then(|name| name.to_str()).is_some_and(is_unfinished) {
                    overwrite(&path)?;
                }
            }
            self.sync_folder()
        };
        destroy().map_err(KeysError::io("destroy", "the keys of an earlier epoch"))?;
        self.hooks.reach(HookStep::OldKeysDestroyed);
        for old in self.provider.epochs()? {
            if old != epoch && !kept.contains(&old) {
                self.provider.destroy(old)?;
            }
        }
        self.hooks.reach(HookStep::EpochKeyDestroyed);
        self.known.write().is_half_turned = false;
        Ok(())
    }

    /// Turns the epoch: the surviving keys are wrapped anew, and what wrapped them before is destroyed.
    /// A turn that failed half-way is finished, and no further epoch begun. That a key was destroyed is
    /// remembered until its job has a receipt. Blocks; kick-offs and erasures wait meanwhile.
    ///
    /// # Errors
    /// Fails if a step could not be done. It is finished by the next turn or the next start; until then
    /// the epoch has not ended.
    pub fn turn(&self, has_receipt: impl Fn(JobId) -> bool) -> Result<(), KeysError> {
        let mut current = self.current.lock();
        let (epoch, is_half_turned) = {
            let known = self.known.read();
            (known.epoch, known.is_half_turned)
        };
        if !is_half_turned {
            self.begin(&mut current, epoch + 1, has_receipt)?;
        }
        self.settle()
    }

    /// Returns when the epoch should turn that lasts for `every`: at once if a turn failed half-way, and
    /// never while no key is in it.
    pub fn turn_due(&self, every: Duration) -> Option<Timestamp> {
        let known = self.known.read();
        let due = if known.is_half_turned { Timestamp::MIN } else { after(known.begun, every) };
        (known.is_half_turned || !known.jobs.is_empty()).then_some(due)
    }

    /// Returns the epochs after `noted` that have ended for certain, the first one first: their keys are
    /// destroyed.
    pub fn ended_after(&self, noted: u64) -> Vec<u64> {
        let known = self.known.read();
        let last = known.epoch.saturating_sub(1 + u64::from(known.is_half_turned));
        (noted + 1..=last).filter(|epoch| !known.kept.contains(epoch)).collect()
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl CurrentFile {
    /// Returns a slot that may be written, and adds slots if there is none.
    fn take_slot(&mut self) -> Result<usize, KeysError> {
        if let Some(slot) = self.free.pop() {
            return Ok(slot);
        }
        let grow = || {
            let end = ((self.slots + 1) * SLOT_BYTES) as u64;
            if end >= MAX_BYTES {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.file.write_all_at(&[0; GROWTH * SLOT_BYTES], end)?;
            self.file.sync_all()
        };
        grow().map_err(KeysError::io("extend", &name(self.epoch)))?;
        self.free = (self.slots..self.slots + GROWTH).rev().collect();
        self.slots += GROWTH;
        self.free.pop().ok_or(KeysError::NotInUse)
    }

    /// Overwrites slots in place, durably.
    fn write(&self, slots: &[(usize, KeySlot)], hooks: &Hooks) -> Result<(), KeysError> {
        overwrite_slots(&self.file, slots, hooks).map_err(KeysError::io("write", &name(self.epoch)))
    }
}

/// Overwrites slots of a file, durably. The head comes before the first one.
fn overwrite_slots(file: &File, slots: &[(usize, KeySlot)], hooks: &Hooks) -> io::Result<()> {
    hooks.fault(HookFault::Keys)?;
    for (slot, content) in slots {
        file.write_all_at(&content.stored(), ((slot + 1) * SLOT_BYTES) as u64)?;
    }
    telemetry::timed_sync("keys", || file.sync_data())
}

impl KnownKeys {
    /// Takes in the file of an epoch. Later files win: they were made of the earlier ones.
    fn read(&mut self, epoch: u64, content: &[u8], wrap: Option<&Arc<KeyWrap>>) {
        let mut slots = content.chunks_exact(SLOT_BYTES).map(|slot| slot.try_into().expect("a whole slot"));
        let head = slots.next();
        let Some(begun) = head.and_then(|stored| begun_at(stored, epoch)) else {
            if head.is_some_and(|head| *head == [0; SLOT_BYTES]) {
                // It was being destroyed.
                return;
            }
            self.damaged += 1;
            self.kept.insert(epoch);
            return;
        };
        match wrap {
            Some(_) => (self.epoch, self.begun) = (epoch, begun),
            None => _ = self.kept.insert(epoch),
        }
        for (slot, stored) in slots.enumerate() {
            let (job, key) = match (KeySlot::parse(stored), wrap) {
                (Some(KeySlot::Free), _) => continue,
                (Some(KeySlot::Destroyed(job, destruction)), _) => {
                    (job, KnownKey::Destroyed { file: epoch, slot, destruction })
                }
                (Some(KeySlot::Live(job, _)), None) => (job, KnownKey::Unavailable { epoch, slot }),
                (Some(KeySlot::Live(job, wrapped)), Some(wrap)) if wrap.unwrap(job, &wrapped).is_some() => {
                    (job, KnownKey::Live { slot, wrapped, wrap: wrap.clone() })
                }
                _ => {
                    self.damaged += 1;
                    continue;
                }
            };
            self.jobs.insert(job, key);
        }
    }

    /// Returns the slots of the current file that nothing known stands in, the first one last.
    fn free_slots(&self, epoch: u64, slots: usize) -> Vec<usize> {
        let taken: BTreeSet<_> = self
            .jobs
            .values()
            .filter_map(|key| match key {
                KnownKey::Live { slot, wrap, .. } if wrap.epoch() == epoch => Some(*slot),
                KnownKey::Destroyed { file, slot, .. } if *file == epoch => Some(*slot),
                _ => None,
            })
            .collect();
        (0..slots).rev().filter(|slot| !taken.contains(slot)).collect()
    }
}

impl JobKeys for KeyStore {
    fn create(&self, job: JobId) -> Result<JobKey, KeysError> {
        let mut current = self.current.lock();
        let current = current.as_mut().ok_or(KeysError::NotInUse)?;
        if self.known.read().jobs.contains_key(&job) {
            return Err(KeysError::Exists { job });
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| KeysError::NoRandomness)?;
        let key = JobKey(bytes);
        let wrapped = current.wrap.wrap(job, &key).ok_or(KeysError::NoRandomness)?;
        let slot = current.take_slot()?;
        current.write(&[(slot, KeySlot::Live(job, wrapped))], &self.hooks)?;
        self.hooks.reach(HookStep::JobKeyWritten);
        let known = KnownKey::Live { slot, wrapped, wrap: current.wrap.clone() };
        self.known.write().jobs.insert(job, known);
        Ok(key)
    }

    fn find(&self, job: JobId) -> KeyState {
        let known = self.known.read();
        match known.jobs.get(&job) {
            Some(KnownKey::Live { wrapped, wrap, .. }) => {
                wrap.unwrap(job, wrapped).map_or(KeyState::Unavailable, KeyState::Live)
            }
            Some(KnownKey::Destroyed { destruction, .. }) => KeyState::Destroyed(*destruction),
            Some(KnownKey::Unavailable { .. }) => KeyState::Unavailable,
            None if known.damaged > 0 => KeyState::Unavailable,
            None => KeyState::Absent,
        }
    }

    fn destroy(&self, jobs: &[JobId]) -> Result<Vec<Option<KeyDestruction>>, KeysError> {
        let mut current = self.current.lock();
        let current = current.as_mut().ok_or(KeysError::NotInUse)?;
        // As exact as a slot keeps it.
        let now = Timestamp::from_microsecond(self.clock.now().as_microsecond()).unwrap_or(Timestamp::MIN);
        let mut slots: BTreeMap<u64, Vec<(usize, KeySlot)>> = BTreeMap::new();
        let mut destroyed = Vec::new();
        {
            let known = self.known.read();
            for job in jobs {
                let (epoch, slot) = match known.jobs.get(job) {
                    Some(KnownKey::Live { slot, .. }) => (current.epoch, *slot),
                    Some(KnownKey::Unavailable { epoch, slot }) => (*epoch, *slot),
                    Some(KnownKey::Destroyed { .. }) | None => continue,
                };
                let destruction = KeyDestruction { destroyed_at: now, epoch };
                slots.entry(epoch).or_default().push((slot, KeySlot::Destroyed(*job, destruction)));
                destroyed.push((*job, KnownKey::Destroyed { file: epoch, slot, destruction }));
            }
        }
        for (epoch, slots) in slots {
            if epoch == current.epoch {
                current.write(&slots, &self.hooks)?;
            } else {
                // The epoch's key may come back, and then the job's must not.
                let open = || {
                    let mut options = OpenOptions::new();
                    let path = self.folder.join(name(epoch));
                    plain_file::open_with(options.write(true), &path, LinkPolicy::Refuse)
                };
                let overwritten = open().and_then(|file| overwrite_slots(&file, &slots, &self.hooks));
                overwritten.map_err(KeysError::io("write", &name(epoch)))?;
            }
        }
        if !destroyed.is_empty() {
            self.hooks.reach(HookStep::JobKeyDestroyed);
        }
        let mut known = self.known.write();
        known.jobs.extend(destroyed);
        let destruction = |job: &JobId| match known.jobs.get(job) {
            Some(KnownKey::Destroyed { destruction, .. }) => Some(*destruction),
            _ => None,
        };
        Ok(jobs.iter().map(destruction).collect())
    }
}

impl KeyStore {
    /// Destroys the keys of jobs that nobody knows: a process was killed between making a key and making
    /// its job's directory. Blocks.
    ///
    /// # Errors
    /// As [`destroy`](JobKeys::destroy).
    pub fn destroy_unknown(&self, is_known: impl Fn(JobId) -> bool) -> Result<usize, KeysError> {
        let unknown: Vec<_> = {
            let known = self.known.read();
            let left = known.jobs.iter().filter(|(_, key)| !matches!(key, KnownKey::Destroyed { .. }));
            left.map(|(job, _)| *job).filter(|job| !is_known(*job)).collect()
        };
        if !unknown.is_empty() {
            self.destroy(&unknown)?;
        }
        Ok(unknown.len())
    }

    /// Returns what is known of the keys as a whole.
    pub fn status(&self) -> KeyStoreStatus {
        let known = self.known.read();
        let count = |is: fn(&KnownKey) -> bool| known.jobs.values().filter(|key| is(key)).count();
        KeyStoreStatus {
            provider: self.provider.describe(),
            epoch: known.epoch,
            begun: known.begun,
            live: count(|key| matches!(key, KnownKey::Live { .. })),
            unavailable: count(|key| matches!(key, KnownKey::Unavailable { .. })),
            damaged: known.damaged,
            kept_epochs: known.kept.len(),
        }
    }
}

fn name(epoch: u64) -> String {
    format!("jobs.{epoch}")
}

/// Returns the files of all epochs, the earliest first. A missing folder has none.
fn files(folder: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let epoch = entry.file_name().to_str().and_then(|name| name.strip_prefix("jobs.")?.parse().ok());
        files.extend(epoch.map(|epoch| (epoch, entry.path())));
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
