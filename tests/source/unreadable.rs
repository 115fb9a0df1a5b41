//! Files that the system refuses to read: the others are exported, and clients are told; a source of
//! which nothing can be read is away.

use std::process::Command;

use super::unread::{left_out, said, told};
use super::*;

/// A server that cannot read what its permissions do not allow, also if root runs it; `None`, and
/// said loudly, where that cannot be had.
fn start_without_privileges(setup: &Setup) -> Option<Server> {
    if !rustix::process::geteuid().is_root() {
        return Some(setup.start());
    }
    let without = ["--bounding-set", "-dac_override,-dac_read_search", "--"];
    if !Command::new("setpriv").args(without).arg("true").status().is_ok_and(|status| status.success()) {
        skip(Need::Setpriv, "an unreadable file in the source", "setpriv cannot take root's privileges away");
        return None;
    }
    let mut setpriv = Command::new("setpriv");
    setpriv.args(without);
    Some(setup.launch(setup.below(setpriv)))
}

#[test]
fn a_file_that_may_not_be_read_is_told_and_the_others_are_exported() {
    let folder = copy_of_source();
    let path = folder.path().join("Patient.ndjson");
    set_mode(&path, 0o000);
    let setup = Setup::new().source(folder.path());
    let Some(server) = start_without_privileges(&setup) else { return };
    let (_, manifest) = server.export("$export");
    let expected = said(&[("error", "Patient.ndjson cannot be read; nothing of it was exported.")]);
    assert_eq!(told(&manifest), expected);
    let lines = exported(&manifest);
    assert!(
        !lines.is_empty() && !lines.iter().any(|line| line.starts_with(b"{\"resourceType\":\"Patient\""))
    );
    assert_eq!(left_out(&server, "unreadable"), 1.0);
    set_mode(&path, 0o600);
    assert_exports(&server, &lines_in(folder.path()));
    assert_eq!(left_out(&server, "unreadable"), 0.0);
}

#[test]
fn a_source_of_which_nothing_can_be_read_fails_exports_and_not_the_start() {
    let folder = folder_of(resource("Basic", 1, "x"));
    std::fs::write(folder.path().join("README"), "about").unwrap();
    let path = folder.path().join("a.ndjson");
    set_mode(&path, 0o000);
    let setup = Setup::new().source(folder.path());
    let Some(server) = start_without_privileges(&setup) else { return };
    for _ in 0..2 {
        assert!(failure(&server.kickoff("$export")).contains("could not be read"));
    }
    set_mode(&path, 0o600);
    assert_exports(&server, &lines_of(resource("Basic", 1, "x").as_bytes()));
}

#[test]
fn a_file_whose_disk_fails_is_told_and_the_others_are_exported() {
    use crate::support::{can_trace, start_traced};
    if !can_trace("a file on a disk that fails") {
        return;
    }
    let (folder, path, _) = copy_of_big();
    std::fs::write(folder.path().join("good"), resource("Basic", 1, "x")).unwrap();
    // At its beginning, and when a thread reads on.
    for when in ["", ":when=2+"] {
        let setup = Setup::new().source(folder.path());
        let inject = format!("inject=pread64:error=EIO{when}");
        let options = ["-P", path.to_str().unwrap(), "-e", "trace=pread64", "-e", &inject];
        let server = start_traced(&setup, &options);
        for _ in 0..2 {
            let (_, manifest) = server.export("$export");
            let expected = said(&[("error", "a.ndjson cannot be read; nothing of it was exported.")]);
            assert_eq!(told(&manifest), expected, "{when}");
            assert_same(&exported(&manifest), &lines_of(resource("Basic", 1, "x").as_bytes()));
        }
        assert_eq!(left_out(&server, "unreadable"), 1.0, "{when}");
        assert!(!index_files(&setup).iter().any(|file| file.extension().is_some_and(|it| it == "new")));
    }
}
