//! What a mess is made of, read as a careful reader would.

use std::borrow::Cow;

use serde::Deserialize;

use super::super::mess::BROKEN;
use super::*;
use crate::fhir::ResourceType;

/// The beginning of every resource; serde refuses a field that comes twice.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Cow<'a, str>,
}

fn is_resource(line: &[u8]) -> bool {
    let head: Result<Head<'_>, _> = serde_json::from_slice(line);
    std::str::from_utf8(line).is_ok()
        && head.is_ok_and(|head| ResourceType::of(&head.resource_type).is_some())
}

/// A mess on disk.
struct Made {
    files: BTreeMap<&'static str, Vec<u8>>,
    summary: GenerateSummary,
}

impl Made {
    fn of(patients: u32) -> Self {
        Self::with(patients, |_| {})
    }

    fn with(patients: u32, change: impl Fn(&mut GenerateOptions)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut options = GenerateOptions { mess: true, ..options(patients, 3, &folder) };
        change(&mut options);
        let summary = generate(&options, &mut |_| {}).unwrap();
        let read = |file: &FileSummary| {
            (file.name, fs::read(options.out.join(file.name).with_extension("ndjson")).unwrap())
        };
        Self { files: summary.files.iter().map(read).collect(), summary }
    }

    /// The lines of a file that are not blank, without the white space around them.
    fn lines(&self, name: &str) -> Vec<&[u8]> {
        let text = &self.files[name];
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect()
    }

    fn resources(&self, name: &str) -> Vec<&str> {
        let lines = self.lines(name).into_iter().filter(|line| is_resource(line));
        lines.map(|line| std::str::from_utf8(line).unwrap()).collect()
    }

    /// The resources of the file for all types that have `part` in their text.
    fn odd(&self, part: &str) -> Vec<Value> {
        let lines = self.resources("mixed").into_iter().filter(|line| line.contains(part));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How often `part` is in any of the files.
    fn count(&self, part: &[u8]) -> usize {
        self.files
            .values()
            .map(|text| text.windows(part.len()).filter(|window| *window == part).count())
            .sum()
    }
}

/// The addresses of the patients with odd resources among the first 25.
fn patients(made: &Made) -> Vec<String> {
    let patients = made.resources("Patient");
    let address = |number: usize| address(&serde_json::from_str(patients[number]).unwrap());
    [1, 11, 21].map(address).to_vec()
}

fn subjects(resources: &[Value]) -> Vec<&str> {
    resources.iter().map(|resource| resource["subject"]["reference"].as_str().unwrap()).collect()
}

#[test]
fn the_summary_counts_resources_and_broken_lines() {
    for patients in [0, 1, 25] {
        let made = Made::of(patients);
        for file in &made.summary.files {
            let lines = made.lines(file.name);
            let resources = lines.iter().filter(|line| is_resource(line)).count() as u64;
            assert_eq!((file.resources, file.broken_lines), (resources, lines.len() as u64 - resources));
            assert_eq!(file.bytes, made.files[file.name].len() as u64);
        }
        assert!(made.summary.broken_lines() >= BROKEN.len() as u64);
        assert_eq!(made.summary.files.last().unwrap().name, "mixed");
    }
}

#[test]
fn a_mess_is_deterministic_and_its_patients_do_not_depend_on_how_many_there_are() {
    let (few, many) = (Made::of(12), Made::of(25));
    assert_eq!(many.files, Made::of(25).files);
    for (name, text) in few.files.iter().filter(|(name, _)| **name != "Group") {
        assert!(many.files[name].starts_with(text), "{name}");
    }
}

#[test]
fn under_the_mess_is_the_same_set() {
    let folder = TempDir::new().unwrap();
    let mut options = options(25, 3, &folder);
    options::all(&mut options);
    let made = Made::with(25, options::all);
    for (name, text) in files_of(&options) {
        assert_eq!(made.resources(&name), text.lines().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn no_broken_line_is_a_resource_and_each_kind_is_there() {
    let made = Made::of(25);
    for line in BROKEN {
        assert!(!is_resource(line), "{}", String::from_utf8_lossy(line));
        assert!(made.lines("mixed").contains(line));
    }
    assert_eq!(made.lines("mixed")[..BROKEN.len()], *BROKEN);
    let elsewhere = made.summary.files.iter().filter(|file| file.name != "mixed" && file.broken_lines > 0);
    assert!(elsewhere.count() > 5);
}

#[test]
fn there_is_every_kind_of_white_space() {
    let made = Made::of(25);
    for part in ["}\r\n", "\n\n", "\n\r\n", "\n  \t \n", "\n  {", "\n\t{", "}  \n", "} \t\r\n"] {
        assert!(made.count(part.as_bytes()) > 0, "{part:?}");
    }
    assert!(made.files["Patient"].starts_with(b"\xEF\xBB\xBF"));
    assert_eq!(made.count(b"\xEF\xBB\xBF"), 1);
    let cut = made.files.values().filter(|text| !text.ends_with(b"\n")).count();
    assert_eq!(cut, made.files.len() / 2);
}

#[test]
fn references_are_escaped() {
    let made = Made::of(25);
    for part in [r#""reference":"\u0050atient\u002f"#, r#""reference":"Patient\/"#] {
        assert_eq!(subjects(&made.odd(part)), patients(&made));
    }
}

#[test]
fn another_patient_is_written_about_in_notes_and_contained_resources() {
    let made = Made::of(25);
    let noted = made.odd(r#"\"subject\":{\"reference\":\"Patient/"#);
    assert_eq!(subjects(&noted), patients(&made));
    for (resource, patient) in noted.iter().zip(patients(&made)) {
        let text = resource["note"][0]["text"].as_str().unwrap();
        assert!(text.contains("\u{1f600} é") && text.contains("Patient/") && !text.contains(&patient));
    }
    let containing = made.odd("contained");
    assert_eq!(subjects(&containing), patients(&made));
    for (resource, patient) in containing.iter().zip(patients(&made)) {
        let other = resource["contained"][0]["patient"]["reference"].as_str().unwrap();
        assert!(other.starts_with("Patient/") && other != patient);
    }
}

#[test]
fn one_line_is_giant_and_some_are_deep() {
    let made = Made::of(25);
    let giant: Vec<_> = made.resources("mixed").into_iter().filter(|line| line.len() > 2 << 20).collect();
    assert_eq!(giant.len(), 1);
    assert!(giant[0].ends_with(&format!("{{\"reference\":\"{}\"}}}}", patients(&made)[0])));
    let deep = made.resources("mixed").into_iter().filter(|line| line.contains("extension"));
    let depths: Vec<usize> = deep.map(|line| line.matches("\"extension\":[{").count()).collect();
    assert_eq!(depths, [200, 200, 200]);
}

#[test]
fn some_patients_come_twice_with_another_content_in_a_file_of_several_types() {
    let made = Made::of(25);
    let again = made.odd(r#""resourceType":"Patient""#);
    assert_eq!(again.iter().map(address).collect::<Vec<_>>(), patients(&made));
    assert!(again.iter().all(|patient| patient["gender"] == "unknown"));
    let spaced = made.odd(r#""resourceType" : "Observation" }"#);
    assert_eq!(subjects(&spaced), patients(&made));
    assert!(spaced.iter().all(|resource| resource.get("meta").is_none()));
}
