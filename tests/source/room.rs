//! No room for the index, or a folder that cannot be written to: the export fails with a reason,
//! and there is nothing to be done afterwards but to make room.

use std::process::Command;

use super::*;

/// A small file system of its own, unmounted when it is dropped.
pub struct Disk {
    _mounted: Mounted,
    folder: PathBuf,
}

impl Disk {
    /// A disk of that many megabytes at `folder`; `None`, and said loudly, where nothing can be
    /// mounted.
    pub fn mount(folder: &Path, what: &str, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let options = format!("size={megabytes}m,mode=700");
        match Mounted::new(&["-t", "tmpfs", "-o", &options, "none"], folder) {
            Ok(mounted) => Some(Self { _mounted: mounted, folder: folder.into() }),
            Err(why) => {
                skip(Need::Mount, what, &why);
                None
            }
        }
    }

    /// Uses up all room.
    pub fn fill(&self) {
        let mut file = File::create(self.folder.join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    /// Uses up room until so many bytes are free.
    pub fn fill_up_to(&self, free: u64) {
        let mut file = File::create(self.folder.join("filler")).unwrap();
        let stat = rustix::fs::statvfs(&self.folder).unwrap();
        let mut filler = (stat.f_bavail * stat.f_frsize).checked_sub(free).unwrap();
        while filler > 0 {
            let length = filler.min(4096);
            file.write_all(&[1; 4096][..length as usize]).unwrap();
            filler -= length;
        }
    }

    pub fn empty(&self) {
        std::fs::remove_file(self.folder.join("filler")).unwrap();
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.folder).status().unwrap().success());
    }
}

/// A set-up whose index has a small disk for itself. The mount goes before the folder it is in.
pub struct Small {
    pub disk: Disk,
    pub setup: Setup,
}

impl Small {
    /// A disk of that many megabytes; `None`, and said loudly, where nothing can be mounted.
    pub fn new(what: &str, megabytes: u32) -> Option<Self> {
        let setup = Setup::new();
        let disk = Disk::mount(&setup.data_dir().join("index/default"), what, megabytes)?;
        Some(Self { disk, setup })
    }
}

#[test]
fn an_index_that_finds_no_room_fails_the_export_until_there_is_room() {
    let Some(Small { disk, setup }) = Small::new("an index without room", 4) else { return };
    let server = {
        disk.fill();
        setup.start()
    };
    for path in ["$export", "Patient/$export"] {
        let text = failure(&server.kickoff(path));
        assert!(text.contains("no room"), "{text}");
    }
    disk.empty();
    assert_exports(&server, &lines_in(source()));
    assert!(!index_files(&setup).iter().any(|file| file.extension().is_some_and(|it| it == "new")));
}

#[test]
fn an_append_that_finds_no_room_in_the_index_loses_nothing() {
    let Some(Small { disk, setup }) = Small::new("an append without room", 4) else { return };
    let (folder, path, content) = copy_of_big();
    let setup = setup.source(folder.path()).set("source.watch=false");
    let server = setup.start();
    wait_indexed(&server, 1.0);
    let lines: String = (0..4000).map(|n| resource("Basic", n, "y")).collect();
    append(&path, lines.as_bytes());
    disk.fill();
    for _ in 0..2 {
        assert!(failure(&server.kickoff("$export")).contains("no room"));
    }
    disk.empty();
    assert_exports(&server, &lines_of(&[&content, lines.as_bytes()].concat()));
}

#[test]
fn an_index_that_cannot_be_written_fails_the_export_and_is_written_when_it_can_be() {
    let Some(Small { disk, setup }) = Small::new("a read-only index", 4) else { return };
    disk.remount("ro");
    let server = setup.start();
    let text = failure(&server.kickoff("$export"));
    assert!(text.contains("could not be stored"), "{text}");
    let unknown = server.try_kickoff("Group/g/$export");
    assert_eq!(unknown.outcome(), (500, "processing".into()));
    disk.remount("rw");
    assert_exports(&server, &lines_in(source()));
    let readyz = server.operator("readyz");
    assert_eq!(readyz.status, 200);
}
