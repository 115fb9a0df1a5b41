//! Data directories of instances in the tests' own process.

use std::fs::File;
use std::ops::Deref;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{scratch, temporary_folder};

/// A data directory that goes after the last instance on it, whoever has a handle of that: an instance
/// that misses its files ends its process, which is that of all tests.
pub struct InstanceDir(Option<TempDir>);

impl InstanceDir {
    pub fn new() -> Self {
        Self(Some(temporary_folder()))
    }

    /// One in memory, if there is such a place.
    pub fn in_memory() -> Self {
        Self(Some(scratch()))
    }
}

impl Deref for InstanceDir {
    type Target = TempDir;

    fn deref(&self) -> &TempDir {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for InstanceDir {
    fn drop(&mut self) {
        // An instance has the lock until it has stopped; some tests have its directory below.
        let is_locked = |name| File::open(self.path().join(name)).is_ok_and(|lock| lock.try_lock().is_err());
        let is_in_use = || ["LOCK", "data/LOCK"].into_iter().any(is_locked);
        let began = Instant::now();
        while is_in_use() {
            if began.elapsed() > Duration::from_secs(10) {
                // A thread of a test that has panicked may never let go of its handle.
                eprintln!("{} is still in use and is left there", self.path().display());
                drop(self.0.take().map(TempDir::keep));
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_data_directory_outlives_an_instance_that_somebody_else_has_a_handle_of() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = InstanceDir::new();
    let path = folder.path().to_owned();
    let builder = evanesce::Evanesce::builder().data_dir(folder.path());
    let evanesce = runtime.block_on(builder.exporter(super::FakeExporter::writes_nothing()).start()).unwrap();
    let (dropping, dropped) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        dropped.recv().unwrap();
        // The folder has had its time to go.
        std::thread::sleep(Duration::from_millis(20));
        assert!(path.join("store").exists());
        drop(evanesce);
        path
    });
    dropping.send(()).unwrap();
    drop(folder);
    assert!(!other.join().unwrap().exists());
}
