//! What else stands in the folder of the source: what is not a regular file is left out and never
//! waited for, names may be anything that a file system takes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::*;

pub fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// Exports a folder of one good file, `good`, and what `make` puts beside it.
fn export_beside(make: impl FnOnce(&Path)) -> (Setup, Server, TempDir) {
    let folder = scratch();
    std::fs::write(folder.path().join("good"), resource("Basic", "good", "x")).unwrap();
    make(folder.path());
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    for path in ["$export", "$export?_type=Basic"] {
        let lines = exported(&server.export(path).1);
        assert_same(&lines, &lines_of(resource("Basic", "good", "x").as_bytes()));
    }
    (setup, server, folder)
}

/// That the log says once that a name is left out.
fn assert_left_out(setup: &Setup, server: &Server, names: &[&str]) {
    let log = setup.settled_log(server);
    for name in names {
        let about = |line: &&str| line.contains("left out of the source") && line.contains(name);
        assert_eq!(log.lines().filter(about).count(), 1, "{name}: {log}");
    }
}

#[test]
fn fifos_folders_and_links_are_left_out_and_nobody_waits() {
    let (setup, server, _folder) = export_beside(|folder| {
        make_fifo(&folder.join("fifo.ndjson"));
        std::fs::create_dir(folder.join("folder.ndjson")).unwrap();
        std::fs::write(folder.join("folder.ndjson/b"), resource("Basic", "below", "x")).unwrap();
        for (name, target) in
            [("to-file", "good"), ("to-folder", "folder.ndjson"), ("dangling", "nowhere"), ("loop", "loop")]
        {
            symlink(target, folder.join(name)).unwrap();
        }
    });
    assert_left_out(
        &setup,
        &server,
        &["fifo.ndjson", "folder.ndjson", "to-file", "to-folder", "dangling", "\"loop\""],
    );
}

#[test]
fn a_socket_is_left_out() {
    let mut listener = None;
    let (setup, server, _folder) =
        export_beside(|folder| listener = Some(UnixListener::bind(folder.join("socket")).unwrap()));
    assert_left_out(&setup, &server, &["socket"]);
}

#[test]
fn devices_are_left_out() {
    if !is_root("device nodes in the source") {
        return;
    }
    let (setup, server, _folder) = export_beside(|folder| {
        // /dev/zero, which would never end; one without a driver; a block device.
        for (name, kind, major, minor) in [
            ("zero", FileType::CharacterDevice, 1, 5),
            ("no-driver", FileType::CharacterDevice, 239, 7),
            ("block", FileType::BlockDevice, 239, 7),
        ] {
            mknodat(CWD, folder.join(name), kind, Mode::RWXU, makedev(major, minor)).unwrap();
        }
    });
    assert_left_out(&setup, &server, &["zero", "no-driver", "block"]);
}

#[test]
fn a_last_line_without_a_line_feed_is_read_and_a_file_without_bytes_is_no_fault() {
    let folder = scratch();
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    write("empty", "");
    write("one", resource("Basic", 1, "x").trim_end());
    write("two", &format!("\u{feff}\r\n\r\n{}", resource("Basic", 2, "x").trim_end()));
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    let expected = resource("Basic", 1, "x") + &resource("Basic", 2, "x");
    assert_same(&exported(&manifest), &lines_of(expected.as_bytes()));
    assert!(broken(&manifest).is_empty());
}

#[test]
fn a_file_may_have_any_name_that_is_utf_8() {
    let folder = scratch();
    let (longest, wide) = ("n".repeat(255), "\u{1F5C2}".repeat(63));
    let names = [
        " ",
        "a b",
        "'",
        "\"quoted\"",
        "line\nfeed",
        "\u{1b}[31m",
        "\u{2028}",
        "日本.ndjson",
        "e\u{301}",
        "%2e%2e",
        "-rf",
        "*",
        "~x",
        "\\",
        "x.",
        "x.segment",
        "overlay",
        &longest,
        &wide,
    ];
    for (n, name) in names.iter().enumerate() {
        std::fs::write(folder.path().join(name), resource("Basic", n, "x") + "broken\n").unwrap();
    }
    let not_utf8 = OsStr::from_bytes(b"b\xff.ndjson");
    std::fs::write(folder.path().join(not_utf8), resource("Basic", "unnamed", "x")).unwrap();
    let setup = Setup::new().source(folder.path());
    let expected = (0..names.len()).map(|n| resource("Basic", n, "x")).collect::<String>();
    let mut texts: Vec<_> = names.iter().map(|name| about(2, name, "is not a JSON object")).collect();
    texts.push("b\u{fffd}.ndjson has a name that is not UTF-8; nothing of it was exported.".into());
    texts.sort();
    // Made, and read again.
    for _ in 0..2 {
        let server = setup.start();
        let (_, manifest) = server.export("$export");
        assert_same(&exported(&manifest), &lines_of(expected.as_bytes()));
        assert_eq!(broken(&manifest), texts);
        server.kill();
    }
    setup.wait_logged("has a name that is not UTF-8");
}

#[test]
fn files_that_come_and_go_while_the_folder_is_read_fail_nothing() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use evanesce::source::{NdjsonFolder, Source};

    let folder = folder_of(resource("Basic", 0, "x"));
    let (path, over) = (folder.path().to_owned(), Arc::new(AtomicBool::new(false)));
    let is_over = over.clone();
    // As a program does that writes beside and renames.
    let churn = std::thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) {
            for n in 0..20 {
                std::fs::write(path.join(format!("{n}.new")), "notes").unwrap();
            }
            for n in 0..20 {
                std::fs::remove_file(path.join(format!("{n}.new"))).unwrap();
            }
        }
    });
    let source = NdjsonFolder::open(folder.path()).unwrap();
    let failures: Vec<_> = (0..50).filter_map(|_| source.snapshot().err()).collect();
    over.store(true, Ordering::Relaxed);
    churn.join().unwrap();
    let first = failures.first().map(ToString::to_string);
    assert!(failures.is_empty(), "{} of 50 scans failed: {first:?}", failures.len());
}
