//! The Provenances that `includeAssociatedData` asks for (K-13): each stands in the blocks that have
//! something that it targets, but for the blocks of those who may not see it (G-4): if it is in
//! compartments, it is in no block of another patient.

use std::collections::HashSet;

use super::line_lengths::LineLengths;
use super::survey::MOST_BLOCKS;
use crate::export::source_exporter::provenances::AssociatedProvenances;
use crate::export::source_exporter::selection::Selection;
use crate::export::{CancelToken, ExportError};
use crate::index::{IndexView, ResourceKey, SpanPlace};

/// The number of a patient, where the Provenance is, and its bytes.
pub type ProvenancePlace = (u32, SpanPlace, u64);

/// Provenances, and the blocks that they stand in.
pub struct PlacedProvenances {
    associated: AssociatedProvenances,
    /// Of each of them its bytes in a block, at the most; `None` if it is of too many patients.
    bytes: Vec<Option<u64>>,
    /// Number of the patient, and of a Provenance in its block.
    placed: Vec<(u32, u32)>,
}

impl PlacedProvenances {
    /// Returns those that may go along, if the selection asks for such.
    pub fn load(
        look: &IndexView<'_>,
        selection: &Selection,
        bound: &LineLengths,
        cancel: &CancelToken,
    ) -> Result<Option<Self>, ExportError> {
        let Some(associated) = AssociatedProvenances::of(look, selection, cancel)? else { return Ok(None) };
        let all: Vec<_> = associated.all().collect();
        let mut bytes = Vec::with_capacity(all.len());
        for of_chunk in all.chunk_by(|(a, _), (b, _)| (a.0, a.1) == (b.0, b.1)) {
            cancel.check()?;
            let (s, c, _) = of_chunk[0].0;
            let bounds = bound.of(&look.segments[s as usize].chunks[c as usize]);
            bytes.extend(of_chunk.iter().map(|(spot, patients)| {
                let blocks = patients.iter().filter(|patient| selection.is_about(patient)).count();
                (blocks <= MOST_BLOCKS).then(|| bounds[spot.2 as usize])
            }));
        }
        Ok(Some(Self { associated, bytes, placed: Vec::new() }))
    }

    /// Says that an export that is not organized has a resource of this name.
    pub fn is_exported(&mut self, name: ResourceKey) {
        self.associated.is_exported(name);
    }

    /// Places what goes along with a resource of this name in the block of a patient, given by its
    /// number and its name.
    pub fn place(&mut self, owner: u32, patient: ResourceKey, name: ResourceKey) {
        let is_shown = |number: u32| {
            let patients = self.associated.patients(number);
            self.bytes[number as usize].is_some() && (patients.is_empty() || patients.contains(&patient))
        };
        let numbers = self.associated.about(name, is_shown);
        self.placed.extend(numbers.into_iter().map(|number| (owner, number)));
    }

    /// Returns what was placed, each once: the number of the patient, where the Provenance is, and its
    /// bytes; and how many an export that is not organized has besides.
    ///
    /// # Errors
    /// [`ExportError::Cancelled`].
    pub fn finish(mut self, cancel: &CancelToken) -> Result<(Vec<ProvenancePlace>, u64), ExportError> {
        cancel.sort_once(&mut self.placed)?;
        let spots: Vec<SpanPlace> = self.associated.all().map(|(spot, _)| spot).collect();
        let placed = self.placed.iter().map(|(owner, number)| {
            let n = *number as usize;
            (*owner, spots[n], self.bytes[n].unwrap_or_default())
        });
        let placed: Vec<_> = placed.collect();
        let there: HashSet<_> = placed.iter().map(|(_, spot, _)| *spot).collect();
        let missed = self.associated.chosen(cancel)?.iter().filter(|spot| !there.contains(spot)).count();
        Ok((placed, missed as u64))
    }
}
