//! File systems that a test mounts.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a command to its end. Fails with what it said if it fails.
pub fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let failed = || format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    if output.status.success() { Ok(()) } else { Err(failed()) }
}

/// A mounted file system; unmounted when it is dropped, also by a panic.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts at `at`; `arguments` are those of mount(8) before it.
    pub fn new(arguments: &[&str], at: &Path) -> Result<Self, String> {
        run(Command::new("mount").args(arguments).arg(at))?;
        Ok(Self(at.into()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if run(Command::new("umount").arg(&self.0)).is_err() {
            // A process may still be on its way out: the mount goes when it is.
            let detached = run(Command::new("umount").arg("-l").arg(&self.0));
            assert!(detached.is_ok() || std::thread::panicking(), "{detached:?}");
        }
    }
}
