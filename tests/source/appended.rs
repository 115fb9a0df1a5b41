//! Files that grow: only what is new is indexed, and what was there is not forgotten.

use super::*;

/// Bytes that a process has asked the system to read, of files and of all else.
fn bytes_read(server: &Server) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/io", server.child.id())).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    value.unwrap().parse().unwrap()
}

#[test]
fn of_a_large_file_that_grew_only_the_end_is_indexed_again() {
    let (folder, path, content) = copy_of_big();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    wait_indexed(&server, 1.0);
    assert_eq!(indexed_bytes(&server), content.len() as u64);
    let read = bytes_read(&server);
    let new = resource("Observation", "new", "y");
    append(&path, new.as_bytes());
    wait_indexed(&server, 2.0);
    // To know the file again its first chunk and the last one that is kept are compared.
    let read = bytes_read(&server) - read;
    assert!(read < 30 << 20, "{read} bytes were read for a line that was appended");
    assert_exports(&server, &lines_of(&[&content, new.as_bytes()].concat()));
    let indexed = indexed_bytes(&server) - content.len() as u64;
    assert!(indexed < 9 << 20, "the metric says that {indexed} bytes were indexed for one line");
}

#[test]
fn a_line_that_is_written_in_three_steps_is_broken_then_a_resource_and_stays_one() {
    let (folder, path, content) = copy_of_big();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    wait_indexed(&server, 1.0);
    let line = resource("Basic", "new", "y");
    let (half, rest) = line.trim_end().split_at(30);

    append(&path, half.as_bytes());
    let (_, manifest) = server.export("$export?_type=Basic");
    assert_same(&exported(&manifest), &Lines::new());
    // Behind it is told that nothing else was found.
    assert_eq!(broken(&manifest)[..1], [about(5401, "a.ndjson", "is not valid JSON")]);
    for (step, what) in [(rest, "without its line feed"), ("\n", "with it"), ("\n \n", "and blanks behind")] {
        append(&path, step.as_bytes());
        let (_, manifest) = server.export("$export?_type=Basic");
        assert_same(&exported(&manifest), &lines_of(line.as_bytes()));
        assert!(broken(&manifest).is_empty(), "{what}");
    }
    assert_exports(&server, &lines_of(&[&content, line.as_bytes()].concat()));
}

#[test]
fn lines_that_are_appended_while_exports_run_are_each_exported_once_or_not_yet() {
    let folder = folder_of(resource("Basic", 0, "x"));
    let path = folder.path().join("a.ndjson");
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let writer = std::thread::spawn(move || {
        for n in 1..400 {
            // In two writes: an export may see the half of it.
            let line = resource("Basic", n, "x");
            let (half, rest) = line.split_at(25);
            append(&path, half.as_bytes());
            append(&path, rest.as_bytes());
        }
    });
    let mut last = 0;
    loop {
        let is_over = writer.is_finished();
        let lines = exported(&server.export("$export").1);
        let expected = (0..lines.len()).map(|n| resource("Basic", n, "x")).collect::<String>();
        assert_same(&lines, &lines_of(expected.as_bytes()));
        assert!(lines.len() >= last, "an export has less than the one before");
        last = lines.len();
        if is_over {
            break;
        }
    }
    writer.join().unwrap();
    assert_eq!(last, 400);
}
