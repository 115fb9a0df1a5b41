//! The index of one stretch of a file. What a selection looks at for every resource is in
//! memory, 17 bytes each, and 8 more for each with attachments that name Binaries; names and
//! links are on disk and read when they are asked for.

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::line::Broken;
use super::table::Table;

/// Bytes of the source under one checksum.
pub const BLOCK: usize = 16 << 10;

/// The type of what is not exported: a broken line, blank lines at the beginning.
pub const NOTHING: u8 = u8::MAX;

/// The bit of a span whose text is not the resource and a line feed, and nothing else.
pub(super) const UNTIDY: u32 = 1 << 31;

/// The bit of a patients' entry that is a place in the lists.
pub(super) const LIST: u32 = 1 << 31;

/// Lines that are no resources: the first are named, all are counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenLines {
    /// How many there are.
    pub count: u64,
    /// The first of them: the number in the chunk, from 0, and what is wrong.
    pub named: Vec<(u64, Broken)>,
}

/// Broken lines of a file that are each named; the rest are counted.
pub const NAMED_BROKEN_LINES: usize = 100;

impl BrokenLines {
    /// Notes one.
    pub fn add(&mut self, line: u64, broken: Broken) {
        self.count += 1;
        if self.named.len() < NAMED_BROKEN_LINES {
            self.named.push((line, broken));
        }
    }
}

/// What a file without resources is instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A JSON array.
    Array,
    /// JSON over several lines.
    Printed,
}

/// How much there is of what a client is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Lines that are resources.
    pub resources: u64,
    /// Bundles among them that have resources in them.
    pub bundles: u64,
    /// The resources in these.
    pub bundled: u64,
}

impl std::ops::AddAssign for Contents {
    fn add_assign(&mut self, other: Self) {
        self.resources += other.resources;
        self.bundles += other.bundles;
        self.bundled += other.bundled;
    }
}

/// Where something stands in the index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// Offset in bytes.
    pub at: u64,
    /// Length in words of 8 bytes.
    pub words: u64,
    /// Its checksum.
    pub sum: u64,
}

/// What the directory of an index file says of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkEntry {
    /// Where its first line begins in the source file.
    pub start: u64,
    /// Where the first line after it begins.
    pub end: u64,
    /// Line feeds in it.
    pub line_feeds: u64,
    /// Its broken lines.
    pub broken: BrokenLines,
    /// What else there is of lines.
    pub contents: Contents,
    /// Of the beginning of a file: what it looks like if it is not NDJSON.
    pub shape: Option<Shape>,
    /// How many Provenances in it target no patient.
    pub targeting: u64,
    /// How many entries of transactions in it delete something.
    pub deleting: u64,
    /// What is in memory.
    pub resident: Area,
    /// The names of its resources.
    pub keys: Area,
    /// Patients, pointers, targets and deletions.
    pub links: Area,
}

/// A chunk in memory.
#[derive(Debug)]
pub struct Chunk {
    /// Its entry in the directory.
    pub entry: ChunkEntry,
    resident: Table,
}

/// One stretch of bytes of a chunk: a resource or [`NOTHING`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its length in bytes, blank lines behind it included.
    pub length: u32,
    /// Whether it is the resource, a line feed and nothing else.
    pub is_tidy: bool,
}

impl Chunk {
    /// A chunk whose resident area has been read.
    pub fn new(entry: ChunkEntry, resident: Table) -> Self {
        Self { entry, resident }
    }

    /// Ages in nanoseconds, one a span.
    pub fn updated(&self) -> &[i64] {
        self.resident.column(0)
    }

    /// Lengths, one a span; the spans lie one after the other from the chunk's start.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = Span> {
        let spans: &[u32] = self.resident.column(1);
        spans.iter().map(|span| Span { length: span & !UNTIDY, is_tidy: span & UNTIDY == 0 })
    }

    /// Whose it is, one a span: 0 is nobody's; [`Links::patients`] knows the rest.
    pub fn patients(&self) -> &[u32] {
        self.resident.column(2)
    }

    /// Types by their index, one a span, or [`NOTHING`].
    pub fn types(&self) -> &[u8] {
        self.resident.column(3)
    }

    /// Checksums of the source's bytes, one for each [`BLOCK`] from the chunk's start.
    pub fn sums(&self) -> &[u64] {
        self.resident.column(4)
    }

    /// Places of spans with attachments that name Binaries, in order, each with the number of
    /// their URLs.
    pub fn binaries(&self) -> impl Iterator<Item = (usize, u64)> {
        let (places, counts): (&[u32], &[u32]) = (self.resident.column(5), self.resident.column(6));
        places.iter().zip(counts).map(|(place, count)| (*place as usize, u64::from(*count)))
    }

    /// Bytes in memory.
    pub fn resident_bytes(&self) -> u64 {
        (size_of::<Self>() + self.resident.words().len() * 8) as u64
    }
}

/// What the resources of a chunk belong and point to, and what its transactions delete.
pub struct Links(Table);

/// A Provenance.
pub struct Targeting<'a> {
    /// Its place in the chunk.
    pub place: u32,
    /// When it was recorded, in nanoseconds, as far as that is known.
    pub recorded: i64,
    /// What it targets.
    pub targets: &'a [Key],
}

/// What a resource tells of beside the patients in whose compartments it is (P15).
pub struct Listing<'a> {
    /// Its place in the chunk.
    pub place: usize,
    /// Patients that it names as members.
    pub members: &'a [Key],
    /// Groups that it is about; of a Group it is itself.
    pub groups: &'a [Key],
}

/// An entry of a transaction that deletes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleting {
    /// The place of the Bundle in the chunk.
    pub place: u32,
    /// Its number among those of the Bundle, from 0.
    pub entry: u32,
    /// The index of the type of what is deleted.
    pub type_index: u8,
    /// Bytes of `Type/id` as a JSON string.
    pub bytes: u32,
    /// The name of what is deleted.
    pub key: Key,
}

impl Links {
    /// Links whose area has been read.
    pub fn new(table: Table) -> Self {
        Self(table)
    }

    /// All patients that the chunk's resources belong to; others go by their place in it.
    pub fn everybody(&self) -> &[Key] {
        self.0.column(0)
    }

    /// The places in [`Links::everybody`] that an entry of [`Chunk::patients`] means.
    pub fn patients<'a>(&'a self, entry: &'a u32) -> impl Iterator<Item = usize> + 'a {
        let lists: &[u32] = self.0.column(1);
        let (single, list): (&[u32], &[u32]) = if entry & LIST != 0 {
            let at = (entry & !LIST) as usize;
            let length = lists.get(at).map_or(0, |length| *length as usize);
            (&[], lists.get(at + 1..at + 1 + length).unwrap_or_default())
        } else {
            (std::slice::from_ref(entry), &[])
        };
        single
            .iter()
            .filter_map(|entry| entry.checked_sub(1))
            .chain(list.iter().copied())
            .map(|place| place as usize)
    }

    /// For each span the set of its pointers.
    pub fn sets(&self) -> &[u32] {
        self.0.column(2)
    }

    /// What the resources of a set point to.
    pub fn pointers(&self, set: u32) -> impl Iterator<Item = Key> + '_ {
        let (ends, items, keys): (&[u32], &[u32], &[Key]) =
            (self.0.column(3), self.0.column(4), self.0.column(5));
        let end = |set: usize| ends.get(set).map_or(0, |end| *end as usize);
        let set = set as usize;
        let items = items.get(set.checked_sub(1).map_or(0, end)..end(set)).unwrap_or_default();
        items.iter().filter_map(|item| keys.get(*item as usize).copied())
    }

    /// Provenances that target something.
    pub fn targeting(&self) -> impl Iterator<Item = Targeting<'_>> {
        let (places, ends, keys): (&[u32], &[u32], &[Key]) =
            (self.0.column(6), self.0.column(7), self.0.column(8));
        let recorded: &[i64] = self.0.column(9);
        places.iter().zip(recorded).enumerate().map(move |(n, (place, recorded))| {
            let start = n.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end as usize);
            let end = ends.get(n).map_or(start, |end| *end as usize);
            let targets = keys.get(start..end).unwrap_or_default();
            Targeting { place: *place, recorded: *recorded, targets }
        })
    }

    /// Resources that tell of members or of Groups, in order.
    pub fn listing(&self) -> impl Iterator<Item = Listing<'_>> {
        let (places, ends, keys): (&[[u32; 2]], &[u32], &[Key]) =
            (self.0.column(14), self.0.column(15), self.0.column(16));
        let mut start = 0;
        places.iter().zip(ends).map(move |([place, members], end)| {
            let listed = keys.get(start..*end as usize).unwrap_or_default();
            start = *end as usize;
            let (members, groups) = listed.split_at((*members as usize).min(listed.len()));
            Listing { place: *place as usize, members, groups }
        })
    }

    /// Entries of transactions that delete something.
    pub fn deleting(&self) -> impl Iterator<Item = Deleting> {
        let (places, types, bytes, keys): (&[u32], &[u8], &[u32], &[Key]) =
            (self.0.column(10), self.0.column(11), self.0.column(12), self.0.column(13));
        let mut last = None;
        let rows = places.iter().zip(types).zip(bytes).zip(keys);
        rows.map(move |(((place, type_index), bytes), key)| {
            let entry = match last {
                Some((of, entry)) if of == *place => entry + 1,
                _ => 0,
            };
            last = Some((*place, entry));
            Deleting { place: *place, entry, type_index: *type_index, bytes: *bytes, key: *key }
        })
    }
}
