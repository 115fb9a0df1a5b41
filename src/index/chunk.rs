//! The index of one stretch of a file. What a selection looks at for every resource is in
//! memory, 17 bytes each; names and links are on disk and read when they are asked for.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::line::Broken;
use super::table::Table;
use crate::fhir::ResourceType;

/// Bytes of the source under one checksum.
pub const BLOCK: usize = 16 << 10;

/// The type of what is not exported: a broken line, blank lines at the beginning.
pub const NOTHING: u8 = u8::MAX;

/// The bit of a span whose text is not the resource and a line feed, and nothing else.
const UNTIDY: u32 = 1 << 31;

/// The bit of a patients' entry that is a place in the lists.
const LIST: u32 = 1 << 31;

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
    /// How many Provenances in it target no patient.
    pub targeting: u64,
    /// What is in memory.
    pub resident: Area,
    /// The names of its resources.
    pub keys: Area,
    /// Patients, pointers and targets.
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

    /// Bytes in memory.
    pub fn resident_bytes(&self) -> u64 {
        (size_of::<Self>() + self.resident.words().len() * 8) as u64
    }
}

/// What the resources of a chunk belong and point to.
pub struct Links(Table);

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

    /// Provenances that target no patient: their places, each with what it targets.
    pub fn targets(&self) -> impl Iterator<Item = (u32, &[Key])> {
        let (places, ends, keys): (&[u32], &[u32], &[Key]) =
            (self.0.column(6), self.0.column(7), self.0.column(8));
        places.iter().enumerate().map(move |(n, place)| {
            let start = n.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end as usize);
            let end = ends.get(n).map_or(start, |end| *end as usize);
            (*place, keys.get(start..end).unwrap_or_default())
        })
    }
}

/// A chunk that is being made.
#[derive(Default)]
pub struct Draft {
    /// Where its first line begins.
    pub start: u64,
    /// Where the first line after it begins.
    pub end: u64,
    /// Line feeds in it.
    pub line_feeds: u64,
    /// Its broken lines.
    pub broken: BrokenLines,
    /// Checksums of its blocks.
    pub sums: Vec<u64>,
    updated: Vec<i64>,
    spans: Vec<u32>,
    patients: Vec<u32>,
    types: Vec<u8>,
    keys: Vec<Key>,
    everybody: Numbers<Key>,
    lists: Vec<u32>,
    sets: Vec<u32>,
    pointed: Numbers<Key>,
    pointer_sets: Numbers<Vec<u32>>,
    targets: Vec<(u32, Vec<Key>)>,
}

/// Things, each once, by number.
struct Numbers<T> {
    of: FxHashMap<T, u32>,
    things: Vec<T>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { of: Default::default(), things: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbers<T> {
    fn number(&mut self, thing: &T) -> u32 {
        // Neighbours often are the same.
        if self.things.last() == Some(thing) {
            return (self.things.len() - 1) as u32;
        }
        if let Some(number) = self.of.get(thing) {
            return *number;
        }
        let number = self.things.len() as u32;
        self.of.insert(thing.clone(), number);
        self.things.push(thing.clone());
        number
    }
}

/// One resource for a draft.
pub struct Entry<'a> {
    /// Its type.
    pub resource_type: ResourceType,
    /// Its name.
    pub key: Key,
    /// Its age.
    pub updated: i64,
    /// Whose it is.
    pub patients: &'a [Key],
    /// What it points to.
    pub pointers: &'a [Key],
    /// What it targets, of a Provenance without a patient.
    pub targets: &'a [Key],
}

impl Draft {
    /// A chunk whose first line begins at `start`.
    pub fn new(start: u64) -> Self {
        Self { start, ..Self::default() }
    }

    /// Adds a resource of `length` bytes, at most [`super::LONGEST_LINE`] and some.
    pub fn resource(&mut self, length: u32, is_tidy: bool, entry: &Entry<'_>) {
        let patients = match entry.patients {
            [] => 0,
            [one] => self.everybody.number(one) + 1,
            several => {
                let at = self.lists.len() as u32;
                self.lists.push(several.len() as u32);
                self.lists.extend(several.iter().map(|patient| self.everybody.number(patient)));
                at | LIST
            }
        };
        let pointers: Vec<u32> = entry.pointers.iter().map(|key| self.pointed.number(key)).collect();
        if !entry.targets.is_empty() {
            self.targets.push((self.types.len() as u32, entry.targets.to_vec()));
        }
        let set = self.pointer_sets.number(&pointers);
        let span = if is_tidy { length } else { length | UNTIDY };
        self.push(span, entry.resource_type.index(), entry.updated, patients, entry.key, set);
    }

    /// Adds `length` bytes that are no resource; blank lines go to what is before them.
    pub fn gap(&mut self, length: u32, is_blank: bool) {
        match self.spans.last_mut() {
            Some(span) if is_blank => *span = (*span + length) | UNTIDY,
            _ => {
                let empty = self.pointer_sets.number(&Vec::new());
                self.push(length | UNTIDY, NOTHING, i64::MIN, 0, super::key::NO_KEY, empty);
            }
        }
    }

    fn push(&mut self, span: u32, type_index: u8, updated: i64, patients: u32, key: Key, set: u32) {
        self.spans.push(span);
        self.types.push(type_index);
        self.updated.push(updated);
        self.patients.push(patients);
        self.keys.push(key);
        self.sets.push(set);
    }

    /// Provenances that target no patient.
    pub fn targeting(&self) -> u64 {
        self.targets.len() as u64
    }

    /// What is going to be in memory, the names, and the links.
    pub fn tables(&self) -> [Table; 3] {
        use bytemuck::cast_slice;
        let resident = Table::pack(&[
            cast_slice(&self.updated),
            cast_slice(&self.spans),
            cast_slice(&self.patients),
            &self.types,
            cast_slice(&self.sums),
        ]);
        let ends = |lengths: &mut dyn Iterator<Item = usize>| -> Vec<u32> {
            let mut end = 0;
            lengths
                .map(|length| {
                    end += length as u32;
                    end
                })
                .collect()
        };
        let set_ends = ends(&mut self.pointer_sets.things.iter().map(Vec::len));
        let target_ends = ends(&mut self.targets.iter().map(|(_, keys)| keys.len()));
        let targeting: Vec<u32> = self.targets.iter().map(|(place, _)| *place).collect();
        let target_keys: Vec<Key> = self.targets.iter().flat_map(|(_, keys)| keys).copied().collect();
        let links = Table::pack(&[
            cast_slice(&self.everybody.things),
            cast_slice(&self.lists),
            cast_slice(&self.sets),
            cast_slice(&set_ends),
            cast_slice(&self.pointer_sets.things.concat()),
            cast_slice(&self.pointed.things),
            cast_slice(&targeting),
            cast_slice(&target_ends),
            cast_slice(&target_keys),
        ]);
        [resident, Table::pack(&[cast_slice(&self.keys)]), links]
    }
}
