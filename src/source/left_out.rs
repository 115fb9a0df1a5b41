//! What a source holds that is not read, and why: leftovers of programs, known by their names; what is
//! not a regular file; files that are not NDJSON; files that cannot be read. All are counted, and those
//! that clients and the operator are told of are named.

use std::collections::BTreeMap;

/// The most files to name. The rest is counted.
pub const NAMED_FILES: usize = 100;

/// How names of leftovers end, in lower case: backups, files that are still being written, and
/// files of editors, downloads and package managers.
const ENDINGS: [&str; 17] = [
    "~",
    ".bak",
    ".backup",
    ".crdownload",
    ".dpkg-new",
    ".dpkg-old",
    ".filepart",
    ".old",
    ".orig",
    ".part",
    ".partial",
    ".rej",
    ".rpmsave",
    ".swo",
    ".swp",
    ".temp",
    ".tmp",
];

/// Why something in a source is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOutReason {
    /// Its name is that of a hidden, backup or partial file.
    Leftover,
    /// Its name is not UTF-8.
    Name,
    /// It is a folder.
    Folder,
    /// It is a symbolic link.
    Link,
    /// It is a FIFO, a socket or a device.
    Special,
    /// It begins like a compressed file.
    Compressed,
    /// It begins like UTF-16 or UTF-32.
    Utf16,
    /// The system refuses to read it.
    Unreadable,
}

impl LeftOutReason {
    /// Returns the name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Leftover => "leftover",
            Self::Name => "name",
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Special => "special",
            Self::Compressed => "compressed",
            Self::Utf16 => "utf-16",
            Self::Unreadable => "unreadable",
        }
    }

    /// Returns what is wrong. It completes "x.ndjson ...".
    pub fn text(self) -> &'static str {
        match self {
            Self::Leftover => "has the name of a hidden, backup or partial file",
            Self::Name => "has a name that is not UTF-8",
            Self::Folder => "is a folder",
            Self::Link => "is a symbolic link, and links are not followed",
            Self::Special => "is not a regular file",
            Self::Compressed => "is compressed; files are read only uncompressed",
            Self::Utf16 => "is in UTF-16 or UTF-32; files are read only in UTF-8",
            Self::Unreadable => "cannot be read",
        }
    }
}

/// What is left out of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    named: Vec<(String, LeftOutReason)>,
    counts: BTreeMap<LeftOutReason, u64>,
}

impl LeftOut {
    /// Adds a file. Leftovers are counted, but not named, because they are nobody's data.
    pub fn add(&mut self, name: impl Into<String>, reason: LeftOutReason) {
        *self.counts.entry(reason).or_default() += 1;
        if reason != LeftOutReason::Leftover && self.named.len() < NAMED_FILES {
            self.named.push((name.into(), reason));
        }
    }

    /// Returns the named ones, at most [`NAMED_FILES`].
    pub fn named(&self) -> &[(String, LeftOutReason)] {
        &self.named
    }

    /// Returns the number of files for each reason.
    pub fn counts(&self) -> &BTreeMap<LeftOutReason, u64> {
        &self.counts
    }

    /// Returns the number of files for that reason.
    pub fn count(&self, reason: LeftOutReason) -> u64 {
        self.counts.get(&reason).copied().unwrap_or_default()
    }

    /// Returns the number of files beside leftovers and named ones.
    pub fn unnamed(&self) -> u64 {
        self.counts.values().sum::<u64>() - self.count(LeftOutReason::Leftover) - self.named.len() as u64
    }
}

/// Returns whether a file with that name is a leftover: a hidden file (rsync hides unfinished
/// ones), a backup, or a partial file.
pub fn is_leftover(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    name.starts_with('.')
        || (name.starts_with('#') && name.ends_with('#'))
        || ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

/// Returns why a file cannot be NDJSON in UTF-8, if its first bytes show it. [`HEAD`] bytes are
/// enough.
pub fn form(head: &[u8]) -> Option<LeftOutReason> {
    const COMPRESSED: [&[u8]; 5] =
        [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"BZh", b"\xfd7zXZ\0"];
    if COMPRESSED.iter().any(|magic| head.starts_with(magic)) {
        return Some(LeftOutReason::Compressed);
    }
    let is_marked = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    // Without a mark, each ASCII character has a zero beside it.
    let alternates = matches!(head, [a, 0, b, 0, ..] if *a != 0 && *b != 0)
        || matches!(head, [0, a, 0, b, ..] if *a != 0 && *b != 0)
        || matches!(head, [a, 0, 0, 0, b, 0, 0, 0] | [0, 0, 0, a, 0, 0, 0, b] if *a != 0 && *b != 0);
    (is_marked || alternates).then_some(LeftOutReason::Utf16)
}

/// The bytes of a file that [`form`] needs.
pub const HEAD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_known_by_their_names() {
        for name in [
            ".hidden",
            ".Patient.ndjson.Xy12",
            "Patient.ndjson~",
            "Patient.ndjson.bak",
            "Patient.BAK",
            "Patient.ndjson.part",
            "#Patient.ndjson#",
            "~",
        ] {
            assert!(is_leftover(name), "{name}");
        }
        for name in ["Patient.ndjson", "~Patient", "bak", "old", "a.bak.ndjson", "#1", "tmp", "part-1"] {
            assert!(!is_leftover(name), "{name}");
        }
    }

    #[test]
    fn forms_are_known_by_the_first_bytes() {
        let utf16 = |text: &str, mark: bool, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            let mark = mark.then_some(0xfeff);
            mark.into_iter().chain(text.encode_utf16()).flat_map(bytes).take(HEAD).collect()
        };
        for (mark, bytes) in [
            (true, u16::to_le_bytes as fn(u16) -> [u8; 2]),
            (true, u16::to_be_bytes),
            (false, u16::to_le_bytes),
            (false, u16::to_be_bytes),
        ] {
            assert_eq!(form(&utf16("{\"resourceType\"", mark, bytes)), Some(LeftOutReason::Utf16), "{mark}");
        }
        let utf32: Vec<u8> = "{\"".chars().flat_map(|char| (char as u32).to_be_bytes()).collect();
        assert_eq!(form(&utf32), Some(LeftOutReason::Utf16));
        for magic in [&b"\x1f\x8b\x08\0\0\0\0\0"[..], b"\x28\xb5\x2f\xfd\0\0\0\0", b"PK\x03\x04\0\0\0\0"] {
            assert_eq!(form(magic), Some(LeftOutReason::Compressed));
        }
        for read in
            [&b""[..], b"{", b"{\"resour", b"\xef\xbb\xbf{\"res", &[0; 8], b"\0\0\0\0\0\0\0{", b"\n\n\n\n"]
        {
            assert_eq!(form(read), None, "{read:?}");
        }
    }

    #[test]
    fn p13_the_first_hundred_are_named_and_the_rest_are_counted() {
        let mut left_out = LeftOut::default();
        for n in 0..NAMED_FILES + 5 {
            left_out.add(format!("folder-{n}"), LeftOutReason::Folder);
            left_out.add(format!("{n}~"), LeftOutReason::Leftover);
        }
        assert_eq!((left_out.named().len(), left_out.unnamed()), (NAMED_FILES, 5));
        assert_eq!(left_out.count(LeftOutReason::Leftover), NAMED_FILES as u64 + 5);
    }
}
