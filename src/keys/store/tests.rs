//! Keys are there until they are destroyed, over restarts, turns and whatever a crash or somebody else
//! left; never is a key another one.

use std::collections::BTreeMap;

use super::*;
use crate::keys::EpochKeyFiles;

const FOLDER: &str = "keys";

struct Room {
    data: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        Self { data: tempfile::tempdir().unwrap() }
    }

    fn folder(&self) -> PathBuf {
        self.data.path().join(FOLDER)
    }

    fn provider(&self) -> Box<dyn EpochKeys> {
        Box::new(EpochKeyFiles::open(&self.folder()).unwrap())
    }

    fn open(&self) -> KeyStore {
        KeyStore::open(&self.folder(), self.provider(), Clock::system(), Hooks::default()).unwrap()
    }

    fn look(&self) -> KeyStore {
        KeyStore::look(&self.folder(), self.provider(), Clock::system()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// All files with their content.
    fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(self.folder()).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect()
    }

    fn restore(&self, snapshot: &BTreeMap<PathBuf, Vec<u8>>) {
        std::fs::remove_dir_all(self.folder()).unwrap();
        std::fs::create_dir(self.folder()).unwrap();
        snapshot.iter().for_each(|(path, content)| std::fs::write(path, content).unwrap());
    }
}

fn key(store: &KeyStore, job: JobId) -> Option<[u8; KEY_BYTES]> {
    match store.find(job) {
        KeyState::Live(key) => Some(*key.as_bytes()),
        _ => None,
    }
}

fn jobs<const N: usize>(store: &KeyStore) -> [(JobId, [u8; KEY_BYTES]); N] {
    std::array::from_fn(|_| {
        let job = JobId::random();
        (job, *store.create(job).unwrap().as_bytes())
    })
}

#[test]
fn a_key_is_there_over_restarts_and_turns_until_it_is_destroyed() {
    let room = Room::new();
    let store = room.open();
    let [kept, gone] = jobs(&store);
    assert_ne!(kept.1, gone.1);
    assert!(matches!(store.find(JobId::random()), KeyState::Absent));
    assert!(matches!(store.create(kept.0), Err(KeysError::Exists { .. })));
    let destroyed = store.destroy(&[gone.0, JobId::random()]).unwrap();
    let destruction = destroyed[0].unwrap();
    assert_eq!((destruction.epoch, destroyed[1]), (1, None));
    drop(store);
    for epoch in 1..4 {
        let store = room.open();
        assert_eq!(store.status().epoch, epoch);
        assert_eq!(key(&store, kept.0), Some(kept.1));
        // When it was is known until the job has its receipt, in epoch 2.
        let is_known = matches!(store.find(gone.0), KeyState::Destroyed(known) if known == destruction);
        assert_eq!(is_known, epoch <= 2, "epoch {epoch}");
        assert_eq!(store.destroy(&[gone.0]).unwrap(), [(epoch <= 2).then_some(destruction)], "idempotent");
        store.turn(|job| epoch == 2 && job == gone.0).unwrap();
        assert_eq!(store.ended_after(epoch - 1), [epoch]);
        assert_eq!(key(&store, kept.0), Some(kept.1));
    }
    let names: Vec<_> =
        room.snapshot().into_keys().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["epoch.4", "jobs.4"]);
}

#[test]
fn what_a_key_was_wrapped_to_is_overwritten_in_place() {
    let room = Room::new();
    let store = room.open();
    let [one] = jobs(&store);
    std::fs::hard_link(room.path("jobs.1"), room.path("link")).unwrap();
    let wrapped = std::fs::read(room.path("link")).unwrap()[SLOT_BYTES + 32..SLOT_BYTES + 92].to_vec();
    let has = |what: &[u8]| {
        std::fs::read(room.path("link")).unwrap().windows(what.len()).any(|window| window == what)
    };
    assert!(has(&wrapped));
    store.destroy(&[one.0]).unwrap();
    assert!(!has(&wrapped) && has(one.0.as_bytes()), "the slot says of whom it was");
    store.turn(|_| false).unwrap();
    assert!(std::fs::read(room.path("link")).unwrap().iter().all(|byte| *byte == 0), "and then nothing");
}

#[test]
fn p14_after_a_turn_no_copy_of_the_keys_opens_an_erased_job() {
    let room = Room::new();
    let store = room.open();
    let [kept, gone] = jobs(&store);
    let copy = room.snapshot();
    store.destroy(&[gone.0]).unwrap();
    drop(store);
    // Before the turn a copy that has both opens it: that is what an epoch is for.
    let now = room.snapshot();
    room.restore(&copy);
    assert_eq!(key(&room.look(), gone.0), Some(gone.1));
    room.restore(&now);
    room.open().turn(|_| false).unwrap();
    let epoch_keys: Vec<_> =
        room.snapshot().into_iter().filter(|(path, _)| path.ends_with("epoch.2")).collect();
    // The copy's files of jobs, with every key of an epoch that is left anywhere.
    let mut stolen: BTreeMap<_, _> = copy.into_iter().filter(|(path, _)| path.ends_with("jobs.1")).collect();
    stolen.extend(epoch_keys.iter().cloned());
    stolen.insert(room.path("epoch.1"), epoch_keys[0].1.clone());
    room.restore(&stolen);
    let store = room.look();
    assert!(key(&store, gone.0).is_none() && key(&store, kept.0).is_none());
}

#[test]
fn slots_are_used_again_and_the_file_grows_by_whole_blocks() {
    let room = Room::new();
    let store = room.open();
    let length = || std::fs::metadata(room.path("jobs.1")).unwrap().len();
    assert_eq!(length(), (129 * SLOT_BYTES) as u64);
    let made: [_; 200] = jobs(&store);
    assert_eq!(length(), (257 * SLOT_BYTES) as u64);
    drop(store);
    let store = room.open();
    assert!(made.iter().all(|(job, bytes)| key(&store, *job) == Some(*bytes)));
    jobs::<56>(&store);
    assert_eq!(length(), (257 * SLOT_BYTES) as u64, "free slots come first");
}

#[test]
fn a_changed_byte_is_never_another_key_and_never_says_that_a_job_has_none() {
    let room = Room::new();
    let store = room.open();
    let [one, other] = jobs(&store);
    drop(store);
    let whole = room.snapshot();
    let path = room.path("jobs.1");
    for n in 0..3 * SLOT_BYTES {
        let mut damaged = whole.clone();
        damaged.get_mut(&path).unwrap()[n] ^= 1;
        room.restore(&damaged);
        let store = room.look();
        for (job, bytes) in [one, other] {
            match store.find(job) {
                KeyState::Live(key) => assert_eq!(*key.as_bytes(), bytes, "byte {n}"),
                KeyState::Unavailable => {}
                state => panic!("byte {n}: {state:?}"),
            }
        }
        assert!(matches!(store.find(JobId::random()), KeyState::Unavailable), "byte {n}");
        assert_eq!(store.status().damaged, 1, "byte {n}");
    }
}

#[test]
fn without_the_epochs_key_nothing_is_decided_and_it_may_come_back() {
    let room = Room::new();
    let store = room.open();
    let [kept, gone] = jobs(&store);
    drop(store);
    std::fs::rename(room.path("epoch.1"), room.data.path().join("away")).unwrap();
    let store = room.open();
    assert!(matches!(store.find(kept.0), KeyState::Unavailable));
    assert!(matches!(store.find(JobId::random()), KeyState::Absent), "the slots say of whom they are");
    // New jobs have keys of a new epoch, and a deletion holds whatever comes back.
    let [new] = jobs(&store);
    assert_eq!(store.destroy(&[gone.0]).unwrap()[0].unwrap().epoch, 1);
    assert_eq!((store.status().epoch, store.status().unavailable, store.status().kept_epochs), (2, 1, 1));
    store.turn(|_| false).unwrap();
    drop(store);
    assert!(room.path("jobs.1").exists(), "it waits for its key");

    std::fs::rename(room.data.path().join("away"), room.path("epoch.1")).unwrap();
    let store = room.open();
    assert_eq!(key(&store, kept.0), Some(kept.1));
    assert_eq!(key(&store, new.0), Some(new.1));
    assert!(matches!(store.find(gone.0), KeyState::Destroyed(_)));
    assert!(!room.path("jobs.1").exists() && !room.path("epoch.1").exists());
    drop(store);
    assert_eq!(key(&room.open(), kept.0), Some(kept.1));
}

#[test]
fn a_file_of_keys_of_another_time_is_no_wrong_key() {
    let room = Room::new();
    let store = room.open();
    let [one] = jobs(&store);
    let old = std::fs::read(room.path("jobs.1")).unwrap();
    store.turn(|_| false).unwrap();
    drop(store);
    // As the file of the current epoch: its head says otherwise.
    let now = std::fs::read(room.path("jobs.2")).unwrap();
    std::fs::write(room.path("jobs.2"), &old).unwrap();
    assert!(matches!(room.look().find(one.0), KeyState::Unavailable));
    // Beside it: its epoch's key is gone.
    std::fs::write(room.path("jobs.2"), now).unwrap();
    std::fs::write(room.path("jobs.1"), old).unwrap();
    assert_eq!(key(&room.look(), one.0), Some(one.1));
}

#[test]
fn a_turn_that_a_crash_left_at_any_step_is_finished_by_the_next_start() {
    let room = Room::new();
    let store = room.open();
    let [kept, gone] = jobs(&store);
    store.destroy(&[gone.0]).unwrap();
    let before = room.snapshot();
    store.turn(|_| false).unwrap();
    drop(store);
    let after = room.snapshot();
    let file = |snapshot: &BTreeMap<_, Vec<u8>>, name: &str| snapshot[&room.path(name)].clone();
    let (key_2, jobs_2) = (file(&after, "epoch.2"), file(&after, "jobs.2"));
    let zeros = || vec![0; file(&before, "jobs.1").len()];
    type Left<'l> = Vec<(&'l str, Vec<u8>)>;
    let steps: [(&str, Left<'_>, u64); 7] = [
        ("the key is half written", vec![("epoch.2.new", key_2[..7].to_vec())], 1),
        ("the key is made", vec![("epoch.2", key_2.clone())], 1),
        (
            "the keys are half wrapped",
            vec![("epoch.2", key_2.clone()), ("jobs.2.new", jobs_2[..300].to_vec())],
            1,
        ),
        ("the keys are wrapped", vec![("epoch.2", key_2.clone()), ("jobs.2.new", jobs_2.clone())], 1),
        ("the file has its name", vec![("epoch.2", key_2.clone()), ("jobs.2", jobs_2.clone())], 2),
        (
            "the old file is overwritten",
            vec![("epoch.2", key_2.clone()), ("jobs.2", jobs_2.clone()), ("jobs.1", zeros())],
            2,
        ),
        (
            "the old key is overwritten",
            vec![("epoch.2", key_2), ("jobs.2", jobs_2), ("jobs.1", zeros()), ("epoch.1", vec![0; 40])],
            2,
        ),
    ];
    for (step, left, epoch) in steps {
        room.restore(&before);
        left.iter().for_each(|(name, content)| std::fs::write(room.path(name), content).unwrap());
        let store = room.open();
        assert_eq!(key(&store, kept.0), Some(kept.1), "{step}");
        assert!(matches!(store.find(gone.0), KeyState::Destroyed(_)), "{step}");
        assert_eq!((store.status().epoch, store.status().damaged), (epoch, 0), "{step}");
        store.turn(|_| false).unwrap();
        let names: Vec<_> = room.snapshot().into_keys().collect();
        let expected =
            [format!("epoch.{}", epoch + 1), format!("jobs.{}", epoch + 1)].map(|name| room.path(&name));
        assert_eq!(names, expected, "{step}");
    }
}

#[test]
fn keys_of_jobs_that_nobody_knows_are_destroyed() {
    let room = Room::new();
    let store = room.open();
    let [known, unknown] = jobs(&store);
    assert_eq!(store.destroy_unknown(|job| job == known.0).unwrap(), 1);
    assert!(matches!(store.find(unknown.0), KeyState::Destroyed(_)));
    assert_eq!(key(&store, known.0), Some(known.1));
}

#[test]
fn a_look_changes_nothing() {
    let room = Room::new();
    assert_eq!(room.look().status().epoch, 0);
    jobs::<1>(&room.open());
    let before = room.snapshot();
    let store = room.look();
    assert!(matches!(store.create(JobId::random()), Err(KeysError::NotInUse)));
    assert!(matches!(store.destroy(&[JobId::random()]), Err(KeysError::NotInUse)));
    drop(store);
    assert_eq!(room.snapshot(), before);
}
