//! From a request and the index to parts: selects, and cuts what is selected into pieces of
//! about the same size.

use std::collections::{BTreeSet, HashSet};

use super::copy::{Slice, TouchedSums};
use super::references::follow;
use super::runs::{Run, RunWriter};
use super::select::Selection;
use super::{Content, SourceOptions, group};
use crate::export::ExportError;
use crate::fhir::ResourceType;
use crate::index::{BLOCK, Chunk, Index, Look};
use crate::job::{ALL_PATIENTS, ExportRequest, Level};
use crate::source::SourceFile;

/// How many bytes of the source a part may read for each that it copies, before it is cut.
const READ_FACTOR: u64 = 8;

/// A part and its weight in bytes.
type Weighed = (u64, Content);

/// The parts of a request with their weights in bytes, and the numbers of the segments whose
/// files they copy from.
pub fn contents(
    index: &Index,
    look: &Look<'_>,
    request: &ExportRequest,
    options: &SourceOptions,
) -> Result<(Vec<Weighed>, Vec<usize>), ExportError> {
    let members = match &request.level {
        Level::Group { id } if id != ALL_PATIENTS => Some(group::members(index, look, id)?),
        _ => None,
    };
    let selection = Selection::new(request, options.references, members.as_ref());
    let mut parts = Parts::new(options.part_bytes);
    let mut wanted = HashSet::new();
    for (s, segment) in look.segments.iter().enumerate() {
        let reader = selection.needs_links().then(|| segment.open()).transpose()?;
        for (c, chunk) in segment.chunks.iter().enumerate() {
            let links = reader.as_ref().map(|reader| reader.links(chunk)).transpose()?;
            let superseded = look.overlay.superseded(s, c);
            let chosen = selection.choose(chunk, links.as_ref(), superseded, look.overlay.adopted(s, c));
            if let Some(links) = links.filter(|_| selection.follows_references()) {
                let sets =
                    chosen.iter().zip(links.sets()).filter(|(chosen, _)| **chosen).map(|(_, set)| *set);
                let sets: BTreeSet<_> = sets.collect();
                wanted.extend(sets.into_iter().flat_map(|set| links.pointers(set)));
            }
            let has_age = chunk.updated().iter().map(|updated| selection.has_age(*updated));
            let is_chosen = chosen.into_iter().zip(has_age).map(|(chosen, has_age)| chosen && has_age);
            parts.add(s, &segment.file, chunk, is_chosen);
        }
    }
    let referred_to = follow(look, &selection, wanted)?;
    for of_chunk in referred_to.into_iter().collect::<Vec<_>>().chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (s, c, _) = of_chunk[0];
        let segment = &look.segments[s as usize];
        let chunk = &segment.chunks[c as usize];
        let mut chosen = vec![false; chunk.types().len()];
        for (_, _, n) in of_chunk {
            chosen[*n as usize] = selection.has_age(chunk.updated()[*n as usize]);
        }
        parts.add(s as usize, &segment.file, chunk, chosen);
    }
    let (mut parts, used) = parts.finish();
    parts.extend(broken_lines(look));
    Ok((parts, used))
}

/// What there is to say about lines that are no resources.
fn broken_lines(look: &Look<'_>) -> Option<Weighed> {
    let (mut lines, mut texts) = (0, Vec::new());
    for segment in &look.segments {
        let name = &segment.file.name;
        let before = texts.len();
        texts.extend(segment.broken_lines(0).map(|(line, broken)| {
            format!("Line {line} of {name} {}; it was left out of the export.", broken.text())
        }));
        let count = segment.broken_count(0);
        let rest = count - (texts.len() - before) as u64;
        if rest > 0 {
            texts.push(format!("{rest} more lines of {name} were left out of the export."));
        }
        lines += count;
    }
    (lines > 0).then_some((0, Content::Broken { lines, texts }))
}

/// The parts that are made so far.
struct Parts {
    part_bytes: u64,
    done: Vec<Weighed>,
    used: BTreeSet<usize>,
    files: Vec<SourceFile>,
    slices: Vec<Slice>,
    /// Bytes that the part copies, and bytes of the blocks that it reads for them.
    weight: u64,
    read: u64,
}

impl Parts {
    fn new(part_bytes: u64) -> Self {
        let (done, used, files, slices) = (Vec::new(), BTreeSet::new(), Vec::new(), Vec::new());
        Self { part_bytes, done, used, files, slices, weight: 0, read: 0 }
    }

    /// Adds the chosen spans of a chunk.
    fn add(
        &mut self,
        segment: usize,
        file: &SourceFile,
        chunk: &Chunk,
        chosen: impl IntoIterator<Item = bool>,
    ) {
        let mut at = chunk.entry.start;
        let mut open: Option<Open<'_>> = None;
        for ((span, index), is_chosen) in chunk.spans().zip(chunk.types()).zip(chosen) {
            let (start, length) = (at, u64::from(span.length));
            at += length;
            let Some(resource_type) = ResourceType::at(*index).filter(|_| is_chosen) else { continue };
            if self.is_full(length) {
                self.close(open.take(), file, chunk);
                self.cut();
            }
            let open = open.get_or_insert_with(|| {
                self.used.insert(segment);
                Open::new(chunk, start)
            });
            open.runs.add(Run { start, length, is_tidy: span.is_tidy, resource_type });
            open.end = at;
            self.weight += length;
            self.read += open.sums.touch(start, at) * BLOCK as u64;
        }
        self.close(open, file, chunk);
    }

    fn is_full(&self, next: u64) -> bool {
        self.weight > 0
            && (self.weight + next > self.part_bytes
                || self.read > self.part_bytes.saturating_mul(READ_FACTOR))
    }

    fn close(&mut self, open: Option<Open<'_>>, file: &SourceFile, chunk: &Chunk) {
        let Some(Open { start, end, runs, sums }) = open else { return };
        let number = self.files.iter().rposition(|known| known == file).unwrap_or_else(|| {
            self.files.push(file.clone());
            self.files.len() - 1
        });
        let blocks = (end - chunk.entry.start).div_ceil(BLOCK as u64);
        let end = chunk.entry.end.min(chunk.entry.start + blocks * BLOCK as u64);
        self.slices.push(Slice { file: number, start, end, sum: sums.sum(), runs: runs.finish() });
    }

    /// Ends the part.
    fn cut(&mut self) {
        if self.weight > 0 {
            let (files, slices) = (std::mem::take(&mut self.files), std::mem::take(&mut self.slices));
            self.done.push((self.weight, Content::Copy { files, slices }));
        }
        (self.weight, self.read) = (0, 0);
    }

    fn finish(mut self) -> (Vec<Weighed>, Vec<usize>) {
        self.cut();
        (self.done, self.used.into_iter().collect())
    }
}

/// A slice that is being made.
struct Open<'a> {
    /// Where its first block begins.
    start: u64,
    /// Where its last resource ends.
    end: u64,
    runs: RunWriter,
    sums: TouchedSums<'a>,
}

impl<'a> Open<'a> {
    /// A slice of `chunk` whose first resource begins at `first`.
    fn new(chunk: &'a Chunk, first: u64) -> Self {
        let before = (first - chunk.entry.start) / BLOCK as u64 * BLOCK as u64;
        let start = chunk.entry.start + before;
        let sums = TouchedSums::new(chunk.entry.start, chunk.sums());
        Self { start, end: start, runs: RunWriter::new(start), sums }
    }
}
