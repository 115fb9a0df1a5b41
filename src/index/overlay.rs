//! What only all files together determine: resources that a later line replaces (F-7) or deletes
//! (MF-6), the deletions that stand, and the patients of Provenances that name none themselves (K-13).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::chunk::DeletingEntry;
use super::cipher::IndexCipher;
use super::key::{NO_KEY, ResourceKey};
use super::line::UNKNOWN_AGE;
use super::segment::{Segment, keys};
use crate::fhir::ResourceType;
use crate::plain_file::{self, LinkPolicy};

/// The most bytes of the file.
const MAX_BYTES: u64 = 1 << 30;

/// The name of the file that keeps it.
pub const FILE_NAME: &str = "overlay";

/// The place of a span: the number of the segment, of the chunk in it, and of the span in that.
pub type SpanPlace = (u32, u32, u32);

/// A resource that was deleted and not created again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneResource {
    /// The last transaction that deletes it.
    pub bundle: SpanPlace,
    /// The number of the entry among the deleting ones of the Bundle, from 0.
    pub entry: u32,
    /// The index of its type.
    pub type_index: u8,
    /// Its name.
    pub key: ResourceKey,
    /// Bytes of `Type/id` as a JSON string.
    pub bytes: u32,
    /// For a Patient its own name; otherwise the patients that its last version names, if that is still
    /// in the source.
    pub patients: Vec<ResourceKey>,
}

/// Resources whose last version is older than one that it replaces. Perhaps the files are in the wrong
/// order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutdatedVersions {
    /// The number of such resources.
    pub count: u64,
    /// For one of them, the number of the segment with the last version.
    pub older: u32,
    /// For the same one, the number of the segment with a newer version.
    pub newer: u32,
}

/// What only all files of a source together determine.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexOverlay {
    /// The name of the set of segments that it was made from.
    of: String,
    superseded: Vec<SpanPlace>,
    outdated: Option<OutdatedVersions>,
    gone: Vec<GoneResource>,
    adopted: Vec<(SpanPlace, Vec<ResourceKey>)>,
}

/// Returns the name of an ordered set of segments.
fn name_of(segments: &[Arc<Segment>]) -> String {
    let mut hash = Xxh3Default::new();
    for segment in segments {
        hash.update(&segment.chunks.len().to_le_bytes());
        for chunk in &segment.chunks {
            for area in [chunk.entry.resident, chunk.entry.keys, chunk.entry.links] {
                hash.update(&area.sum.to_le_bytes());
            }
        }
    }
    format!("{:032x}", hash.digest128())
}

impl IndexOverlay {
    /// Returns the overlay of these segments: the stored one, if it is theirs, or a new one.
    pub fn load_or_make(folder: &Path, cipher: &IndexCipher, segments: &[Arc<Segment>]) -> io::Result<Self> {
        let path = folder.join(FILE_NAME);
        let of = name_of(segments);
        if let Some(kept) = Self::load(&path, cipher).filter(|kept| kept.of == of) {
            return Ok(kept);
        }
        let VersionOutcome { superseded, outdated, last } = versions(segments)?;
        let gone = gone(segments, last)?;
        let adopted = adopted(segments, &superseded)?;
        let overlay = Self { of, superseded, outdated, gone, adopted };
        overlay.save(&path, cipher)?;
        Ok(overlay)
    }

    fn load(path: &Path, cipher: &IndexCipher) -> Option<Self> {
        let content = plain_file::read(path, LinkPolicy::Refuse, MAX_BYTES).ok()?;
        let (sum, text) = content.split_at_checked(8)?;
        let text = (sum == xxh3_64(text).to_le_bytes()).then(|| cipher.open_text(text).ok()).flatten()?;
        serde_json::from_slice(&text).ok()
    }

    fn save(&self, path: &Path, cipher: &IndexCipher) -> io::Result<()> {
        let text = cipher.seal(&serde_json::to_vec(self)?)?;
        let mut options = fs::OpenOptions::new();
        let mut file = plain_file::replace_with(options.write(true).mode(0o600), path)?;
        file.write_all(&xxh3_64(&text).to_le_bytes())?;
        file.write_all(&text)
    }

    /// Returns whether both were made from the same segments.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        self.of == other.of
    }

    /// Returns the number of resources that a later line replaces or deletes.
    pub fn superseded_count(&self) -> usize {
        self.superseded.len()
    }

    /// Returns the spans of a chunk that a later line replaces or deletes, in order.
    pub fn superseded(&self, segment: usize, chunk: usize) -> impl Iterator<Item = usize> + '_ {
        of_chunk(&self.superseded, segment, chunk, |spot| *spot).iter().map(|spot| spot.2 as usize)
    }

    /// Returns the resources whose last version or deletion is not the newest one.
    pub fn outdated(&self) -> Option<&OutdatedVersions> {
        self.outdated.as_ref()
    }

    /// Returns the resources that are gone, in the order of the entries that delete them.
    pub fn gone(&self) -> &[GoneResource] {
        &self.gone
    }

    /// Returns the Provenances of a chunk, in order, with the patients of their targets.
    pub fn adopted(&self, segment: usize, chunk: usize) -> impl Iterator<Item = (usize, &[ResourceKey])> {
        let of_chunk = of_chunk(&self.adopted, segment, chunk, |(spot, _)| *spot);
        of_chunk.iter().map(|(spot, patients)| (spot.2 as usize, patients.as_slice()))
    }
}

fn of_chunk<T>(sorted: &[T], segment: usize, chunk: usize, spot: impl Fn(&T) -> SpanPlace) -> &[T] {
    let place = |item: &T| {
        let (s, c, _) = spot(item);
        (s as usize, c as usize)
    };
    let start = sorted.partition_point(|item| place(item) < (segment, chunk));
    let end = sorted.partition_point(|item| place(item) <= (segment, chunk));
    &sorted[start..end]
}

/// Calls `visit` with every name and where it is.
fn each_key(segments: &[Arc<Segment>], mut visit: impl FnMut(ResourceKey, SpanPlace)) -> io::Result<()> {
    for (s, segment) in (0u32..).zip(segments) {
        let reader = segment.open()?;
        for (c, chunk) in (0u32..).zip(&segment.chunks) {
            let table = reader.keys(chunk)?;
            for (n, key) in (0u32..).zip(keys(&table)) {
                if *key != NO_KEY {
                    visit(*key, (s, c, n));
                }
            }
        }
    }
    Ok(())
}

/// A set of one bit per name, where different names may share a bit.
struct BitSet(Vec<u64>);

impl BitSet {
    /// Creates a set for `names` names, of which about one in sixteen shares its bit with another.
    fn new(names: u64) -> Self {
        Self(vec![0; usize::try_from(names / 4).unwrap_or(usize::MAX).next_power_of_two()])
    }

    fn place(&self, key: ResourceKey) -> (usize, u64) {
        let bit = key[0];
        ((bit >> 6) as usize & (self.0.len() - 1), 1 << (bit & 63))
    }

    fn has(&self, key: ResourceKey) -> bool {
        let (word, bit) = self.place(key);
        self.0[word] & bit != 0
    }

    /// Sets the bit of a name. Returns whether it was set before.
    fn set(&mut self, key: ResourceKey) -> bool {
        let (word, bit) = self.place(key);
        let before = self.0[word] & bit != 0;
        self.0[word] |= bit;
        before
    }
}

/// What became of the resources.
#[derive(Default)]
struct VersionOutcome {
    superseded: Vec<SpanPlace>,
    outdated: Option<OutdatedVersions>,
    /// Deletions that stand, each with the last version before it.
    last: Vec<((SpanPlace, DeletingEntry), Option<SpanPlace>)>,
}

impl VersionOutcome {
    /// Compares the ages of all versions of one name, in the order of the source.
    fn note_age(&mut self, segments: &[Arc<Segment>], spots: impl Iterator<Item = SpanPlace>) {
        let age = |(s, c, n): SpanPlace| segments[s as usize].chunks[c as usize].updated()[n as usize];
        let mut newest: Option<(i64, SpanPlace)> = None;
        let mut last = None;
        for spot in spots {
            newest = newest.max(last);
            last = Some((age(spot), spot));
        }
        let (Some((newest, newer)), Some((age, older))) = (newest, last) else { return };
        if age != UNKNOWN_AGE && age < newest {
            self.outdated
                .get_or_insert(OutdatedVersions { count: 0, older: older.0, newer: newer.0 })
                .count += 1;
        }
    }
}

/// Finds the resources that a later line replaces or deletes, and the deletions that stand. Duplicates
/// are rare: a first pass finds the few names that may occur twice, and only these and the names of
/// deletions are compared.
fn versions(segments: &[Arc<Segment>]) -> io::Result<VersionOutcome> {
    let deletions = deletions(segments)?;
    let names = segments.iter().map(|segment| segment.spans()).sum();
    let (mut once, mut twice) = (BitSet::new(names), BitSet::new(names));
    let mut any = !deletions.is_empty();
    for (_, deletion) in &deletions {
        twice.set(deletion.key);
    }
    each_key(segments, |key, _| {
        if once.set(key) {
            any = true;
            twice.set(key);
        }
    })?;
    if !any {
        return Ok(VersionOutcome::default());
    }
    drop(once);
    // Of each name, in the order of the source: versions, and deletions with their number.
    let entry = |(n, (spot, deletion)): (usize, &(SpanPlace, DeletingEntry))| (deletion.key, *spot, Some(n));
    let mut events: Vec<_> = deletions.iter().enumerate().map(entry).collect();
    each_key(segments, |key, spot| {
        if twice.has(key) {
            events.push((key, spot, None));
        }
    })?;
    events.sort_unstable();
    let mut versions = VersionOutcome::default();
    for of_name in events.chunk_by(|(a, ..), (b, ..)| a == b) {
        versions.note_age(segments, of_name.iter().map(|(_, spot, _)| *spot));
        let (.., deletion) = of_name[of_name.len() - 1];
        let mut of_name: Vec<_> =
            of_name.iter().filter(|(.., deletion)| deletion.is_none()).map(|(_, spot, _)| *spot).collect();
        match deletion {
            Some(n) => versions.last.push((deletions[n], of_name.last().copied())),
            None => drop(of_name.pop()),
        }
        versions.superseded.extend(of_name);
    }
    versions.superseded.sort_unstable();
    Ok(versions)
}

/// Returns the entries of all transactions that delete something, in order. The id of a Bundle does not
/// matter: a transaction has happened, and no later one replaces it.
fn deletions(segments: &[Arc<Segment>]) -> io::Result<Vec<(SpanPlace, DeletingEntry)>> {
    let mut deletions = Vec::new();
    for (s, segment) in (0u32..).zip(segments) {
        let chunks = (0u32..).zip(&segment.chunks).filter(|(_, chunk)| chunk.entry.deleting > 0);
        for (c, chunk) in chunks {
            let links = segment.open()?.links(chunk)?;
            deletions.extend(links.deleting().map(|deletion| ((s, c, deletion.place), deletion)));
        }
    }
    Ok(deletions)
}

/// Returns the resources that are gone, with their patients.
fn gone(
    segments: &[Arc<Segment>],
    last: Vec<((SpanPlace, DeletingEntry), Option<SpanPlace>)>,
) -> io::Result<Vec<GoneResource>> {
    let mut versions: Vec<_> = last.iter().filter_map(|(_, version)| *version).collect();
    versions.sort_unstable();
    let patients_of: HashMap<SpanPlace, Vec<ResourceKey>> =
        patients(segments, &versions)?.into_iter().collect();
    let mut gone: Vec<_> = last
        .into_iter()
        .map(|((bundle, DeletingEntry { entry, type_index, bytes, key, .. }), version)| {
            let patients = if type_index == ResourceType::PATIENT.index() {
                vec![key]
            } else {
                version.and_then(|version| patients_of.get(&version).cloned()).unwrap_or_default()
            };
            GoneResource { bundle, entry, type_index, key, bytes, patients }
        })
        .collect();
    gone.sort_unstable_by_key(|gone| (gone.bundle, gone.entry));
    Ok(gone)
}

/// Returns the patients that resources name themselves. `spots` must be in order.
fn patients(
    segments: &[Arc<Segment>],
    spots: &[SpanPlace],
) -> io::Result<Vec<(SpanPlace, Vec<ResourceKey>)>> {
    let mut found = Vec::new();
    for of_chunk in spots.chunk_by(|(s, c, _), (t, d, _)| (s, c) == (t, d)) {
        let (s, c, _) = of_chunk[0];
        let segment = &segments[s as usize];
        let chunk = &segment.chunks[c as usize];
        let links = segment.open()?.links(chunk)?;
        found.extend(of_chunk.iter().map(|spot| {
            let entry = &chunk.patients()[spot.2 as usize];
            let patients = links.patients(entry).filter_map(|place| links.everybody().get(place).copied());
            (*spot, patients.collect())
        }));
    }
    Ok(found)
}

/// Returns the patients that Provenances have from the resources they target.
fn adopted(
    segments: &[Arc<Segment>],
    superseded: &[SpanPlace],
) -> io::Result<Vec<(SpanPlace, Vec<ResourceKey>)>> {
    let is_superseded = |spot: &SpanPlace| superseded.binary_search(spot).is_ok();
    let mut targeting: Vec<(SpanPlace, Vec<ResourceKey>)> = Vec::new();
    for (s, segment) in (0u32..).zip(segments) {
        let chunks = (0u32..).zip(&segment.chunks).filter(|(_, chunk)| chunk.entry.targeting > 0);
        for (c, chunk) in chunks {
            let links = segment.open()?.links(chunk)?;
            // One that targets a patient is that patient's alone.
            let orphans = links.targeting().filter(|one| chunk.patients()[one.place as usize] == 0);
            let orphans = orphans.map(|one| ((s, c, one.place), one.targets.to_vec()));
            targeting.extend(orphans.filter(|(spot, _)| !is_superseded(spot)));
        }
    }
    if targeting.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: HashSet<ResourceKey> = targeting.iter().flat_map(|(_, targets)| targets).copied().collect();
    let mut found = Vec::new();
    each_key(segments, |key, spot| {
        if wanted.contains(&key) && !is_superseded(&spot) {
            found.push((spot, key));
        }
    })?;
    let (spots, names): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let patients = patients(segments, &spots)?.into_iter().map(|(_, patients)| patients);
    let patients_of: HashMap<ResourceKey, Vec<ResourceKey>> = names.into_iter().zip(patients).collect();
    for (_, targets) in &mut targeting {
        let mut patients: Vec<_> =
            targets.iter().filter_map(|key| patients_of.get(key)).flatten().copied().collect();
        patients.sort_unstable();
        patients.dedup();
        *targets = patients;
    }
    targeting.retain(|(_, patients)| !patients.is_empty());
    Ok(targeting)
}
