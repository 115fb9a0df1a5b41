//! A data directory on a disk of its own: an ext4 image behind a loop device, which can be
//! copied as a power loss would leave it, or filled.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Mounted, Need, Server, Setup, eventually, run, scratch, skip};

const IMAGE: &str = "disk.ext4";

/// A data directory and, if it is on a disk of its own, the mount, which goes before the
/// folder that it is in.
pub struct Machine {
    disk: Option<Disk>,
    pub setup: Setup,
}

/// An image and its mount, which goes first.
struct Disk {
    _mount: Mounted,
    image: TempDir,
}

impl From<Setup> for Machine {
    /// One without a disk of its own.
    fn from(setup: Setup) -> Self {
        Self { disk: None, setup }
    }
}

impl Machine {
    /// A new one; `None`, and said loudly, where images cannot be made or mounted.
    pub fn new(what: &str) -> Option<Self> {
        let made = Self::with_image(|image| {
            run(Command::new("truncate").args(["--size", "256M"]).arg(image))?;
            run(Command::new("mkfs.ext4").arg("-q").arg(image))
        });
        made.inspect_err(|why| skip(Need::LoopDevice, what, why)).ok()
    }

    fn with_image(make: impl FnOnce(&Path) -> Result<(), String>) -> Result<Self, String> {
        let setup = Setup::new().set("export.part_bytes=65536");
        // In memory, where that can be: what counts is what the file system has written to it.
        let image = scratch();
        let path = image.path().join(IMAGE);
        make(&path)?;
        std::fs::create_dir(setup.data_dir()).map_err(|e| e.to_string())?;
        let options = ["-t", "ext4", "-o", "loop,commit=300", path.to_str().unwrap()];
        let disk = Disk { _mount: Mounted::new(&options, &setup.data_dir())?, image };
        Ok(Self { disk: Some(disk), setup })
    }

    /// What this machine would find if its power went now. The server goes on afterwards.
    pub fn without_power(&self, server: &Server) -> Self {
        let from = self.disk.as_ref().expect("a machine with a disk").image.path().join(IMAGE);
        server.signal(Signal::STOP);
        // The signal is on its way to each thread, some of which are inside a sync: the copy
        // must not begin before the last one stands still.
        eventually("all threads to stop", || is_stopped(server.child.id()).then_some(()));
        let copy = |to: &Path| run(Command::new("cp").arg("--sparse=always").arg(&from).arg(to));
        let mut machine = Self::with_image(copy).unwrap();
        machine.setup.sets.clone_from(&self.setup.sets);
        server.signal(Signal::CONT);
        machine
    }
}

/// Whether every thread of a process is stopped (proc_pid_stat(5)).
fn is_stopped(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.into_iter().all(|thread| {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
        // The name stands in parentheses and may have any characters.
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    })
}
