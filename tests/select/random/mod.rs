//! Random sources, small and crowded: few ids, so that resources supersede each other, share
//! patients and refer to each other all the time; and every kind of text that only looks like
//! what counts. How a single line is made up is in [`lines`].

mod lines;
mod texts;

use std::collections::BTreeSet;
use std::fmt;

use evanesce::Kickoff;
use evanesce::job::{AssociatedData, Level, Parameters};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::oracle::References;
use super::{Files, Settings};

use lines::Line;
use texts::BASE_URL;

/// The bounds of `_since` and `_until`; the ages of resources lie close around them.
const BOUNDS: [&str; 2] = ["2024-05-05T12:00:00.5Z", "2024-07-01T00:00:00Z"];

/// In bytewise order; no order of a locale, of numbers or of creation is the same.
const FILE_NAMES: [&str; 7] =
    ["10.ndjson", "9.ndjson", "B", "a b.ndjson", "a-b.json", "a.ndjson", "é.ndjson"];

/// A source and what is asked of it.
pub struct Case {
    pub files: Files,
    pub settings: Settings,
    pub kickoffs: Vec<Kickoff>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        for (name, content) in &self.files {
            writeln!(f, "{name}:\n{}", content.escape_ascii().to_string().replace("\\n", "\n"))?;
        }
        self.kickoffs.iter().try_for_each(|kickoff| writeln!(f, "{kickoff:?}"))
    }
}

/// How rich a case is.
#[derive(Clone, Copy)]
pub struct Rich {
    /// Whether there may be several resources of one type and id, deletions of them, and keys
    /// that stand twice.
    pub versions: bool,
    /// Whether `_since` and `_until` are asked for.
    pub bounds: bool,
    /// Which levels are asked for.
    pub levels: Levels,
    /// Whether the settings are others than the default.
    pub settings: bool,
    /// Whether patients, Provenances and absolute attachments are asked for.
    pub more: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Levels {
    System,
    Patient,
    Group,
    Any,
}

/// Cases of that kind, each with several requests.
pub fn case(rich: Rich) -> impl Strategy<Value = Case> {
    let kickoffs = prop::collection::vec(kickoff(rich), 6..=10);
    (files(rich.versions), settings(rich.settings), kickoffs).prop_map(|(files, settings, kickoffs)| Case {
        files,
        settings,
        kickoffs,
    })
}

fn settings(varied: bool) -> BoxedStrategy<Settings> {
    if !varied {
        return Just(Settings::default()).boxed();
    }
    let references =
        select(vec![None, Some(References::Referenced), Some(References::All), Some(References::None)]);
    let base_url = select(vec![None, Some(BASE_URL)]);
    let groups = subsequence(vec!["a", "b", "c"], 1..=2);
    let groups = groups.prop_map(|ids| ids.into_iter().map(String::from).collect());
    let groups = prop::option::weighted(0.4, groups);
    let devices_by_patient = select(vec![None, Some(true), Some(false)]);
    (references, base_url, groups, devices_by_patient, prop::bool::weighted(0.25))
        .prop_map(|(references, base_url, groups, devices_by_patient, small)| Settings {
            references,
            base_url: base_url.map(Into::into),
            groups,
            devices_by_patient,
            small,
        })
        .boxed()
}

fn kickoff(rich: Rich) -> impl Strategy<Value = Kickoff> {
    let group = || {
        let ids = prop_oneof![12 => select(vec!["a", "b", "c"]), 1 => select(vec!["All_Patients", "nobody"])];
        ids.prop_map(|id| Level::Group { id: id.into() })
    };
    let level = match rich.levels {
        Levels::System => Just(Level::System).boxed(),
        Levels::Patient => prop_oneof![4 => Just(Level::Patient), 1 => Just(all_patients())].boxed(),
        Levels::Group => group().boxed(),
        Levels::Any => prop_oneof![1 => Just(Level::System), 2 => Just(Level::Patient), 5 => group()].boxed(),
    };
    let [first, second] = BOUNDS.map(Some);
    let bounds = match rich.bounds {
        true => prop_oneof![
            2 => Just((None, None)),
            2 => Just((first, None)),
            2 => Just((None, second)),
            2 => Just((first, second)),
            1 => select(vec![(second, None), (None, first), (second, first), (first, first)]),
        ]
        .boxed(),
        false => Just((None, None)).boxed(),
    };
    let more = if rich.more { more().boxed() } else { Just(Default::default()).boxed() };
    (level, types(), bounds, more).prop_map(
        |(level, types, (since, until), (patients, provenances, base_url))| {
            let instant = |text: &str| text.parse::<Timestamp>().unwrap();
            let (since, until) = (since.map(instant), until.map(instant));
            // HTTP refuses patients at the system level.
            let patients = if level == Level::System { Vec::new() } else { patients };
            Kickoff {
                parameters: Parameters { since, until, patients, provenances, ..Parameters::default() }
                    .with_types(&types)
                    .unwrap(),
                base_url,
                ..Kickoff::new(level)
            }
        },
    )
}

/// The parameters `patient` and `includeAssociatedData`, and the base URL that clients see.
fn more() -> impl Strategy<Value = (Vec<String>, Option<AssociatedData>, String)> {
    let patients =
        subsequence(texts::IDS.to_vec(), 1..=3).prop_map(|ids| ids.into_iter().map(String::from).collect());
    let patients = prop_oneof![
        12 => Just(Vec::new()),
        8 => patients,
        1 => Just(vec!["nobody".to_string()]),
    ];
    let provenances = select(vec![None, None, Some(AssociatedData::Relevant), Some(AssociatedData::Latest)]);
    let base_url = select(vec!["", "https://h/r4", "http://localhost:8080/a\"b/r4/default"]);
    (patients, provenances, base_url.prop_map(String::from))
}

fn all_patients() -> Level {
    Level::Group { id: evanesce::job::ALL_PATIENTS.into() }
}

/// `_type`: mostly none; else some of those that are there, with and without patients, with
/// and without what refers to the rest.
fn types() -> impl Strategy<Value = Vec<String>> {
    let names = lines::TYPES.to_vec();
    let count = names.len();
    let some = subsequence(names, 1..count).prop_map(|types| types.into_iter().map(str::to_string).collect());
    let alone = select(vec!["Patient", "Organization", "Provenance", "Binary", "Observation", "Group"]);
    prop_oneof![
        6 => Just(Vec::new()),
        3 => some,
        1 => alone.prop_map(|name| vec![name.to_string()]),
        1 => Just(vec!["Observation".to_string(), "PractitionerRole".into(), "Endpoint".into()]),
    ]
}

/// The files of a folder. The file system gives them in any order.
fn files(versions: bool) -> impl Strategy<Value = Files> {
    let names = |count| subsequence(FILE_NAMES.to_vec(), count).prop_shuffle();
    let files = prop_oneof![1 => names(0..=1), 11 => names(2..=5)]
        .prop_flat_map(move |names| names.into_iter().map(|name| file(name, versions)).collect::<Vec<_>>());
    files.prop_map(move |files| {
        let mut seen = BTreeSet::new();
        let mut first = |line: &Line| versions || line.name.is_none_or(|name| seen.insert(name));
        files.iter().map(|file| (file.name.to_string(), file.content(&mut first))).collect()
    })
}

/// A file, and how it is written down.
#[derive(Debug)]
struct File {
    name: &'static str,
    bom: bool,
    /// Each with what stands before and behind it.
    lines: Vec<(&'static str, Line, &'static str)>,
    last_newline: bool,
}

impl File {
    fn content(&self, is_kept: &mut dyn FnMut(&Line) -> bool) -> Vec<u8> {
        let mut content = Vec::new();
        if self.bom {
            content.extend_from_slice("\u{feff}".as_bytes());
        }
        for (before, line, behind) in self.lines.iter().filter(|(_, line, _)| is_kept(line)) {
            for piece in [before.as_bytes(), &line.text, behind.as_bytes()] {
                content.extend_from_slice(piece);
            }
        }
        if !self.last_newline {
            let kept = content.trim_ascii_end().len();
            content.truncate(kept);
        }
        content
    }
}

fn file(name: &'static str, versions: bool) -> BoxedStrategy<File> {
    let before = prop_oneof![12 => Just(""), 1 => select(vec!["  ", "\t", "\n", "\r\n", " \n\x0c\n"])];
    let behind =
        prop_oneof![12 => Just("\n"), 3 => Just("\r\n"), 1 => select(vec!["\t \n", "\n\n", "\n \r\n"])];
    let lines = prop::collection::vec((before, lines::line(versions), behind), 0..60);
    (lines, prop::bool::weighted(0.3), any::<bool>(), any::<Index>())
        .prop_map(move |(mut lines, bom, last_newline, at)| {
            // A file without any resource is no part of a source, and its broken lines are not
            // counted: so each has one.
            let text = format!("{{\"resourceType\":\"Basic\",\"id\":\"in {name}\"}}").into_bytes();
            lines.insert(at.index(lines.len() + 1), ("", Line { text, name: None }, "\n"));
            File { name, bom, lines, last_newline }
        })
        .boxed()
}
