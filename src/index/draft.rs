//! A chunk under construction: its resources, column by column.

use rustc_hash::FxHashMap;

use super::chunk::{BrokenLines, DeletingEntry, FileShape, LIST, LineCounts, NOTHING, UNTIDY};
use super::key::{ResourceKey, key};
use super::line::DeletedResource;
use super::table::ColumnTable;
use crate::fhir::ResourceType;

/// The largest gap that one span holds.
pub const LARGEST_GAP: u32 = 1 << 30;

/// A chunk under construction.
#[derive(Default)]
pub struct ChunkDraft {
    /// The offset of its first line.
    pub start: u64,
    /// The offset of the first line after it.
    pub end: u64,
    /// The number of its line feeds.
    pub line_feeds: u64,
    /// Its broken lines.
    pub broken: BrokenLines,
    /// The counts of its lines.
    pub contents: LineCounts,
    /// What it looks like, at the beginning of a file.
    pub shape: Option<FileShape>,
    /// Checksums of its blocks.
    pub sums: Vec<u64>,
    updated: Vec<i64>,
    spans: Vec<u32>,
    patients: Vec<u32>,
    types: Vec<u8>,
    keys: Vec<ResourceKey>,
    everybody: ValueNumbers<ResourceKey>,
    lists: Vec<u32>,
    sets: Vec<u32>,
    pointed: ValueNumbers<ResourceKey>,
    pointer_sets: ValueNumbers<Vec<u32>>,
    targets: Vec<(u32, i64, Vec<ResourceKey>)>,
    /// Positions, and how many of the keys are members; the others are Groups.
    listing: Vec<(u32, u32, Vec<ResourceKey>)>,
    targeting: u64,
    deletions: Vec<DeletingEntry>,
    /// Positions and counts.
    binaries: (Vec<u32>, Vec<u32>),
}

/// Values, each once, by number.
struct ValueNumbers<T> {
    of: FxHashMap<T, u32>,
    things: Vec<T>,
}

impl<T> Default for ValueNumbers<T> {
    fn default() -> Self {
        Self { of: Default::default(), things: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> ValueNumbers<T> {
    fn number(&mut self, thing: &T) -> u32 {
        // Neighbours are often equal.
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
pub struct DraftEntry<'a> {
    /// Its type.
    pub resource_type: ResourceType,
    /// Its name.
    pub key: ResourceKey,
    /// Its age.
    pub updated: i64,
    /// The patients it belongs to.
    pub patients: &'a [ResourceKey],
    /// Other patients that it names as members.
    pub members: &'a [ResourceKey],
    /// The Groups that it is about.
    pub groups: &'a [ResourceKey],
    /// What it refers to.
    pub pointers: &'a [ResourceKey],
    /// The targets of a Provenance.
    pub targets: &'a [ResourceKey],
    /// When a Provenance was recorded.
    pub recorded: i64,
    /// What a transaction deletes.
    pub deletions: &'a [DeletedResource],
    /// The resources in a Bundle.
    pub bundled: u64,
    /// The URLs of its attachments that name Binaries.
    pub binaries: u32,
}

impl ChunkDraft {
    /// Begins a chunk whose first line begins at `start`.
    pub fn new(start: u64) -> Self {
        Self { start, ..Self::default() }
    }

    /// Adds a resource of `length` bytes, at most [`super::LONGEST_LINE`] and some.
    pub fn resource(&mut self, length: u32, is_tidy: bool, entry: &DraftEntry<'_>) {
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
        self.contents +=
            LineCounts { resources: 1, bundles: u64::from(entry.bundled > 0), bundled: entry.bundled };
        let pointers: Vec<u32> = entry.pointers.iter().map(|key| self.pointed.number(key)).collect();
        let place = self.types.len() as u32;
        if !entry.targets.is_empty() {
            self.targets.push((place, entry.recorded, entry.targets.to_vec()));
            self.targeting += u64::from(entry.patients.is_empty());
        }
        if !entry.members.is_empty() || !entry.groups.is_empty() {
            let listed = [entry.members, entry.groups].concat();
            self.listing.push((place, entry.members.len() as u32, listed));
        }
        self.deletions.extend((0..).zip(entry.deletions).map(|(n, deletion)| DeletingEntry {
            place,
            entry: n,
            type_index: deletion.resource_type.index(),
            bytes: json_bytes(&deletion.name),
            key: key(&deletion.name),
        }));
        if entry.binaries > 0 {
            self.binaries.0.push(place);
            self.binaries.1.push(entry.binaries);
        }
        let set = self.pointer_sets.number(&pointers);
        let span = if is_tidy { length } else { length | UNTIDY };
        self.push(span, entry.resource_type.index(), entry.updated, patients, entry.key, set);
    }

    /// Adds `length` bytes that are not a resource. Blank lines join what precedes them, and
    /// adjacent gaps are merged, so a file without resources takes almost no memory.
    pub fn gap(&mut self, length: u32, is_blank: bool) {
        let is_behind_gap = self.types.last() == Some(&NOTHING);
        match self.spans.last_mut() {
            Some(span) if is_blank || is_behind_gap && (*span & !UNTIDY) + length <= LARGEST_GAP => {
                *span = (*span + length) | UNTIDY;
            }
            _ => {
                let empty = self.pointer_sets.number(&Vec::new());
                self.push(length | UNTIDY, NOTHING, i64::MIN, 0, super::key::NO_KEY, empty);
            }
        }
    }

    fn push(&mut self, span: u32, type_index: u8, updated: i64, patients: u32, key: ResourceKey, set: u32) {
        self.spans.push(span);
        self.types.push(type_index);
        self.updated.push(updated);
        self.patients.push(patients);
        self.keys.push(key);
        self.sets.push(set);
    }

    /// Returns the number of Provenances that target no patient.
    pub fn targeting(&self) -> u64 {
        self.targeting
    }

    /// Returns the number of entries of transactions that delete something.
    pub fn deleting(&self) -> u64 {
        self.deletions.len() as u64
    }

    /// Returns the tables: the one for memory, the names, and the links.
    pub fn tables(&self) -> [ColumnTable; 3] {
        use bytemuck::cast_slice;
        let resident = ColumnTable::pack(&[
            cast_slice(&self.updated),
            cast_slice(&self.spans),
            cast_slice(&self.patients),
            &self.types,
            cast_slice(&self.sums),
            cast_slice(&self.binaries.0),
            cast_slice(&self.binaries.1),
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
        let target_ends = ends(&mut self.targets.iter().map(|(_, _, keys)| keys.len()));
        let targeting: Vec<u32> = self.targets.iter().map(|(place, _, _)| *place).collect();
        let recorded: Vec<i64> = self.targets.iter().map(|(_, recorded, _)| *recorded).collect();
        let target_keys: Vec<ResourceKey> =
            self.targets.iter().flat_map(|(_, _, keys)| keys).copied().collect();
        let deleting: Vec<u32> = self.deletions.iter().map(|deletion| deletion.place).collect();
        let deleted_types: Vec<u8> = self.deletions.iter().map(|deletion| deletion.type_index).collect();
        let deleted_bytes: Vec<u32> = self.deletions.iter().map(|deletion| deletion.bytes).collect();
        let listing: Vec<[u32; 2]> =
            self.listing.iter().map(|(place, members, _)| [*place, *members]).collect();
        let listed_ends = ends(&mut self.listing.iter().map(|(_, _, keys)| keys.len()));
        let listed: Vec<ResourceKey> = self.listing.iter().flat_map(|(_, _, keys)| keys).copied().collect();
        let deleted: Vec<ResourceKey> = self.deletions.iter().map(|deletion| deletion.key).collect();
        let links = ColumnTable::pack(&[
            cast_slice(&self.everybody.things),
            cast_slice(&self.lists),
            cast_slice(&self.sets),
            cast_slice(&set_ends),
            cast_slice(&self.pointer_sets.things.concat()),
            cast_slice(&self.pointed.things),
            cast_slice(&targeting),
            cast_slice(&target_ends),
            cast_slice(&target_keys),
            cast_slice(&recorded),
            cast_slice(&deleting),
            &deleted_types,
            cast_slice(&deleted_bytes),
            cast_slice(&deleted),
            cast_slice(&listing),
            cast_slice(&listed_ends),
            cast_slice(&listed),
        ]);
        [resident, ColumnTable::pack(&[cast_slice(&self.keys)]), links]
    }
}

/// Returns the length of a text as a JSON string. A line is shorter than 4 GB.
fn json_bytes(text: &str) -> u32 {
    serde_json::to_string(text).map_or(0, |json| json.len() as u32)
}
