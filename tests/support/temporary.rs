//! Where the folders of tests are. They go with the process at the latest, however it ends: what a
//! static has is never dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The folders that all others are below, on disk and in memory, and who removes them.
static ROOTS: OnceLock<([PathBuf; 2], Child)> = OnceLock::new();

fn roots() -> &'static [PathBuf; 2] {
    let make = || {
        let below = |parent: &Path| {
            let folder = tempfile::Builder::new().prefix("evanesce-").tempdir_in(parent);
            folder.map(TempDir::keep)
        };
        let disk = below(&std::env::temp_dir()).unwrap();
        let memory = below(Path::new("/dev/shm")).unwrap_or_else(|_| disk.clone());
        let roots = [disk, memory];
        // The end of this process closes the pipe.
        let script = "trap '' INT TERM HUP; cat; rm -rf --one-file-system \"$@\"";
        let mut remover = Command::new("sh");
        remover.args(["-c", script, "sh"]).args(&roots).stdin(Stdio::piped());
        let remover = remover.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // For those that ask the library.
        tempfile::env::override_temp_dir(&roots[0]).unwrap();
        (roots, remover)
    };
    &ROOTS.get_or_init(make).0
}

/// A folder on disk.
pub fn temporary_folder() -> TempDir {
    tempfile::tempdir_in(&roots()[0]).unwrap()
}

/// A folder in memory, if there is such a place.
pub fn scratch() -> TempDir {
    tempfile::tempdir_in(&roots()[1]).unwrap()
}
