//! Index files that are not what was written: cut off, with a bit turned over, swapped, made of
//! something else. What is planned on them is what would be planned on a new index.

use std::sync::Arc;

use evanesce::config::{DevicePolicy, ReferencePolicy};
use evanesce::export::{CancelToken, Exporter, Part, SourceExporter, SourceOptions};
use evanesce::fhir::reference::BaseUrls;
use evanesce::index::{Index, IndexCipher, IndexOptions};
use evanesce::job::{ExportRequest, Kickoff, Level};
use evanesce::source::NdjsonFolder;

use super::*;

/// An index of the shared source, and what exports are planned on it.
struct Indexed {
    source: TempDir,
    /// The index as it was made.
    whole: TempDir,
    plans: Vec<Vec<Part>>,
    /// The part of the plan about the system.
    folder: TempDir,
}

fn copy(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// What exports at each level would copy: their parts.
fn plans(source: &Path, folder: &Path) -> Vec<Result<Vec<Part>, String>> {
    let options = IndexOptions {
        folder: folder.into(),
        bases: BaseUrls::default(),
        cipher: IndexCipher::none().into(),
    };
    let index = Index::open(Arc::new(NdjsonFolder::open(source).unwrap()), options).unwrap();
    let options = SourceOptions {
        part_bytes: 1 << 20,
        max_file_bytes: 1 << 30,
        references: ReferencePolicy::Referenced,
        devices: DevicePolicy::ByPatient,
        drop_pages: false,
    };
    let exporter = SourceExporter::new(index, options, false).unwrap();
    let plan = |level| {
        let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
        let request = ExportRequest::new(tenant, owner, Kickoff::new(level), jiff::Timestamp::now());
        // The first may fail for what is damaged; the next one must not.
        let cancel = CancelToken::new();
        let plan = exporter.plan(&request, &cancel).or_else(|_| exporter.plan(&request, &cancel));
        plan.map(|plan| plan.parts).map_err(|error| error.to_string())
    };
    [Level::System, Level::Patient, Level::Group { id: "practice-1".into() }].map(plan).into()
}

fn indexed() -> Indexed {
    let (source, whole) = (copy_of_source(), scratch());
    // A Provenance that has its patient from its target, and a duplicate.
    let provenance = r#"{"resourceType":"Provenance","id":"v","target":[{"reference":"Observation/o"}]}"#;
    let observation = r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"}}"#;
    std::fs::write(source.path().join("z"), [observation, provenance, observation, ""].join("\n")).unwrap();
    let plans = plans(source.path(), whole.path()).into_iter().map(Result::unwrap).collect();
    Indexed { source, whole, plans, folder: scratch() }
}

impl Indexed {
    /// Damages a copy of the index and says what is then not planned as before.
    fn try_with(&self, what: &str, damage: impl FnOnce(&Path)) -> Vec<String> {
        std::fs::remove_dir_all(self.folder.path()).unwrap();
        std::fs::create_dir(self.folder.path()).unwrap();
        copy(self.whole.path(), self.folder.path());
        damage(self.folder.path());
        let levels = ["the system", "patients", "a group"].into_iter();
        let planned = plans(self.source.path(), self.folder.path()).into_iter().zip(&self.plans);
        let wrong = levels.zip(planned).filter_map(|(level, (plan, expected))| match plan {
            Ok(plan) if plan == *expected => None,
            Ok(_) => Some(format!("{what}: another plan for {level}")),
            Err(error) => Some(format!("{what}: no plan for {level}: {error}")),
        });
        wrong.collect()
    }

    /// The index files, largest first, with their content.
    fn segments(&self) -> Vec<(String, Vec<u8>)> {
        let files = std::fs::read_dir(self.whole.path()).unwrap().map(|file| file.unwrap());
        let named = files.map(|file| (file.file_name().into_string().unwrap(), file.path()));
        let segments = named.filter(|(name, _)| name.ends_with(".segment"));
        let mut segments: Vec<_> =
            segments.map(|(name, path)| (name, std::fs::read(path).unwrap())).collect();
        segments.sort_by_key(|(_, content)| std::cmp::Reverse(content.len()));
        segments
    }
}

/// Where the parts of an index file begin and end.
fn areas(content: &[u8]) -> Vec<(&'static str, usize, usize)> {
    let trailer = content.len() - 24;
    let word = |n: usize| u64::from_le_bytes(content[trailer + 8 * n..][..8].try_into().unwrap()) as usize;
    let directory: Value = serde_json::from_slice(&content[word(0)..trailer]).unwrap();
    let area = |name: &'static str| {
        let area = &directory["chunks"][0][name];
        let (at, words) = (area["at"].as_u64().unwrap() as usize, area["words"].as_u64().unwrap() as usize);
        (name, at, at + 8 * words)
    };
    let rest = [("directory", word(0), trailer), ("trailer", trailer, content.len())];
    ["resident", "keys", "links"].map(area).into_iter().chain(rest).collect()
}

/// Turns one bit over in several places of some areas of the two largest index files.
fn turn_bits(indexed: &Indexed, names: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, content) in &indexed.segments()[..2] {
        for (name, start, end) in areas(content).into_iter().filter(|(name, ..)| names.contains(name)) {
            for at in [start, start + 9, (start + end) / 2, end - 9, end - 1] {
                let mut damaged = content.clone();
                damaged[at] ^= 0x10;
                let what = format!("a bit at {} of {name} in {file}", at - start);
                wrong.extend(indexed.try_with(&what, |folder| {
                    std::fs::write(folder.join(file), damaged).unwrap();
                }));
            }
        }
    }
    wrong
}

#[test]
fn a_bit_that_turns_over_in_what_is_loaded_at_a_start_changes_no_export() {
    assert_eq!(turn_bits(&indexed(), &["resident", "directory", "trailer"]), [""; 0]);
}

#[test]
fn a_bit_that_turns_over_in_the_names_or_links_fails_one_export_at_most() {
    let wrong = turn_bits(&indexed(), &["keys", "links"]);
    assert!(wrong.is_empty(), "{} times, as {:?}", wrong.len(), &wrong[..wrong.len().min(3)]);
}

#[test]
fn an_index_file_that_is_cut_off_swapped_or_made_of_something_else_changes_no_export() {
    let indexed = indexed();
    let segments = indexed.segments();
    let (name, content) = &segments[0];
    let ends = areas(content).into_iter().flat_map(|(_, start, end)| [start, (start + end) / 2, end - 1]);
    let mut wrong = Vec::new();
    let mut replace = |what: &str, damaged: &[u8]| {
        wrong.extend(indexed.try_with(what, |folder| std::fs::write(folder.join(name), damaged).unwrap()));
    };
    for end in ends {
        replace(&format!("cut off at {end}"), &content[..end]);
    }
    // Another number in the directory, which is JSON all the same.
    for key in ["\"count\":", "\"line_feeds\":", "\"words\":"] {
        let mut damaged = content.clone();
        damaged[memchr::memmem::rfind(content, key.as_bytes()).unwrap() + key.len()] ^= 1;
        replace(key, &damaged);
    }
    let repeated = |text: &[u8]| text.repeat(content.len() / text.len());
    replace("empty", b"");
    replace("zeros", &repeated(b"\0"));
    replace("ones", &repeated(b"\xff"));
    replace("text", &repeated(b"evanesce"));
    replace("shorter than a trailer", b"evanesce");
    replace("something behind it", &[content, b"x".as_slice()].concat());
    replace("something before it", &[b"12345678", content.as_slice()].concat());
    replace("another file's", &segments[1].1);
    replace("twice", &[content.as_slice(), content].concat());
    let all = indexed.try_with("all replaced by one", |folder| {
        segments.iter().for_each(|(name, _)| std::fs::write(folder.join(name), content).unwrap());
    });
    wrong.extend(all);
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn an_overlay_that_is_damaged_changes_no_export() {
    let indexed = indexed();
    let whole = std::fs::read(indexed.whole.path().join("overlay")).unwrap();
    let mut turned = whole.clone();
    // Another span of the same file.
    let at = memchr::memmem::find(&turned, b"\"superseded\":[[").unwrap();
    let end = at + memchr::memchr(b']', &turned[at..]).unwrap();
    turned[end - 1] ^= 1;
    let mut wrong = Vec::new();
    for (what, content) in [
        ("empty", b"".as_slice()),
        ("short", &whole[..7]),
        ("cut off", &whole[..whole.len() - 1]),
        ("garbage", &[0xa5; 4096]),
        ("another span", &turned),
        ("another format", b"{\"of\":\"\",\"superseded\":[],\"adopted\":[]}"),
    ] {
        let damage = |folder: &Path| std::fs::write(folder.join("overlay"), content).unwrap();
        wrong.extend(indexed.try_with(what, damage));
    }
    wrong.extend(indexed.try_with("gone", |folder| std::fs::remove_file(folder.join("overlay")).unwrap()));
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn what_follows_from_all_files_is_found_anew_when_one_is_indexed_anew() {
    // Lines of 3 MiB, so that few of them make a chunk, and chunks are cut otherwise when the
    // file is indexed in two steps.
    let line = |n: usize, id: &str| {
        let head = format!("{{\"resourceType\":\"Basic\",\"id\":\"{id}\",\"n\":\"{n}\",\"x\":\"");
        let text = "x".repeat((3 << 20) - head.len() - 3);
        format!("{head}{text}\"}}\n")
    };
    let id = |n: usize| if n == 8 { "id-10".to_string() } else { format!("id-{n}") };
    let lines: Vec<_> = (0..12).map(|n| line(n, &id(n))).collect();
    let folder = folder_of(lines[..6].concat());
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    server.export("$export?_type=Patient");
    append(&folder.path().join("a.ndjson"), lines[6..].concat().as_bytes());
    let mut kept = lines.clone();
    // Line 10 supersedes it.
    kept.remove(8);
    let kept = lines_of(kept.concat().as_bytes());
    assert_exports(&server, &kept);
    server.kill();

    let index = index_files(&setup).into_iter().find(|file| file.extension().is_some()).unwrap();
    std::fs::write(index, "damaged").unwrap();
    let server = setup.start();
    assert_exports(&server, &kept);
}

#[test]
fn damage_while_the_server_runs_fails_one_export_at_most() {
    let setup = Setup::new().set("storage.encryption=none");
    let server = setup.start();
    let patients = exported(&server.export("Patient/$export").1);
    for file in index_files(&setup).iter().filter(|file| file.extension().is_some()) {
        let content = std::fs::read(file).unwrap();
        for (name, start, _) in areas(&content) {
            if ["keys", "links"].contains(&name) {
                overwrite(file, start as u64, &[content[start] ^ 1]);
            }
        }
    }
    // What is in memory is whole.
    assert_exports(&server, &lines_in(source()));
    let polling = server.kickoff("Patient/$export");
    let answer = eventually("the end", || Some(get(&polling)).filter(|answer| answer.status != 202));
    assert!(answer.status == 200 || answer.outcome() == (500, "processing".into()), "{answer:?}");
    let polling = server.kickoff("Patient/$export");
    let answer = eventually("the end", || Some(get(&polling)).filter(|answer| answer.status != 202));
    assert_eq!(answer.status, 200, "the damage was not mended: {answer:?}");
    assert_same(&exported(&answer.json()), &patients);
}

#[test]
fn damaged_names_do_not_fail_exports_after_another_file_changed() {
    let folder = copy_of_source();
    let setup = Setup::new().source(folder.path()).set("storage.encryption=none");
    let server = setup.start();
    assert_exports(&server, &lines_in(folder.path()));
    for file in index_files(&setup).iter().filter(|file| file.extension().is_some()) {
        let content = std::fs::read(file).unwrap();
        let (_, start, _) = areas(&content)[1];
        overwrite(file, start as u64 + 8, &[content[start + 8] ^ 1]);
    }
    // Duplicates are looked for again, among all names.
    std::fs::write(folder.path().join("Basic.ndjson"), resource("Basic", "b", "x")).unwrap();
    let polling = server.kickoff("$export");
    let answer = eventually("the end", || Some(get(&polling)).filter(|answer| answer.status != 202));
    assert!(answer.status == 200 || answer.outcome() == (500, "processing".into()), "{answer:?}");
    let polling = server.kickoff("$export");
    let answer = eventually("the end", || Some(get(&polling)).filter(|answer| answer.status != 202));
    assert_eq!(answer.status, 200, "the damage was not mended: {answer:?}");
    assert_same(&exported(&answer.json()), &lines_in(folder.path()));
}
