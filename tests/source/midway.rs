//! What happens to the source while an export copies it. What keeps the planned version whole does
//! no harm; what does not fails the export, and nothing of it is published.

use super::*;

/// A source of two files, of which the first has been begun and the second has not.
struct Midway {
    setup: Setup,
    server: Server,
    folder: TempDir,
    polling: String,
    /// What was planned.
    planned: Lines,
}

/// Lines of a file, the same number of bytes for each `letter`.
fn content(letter: char) -> String {
    let text = "x".repeat(1000);
    (0..400).map(|n| resource("Basic", format!("{letter}-{n:03}"), &text)).collect()
}

fn midway() -> Midway {
    let folder = scratch();
    for name in ["a", "b"] {
        std::fs::write(folder.path().join(name), content(name.parse().unwrap())).unwrap();
    }
    let setup = Setup::new().source(folder.path()).braked(90_000).set("export.workers=2");
    let setup = setup.set("export.part_bytes=100000").set("source.watch=false");
    let server = setup.start();
    let planned = lines_in(folder.path());
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    Midway { setup, server, folder, polling, planned }
}

impl Midway {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside the source, to be renamed into it.
    fn beside(&self, content: &str) -> PathBuf {
        let path = self.setup.folder.path().join("beside");
        std::fs::write(&path, content).unwrap();
        // The source may be on another file system.
        let there = self.folder.path().with_extension("beside");
        std::fs::copy(&path, &there).unwrap();
        there
    }

    fn assert_as_planned(&self) {
        self.setup.release_brake();
        assert_same(&exported(&self.server.wait_complete(&self.polling)), &self.planned);
    }

    fn assert_source_changed(&self) {
        self.setup.release_brake();
        assert_source_changed(&self.setup, &self.polling);
    }

    /// The next export has what is there then.
    fn assert_next_is_right(self) {
        assert_exports(&self.server, &lines_in(self.folder.path()));
    }
}

#[test]
fn files_that_grow_are_exported_as_far_as_was_planned() {
    let midway = midway();
    for name in ["a", "b"] {
        append(&midway.path(name), resource("Basic", format!("new-{name}"), "x").as_bytes());
    }
    midway.assert_as_planned();
    midway.assert_next_is_right();
}

#[test]
fn files_that_are_replaced_are_exported_as_they_were() {
    let midway = midway();
    for name in ["a", "b"] {
        std::fs::rename(midway.beside(&resource("Basic", name, "new")), midway.path(name)).unwrap();
    }
    midway.assert_as_planned();
    midway.assert_next_is_right();
}

#[test]
fn files_that_are_unlinked_or_renamed_away_are_exported_all_the_same() {
    let midway = midway();
    std::fs::remove_file(midway.path("a")).unwrap();
    std::fs::rename(midway.path("b"), midway.path("c")).unwrap();
    midway.assert_as_planned();
    midway.assert_next_is_right();
}

#[test]
fn files_whose_modes_and_times_change_are_exported_all_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let midway = midway();
    for name in ["a", "b"] {
        std::fs::set_permissions(midway.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        writable(&midway.path(name)).set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    midway.assert_as_planned();
    midway.assert_next_is_right();
}

#[test]
fn files_whose_folder_is_removed_are_exported_all_the_same() {
    let midway = midway();
    std::fs::remove_dir_all(midway.folder.path()).unwrap();
    midway.assert_as_planned();
    assert!(failure(&midway.server.kickoff("$export")).contains("could not be read"));
    std::fs::create_dir(midway.folder.path()).unwrap();
    std::fs::write(midway.path("a"), content('a')).unwrap();
    midway.assert_next_is_right();
}

#[test]
fn a_file_that_becomes_something_else_is_exported_as_it_was() {
    let midway = midway();
    std::fs::remove_file(midway.path("a")).unwrap();
    folder::make_fifo(&midway.path("a"));
    std::fs::remove_file(midway.path("b")).unwrap();
    std::fs::create_dir(midway.path("b")).unwrap();
    midway.assert_as_planned();
    assert_exports(&midway.server, &Lines::new());
}

#[test]
fn a_file_that_is_cut_off_fails_the_export() {
    let midway = midway();
    let content = content('b');
    let end = content[..399_990].rfind('\n').unwrap() + 1;
    writable(&midway.path("b")).set_len(end as u64).unwrap();
    midway.assert_source_changed();
    midway.assert_next_is_right();
}

#[test]
fn a_file_that_is_overwritten_fails_the_export_whatever_its_length_and_time() {
    let midway = midway();
    let path = midway.path("b");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    // One letter of one line, in the middle.
    overwrite(&path, 300_000, b"y");
    writable(&path).set_modified(time).unwrap();
    midway.assert_source_changed();
    midway.assert_next_is_right();
}

#[test]
fn a_file_that_is_written_anew_in_place_fails_the_export() {
    let midway = midway();
    std::fs::write(midway.path("b"), content('c') + &content('d')).unwrap();
    midway.assert_source_changed();
    midway.assert_next_is_right();
}

#[test]
fn a_file_that_is_overwritten_with_the_same_is_the_same() {
    let midway = midway();
    overwrite(&midway.path("b"), 0, content('b').as_bytes());
    midway.assert_as_planned();
    midway.assert_next_is_right();
}
