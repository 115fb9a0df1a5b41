//! The bare commit of a deletion, in one loop without a server: record into sled, flush,
//! fdatasync, rename to trash, fsync of both folders.

use std::fs::{File, create_dir, rename};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A folder with as many directories as there are commits to come.
pub struct Bare {
    db: sled::Db,
    log: File,
    folder: PathBuf,
    folders: [File; 2],
    next: usize,
}

impl Bare {
    /// Prepares `commits` directories in `folder`.
    pub fn prepare(folder: &Path, commits: usize) -> Self {
        create_dir(folder).expect("a new folder");
        let db = sled::open(folder.join("store")).expect("a new store");
        let log = File::open(folder.join("store/db")).expect("sled's log");
        let folders = ["trash", "ready"].map(|name| {
            create_dir(folder.join(name)).expect("a new folder");
            File::open(folder.join(name)).expect("a folder")
        });
        for n in 0..commits {
            create_dir(folder.join(format!("ready/{n}"))).expect("a new folder");
        }
        Self { db, log, folder: folder.to_owned(), folders, next: 0 }
    }

    /// One commit, and how long it took.
    pub fn commit(&mut self) -> Duration {
        let n = self.next;
        self.next += 1;
        let began = Instant::now();
        self.db.insert(format!("j/{n:016}"), vec![b'x'; 400]).expect("an insert");
        self.db.flush().expect("a flush");
        self.log.sync_data().expect("an fdatasync");
        rename(self.folder.join(format!("ready/{n}")), self.folder.join(format!("trash/{n}")))
            .expect("a rename");
        for folder in &self.folders {
            folder.sync_all().expect("an fsync");
        }
        began.elapsed()
    }
}
