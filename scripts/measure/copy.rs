//! The bare copy of a folder: `cp -r`, then fsync of each file.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::source::sync_files;

/// Copies a folder to `target` and removes the copy; how long the copy took.
pub fn copy(source: &Path, target: &Path) -> Duration {
    let began = Instant::now();
    let copied = Command::new("cp").arg("-r").arg(source).arg(target).status().expect("cp");
    assert!(copied.success());
    sync_files(target);
    let took = began.elapsed();
    std::fs::remove_dir_all(target).expect("the copy goes");
    took
}
