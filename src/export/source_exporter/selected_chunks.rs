//! From a selection and the index to what is selected, chunk by chunk.

use std::collections::{BTreeSet, HashSet};

use super::notes::SelectionTally;
use super::provenances::AssociatedProvenances;
use super::references::follow;
use super::selection::Selection;
use crate::export::{CancelToken, ExportError};
use crate::index::{IndexChunk, IndexView, SpanPlace, keys};

/// Calls `visit` with the number of a segment, a chunk of it, and whether each span of the chunk is
/// selected. Chunks come in the order of the source; once more if they have resources that are referred
/// to, and once more if they have Provenances of what was selected. Returns what was counted.
pub fn each_selected_chunk(
    look: &IndexView<'_>,
    selection: &Selection,
    cancel: &CancelToken,
    mut visit: impl FnMut(usize, &IndexChunk, Vec<bool>),
) -> Result<SelectionTally, ExportError> {
    let (mut tally, mut wanted) = (SelectionTally::default(), HashSet::new());
    let mut associated = AssociatedProvenances::of(look, selection, cancel)?;
    let mut visit_resources = |s: usize, chunk: &IndexChunk, chosen: Vec<bool>| {
        cancel.check()?;
        if let Some(associated) = associated.as_mut().filter(|_| chosen.contains(&true)) {
            let names = look.segments[s].open()?.keys(chunk)?;
            let exported = keys(&names).iter().zip(&chosen).filter(|(_, is_chosen)| **is_chosen);
            for (name, _) in exported {
                cancel.check()?;
                associated.is_exported(*name);
            }
        }
        visit(s, chunk, chosen);
        Ok::<_, ExportError>(())
    };
    for (s, segment) in look.segments.iter().enumerate() {
        let reader = selection.needs_links().then(|| segment.open()).transpose()?;
        for (c, chunk) in segment.chunks.iter().enumerate() {
            let links = reader.as_ref().map(|reader| reader.links(chunk)).transpose()?;
            let superseded = look.overlay.superseded(s, c);
            let adopted = look.overlay.adopted(s, c);
            let mut chosen = selection.choose(chunk, links.as_ref(), superseded, adopted, cancel);
            cancel.check()?;
            tally.add((look, s, c), selection, links.as_ref(), &chosen, cancel)?;
            if let Some(links) = links.filter(|_| selection.follows_references()) {
                let sets =
                    chosen.iter().zip(links.sets()).filter(|(chosen, _)| **chosen).map(|(_, set)| *set);
                let sets: BTreeSet<_> = sets.collect();
                for set in sets {
                    cancel.check()?;
                    wanted.extend(links.pointers(set));
                }
            }
            for (is_chosen, updated) in chosen.iter_mut().zip(chunk.updated()) {
                *is_chosen &= selection.has_age(*updated);
            }
            visit_resources(s, chunk, chosen)?;
        }
    }
    let mut referred_to: Vec<_> = follow(look, selection, wanted, cancel)?.into_iter().collect();
    referred_to.retain(|(s, c, n)| {
        selection.has_age(look.segments[*s as usize].chunks[*c as usize].updated()[*n as usize])
    });
    each_chunk_of(look, &referred_to, visit_resources)?;
    let provenances = associated.map_or(Ok(Vec::new()), |associated| associated.chosen(cancel))?;
    each_chunk_of(look, &provenances, |s, chunk, chosen| {
        cancel.check()?;
        visit(s, chunk, chosen);
        Ok(())
    })?;
    Ok(tally)
}

/// Calls `visit` for each chunk that has some of these spans, and says which. The spans are in order.
pub fn each_chunk_of(
    look: &IndexView<'_>,
    spots: &[SpanPlace],
    mut visit: impl FnMut(usize, &IndexChunk, Vec<bool>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    for of_chunk in spots.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (s, c, _) = of_chunk[0];
        let chunk = &look.segments[s as usize].chunks[c as usize];
        let mut chosen = vec![false; chunk.types().len()];
        of_chunk.iter().for_each(|(_, _, n)| chosen[*n as usize] = true);
        visit(s as usize, chunk, chosen)?;
    }
    Ok(())
}

/// Returns the bytes that copying from this many files adds: the line feed of each last line.
pub fn line_feeds(files: usize) -> u64 {
    files as u64
}
