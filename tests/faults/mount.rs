//! File systems of their own under a data directory: small ones, with few inodes, with a quota,
//! and such that can turn read-only.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Mounted, Need, Setup, run, skip};

/// Of the disks: more than the ballast twice over.
const SIZE: &str = "200M";

/// 24 MiB in one file.
pub fn big_source() -> &'static Path {
    use std::sync::OnceLock;
    static SOURCE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = SOURCE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let line = format!("{{\"resourceType\":\"Media\",\"data\":\"{}\"}}\n", "x".repeat(1 << 20));
        std::fs::write(folder.path().join("Media.ndjson"), line.repeat(24)).unwrap();
        folder
    });
    folder.path()
}

/// A kind of file system, and what limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tmpfs,
    Ext4,
    /// A tmpfs with so few inodes.
    FewInodes,
    /// A subvolume of a btrfs that has room, with a quota of the same size: `statvfs` does not
    /// tell of it.
    Quota,
}

impl Kind {
    fn need(self) -> Need {
        match self {
            Self::Tmpfs | Self::FewInodes => Need::Mount,
            Self::Ext4 | Self::Quota => Need::LoopDevice,
        }
    }
}

/// A mounted file system; unmounted when it is dropped.
pub struct Mount {
    pub at: PathBuf,
    pub kind: Kind,
    _mounted: Mounted,
}

impl Mount {
    fn new(kind: Kind, setup: &Setup) -> Result<Self, String> {
        let at = setup.data_dir();
        std::fs::create_dir(&at).map_err(|e| e.to_string())?;
        let image = setup.folder.path().join("image");
        let make = |size: &str, format: &mut Command| {
            run(Command::new("truncate").args(["--size", size]).arg(&image))?;
            run(format.arg(&image))
        };
        let mount = |options: &str| Mounted::new(&["-o", options, image.to_str().unwrap()], &at);
        let mounted = match kind {
            Kind::Tmpfs | Kind::FewInodes => {
                let inodes = if kind == Kind::FewInodes { ",nr_inodes=200" } else { "" };
                let options = format!("size={SIZE},mode=0700{inodes}");
                Mounted::new(&["-t", "tmpfs", "-o", &options, "tmpfs"], &at)?
            }
            Kind::Ext4 => {
                make(SIZE, Command::new("mkfs.ext4").args(["-q", "-m", "0"]))?;
                mount("loop,errors=remount-ro")?
            }
            Kind::Quota => {
                make("800M", Command::new("mkfs.btrfs").arg("-q"))?;
                let whole = mount("loop")?;
                let volume = at.join("data");
                run(Command::new("btrfs").args(["subvolume", "create"]).arg(&volume))?;
                run(Command::new("btrfs").args(["quota", "enable"]).arg(&at))?;
                run(Command::new("btrfs").args(["qgroup", "limit", SIZE]).arg(&volume))?;
                drop(whole);
                mount("loop,subvol=data")?
            }
        };
        Ok(Self { at, kind, _mounted: mounted })
    }

    /// Another program takes all the room there is.
    pub fn fill(&self, name: &str) {
        use std::io::{Seek, SeekFrom, Write};

        use rustix::fs::{FallocateFlags, fallocate};
        let mut file = std::fs::File::create(self.at.join(name)).unwrap();
        let mut end = 0;
        for size in [1 << 20, 4096] {
            while fallocate(&file, FallocateFlags::empty(), end, size).is_ok() {
                end += size;
            }
        }
        file.seek(SeekFrom::Start(end)).unwrap();
        for size in [4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    /// The file system meets an error and can be read only; the reason if it cannot be made to.
    pub fn turn_read_only(&self) -> Result<(), String> {
        let source = Command::new("findmnt").args(["-no", "SOURCE"]).arg(&self.at).output();
        let source = source.map_err(|error| error.to_string())?;
        let device = String::from_utf8_lossy(&source.stdout).trim().replace("/dev/", "");
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(&trigger, "1").map_err(|error| format!("{trigger}: {error}"))
    }

    /// What an operator does about it.
    pub fn repair(&self, setup: &Setup) {
        let image = setup.folder.path().join("image");
        run(Command::new("umount").arg(&self.at)).unwrap();
        // Its exit code says whether it had something to mend.
        let _ = run(Command::new("e2fsck").arg("-p").arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&self.at)).unwrap();
    }

    /// Another program takes all the inodes there are.
    pub fn take_inodes(&self) {
        let others = self.at.join("others");
        std::fs::create_dir_all(&others).unwrap_or_default();
        let mut taken = std::fs::read_dir(&others).map_or(0, Iterator::count);
        while std::fs::File::create(others.join(taken.to_string())).is_ok() {
            taken += 1;
        }
    }
}

/// Does `test` on each of these kinds of file systems that can be had.
pub fn on_each(kinds: &[Kind], what: &str, test: impl Fn(&Setup, &Mount)) {
    for kind in kinds {
        let setup = Setup::new().source(big_source()).set("reaper.interval=50ms");
        let setup = setup.set("reaper.retry_min=20ms").set("reaper.retry_max=100ms");
        match Mount::new(*kind, &setup) {
            Ok(mount) => {
                println!("{what}: {kind:?}");
                test(&setup, &mount);
            }
            Err(why) => skip(kind.need(), what, &why),
        }
    }
}
