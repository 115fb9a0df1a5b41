//! The real binary, a real data directory, a real HTTP client: what the tests work with.

#![allow(dead_code, unused_imports, reason = "each module uses a part of it")]

mod disk;
mod environment;
mod exported;
mod exporters;
mod generated;
mod http;
mod instances;
mod mounts;
mod processes;
mod server;
mod settled;
pub mod smart;
mod strace;
mod temporary;

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use disk::*;
pub use environment::*;
pub use exported::*;
pub use exporters::*;
pub use generated::*;
pub use http::*;
pub use instances::*;
pub use mounts::*;
pub use processes::*;
pub use server::*;
pub use settled::*;
pub use strace::*;
pub use temporary::*;

/// The longest that anything in a test may take; a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A small source that all tests share: 30 patients, about 1.4 MB.
pub fn source() -> &'static Path {
    static SOURCE: OnceLock<TempDir> = OnceLock::new();
    let folder = SOURCE.get_or_init(|| {
        let folder = temporary_folder();
        generate(folder.path(), 30, 7, &[]);
        folder
    });
    folder.path()
}

/// A private copy of the shared source, to be modified.
pub fn copy_of_source() -> TempDir {
    let folder = scratch();
    copy_folder(source(), folder.path());
    folder
}

/// Waits for `check` to give something; for what only the file system or a poll can tell. Whoever has
/// waited for long looks less often: looking takes the machine from what is waited for.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        let waited = began.elapsed();
        assert!(waited < PATIENCE, "waited in vain: {what}");
        std::thread::sleep((waited / 20).clamp(Duration::from_millis(2), Duration::from_millis(50)));
    }
}
