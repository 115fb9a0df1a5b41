//! The resources outside of compartments that stand beside what refers to them, and what they
//! refer to themselves. They are few beside the patients' own: all that are asked for are in
//! memory while a plan is made.

use std::collections::HashSet;

use rustc_hash::FxHashMap;

use super::line_lengths::LineLengths;
use crate::export::source_exporter::selection::Selection;
use crate::export::{CancelToken, ExportError};
use crate::index::{IndexView, ResourceKey, SpanPlace, keys};

/// One of them.
pub struct ReferenceResource {
    /// Where it is.
    pub spot: SpanPlace,
    /// Its name.
    pub key: ResourceKey,
    /// Its bytes in a block, at the most.
    pub bytes: u64,
    /// Whether it is exported; if not, it only leads to others.
    has_age: bool,
    pointers: Vec<ResourceKey>,
}

/// The reference resources of a source, and what they point to.
pub struct ReferenceGraph {
    numbers: FxHashMap<ResourceKey, u32>,
    resources: Vec<ReferenceResource>,
}

impl ReferenceGraph {
    /// All that the selection exports if something points to them.
    pub fn load(
        look: &IndexView<'_>,
        selection: &Selection,
        bound: &LineLengths,
        cancel: &CancelToken,
    ) -> Result<Self, ExportError> {
        let mut beside = Self { numbers: FxHashMap::default(), resources: Vec::new() };
        for (s, segment) in look.segments.iter().enumerate() {
            let chunks = segment.chunks.iter().enumerate();
            let chunks = chunks.filter(|(_, chunk)| selection.refers_to_some(chunk.types()));
            for (c, chunk) in chunks {
                cancel.check()?;
                let reader = segment.open()?;
                let (table, links) = (reader.keys(chunk)?, reader.links(chunk)?);
                let superseded: HashSet<usize> = look.overlay.superseded(s, c).collect();
                let referred_to = selection.referred_to(chunk, &reader, cancel)?.into_iter();
                let named = referred_to.zip(keys(&table)).zip(bound.of(chunk));
                for (n, ((is_referred_to, key), bytes)) in named.enumerate() {
                    cancel.check()?;
                    if !is_referred_to || superseded.contains(&n) {
                        continue;
                    }
                    beside.numbers.insert(*key, beside.resources.len() as u32);
                    beside.resources.push(ReferenceResource {
                        spot: (s as u32, c as u32, n as u32),
                        key: *key,
                        bytes,
                        has_age: selection.has_age(chunk.updated()[n]),
                        pointers: links.pointers(links.sets()[n]).collect(),
                    });
                }
            }
        }
        Ok(beside)
    }

    /// Returns the number of the resource of that name.
    pub fn number(&self, key: ResourceKey) -> Option<u32> {
        self.numbers.get(&key).copied()
    }

    /// Visits the resources of these numbers, and those that can be reached from them, each once.
    ///
    /// # Errors
    /// [`ExportError::Cancelled`].
    pub fn follow(
        &self,
        from: impl Iterator<Item = u32>,
        cancel: &CancelToken,
        mut visit: impl FnMut(u32, &ReferenceResource),
    ) -> Result<(), ExportError> {
        let mut next: Vec<u32> = from.collect();
        let mut reached: HashSet<u32> = next.iter().copied().collect();
        while let Some(number) = next.pop() {
            cancel.check()?;
            let resource = &self.resources[number as usize];
            if resource.has_age {
                visit(number, resource);
            }
            let pointers = resource.pointers.iter().filter_map(|key| self.number(*key));
            next.extend(pointers.filter(|to| reached.insert(*to)));
        }
        Ok(())
    }
}
