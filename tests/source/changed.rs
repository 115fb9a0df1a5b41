//! Files that were changed in place, some of them so that they look as if they had only grown.

use super::*;

/// A large file that is indexed and then changed, and the server that has indexed it.
struct Seen {
    setup: Setup,
    server: Server,
    path: PathBuf,
    _folder: TempDir,
}

fn seen(content: &[u8]) -> Seen {
    let folder = folder_of(content);
    // Without hints: the exports themselves must find out.
    let setup = Setup::new().source(folder.path()).set("source.watch=false");
    let server = setup.start();
    wait_indexed(&server, 1.0);
    Seen { setup, server, path: folder.path().join("a.ndjson"), _folder: folder }
}

impl Seen {
    /// Exports what is there now. If that fails it says why, and the next one must be right.
    fn assert_heals(&self, expected: &Lines) {
        let polling = self.server.kickoff("$export");
        let answer = eventually("the end", || Some(get(&polling)).filter(|answer| answer.status != 202));
        if answer.status == 200 {
            assert_same(&exported(&answer.json()), expected);
        } else {
            assert_source_changed(&self.setup, &polling);
        }
        assert_exports(&self.server, expected);
    }
}

#[test]
fn a_file_that_grew_and_was_changed_at_its_beginning_is_indexed_anew() {
    let content = std::fs::read(big().join("a.ndjson")).unwrap();
    let seen = seen(&content);
    let before = indexed_bytes(&seen.server);
    append(&seen.path, resource("Observation", "new", "y").as_bytes());
    let first = resource("Observation", "big-0", "x");
    overwrite(&seen.path, 0, first.trim_end_matches("x\"}\n").replace("big-0", "old-0").as_bytes());
    let now = std::fs::read(&seen.path).unwrap();
    assert!(now.starts_with(b"{\"resourceType\":\"Observation\",\"id\":\"old-0\""));
    assert_exports(&seen.server, &lines_of(&now));
    assert_eq!(indexed_bytes(&seen.server) - before, now.len() as u64);
}

#[test]
fn a_file_that_grew_and_was_changed_in_its_middle_spoils_one_export_at_most() {
    let content = std::fs::read(big().join("a.ndjson")).unwrap();
    let seen = seen(&content);
    let middle = memchr::memmem::find(&content, b"\"big-2700\"").unwrap() as u64;
    overwrite(&seen.path, middle, b"\"old-2700\"");
    append(&seen.path, resource("Observation", "new", "y").as_bytes());
    seen.assert_heals(&lines_of(&std::fs::read(&seen.path).unwrap()));
}

#[test]
fn what_superseded_another_line_and_was_changed_in_the_middle_supersedes_it_no_more() {
    let big = std::fs::read(big().join("a.ndjson")).unwrap();
    let twice = |id: &str, text: &str| resource("Observation", id, text).into_bytes();
    let middle =
        memchr::memmem::find(&big, b"{\"resourceType\":\"Observation\",\"id\":\"big-2700\"").unwrap();
    let [first, second] = [twice("twice-a", "first"), twice("twice-a", "second")];
    let content = [&first, &big[..middle], &second, &big[middle..]].concat();
    let folder = folder_of(&content);
    let setup = Setup::new().source(folder.path()).set("source.watch=false");
    let server = setup.start();
    assert_exports(&server, &lines_of(&[&second, big.as_slice()].concat()));

    let path = folder.path().join("a.ndjson");
    let (other, new) = (twice("twice-b", "second"), twice("new", "y"));
    overwrite(&path, (first.len() + middle) as u64, &other);
    append(&path, &new);
    let seen = Seen { setup, server, path, _folder: folder };
    seen.assert_heals(&lines_of(&[&first, &other, &new, big.as_slice()].concat()));
}

#[test]
fn a_doubt_is_not_forgotten_when_there_was_no_room_to_clear_it() {
    let Some(room) = room::Small::new("a doubt without room", 4) else { return };
    let (folder, path, content) = copy_of_big();
    let setup = room.setup.source(folder.path()).set("source.watch=false");
    let server = setup.start();
    wait_indexed(&server, 1.0);
    let middle = memchr::memmem::find(&content, b"\"big-2700\"").unwrap() as u64;
    overwrite(&path, middle, b"\"old-2700\"");
    append(&path, resource("Observation", "new", "y").as_bytes());
    assert_source_changed(&setup, &server.kickoff("$export"));
    room.disk.fill();
    assert!(failure(&server.kickoff("$export")).contains("no room"));
    room.disk.empty();
    assert_exports(&server, &lines_of(&std::fs::read(&path).unwrap()));
}

#[test]
fn a_file_that_is_changed_in_the_same_breath_as_it_is_exported_is_seen_each_time() {
    let folder = folder_of("");
    let path = folder.path().join("a.ndjson");
    let setup = Setup::new().source(folder.path()).set("source.watch=false");
    std::fs::write(&path, resource("Basic", "id-00", "x")).unwrap();
    let server = setup.start();
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    for n in 0..20 {
        // In place, with the same length and the same time.
        let line = resource("Basic", format!("id-{n:02}"), "x");
        overwrite(&path, 0, line.as_bytes());
        writable(&path).set_modified(time).unwrap();
        let polling = server.kickoff("$export");
        assert_same(&exported(&server.wait_complete(&polling)), &lines_of(line.as_bytes()));
    }
}

#[test]
fn a_scan_never_gives_one_version_two_contents() {
    use evanesce::source::{NdjsonFolder, Source};
    let folder = folder_of(resource("Basic", "id-00", "x"));
    let path = folder.path().join("a.ndjson");
    let source = NdjsonFolder::open(folder.path()).unwrap();
    for n in 0..20 {
        overwrite(&path, 0, resource("Basic", format!("id-{n:02}"), "x").as_bytes());
        let before = source.snapshot().unwrap().files;
        overwrite(&path, 0, resource("Basic", format!("no-{n:02}"), "x").as_bytes());
        let after = source.open("a.ndjson").unwrap().file;
        assert_ne!(before, [after], "a change within a tick of the clock was missed");
    }
}
