//! The Provenances that `includeAssociatedData` asks for (K-13): all that target one of the
//! exported resources, or of those of each resource the most recent one. They are chosen by what
//! they target and by nothing else: `_type` need not name Provenance, and `_since` and `_until`
//! bound the resources, not what is known of their origin. Provenances of Provenances do not
//! come along, nor does what a Provenance refers to come along because of it.
//!
//! Of an export that is about some patients only, a Provenance that is in the compartments of
//! others too is left out, even if it targets an Organization, say, that is exported (G-4, P15);
//! and so is one that targets a Group of which the export must not tell.

use std::collections::{HashMap, HashSet};

use super::selection::Selection;
use crate::export::{CancelToken, ExportError};
use crate::fhir::ResourceType;
use crate::index::{ChunkLinks, IndexView, ResourceKey, SpanPlace, TargetingProvenance};
use crate::job::AssociatedData;

/// The Provenances of a source, and which of them go along with what was exported so far.
pub struct AssociatedProvenances {
    which: AssociatedData,
    /// Those that may go along, in the order of the source.
    provenances: Vec<Provenance>,
    /// What they target, sorted, each with the number of the Provenance.
    targets: Vec<(ResourceKey, u32)>,
    /// The numbers of those that go along.
    chosen: HashSet<u32>,
}

/// A Provenance of the source.
struct Provenance {
    spot: SpanPlace,
    recorded: i64,
    /// In whose compartments it is.
    patients: Box<[ResourceKey]>,
}

impl AssociatedProvenances {
    /// Returns the Provenances that may go along, if the selection asks for such.
    pub fn of(
        look: &IndexView<'_>,
        selection: &Selection,
        cancel: &CancelToken,
    ) -> Result<Option<Self>, ExportError> {
        let Some(which) = selection.provenances() else { return Ok(None) };
        let (mut provenances, mut targets) = (Vec::new(), Vec::new());
        let provenance = ResourceType::PROVENANCE.index();
        for (s, segment) in look.segments.iter().enumerate() {
            let chunks = segment.chunks.iter().enumerate();
            for (c, chunk) in chunks.filter(|(_, chunk)| chunk.types().contains(&provenance)) {
                let links = segment.open()?.links(chunk)?;
                let withheld = selection.withheld(&links, cancel);
                let left_out: HashSet<usize> = look.overlay.superseded(s, c).chain(withheld).collect();
                let adopted: HashMap<usize, &[ResourceKey]> = look.overlay.adopted(s, c).collect();
                for TargetingProvenance { place, recorded, targets: its } in links.targeting() {
                    cancel.check()?;
                    let n = place as usize;
                    let own = named(&links, &chunk.patients()[n]);
                    let patients = adopted.get(&n).map_or(own.as_slice(), |patients| patients);
                    if left_out.contains(&n) || !selection.may_show(patients) {
                        continue;
                    }
                    let number = provenances.len() as u32;
                    targets.extend(its.iter().map(|target| (*target, number)));
                    let (spot, patients) = ((s as u32, c as u32, place), patients.into());
                    provenances.push(Provenance { spot, recorded, patients });
                }
            }
        }
        cancel.sort(&mut targets)?;
        Ok(Some(Self { which, provenances, targets, chosen: HashSet::new() }))
    }

    /// Says that a resource of this name is exported.
    pub fn is_exported(&mut self, name: ResourceKey) {
        let numbers = self.about(name, |_| true);
        self.chosen.extend(numbers);
    }

    /// Returns the numbers of those that go along with a resource of this name, of those that
    /// `is_shown` says yes to.
    pub fn about(&self, name: ResourceKey, is_shown: impl Fn(u32) -> bool) -> Vec<u32> {
        let start = self.targets.partition_point(|(target, _)| *target < name);
        let of_name = self.targets[start..].iter().take_while(|(target, _)| *target == name);
        let numbers = of_name.map(|(_, number)| *number).filter(|number| is_shown(*number));
        match self.which {
            AssociatedData::Relevant => numbers.collect(),
            // Of several of one instant, or of unknown ones, the last in the source.
            AssociatedData::Latest => {
                let latest = numbers.max_by_key(|n| (self.provenances[*n as usize].recorded, *n));
                latest.into_iter().collect()
            }
        }
    }

    /// Returns all that may go along, by their numbers: where each is, and in whose compartments.
    pub fn all(&self) -> impl Iterator<Item = (SpanPlace, &[ResourceKey])> {
        self.provenances.iter().map(|one| (one.spot, &*one.patients))
    }

    /// In whose compartments the one of that number is.
    pub fn patients(&self, number: u32) -> &[ResourceKey] {
        &self.provenances[number as usize].patients
    }

    /// Returns those that go along, in the order of the source.
    ///
    /// # Errors
    /// [`ExportError::Cancelled`].
    pub fn chosen(&self, cancel: &CancelToken) -> Result<Vec<SpanPlace>, ExportError> {
        let mut numbers: Vec<_> = self.chosen.iter().copied().collect();
        cancel.sort(&mut numbers)?;
        Ok(numbers.into_iter().map(|number| self.provenances[number as usize].spot).collect())
    }
}

/// Returns the patients that a Provenance targets itself.
fn named(links: &ChunkLinks, entry: &u32) -> Vec<ResourceKey> {
    links.patients(entry).filter_map(|place| links.everybody().get(place).copied()).collect()
}
