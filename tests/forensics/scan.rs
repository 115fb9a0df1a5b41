//! The search for markers, and for any text of a line, in raw bytes.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64;

/// The name of what is found of lines that have no marker.
pub const TEXT: &str = "text of lines";

/// Bytes of a window of a line.
const WINDOW: usize = 32;

/// A window is looked for at every so many bytes: text that runs on for 47 bytes is found.
const STEP: usize = 16;

/// Bytes that are read at once, and that two such parts have in common.
const PART: usize = 4 << 20;
const OVERLAP: usize = 256;

/// Where something was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Where {
    /// In a file of this name.
    File(String),
    /// In the name of a file.
    Name(String),
    /// In no file: a free block, a journal or what the file system keeps for itself.
    NoFile,
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name) => f.write_str(name),
            Self::Name(name) => write!(f, "the name {name}"),
            Self::NoFile => f.write_str("in no file (free blocks, journal)"),
        }
    }
}

/// What is looked for.
pub struct Needles {
    markers: Vec<(&'static str, memmem::Finder<'static>)>,
    windows: HashSet<u64>,
}

impl Needles {
    /// Looks for markers, and for any text of lines but what is in `common` too, such as the addresses of
    /// code systems that every FHIR document has.
    pub fn new(markers: &[(&'static str, &'static str)], lines: &[Vec<u8>], common: &[u8]) -> Self {
        let markers = markers.iter().map(|(what, text)| (*what, memmem::Finder::new(*text)));
        let common: HashSet<_> = common.windows(WINDOW).map(xxh3_64).collect();
        let windows = lines.iter().flat_map(|line| line.windows(WINDOW)).map(xxh3_64);
        let windows = windows.filter(|window| !common.contains(window)).collect();
        Self { markers: markers.collect(), windows }
    }

    /// Counts what is in a text.
    pub fn count(&self, text: &[u8]) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        self.count_part(text, text.len(), &mut counts);
        counts
    }

    /// Counts what begins before `end`.
    fn count_part(&self, text: &[u8], end: usize, counts: &mut BTreeMap<&'static str, usize>) {
        for (what, finder) in &self.markers {
            let count = finder.find_iter(text).filter(|at| *at < end).count();
            if count > 0 {
                *counts.entry(what).or_default() += count;
            }
        }
        let windows = (0..end).step_by(STEP).filter_map(|at| text.get(at..at + WINDOW));
        let count = windows.filter(|window| self.windows.contains(&xxh3_64(window))).count();
        if count > 0 {
            *counts.entry(TEXT).or_default() += count;
        }
    }

    /// Counts what is in a file.
    pub fn count_file(&self, path: &Path) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        each_part(path, |_, part, end| self.count_part(part, end, &mut counts));
        counts
    }
}

/// Reads a file in parts, and shows each that is not all zeros: its place, its bytes, and how many of them
/// are not in the next part too.
pub fn each_part(path: &Path, mut visit: impl FnMut(u64, &[u8], usize)) {
    let mut file = File::open(path).unwrap();
    let (mut buffer, mut kept, mut at) = (vec![0; PART + OVERLAP], 0, 0);
    let zeros = vec![0; PART + OVERLAP];
    loop {
        let mut filled = kept;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..]).unwrap() {
                0 => break,
                read => filled += read,
            }
        }
        let is_last = filled < buffer.len();
        let end = if is_last { filled } else { PART };
        if buffer[..filled] != zeros[..filled] {
            visit(at, &buffer[..filled], end);
        }
        if is_last {
            return;
        }
        buffer.copy_within(PART.., 0);
        (kept, at) = (OVERLAP, at + PART as u64);
    }
}

#[test]
fn a_marker_and_any_47_bytes_of_a_line_are_found_wherever_they_stand() {
    let line: Vec<u8> = (0..200_u32).map(|n| (n * 7 % 251) as u8).collect();
    let needles = Needles::new(&[("marker", "a marker")], std::slice::from_ref(&line), &line[150..]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw");
    for at in [0, 1, 15, 16, PART - 47, PART - 9, PART - 1, PART, PART + 100] {
        let mut raw = vec![0; at];
        raw.extend_from_slice(&line[60..107]);
        raw.extend_from_slice(b"a marker");
        std::fs::write(&path, raw).unwrap();
        let found = needles.count_file(&path);
        assert_eq!(found.get("marker"), Some(&1), "{at}");
        assert!(found.contains_key(TEXT), "{at}");
    }
    std::fs::write(&path, &line[150..]).unwrap();
    assert!(needles.count_file(&path).is_empty(), "what everybody has is no finding");
}
