//! The folder of the index: private, kept up to date, and derived: it may go.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn the_index_is_private_and_names_no_patient() {
    let setup = Setup::new();
    let server = setup.start();
    server.export("$export");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&setup.data_dir().join("index/default")), 0o700);
    let files = index_files(&setup);
    let mut index = Vec::new();
    for file in &files {
        assert_eq!(mode(file), 0o600, "{file:?}");
        index.extend(std::fs::read(file).unwrap());
    }
    assert!(files.len() > 10 && index.len() > 50_000, "{} files of {} bytes", files.len(), index.len());
    let mut looked_for = 0;
    for line in lines_in(source()) {
        let json: Value = serde_json::from_slice(&line).unwrap();
        let mut texts = vec![json["id"].as_str().unwrap().to_string()];
        if json["resourceType"] == "Patient" {
            let texts_of = |value: &Value| value.as_str().map(str::to_string);
            let parts = [&json["name"][0]["family"], &json["name"][0]["given"][0], &json["birthDate"]];
            texts.extend(parts.into_iter().filter_map(texts_of));
            texts.extend(texts_of(&json["identifier"][0]["value"]));
        }
        for text in texts.iter().filter(|text| text.len() > 4) {
            looked_for += 1;
            let at = memchr::memmem::find(&index, text.as_bytes());
            assert_eq!(at, None, "{text} stands in the index");
        }
    }
    assert!(looked_for > 1500, "{looked_for}");
}

#[test]
fn a_second_start_on_the_same_source_indexes_nothing() {
    let setup = Setup::new();
    let server = setup.start();
    let expected = lines_in(source());
    assert_exports(&server, &expected);
    let bytes: u64 =
        std::fs::read_dir(source()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(indexed_bytes(&server), bytes);
    server.kill();
    let before: Vec<_> = index_files(&setup).iter().map(|file| std::fs::read(file).unwrap()).collect();
    let server = setup.start();
    assert_exports(&server, &expected);
    assert_eq!(indexed_bytes(&server), 0);
    assert_eq!(server.metric("evanesce_index_resources"), expected.len() as f64);
    let after: Vec<_> = index_files(&setup).iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(before == after, "the index was written again");
}

#[test]
fn an_index_file_goes_with_its_source_file() {
    let folder = copy_of_source();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    server.export("$export");
    let before = index_files(&setup).len();
    std::fs::remove_file(folder.path().join("Observation.ndjson")).unwrap();
    assert_exports(&server, &lines_in(folder.path()));
    assert_eq!(index_files(&setup).len(), before - 1);
    server.kill();
    std::fs::remove_file(folder.path().join("Patient.ndjson")).unwrap();
    let server = setup.start();
    assert_exports(&server, &lines_in(folder.path()));
    assert_eq!(index_files(&setup).len(), before - 2);
}

#[test]
fn the_index_of_a_source_that_was_emptied_goes_too() {
    let folder = copy_of_source();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    server.export("$export");
    server.kill();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let server = setup.start();
    assert_exports(&server, &Lines::new());
    let left = index_files(&setup).iter().filter(|file| file.extension().is_some()).count();
    assert_eq!(left, 0, "index files of a source that is gone");
}

#[test]
fn strangers_in_the_index_are_left_alone() {
    let setup = Setup::new();
    let index = setup.data_dir().join("index/default");
    std::fs::create_dir_all(index.join("folder")).unwrap();
    let names = ["README", ".hidden", "old.segment.bak", "folder/file"];
    names.iter().for_each(|name| std::fs::write(index.join(name), "somebody's").unwrap());
    let server = setup.start();
    assert_exports(&server, &lines_in(source()));
    for name in names {
        assert_eq!(std::fs::read_to_string(index.join(name)).unwrap(), "somebody's", "{name}");
    }
}

#[test]
fn a_stranger_whose_name_looks_like_one_of_ours_does_no_harm_and_takes_none() {
    let setup = Setup::new();
    let index = setup.data_dir().join("index/default");
    std::fs::create_dir_all(index.join("folder.segment")).unwrap();
    std::fs::write(index.join("letters.new"), "somebody's").unwrap();
    let server = setup.start();
    assert_exports(&server, &lines_in(source()));
    assert!(index.join("folder.segment").is_dir());
    assert!(index.join("letters.new").is_file(), "a file that the server did not make was removed");
}

#[test]
fn what_a_killed_indexing_left_behind_is_removed() {
    let folder = copy_of_source();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    server.export("$export");
    server.kill();
    let of_gone = setup.data_dir().join("index/default/0123456789abcdef0123456789abcdef.new");
    let of_known = index_files(&setup)[0].with_extension("new");
    for file in [&of_gone, &of_known] {
        std::fs::write(file, "half of an index").unwrap();
    }
    let server = setup.start();
    assert_exports(&server, &lines_in(folder.path()));
    assert!(!of_gone.exists() && !of_known.exists());
}

#[test]
fn an_index_that_is_deleted_while_the_server_is_stopped_is_made_again() {
    let setup = Setup::new();
    setup.start().export("$export");
    std::fs::remove_dir_all(setup.data_dir().join("index/default")).unwrap();
    let server = setup.start();
    assert_exports(&server, &lines_in(source()));
    assert!(index_files(&setup).len() > 10);
}

#[test]
fn an_index_that_is_deleted_while_the_server_runs_is_made_again() {
    let folder = copy_of_source();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let patients = exported(&server.export("Patient/$export").1);
    std::fs::remove_dir_all(setup.data_dir().join("index/default")).unwrap();

    let polling = server.kickoff("Patient/$export");
    let answer = eventually("the end", || Some(get(&polling)).filter(|answer| answer.status != 202));
    assert!(answer.status == 200 || answer.outcome() == (500, "processing".into()), "{answer:?}");
    assert_same(&exported(&server.export("Patient/$export").1), &patients);
    std::fs::write(folder.path().join("Basic.ndjson"), resource("Basic", "b", "x")).unwrap();
    assert_exports(&server, &lines_in(folder.path()));
}

#[test]
fn a_change_is_indexed_before_anybody_asks() {
    let folder = copy_of_source();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    wait_indexed(&server, 1.0);
    let (before, resources) = (indexed_bytes(&server), server.metric("evanesce_index_resources"));
    let line = resource("Basic", "b", "x");
    std::fs::write(folder.path().join("Basic.ndjson"), &line).unwrap();
    wait_indexed(&server, 2.0);
    assert_eq!(indexed_bytes(&server), before + line.len() as u64);
    std::fs::rename(folder.path().join("Basic.ndjson"), folder.path().join("b")).unwrap();
    wait_indexed(&server, 3.0);
    std::fs::remove_file(folder.path().join("b")).unwrap();
    wait_indexed(&server, 4.0);
    assert_eq!(server.metric("evanesce_index_resources"), resources);
}

#[test]
fn without_a_watch_a_change_is_indexed_when_an_export_asks() {
    let folder = copy_of_source();
    let setup = Setup::new().source(folder.path()).set("source.watch=false");
    let server = setup.start();
    wait_indexed(&server, 1.0);
    let inotify = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fdinfo", server.child.id())).unwrap();
        let infos = fds.filter_map(|fd| std::fs::read_to_string(fd.unwrap().path()).ok());
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(folder.path()).unwrap());
        infos.filter(|info| info.contains(&format!("ino:{inode:x} "))).count()
    };
    assert_eq!(inotify(), 0, "the source is watched");
    std::fs::write(folder.path().join("Basic.ndjson"), resource("Basic", "b", "x")).unwrap();
    assert_eq!(server.metric("evanesce_index_seconds_count"), 1.0);
    assert_exports(&server, &lines_in(folder.path()));
    assert_eq!(server.metric("evanesce_index_seconds_count"), 2.0);
}

#[test]
fn another_base_url_changes_what_references_mean_and_so_the_index() {
    let base = "https://fhir.example.org/r4";
    let lines = [
        r#"{"resourceType":"Patient","id":"p"}"#.to_string(),
        r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"}}"#.to_string(),
        format!(r#"{{"resourceType":"Observation","id":"a","subject":{{"reference":"{base}/Patient/p"}}}}"#),
        format!(
            r#"{{"resourceType":"Provenance","id":"v","target":[{{"reference":"{base}/Observation/o"}}]}}"#
        ),
    ];
    let folder = folder_of(lines.join("\n"));
    let text = |count: usize| lines_of(lines[..count].join("\n").as_bytes());
    let mut setup = Setup::new().source(folder.path());
    let export = |setup: &Setup| exported(&setup.start().export("Patient/$export").1);
    assert_same(&export(&setup), &text(2));
    setup.sets.push(format!("source.base_url={base}"));
    assert_same(&export(&setup), &text(4));
    setup.sets.push("source.base_url=https://other.example.org".into());
    assert_same(&export(&setup), &text(2));
}

#[test]
fn an_index_of_the_former_version_is_made_again() {
    use xxhash_rust::xxh3::xxh3_64;
    let content = resource("Basic", 1, "x");
    let folder = folder_of(&content);
    let setup = Setup::new().source(folder.path()).set("storage.encryption=none");
    let server = setup.start();
    server.export("$export");
    server.kill();
    let file = index_files(&setup).into_iter().find(|file| file.extension().is_some()).unwrap();
    let mut index = std::fs::read(&file).unwrap();
    let trailer = index.len() - 24;
    let at = u64::from_le_bytes(index[trailer..][..8].try_into().unwrap()) as usize;
    let version = at + memchr::memmem::find(&index[at..trailer], b"evanesce index ").unwrap() + 15;
    let (before, former) = (index[version], index[version] - 1);
    for (version_of, indexed) in [(before, 0), (former, content.len() as u64)] {
        index[version] = version_of;
        let sum = xxh3_64(&index[at..trailer]);
        index[trailer + 16..].copy_from_slice(&sum.to_le_bytes());
        std::fs::write(&file, &index).unwrap();
        let server = setup.start();
        assert_exports(&server, &lines_of(content.as_bytes()));
        assert_eq!(indexed_bytes(&server), indexed);
    }
}

#[test]
fn an_index_whose_key_is_gone_or_another_one_is_made_again() {
    let content = resource("Basic", 1, "x");
    let folder = folder_of(&content);
    let mut setup = Setup::new().source(folder.path());
    let key = setup.data_dir().join("keys/index.key");
    let check = |setup: &Setup, indexed: u64| {
        let server = setup.start();
        assert_exports(&server, &lines_of(content.as_bytes()));
        assert_eq!(indexed_bytes(&server), indexed);
    };
    let all = content.len() as u64;
    check(&setup, all);
    check(&setup, 0);
    std::fs::remove_file(&key).unwrap();
    check(&setup, all);
    std::fs::write(&key, "no key").unwrap();
    check(&setup, all);
    check(&setup, 0);
    // One that is not encrypted is not read by who expects one that is, nor the other way round.
    setup.sets.push("storage.encryption=none".into());
    check(&setup, all);
    setup.sets.pop();
    check(&setup, all);
}
