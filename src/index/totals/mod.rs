//! Sums over a source: of its resources by type and age, and by patient, and the places of its Groups.
//! They are computed when the index is brought up to date. A kick-off takes the size of the export from
//! them, and whether the Group or the patients that it names exist, without looking at any resource or
//! index file.

mod ages;
mod count;

use rustc_hash::FxHashMap;

use super::chunk::NOTHING;
use super::key::ResourceKey;
use super::overlay::SpanPlace;
use crate::fhir::ResourceType;

pub use ages::{AgeHistogram, ResourceSum};

/// The most entries of a Bundle that lists deletions for clients.
pub const TOLD_ENTRIES: usize = 1000;

/// A kind of resources of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceKind {
    /// The index of the type.
    pub type_index: u8,
    /// Whether they are in a compartment.
    pub is_owned: bool,
    /// Whether they name members or Groups (P15).
    pub is_listing: bool,
}

impl ResourceKind {
    /// Returns its place among all kinds.
    fn place(self) -> usize {
        usize::from(self.type_index) * 4 + usize::from(self.is_owned) * 2 + usize::from(self.is_listing)
    }

    fn at(place: usize) -> Self {
        let type_index = (place / 4) as u8;
        Self { type_index, is_owned: place & 2 != 0, is_listing: place & 1 != 0 }
    }
}

/// The number of kinds.
const KINDS: usize = (NOTHING as usize + 1) * 4;

/// The sums of a patient's compartment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatientSum {
    /// Bytes of resources that an export of this patient certainly contains, if it has their types.
    pub certain: u64,
    /// Bytes of all others: those of several patients, those that name others (P15), Devices and
    /// Provenances.
    pub uncertain: u64,
    /// The number of all of them.
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

/// The sums over a source. Versions that a later line replaces or deletes do not count.
#[derive(Debug, Default)]
pub struct SourceTotals {
    /// The sums by kind.
    resources: Vec<Option<AgeHistogram>>,
    /// Deletions by the index of the type: `bytes` are those of the names, `urls` the Bundles.
    deletions: Vec<Option<AgeHistogram>>,
    /// All patients that the source names, also in outdated versions or deletions alone.
    patients: FxHashMap<ResourceKey, PatientSum>,
    /// The Groups with an id, sorted.
    groups: Vec<(ResourceKey, SpanPlace)>,
}

impl SourceTotals {
    /// Returns the kinds that have resources.
    pub fn resources(&self) -> impl Iterator<Item = (ResourceKind, &AgeHistogram)> {
        let kinds = self.resources.iter().enumerate();
        kinds.filter_map(|(place, histogram)| Some((ResourceKind::at(place), histogram.as_ref()?)))
    }

    /// Returns the types with deleted resources, by their index, with the deleting entries: `bytes` are
    /// those of the names, `urls` is the number of Bundles, and the age is the Bundle's.
    pub fn deletions(&self) -> impl Iterator<Item = (u8, &AgeHistogram)> {
        let types = (0..=NOTHING).zip(&self.deletions);
        types.filter_map(|(type_index, histogram)| Some((type_index, histogram.as_ref()?)))
    }

    /// Returns the number of resources of a type.
    pub fn count(&self, resource_type: ResourceType) -> u64 {
        let of_type = self.resources().filter(|(kind, _)| kind.type_index == resource_type.index());
        of_type.map(|(_, histogram)| histogram.all().resources).sum()
    }

    /// Returns the sums of a patient's compartment, or `None` if the source does not name the patient.
    pub fn patient(&self, name: &ResourceKey) -> Option<PatientSum> {
        self.patients.get(name).copied()
    }

    /// Returns the place of the Group of that name.
    pub fn group(&self, name: &ResourceKey) -> Option<SpanPlace> {
        let place = self.groups.binary_search_by_key(name, |(key, _)| *key).ok()?;
        Some(self.groups[place].1)
    }

    /// Returns the places of all Groups with an id, in the order of their names' hashes.
    pub fn groups(&self) -> impl Iterator<Item = SpanPlace> {
        self.groups.iter().map(|(_, spot)| *spot)
    }

    /// Returns the bytes in memory.
    pub fn resident_bytes(&self) -> u64 {
        let histograms = self.resources.iter().chain(&self.deletions).flatten();
        let histograms: u64 = histograms.map(AgeHistogram::resident_bytes).sum();
        let patients = self.patients.capacity() * size_of::<(ResourceKey, PatientSum)>();
        histograms + (patients + self.groups.capacity() * size_of::<(ResourceKey, SpanPlace)>()) as u64
    }
}
