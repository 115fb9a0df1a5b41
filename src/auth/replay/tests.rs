//! The memory of assertions, over restarts and without its files.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

struct Setup {
    data_dir: tempfile::TempDir,
    now: Arc<AtomicI64>,
}

impl Setup {
    fn new() -> Self {
        Self { data_dir: tempfile::tempdir().unwrap(), now: Arc::new(AtomicI64::new(1000)) }
    }

    fn open(&self, window: Duration, limit: usize) -> ReplayMemory {
        let now = self.now.clone();
        let folder = AuthFolder::open(self.data_dir.path()).unwrap();
        let fatal = FatalHandler::new(|reason| panic!("{reason}"));
        ReplayMemory::open(folder, window, limit, move || now.load(Ordering::SeqCst), fatal).unwrap()
    }

    /// A claim of `acme` at the tenant `t`.
    fn claim(&self, replay: &ReplayMemory, jti: &str, exp: i64) -> Result<(), ReplayError> {
        block_on(replay.claim(&"t".parse().unwrap(), "acme", jti, exp, self.now.load(Ordering::SeqCst)))
    }

    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.data_dir.path().join("auth")).unwrap();
        let mut names: Vec<_> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn t_2_an_assertion_is_claimed_once_also_by_the_next_process() {
    let setup = Setup::new();
    let replay = setup.open(HOUR, 100);
    assert_eq!(setup.claim(&replay, "a", 1300), Ok(()));
    assert_eq!(setup.claim(&replay, "a", 1300), Err(ReplayError::Used));
    assert_eq!(setup.claim(&replay, "b", 1300), Ok(()));
    let other = |tenant: &str, issuer: &str, jti: &str| {
        block_on(replay.claim(&tenant.parse().unwrap(), issuer, jti, 1300, 1000))
    };
    assert_eq!(other("u", "acme", "a"), Ok(()), "another tenant's");
    assert_eq!(other("t", "acm", "ea"), Ok(()), "another client's");
    drop(replay);
    for _ in 0..3 {
        let replay = setup.open(HOUR, 100);
        assert_eq!(setup.claim(&replay, "a", 1300), Err(ReplayError::Used));
    }
}

#[test]
fn a_memory_that_is_removed_under_the_process_is_written_anew() {
    let setup = Setup::new();
    let replay = setup.open(HOUR, 10);
    setup.claim(&replay, "a", 2000).unwrap();
    std::fs::remove_dir_all(setup.data_dir.path().join("auth")).unwrap();
    setup.claim(&replay, "b", 2000).unwrap();
    drop(replay);
    let replay = setup.open(HOUR, 10);
    for jti in ["a", "b"] {
        assert_eq!(setup.claim(&replay, jti, 2000), Err(ReplayError::Used), "{jti}");
    }
}

#[test]
fn t_2_of_equal_assertions_at_once_exactly_one_is_taken() {
    let setup = Setup::new();
    let replay = setup.open(HOUR, 1000);
    for round in 0..20 {
        let jti = format!("j{round}");
        let taken = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| setup.claim(&replay, &jti, 1300))).collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            results.filter(Result::is_ok).count()
        });
        assert_eq!(taken, 1);
    }
}

#[test]
fn when_the_memory_is_full_nothing_is_forgotten_that_could_be_good_again() {
    let setup = Setup::new();
    let replay = setup.open(HOUR, 2);
    assert_eq!(setup.claim(&replay, "a", 1100), Ok(()));
    assert_eq!(setup.claim(&replay, "b", 1300), Ok(()));
    assert_eq!(setup.claim(&replay, "c", 1300), Err(ReplayError::Full));
    setup.now.store(1101, Ordering::SeqCst);
    assert_eq!(setup.claim(&replay, "c", 1300), Ok(()), "one has expired");
    assert_eq!(setup.claim(&replay, "b", 1300), Err(ReplayError::Used));
    setup.now.store(1000, Ordering::SeqCst);
    assert_eq!(setup.claim(&replay, "a", 1100), Err(ReplayError::Used), "the clock went back");
    drop(replay);
    let replay = setup.open(HOUR, 2);
    setup.now.store(1101, Ordering::SeqCst);
    assert_eq!(setup.claim(&replay, "b", 1300), Err(ReplayError::Used));
}

#[test]
fn generations_go_when_all_of_them_has_expired_and_no_sooner() {
    let mut memory = KnownAssertions {
        newer: HashMap::from([([1; 16], 1300)]),
        older: HashMap::from([([2; 16], 1000)]),
        forgotten: 0,
        limit: 9,
    };
    assert!(!memory.rotate(1000), "it is good for one second more");
    assert!(memory.rotate(1001));
    assert_eq!((memory.forgotten, memory.older.len(), memory.newer.len()), (1000, 1, 0));
    assert!(!memory.rotate(1300));
    assert!(memory.rotate(1301) && memory.len() == 0);
    assert_eq!(memory.claim([2; 16], 1000, 900), Err(ReplayError::Used), "the clock went back");
}

#[test]
fn files_of_what_has_expired_are_removed() {
    let setup = Setup::new();
    let window = Duration::from_millis(20);
    let replay = setup.open(window, 100);
    assert_eq!(setup.claim(&replay, "a", 1300), Ok(()));
    let first = setup.files();
    setup.now.store(2000, Ordering::SeqCst);
    let began = Instant::now();
    while setup.files().contains(&first[0]) {
        assert!(began.elapsed() < HOUR / 60, "{:?}", setup.files());
        std::thread::yield_now();
    }
    assert!(setup.files().len() <= 3, "{:?}", setup.files());
    setup.now.store(1000, Ordering::SeqCst);
    assert_eq!(setup.claim(&replay, "a", 1300), Err(ReplayError::Used), "the clock went back");
    drop(replay);
    let replay = setup.open(HOUR, 100);
    assert_eq!(setup.claim(&replay, "a", 1300), Err(ReplayError::Used), "and over a restart");
}
