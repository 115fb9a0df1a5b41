//! From a request and the index to what is selected, chunk by chunk: for a plan of it, or only
//! for its size.

use std::collections::{BTreeSet, HashSet};

use super::lines::{LineOptions, Lines};
use super::references::follow;
use super::select::Selection;
use super::{broken, group};
use crate::config::References;
use crate::export::ExportError;
use crate::fhir::ResourceType;
use crate::index::{Chunk, Index, Look};
use crate::job::{ALL_PATIENTS, ExportRequest, Level};

/// Calls `visit` with the number of a segment, a chunk of it, and for each span of the chunk
/// whether it is selected; in the order of the source, and once more for chunks with resources
/// that are referred to.
pub fn each_chosen(
    index: &Index,
    look: &Look<'_>,
    request: &ExportRequest,
    references: References,
    mut visit: impl FnMut(usize, &Chunk, Vec<bool>),
) -> Result<(), ExportError> {
    let members = group_of(request).map(|id| group::members(index, look, id)).transpose()?;
    let selection = Selection::new(request, references, members.as_ref());
    let mut wanted = HashSet::new();
    for (s, segment) in look.segments.iter().enumerate() {
        let reader = selection.needs_links().then(|| segment.open()).transpose()?;
        for (c, chunk) in segment.chunks.iter().enumerate() {
            let links = reader.as_ref().map(|reader| reader.links(chunk)).transpose()?;
            let superseded = look.overlay.superseded(s, c);
            let mut chosen = selection.choose(chunk, links.as_ref(), superseded, look.overlay.adopted(s, c));
            if let Some(links) = links.filter(|_| selection.follows_references()) {
                let sets =
                    chosen.iter().zip(links.sets()).filter(|(chosen, _)| **chosen).map(|(_, set)| *set);
                let sets: BTreeSet<_> = sets.collect();
                wanted.extend(sets.into_iter().flat_map(|set| links.pointers(set)));
            }
            for (is_chosen, updated) in chosen.iter_mut().zip(chunk.updated()) {
                *is_chosen &= selection.has_age(*updated);
            }
            visit(s, chunk, chosen);
        }
    }
    let referred_to = follow(look, &selection, wanted)?;
    for of_chunk in referred_to.into_iter().collect::<Vec<_>>().chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (s, c, _) = of_chunk[0];
        let chunk = &look.segments[s as usize].chunks[c as usize];
        let mut chosen = vec![false; chunk.types().len()];
        for (_, _, n) in of_chunk {
            chosen[*n as usize] = selection.has_age(chunk.updated()[*n as usize]);
        }
        visit(s as usize, chunk, chosen);
    }
    Ok(())
}

/// Bytes that an export of the request writes, at the most, and little more than that: what
/// is known of lines that have no line feed or are surrounded by blanks is their length in the
/// source. Of Patient-level exports all resources count that may be referred to, so that
/// nothing is read from disk: they are few beside the patients' own.
///
/// # Errors
/// Those of a plan.
pub fn size(
    index: &Index,
    look: &Look<'_>,
    request: &ExportRequest,
    references: References,
) -> Result<u64, ExportError> {
    let references = match references {
        References::Referenced if group_of(request).is_none() => References::All,
        references => references,
    };
    let rules = Lines::new(&LineOptions::of(request, index.base_url()))?;
    let mut bytes = 0;
    each_chosen(index, look, request, references, |_, chunk, chosen| {
        let lines = chunk.spans().zip(chunk.types()).zip(chosen).filter(|(_, is_chosen)| *is_chosen);
        let growth = |index| ResourceType::at(index).map_or(0, |resource_type| rules.growth(resource_type));
        let lengths = lines.map(|((span, index), _)| u64::from(span.length) + growth(*index));
        bytes += lengths.sum::<u64>();
    })?;
    let (_, texts) = broken::lines(look);
    Ok(bytes + line_feeds(look.segments.len()) + broken::bytes(&texts))
}

/// Bytes that copying from this many files adds: the line feed of each last line.
pub fn line_feeds(files: usize) -> u64 {
    files as u64
}

/// The group that is asked for, if it is not everybody.
pub fn group_of(request: &ExportRequest) -> Option<&str> {
    match request.level() {
        Level::Group { id } if id != ALL_PATIENTS => Some(id),
        _ => None,
    }
}
