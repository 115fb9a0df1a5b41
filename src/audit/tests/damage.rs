//! Files that somebody changed or removed, and lines that a crash tore.

use super::*;

/// Changes a room and gives it back as it was.
fn tampered(room: &TestLog, change: impl FnOnce(&[PathBuf]), check: impl FnOnce(&TestLog)) {
    let files = room.files();
    let before: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    change(&files);
    check(room);
    for (file, content) in files.iter().zip(before) {
        std::fs::write(file, content).unwrap();
    }
    assert_eq!(room.breaks(), []);
}

#[test]
fn whatever_is_changed_is_found_with_its_file_and_line() {
    let room = TestLog::with_events(4096, 20);
    assert!(room.files().len() >= 4);
    let edit = |file: &Path, change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines(file);
        change(&mut lines);
        std::fs::write(file, lines.concat()).unwrap();
    };
    let change = |lines: &mut Vec<String>| lines[1] = lines[1].replace("192.0.2.7", "192.0.2.8");
    tampered(
        &room,
        |files| edit(&files[1], &change),
        |room| room.assert_broken(1, 2, "not what its hash says"),
    );
    let blank = |lines: &mut Vec<String>| lines[0] = lines[0].replacen("\"id\"", " \"id\"", 1);
    tampered(
        &room,
        |files| edit(&files[2], &blank),
        |room| room.assert_broken(2, 1, "not what its hash says"),
    );
    let remove = |lines: &mut Vec<String>| drop(lines.remove(1));
    tampered(&room, |files| edit(&files[1], &remove), |room| room.assert_broken(1, 2, "does not follow"));
    let remove_first = |lines: &mut Vec<String>| drop(lines.remove(0));
    tampered(&room, |files| edit(&files[0], &remove_first), |room| room.assert_broken(0, 1, "file's name"));
    let remove_last = |lines: &mut Vec<String>| drop(lines.pop());
    tampered(
        &room,
        |files| edit(&files[0], &remove_last),
        |room| room.assert_broken(1, 1, "are missing at the end"),
    );
    let swap = |lines: &mut Vec<String>| lines.swap(1, 2);
    tampered(&room, |files| edit(&files[1], &swap), |room| room.assert_broken(1, 2, "does not follow"));
    let insert = |lines: &mut Vec<String>| lines.insert(2, lines[1].clone());
    tampered(&room, |files| edit(&files[1], &insert), |room| room.assert_broken(1, 3, "does not follow"));
    let note = |lines: &mut Vec<String>| lines[1].insert(0, ' ');
    tampered(
        &room,
        |files| edit(&files[1], &note),
        |room| room.assert_broken(1, 2, "not what its hash says"),
    );
    let tear = |lines: &mut Vec<String>| assert!(lines.last_mut().unwrap().pop().is_some());
    tampered(&room, |files| edit(&files[1], &tear), |room| assert!(!room.breaks().is_empty()));
}

#[test]
fn a_file_that_is_removed_or_in_anothers_place_is_found() {
    let room = TestLog::with_events(4096, 20);
    tampered(
        &room,
        |files| std::fs::remove_file(&files[1]).unwrap(),
        |room| {
            room.assert_broken(1, 1, "are missing at the end of the file before");
        },
    );
    tampered(
        &room,
        |files| std::fs::remove_file(&files[0]).unwrap(),
        |room| {
            room.assert_broken(0, 1, "no event says that their time was over");
        },
    );
    let swap = |files: &[PathBuf]| {
        let [a, b] = [1, 2].map(|n| std::fs::read(&files[n]).unwrap());
        std::fs::write(&files[1], b).unwrap();
        std::fs::write(&files[2], a).unwrap();
    };
    tampered(&room, swap, |room| assert_eq!((room.breaks()[0].0, room.breaks()[0].1), (1, 1)));
    // That the last file is gone only somebody can tell who has kept a head.
    let end = room.verify().head;
    tampered(
        &room,
        |files| std::fs::remove_file(files.last().unwrap()).unwrap(),
        |room| {
            assert!(room.breaks().is_empty() && room.verify().head.count < end.count);
        },
    );
}

#[test]
fn a_torn_line_is_cut_off_and_told_of() {
    let mut room = TestLog::with_events(1 << 20, 2);
    room.log.close();
    let file = room.files()[0].clone();
    let whole = std::fs::read_to_string(&file).unwrap();
    let line = whole.lines().next().unwrap().to_string();
    for torn in [1, line.len() / 2, line.len()] {
        std::fs::write(&file, format!("{whole}{}", &line[..torn])).unwrap();
        assert_eq!(room.breaks(), [], "a reader takes it for an event that is being written");
        room.reopen();
        room.record();
        assert_eq!((room.breaks(), room.files().len()), (vec![], 1));
        let events = room.events();
        assert_eq!(detail(&events[2], "kind"), Some("audit-torn"));
        assert_eq!(detail(&events[2], "bytes"), Some(torn.to_string().as_str()));
        room.log.close();
    }
}

#[test]
fn a_file_with_no_whole_line_is_begun_again() {
    let mut room = TestLog::with_events(4096, 4);
    for text in ["", "{\"resourceType\":\"Aud"] {
        room.log.close();
        let end = room.verify().head;
        let next = room.folder().join(file::file_name(end.count + 1));
        std::fs::write(&next, text).unwrap();
        room.reopen();
        room.record();
        assert_eq!(room.breaks(), [], "{text:?}");
        let torn = room.kinds().iter().filter(|kind| *kind == "audit-torn").count();
        assert_eq!(torn, usize::from(!text.is_empty()));
    }
}

#[test]
fn a_changed_file_is_left_as_it_is_and_the_log_goes_on_in_another() {
    for line in 0..3 {
        let mut room = TestLog::with_events(1 << 20, 3);
        room.log.close();
        let file = room.files()[0].clone();
        let mut text = lines(&file);
        text[line] = text[line].replace("192.0.2.7", "192.0.2.9");
        std::fs::write(&file, text.concat()).unwrap();
        room.reopen();
        room.record();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text.concat());
        room.assert_broken(0, line as u64 + 1, "not what its hash says");
        let events = room.events();
        assert_eq!(detail(&events[3], "kind"), Some("audit-rotated"));
        assert_eq!(detail(&events[4], "kind"), Some("audit-broken"));
        assert_eq!(detail(&events[4], "line"), Some((line + 1).to_string().as_str()));
        assert_eq!((&events[4]["type"]["code"], &events[4]["outcome"]), (&"110113".into(), &"8".into()));
        assert!(room.log.is_healthy());
        // Nothing new is found at the next start.
        room.reopen();
        room.record();
        assert_eq!((room.breaks().len(), room.files().len()), (1, 2));
    }
}
