//! An export that is killed half-way, a source that changes before the next start: it goes on if
//! what was planned is still there, and fails clearly if not.

use super::*;

/// What is done to the file `a` between the two processes, and whether the export can go on.
fn resume(change: impl FnOnce(&Path), goes_on: bool) {
    let text = "x".repeat(1000);
    let content: String = (0..600).map(|n| resource("Basic", format!("id-{n:03}"), &text)).collect();
    let folder = folder_of(&content);
    let setup = Setup::new().source(folder.path()).set("export.part_bytes=60000").braked(100_000);
    let server = setup.start();
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    server.kill();
    change(&folder.path().join("a.ndjson"));
    setup.release_brake();
    let server = setup.start();
    let polling = format!("{}/bulk-api/request/{}", server.base, job_id(&polling));
    if goes_on {
        assert_same(&exported(&server.wait_complete(&polling)), &lines_of(content.as_bytes()));
    } else {
        assert_source_changed(&setup, &polling);
    }
    // Whatever became of that one.
    assert_exports(&server, &lines_in(folder.path()));
}

fn new() -> String {
    resource("Basic", "new", "y")
}

#[test]
fn an_export_goes_on_after_a_restart_with_a_file_that_has_grown() {
    resume(|path| append(path, new().as_bytes()), true);
}

#[test]
fn an_export_goes_on_after_a_restart_with_a_copy_that_took_the_place_of_the_file() {
    let replace = |path: &Path| {
        let copy = path.with_extension("copy");
        std::fs::copy(path, &copy).unwrap();
        std::fs::rename(copy, path).unwrap();
    };
    resume(replace, true);
}

#[test]
fn an_export_fails_after_a_restart_if_the_file_was_overwritten() {
    // Behind what was written when it was killed.
    resume(|path| overwrite(path, 600_000, b"y"), false);
}

#[test]
fn an_export_fails_after_a_restart_if_the_file_is_shorter() {
    let cut = |path: &Path| {
        let content = std::fs::read(path).unwrap();
        let end = memchr::memrchr(b'\n', &content[..600_000]).unwrap() + 1;
        writable(path).set_len(end as u64).unwrap();
    };
    resume(cut, false);
}

#[test]
fn an_export_fails_after_a_restart_if_the_file_is_gone_or_replaced() {
    resume(|path| std::fs::remove_file(path).unwrap(), false);
    resume(|path| std::fs::write(path, new()).unwrap(), false);
}
