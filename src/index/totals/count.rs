//! Computes the sums of a source chunk by chunk, on several threads, each with sums of its own. The
//! memory that it needs beside the result does not grow with the resources.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustc_hash::FxHashMap;

use super::ages::{BUCKETS, HistogramDraft, ResourceSum, bucket_ends};
use super::{KINDS, PatientSum, ResourceKind, SourceTotals, TOLD_ENTRIES};
use crate::fhir::ResourceType;
use crate::index::chunk::{ChunkLinks, IndexChunk, NOTHING};
use crate::index::key::{NO_KEY, ResourceKey};
use crate::index::line::UNKNOWN_AGE;
use crate::index::overlay::{IndexOverlay, SpanPlace};
use crate::index::segment::{Segment, keys};

/// The number of types, [`NOTHING`] included.
const TYPES: usize = NOTHING as usize + 1;

/// The number of ages per bucket that determine where buckets end.
const SAMPLES: usize = 4;

impl SourceTotals {
    /// Computes the sums of these segments. Reads the links of all on `threads` threads.
    ///
    /// # Errors
    /// Fails if an index file cannot be read.
    pub fn of(segments: &[Arc<Segment>], overlay: &IndexOverlay, threads: usize) -> io::Result<Self> {
        let ends = ends_by_type(segments);
        let chunks: Vec<(usize, usize)> = segments
            .iter()
            .enumerate()
            .flat_map(|(s, segment)| (0..segment.chunks.len()).map(move |c| (s, c)))
            .collect();
        let next = AtomicUsize::new(0);
        let count = || -> io::Result<TotalsCounter<'_>> {
            let mut counter = TotalsCounter::new(&ends);
            while let Some((s, c)) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                counter.add(segments, overlay, *s, *c)?;
            }
            Ok(counter)
        };
        let counters = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(chunks.len())).map(|_| scope.spawn(count)).collect();
            let mut counters = vec![count()];
            let died = |_| Err(io::Error::other("a thread that counts died"));
            counters.extend(others.into_iter().map(|other| other.join().unwrap_or_else(died)));
            counters.into_iter().collect::<io::Result<Vec<_>>>()
        })?;
        let mut all = TotalsCounter::new(&ends);
        counters.into_iter().for_each(|counter| all.merge(counter));
        all.add_deletions(segments, overlay);
        Ok(all.finish())
    }
}

/// The ends of the buckets of each type.
type BucketEnds = Vec<Arc<[i64]>>;

/// Takes a sample of the ages of each type, evenly spread; all of them if they are few.
fn ends_by_type(segments: &[Arc<Segment>]) -> BucketEnds {
    let chunks = || segments.iter().flat_map(|segment| &segment.chunks);
    let mut counts = [0usize; TYPES];
    chunks().for_each(|chunk| chunk.types().iter().for_each(|index| counts[usize::from(*index)] += 1));
    let steps = counts.map(|count| count.div_ceil(SAMPLES * BUCKETS).max(1));
    let mut samples = vec![Vec::new(); TYPES];
    let mut seen = [0usize; TYPES];
    for chunk in chunks() {
        for (index, updated) in chunk.types().iter().zip(chunk.updated()) {
            let index = usize::from(*index);
            seen[index] += 1;
            if seen[index].is_multiple_of(steps[index]) && *updated != UNKNOWN_AGE {
                samples[index].push(*updated);
            }
        }
    }
    samples[usize::from(NOTHING)].clear();
    samples.into_iter().map(bucket_ends).collect()
}

/// Sums being computed.
struct TotalsCounter<'e> {
    ends: &'e BucketEnds,
    resources: Vec<Option<HistogramDraft>>,
    deletions: Vec<Option<HistogramDraft>>,
    patients: FxHashMap<ResourceKey, PatientSum>,
    groups: Vec<(ResourceKey, SpanPlace)>,
}

impl<'e> TotalsCounter<'e> {
    fn new(ends: &'e BucketEnds) -> Self {
        let none = |count| std::iter::repeat_with(|| None).take(count).collect();
        let (patients, groups) = (FxHashMap::default(), Vec::new());
        Self { ends, resources: none(KINDS), deletions: none(TYPES), patients, groups }
    }

    /// Adds a chunk, by the numbers of its segment and of itself.
    fn add(
        &mut self,
        segments: &[Arc<Segment>],
        overlay: &IndexOverlay,
        s: usize,
        c: usize,
    ) -> io::Result<()> {
        let segment = &segments[s];
        let (chunk, reader) = (&segment.chunks[c], segment.open()?);
        let links = reader.links(chunk)?;
        let rows = ChunkRows::new(chunk, &links, overlay, (s, c));
        let mut of_place = vec![PatientSum::default(); links.everybody().len()];
        let mut groups = Vec::new();
        let spans = chunk.spans().zip(chunk.types()).zip(chunk.updated()).zip(chunk.patients()).enumerate();
        for (n, (((span, type_index), updated), entry)) in spans {
            if *type_index == NOTHING || rows.is_outdated[n] {
                continue;
            }
            let sum = ResourceSum { resources: 1, bytes: span.length.into(), urls: rows.urls[n] };
            let (is_owned, is_listing) = (*entry != 0, rows.is_listing[n]);
            let is_adopted = rows.adopted.contains_key(&n);
            let kind = ResourceKind { type_index: *type_index, is_owned: is_owned || is_adopted, is_listing };
            self.add_to_kind(kind, *updated, sum);
            let goes_by_more = [ResourceType::DEVICE.index(), ResourceType::PROVENANCE.index()];
            let is_of_one = links.patients(entry).nth(1).is_none();
            let is_certain = is_of_one && !is_listing && !goes_by_more.contains(type_index);
            for place in links.patients(entry) {
                of_place.get_mut(place).into_iter().for_each(|it| *it += patient_sum(sum, is_certain));
            }
            for patient in rows.adopted.get(&n).copied().unwrap_or_default() {
                *self.patients.entry(*patient).or_default() += patient_sum(sum, false);
            }
            if *type_index == ResourceType::GROUP.index() {
                groups.push(n);
            }
        }
        for (patient, sum) in links.everybody().iter().zip(of_place) {
            *self.patients.entry(*patient).or_default() += sum;
        }
        if !groups.is_empty() {
            let table = reader.keys(chunk)?;
            let named = groups.into_iter().map(|n| (keys(&table)[n], (s as u32, c as u32, n as u32)));
            self.groups.extend(named.filter(|(key, _)| *key != NO_KEY));
        }
        Ok(())
    }

    fn add_to_kind(&mut self, kind: ResourceKind, updated: i64, sum: ResourceSum) {
        let ends = &self.ends[usize::from(kind.type_index)];
        let draft = &mut self.resources[kind.place()];
        draft.get_or_insert_with(|| HistogramDraft::new(ends.clone())).add(updated, sum);
    }

    /// Adds deletions. A Bundle is counted once for each type of which it deletes something.
    fn add_deletions(&mut self, segments: &[Arc<Segment>], overlay: &IndexOverlay) {
        let age = |(s, c, n): SpanPlace| segments[s as usize].chunks[c as usize].updated()[n as usize];
        let mut samples = vec![Vec::new(); TYPES];
        let each = || overlay.gone().chunk_by(|a, b| a.bundle == b.bundle);
        each().for_each(|of_bundle| {
            let types = of_bundle.iter().map(|gone| usize::from(gone.type_index));
            let age = age(of_bundle[0].bundle);
            types.filter(|_| age != UNKNOWN_AGE).for_each(|index| samples[index].push(age));
        });
        let ends: BucketEnds = samples.into_iter().map(bucket_ends).collect();
        for of_bundle in each() {
            let age = age(of_bundle[0].bundle);
            let mut of_types = [ResourceSum::default(); TYPES];
            for gone in of_bundle {
                let sum = &mut of_types[usize::from(gone.type_index)];
                *sum += ResourceSum { resources: 1, bytes: gone.bytes.into(), urls: 0 };
                gone.patients.iter().for_each(|patient| {
                    self.patients.entry(*patient).or_default();
                });
            }
            let of_types = of_types.into_iter().enumerate().filter(|(_, sum)| sum.resources > 0);
            for (index, sum) in of_types {
                let bundles = sum.resources.div_ceil(TOLD_ENTRIES as u64);
                let draft =
                    self.deletions[index].get_or_insert_with(|| HistogramDraft::new(ends[index].clone()));
                draft.add(age, ResourceSum { urls: bundles, ..sum });
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (draft, more) in self.resources.iter_mut().zip(other.resources) {
            match (draft, more) {
                (Some(draft), Some(more)) => draft.merge(&more),
                (draft, Some(more)) => *draft = Some(more),
                (_, None) => {}
            }
        }
        if self.patients.is_empty() {
            self.patients = other.patients;
        } else {
            other.patients.into_iter().for_each(|(patient, sum)| {
                *self.patients.entry(patient).or_default() += sum;
            });
        }
        self.groups.extend(other.groups);
    }

    fn finish(mut self) -> SourceTotals {
        let finish = |drafts: Vec<Option<HistogramDraft>>| {
            drafts.into_iter().map(|draft| draft.map(HistogramDraft::finish)).collect()
        };
        self.groups.sort_unstable();
        self.patients.shrink_to_fit();
        SourceTotals {
            resources: finish(self.resources),
            deletions: finish(self.deletions),
            patients: self.patients,
            groups: self.groups,
        }
    }
}

fn patient_sum(ResourceSum { resources, bytes, urls }: ResourceSum, is_certain: bool) -> PatientSum {
    let (certain, uncertain) = if is_certain { (bytes, 0) } else { (0, bytes) };
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    PatientSum { certain, uncertain, resources: number(resources), urls: number(urls) }
}

/// Facts about a chunk's resources beside its columns, one per span.
struct ChunkRows<'o> {
    /// Whether a later line replaces or deletes it.
    is_outdated: Vec<bool>,
    /// Whether it names members or Groups.
    is_listing: Vec<bool>,
    urls: Vec<u64>,
    /// Provenances whose patients are those of their targets.
    adopted: FxHashMap<usize, &'o [ResourceKey]>,
}

impl<'o> ChunkRows<'o> {
    fn new(
        chunk: &IndexChunk,
        links: &ChunkLinks,
        overlay: &'o IndexOverlay,
        (s, c): (usize, usize),
    ) -> Self {
        let spans = chunk.types().len();
        let marked = |places: &mut dyn Iterator<Item = usize>| {
            let mut marked = vec![false; spans];
            places.for_each(|n| marked[n] = true);
            marked
        };
        let mut urls = vec![0; spans];
        chunk.binaries().for_each(|(n, count)| urls[n] = count);
        Self {
            is_outdated: marked(&mut overlay.superseded(s, c)),
            is_listing: marked(&mut links.listing().map(|listing| listing.place)),
            urls,
            adopted: overlay.adopted(s, c).collect(),
        }
    }
}
