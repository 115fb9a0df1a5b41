//! What a source comes to: sums of its resources by type and age, and by patient; where its Groups
//! are. They are taken when the index is brought up to date, so that a kick-off, which wants to
//! know how large an export is going to be and whether the Group or the patients that it names are
//! there, looks at no resource and reads no index file.

mod ages;
mod count;

use rustc_hash::FxHashMap;

use super::chunk::NOTHING;
use super::key::ResourceKey;
use super::overlay::SpanPlace;
use crate::fhir::ResourceType;

pub use ages::{AgeHistogram, ResourceSum};

/// Entries of one Bundle that tells clients of deletions, at the most.
pub const TOLD_ENTRIES: usize = 1000;

/// Which resources of a type are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceKind {
    /// The index of the type.
    pub type_index: u8,
    /// Whether they are in somebody's compartment.
    pub is_owned: bool,
    /// Whether they tell of members or of Groups (P15).
    pub is_listing: bool,
}

impl ResourceKind {
    /// Its place among all kinds.
    fn place(self) -> usize {
        usize::from(self.type_index) * 4 + usize::from(self.is_owned) * 2 + usize::from(self.is_listing)
    }

    fn at(place: usize) -> Self {
        let type_index = (place / 4) as u8;
        Self { type_index, is_owned: place & 2 != 0, is_listing: place & 1 != 0 }
    }
}

/// How many kinds there are.
const KINDS: usize = (NOTHING as usize + 1) * 4;

/// What a patient's compartment comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatientSum {
    /// Bytes of resources that an export of this patient has for certain, if it has their types.
    pub certain: u64,
    /// Bytes of all others: those of several patients, those that tell of others (P15), Devices and
    /// Provenances.
    pub uncertain: u64,
    /// Of all of them.
    pub resources: u32,
    /// URLs in attachments of all of them that name Binaries.
    pub urls: u32,
}

impl std::ops::AddAssign for PatientSum {
    fn add_assign(&mut self, other: Self) {
        self.certain += other.certain;
        self.uncertain += other.uncertain;
        self.resources = self.resources.saturating_add(other.resources);
        self.urls = self.urls.saturating_add(other.urls);
    }
}

/// What a source comes to. Versions that a later line replaces or deletes do not count.
#[derive(Debug, Default)]
pub struct SourceTotals {
    /// By the places of their kinds.
    resources: Vec<Option<AgeHistogram>>,
    /// Deletions by the index of the type: `bytes` are those of the names, `urls` the Bundles.
    deletions: Vec<Option<AgeHistogram>>,
    /// All that the source knows of, also by an outdated version or a deletion alone.
    patients: FxHashMap<ResourceKey, PatientSum>,
    /// The Groups that have an id, in order.
    groups: Vec<(ResourceKey, SpanPlace)>,
}

impl SourceTotals {
    /// The kinds of which there are resources.
    pub fn resources(&self) -> impl Iterator<Item = (ResourceKind, &AgeHistogram)> {
        let kinds = self.resources.iter().enumerate();
        kinds.filter_map(|(place, histogram)| Some((ResourceKind::at(place), histogram.as_ref()?)))
    }

    /// The types of which something is deleted and not there again, by their index, with the
    /// entries that say so: `bytes` are those of the names, `urls` the number of Bundles, and the
    /// age is the Bundle's.
    pub fn deletions(&self) -> impl Iterator<Item = (u8, &AgeHistogram)> {
        let types = (0..=NOTHING).zip(&self.deletions);
        types.filter_map(|(type_index, histogram)| Some((type_index, histogram.as_ref()?)))
    }

    /// How many resources of a type there are.
    pub fn count(&self, resource_type: ResourceType) -> u64 {
        let of_type = self.resources().filter(|(kind, _)| kind.type_index == resource_type.index());
        of_type.map(|(_, histogram)| histogram.all().resources).sum()
    }

    /// What a patient's compartment comes to; `None` if the source does not know of the patient.
    pub fn patient(&self, name: &ResourceKey) -> Option<PatientSum> {
        self.patients.get(name).copied()
    }

    /// Where the Group of that name is.
    pub fn group(&self, name: &ResourceKey) -> Option<SpanPlace> {
        let place = self.groups.binary_search_by_key(name, |(key, _)| *key).ok()?;
        Some(self.groups[place].1)
    }

    /// Where all Groups with an id are, in the order of their names' hashes.
    pub fn groups(&self) -> impl Iterator<Item = SpanPlace> {
        self.groups.iter().map(|(_, spot)| *spot)
    }

    /// Bytes in memory.
    pub fn resident_bytes(&self) -> u64 {
        let histograms = self.resources.iter().chain(&self.deletions).flatten();
        let histograms: u64 = histograms.map(AgeHistogram::resident_bytes).sum();
        let patients = self.patients.capacity() * size_of::<(ResourceKey, PatientSum)>();
        histograms + (patients + self.groups.capacity() * size_of::<(ResourceKey, SpanPlace)>()) as u64
    }
}
