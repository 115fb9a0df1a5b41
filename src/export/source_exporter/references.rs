//! The resources outside of compartments that go with patients: Organizations, Practitioners
//! and their like, as far as something exported points to them.

use std::collections::{BTreeSet, HashSet};

use super::selection::Selection;
use crate::export::{CancelToken, ExportError};
use crate::index::{IndexView, ResourceKey, SpanPlace, keys};

/// Follows pointers from `wanted` on: gives the resources of the selection's types that are
/// pointed to, directly or through one another.
pub fn follow(
    look: &IndexView<'_>,
    selection: &Selection,
    mut wanted: HashSet<ResourceKey>,
    cancel: &CancelToken,
) -> Result<BTreeSet<SpanPlace>, ExportError> {
    let mut found = BTreeSet::new();
    while !wanted.is_empty() {
        let mut next = HashSet::new();
        for (s, segment) in look.segments.iter().enumerate() {
            let chunks = segment.chunks.iter().enumerate();
            let chunks = chunks.filter(|(_, chunk)| selection.refers_to_some(chunk.types()));
            for (c, chunk) in chunks {
                cancel.check()?;
                let reader = segment.open()?;
                let table = reader.keys(chunk)?;
                let superseded: HashSet<usize> = look.overlay.superseded(s, c).collect();
                let (mut new, referred_to) = (Vec::new(), selection.referred_to(chunk, &reader, cancel)?);
                for (n, (key, is_referred_to)) in keys(&table).iter().zip(referred_to).enumerate() {
                    if is_referred_to
                        && wanted.contains(key)
                        && !superseded.contains(&n)
                        && found.insert((s as u32, c as u32, n as u32))
                    {
                        new.push(n);
                    }
                }
                if !new.is_empty() {
                    let links = reader.links(chunk)?;
                    for n in new {
                        cancel.check()?;
                        next.extend(links.pointers(links.sets()[n]));
                    }
                }
            }
        }
        wanted = next;
    }
    Ok(found)
}
