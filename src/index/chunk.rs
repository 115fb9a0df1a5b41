//! The index of one stretch of a file. What a selection needs of every resource is in memory: 17
//! bytes each, and 8 more for each with attachments that name Binaries. Names and links are on disk
//! and read on demand.

use serde::{Deserialize, Serialize};

use super::key::ResourceKey;
use super::line::LineFault;
use super::table::ColumnTable;

/// Bytes of the source under one checksum.
pub const BLOCK: usize = 16 << 10;

/// The type of what is not exported: a broken line, or blank lines at the beginning.
pub const NOTHING: u8 = u8::MAX;

/// The bit of a span whose bytes are the resource, a line feed and nothing else.
pub(super) const UNTIDY: u32 = 1 << 31;

/// The bit of a patients' entry that is a position in the lists.
pub(super) const LIST: u32 = 1 << 31;

/// Lines that are not resources. The first are named, and all are counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenLines {
    /// The number of all.
    pub count: u64,
    /// The first of them: the number in the chunk, from 0, and what is wrong.
    pub named: Vec<(u64, LineFault)>,
}

/// The most broken lines of a file to name. The rest is counted.
pub const NAMED_BROKEN_LINES: usize = 100;

impl BrokenLines {
    /// Adds a line.
    pub fn add(&mut self, line: u64, broken: LineFault) {
        self.count += 1;
        if self.named.len() < NAMED_BROKEN_LINES {
            self.named.push((line, broken));
        }
    }
}

/// What a file without resources looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileShape {
    /// A JSON array.
    Array,
    /// JSON over several lines.
    Printed,
}

/// The counts that a client is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineCounts {
    /// Lines that are resources.
    pub resources: u64,
    /// Bundles among them that contain resources.
    pub bundles: u64,
    /// The resources in these.
    pub bundled: u64,
}

impl std::ops::AddAssign for LineCounts {
    fn add_assign(&mut self, other: Self) {
        self.resources += other.resources;
        self.bundles += other.bundles;
        self.bundled += other.bundled;
    }
}

/// A range of the index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileArea {
    /// Offset in bytes.
    pub at: u64,
    /// Length in words of 8 bytes.
    pub words: u64,
    /// Its checksum.
    pub sum: u64,
}

/// A chunk's entry in the directory of an index file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkEntry {
    /// The offset of its first line in the source file.
    pub start: u64,
    /// The offset of the first line after it.
    pub end: u64,
    /// The number of its line feeds.
    pub line_feeds: u64,
    /// Its broken lines.
    pub broken: BrokenLines,
    /// The counts of its lines.
    pub contents: LineCounts,
    /// At the beginning of a file: what it looks like if it is not NDJSON.
    pub shape: Option<FileShape>,
    /// The number of its Provenances that target no patient.
    pub targeting: u64,
    /// The number of entries of its transactions that delete something.
    pub deleting: u64,
    /// The area that is held in memory.
    pub resident: FileArea,
    /// The names of its resources.
    pub keys: FileArea,
    /// Patients, pointers, targets and deletions.
    pub links: FileArea,
}

/// A chunk in memory.
#[derive(Debug)]
pub struct IndexChunk {
    /// Its entry in the directory.
    pub entry: ChunkEntry,
    resident: ColumnTable,
}

/// One span of a chunk's bytes: a resource or [`NOTHING`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSpan {
    /// Its length in bytes, with the blank lines behind it.
    pub length: u32,
    /// Whether it is the resource, a line feed and nothing else.
    pub is_tidy: bool,
}

impl IndexChunk {
    /// Creates a chunk whose resident area has been read.
    pub fn new(entry: ChunkEntry, resident: ColumnTable) -> Self {
        Self { entry, resident }
    }

    /// Returns ages in nanoseconds, one per span.
    pub fn updated(&self) -> &[i64] {
        self.resident.column(0)
    }

    /// Returns lengths, one per span. Spans are adjacent from the chunk's start.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = LineSpan> {
        let spans: &[u32] = self.resident.column(1);
        spans.iter().map(|span| LineSpan { length: span & !UNTIDY, is_tidy: span & UNTIDY == 0 })
    }

    /// Returns whose each span is: 0 is nobody's, and [`ChunkLinks::patients`] resolves the others.
    pub fn patients(&self) -> &[u32] {
        self.resident.column(2)
    }

    /// Returns types by their index, one per span, or [`NOTHING`].
    pub fn types(&self) -> &[u8] {
        self.resident.column(3)
    }

    /// Returns the checksums of the source's bytes, one for each [`BLOCK`] from the chunk's start.
    pub fn sums(&self) -> &[u64] {
        self.resident.column(4)
    }

    /// Returns the positions of spans with attachments that name Binaries, in order, each with the
    /// number of these URLs.
    pub fn binaries(&self) -> impl Iterator<Item = (usize, u64)> {
        let (places, counts): (&[u32], &[u32]) = (self.resident.column(5), self.resident.column(6));
        places.iter().zip(counts).map(|(place, count)| (*place as usize, u64::from(*count)))
    }

    /// Returns the bytes in memory.
    pub fn resident_bytes(&self) -> u64 {
        (size_of::<Self>() + self.resident.words().len() * 8) as u64
    }
}

/// Whose the resources of a chunk are, what they refer to, and what its transactions delete.
pub struct ChunkLinks(ColumnTable);

/// A Provenance.
pub struct TargetingProvenance<'a> {
    /// Its position in the chunk.
    pub place: u32,
    /// When it was recorded, in nanoseconds, as far as known.
    pub recorded: i64,
    /// Its targets.
    pub targets: &'a [ResourceKey],
}

/// What a resource mentions beside the patients in whose compartments it is (P15).
pub struct ListingResource<'a> {
    /// Its position in the chunk.
    pub place: usize,
    /// Patients that it names as members.
    pub members: &'a [ResourceKey],
    /// Groups that it is about. A Group is about itself.
    pub groups: &'a [ResourceKey],
}

/// An entry of a transaction that deletes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletingEntry {
    /// The position of the Bundle in the chunk.
    pub place: u32,
    /// Its number among those of the Bundle, from 0.
    pub entry: u32,
    /// The index of the type of what is deleted.
    pub type_index: u8,
    /// The length of `Type/id` as a JSON string.
    pub bytes: u32,
    /// The name of what is deleted.
    pub key: ResourceKey,
}

impl ChunkLinks {
    /// Creates links whose area has been read.
    pub fn new(table: ColumnTable) -> Self {
        Self(table)
    }

    /// Returns all patients of the chunk's resources. Other methods refer to positions in this
    /// list.
    pub fn everybody(&self) -> &[ResourceKey] {
        self.0.column(0)
    }

    /// Returns the positions in [`ChunkLinks::everybody`] that an entry of [`IndexChunk::patients`] means.
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

    /// Returns the set of references of each span.
    pub fn sets(&self) -> &[u32] {
        self.0.column(2)
    }

    /// Returns what the resources of a set refer to.
    pub fn pointers(&self, set: u32) -> impl Iterator<Item = ResourceKey> + '_ {
        let (ends, items, keys): (&[u32], &[u32], &[ResourceKey]) =
            (self.0.column(3), self.0.column(4), self.0.column(5));
        let end = |set: usize| ends.get(set).map_or(0, |end| *end as usize);
        let set = set as usize;
        let items = items.get(set.checked_sub(1).map_or(0, end)..end(set)).unwrap_or_default();
        items.iter().filter_map(|item| keys.get(*item as usize).copied())
    }

    /// Returns the Provenances that have targets.
    pub fn targeting(&self) -> impl Iterator<Item = TargetingProvenance<'_>> {
        let (places, ends, keys): (&[u32], &[u32], &[ResourceKey]) =
            (self.0.column(6), self.0.column(7), self.0.column(8));
        let recorded: &[i64] = self.0.column(9);
        places.iter().zip(recorded).enumerate().map(move |(n, (place, recorded))| {
            let start = n.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end as usize);
            let end = ends.get(n).map_or(start, |end| *end as usize);
            let targets = keys.get(start..end).unwrap_or_default();
            TargetingProvenance { place: *place, recorded: *recorded, targets }
        })
    }

    /// Returns the resources that mention members or Groups, in order.
    pub fn listing(&self) -> impl Iterator<Item = ListingResource<'_>> {
        let (places, ends, keys): (&[[u32; 2]], &[u32], &[ResourceKey]) =
            (self.0.column(14), self.0.column(15), self.0.column(16));
        let mut start = 0;
        places.iter().zip(ends).map(move |([place, members], end)| {
            let listed = keys.get(start..*end as usize).unwrap_or_default();
            start = *end as usize;
            let (members, groups) = listed.split_at((*members as usize).min(listed.len()));
            ListingResource { place: *place as usize, members, groups }
        })
    }

    /// Returns the entries of transactions that delete something.
    pub fn deleting(&self) -> impl Iterator<Item = DeletingEntry> {
        let (places, types, bytes, keys): (&[u32], &[u8], &[u32], &[ResourceKey]) =
            (self.0.column(10), self.0.column(11), self.0.column(12), self.0.column(13));
        let mut last = None;
        let rows = places.iter().zip(types).zip(bytes).zip(keys);
        rows.map(move |(((place, type_index), bytes), key)| {
            let entry = match last {
                Some((of, entry)) if of == *place => entry + 1,
                _ => 0,
            };
            last = Some((*place, entry));
            DeletingEntry { place: *place, entry, type_index: *type_index, bytes: *bytes, key: *key }
        })
    }
}
