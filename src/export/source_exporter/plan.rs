//! From a request and the index to parts: cuts what is selected into pieces of about the same
//! size.

use std::collections::BTreeSet;

use super::context::PlanContext;
use super::copy::{SourceSlice, TouchedSums};
use super::deleted::{self, ToldBundle};
use super::line_writer::{LineOptions, LineWriter, PartLines};
use super::notes::{self, ExportNote};
use super::remarks::SourceRemarks;
use super::runs::{LineRun, RunWriter};
use super::selected_chunks::{each_chunk_of, each_selected_chunk, line_feeds};
use super::{PartContent, organized};
use crate::export::ExportError;
use crate::fhir::ResourceType;
use crate::index::{BLOCK, IndexChunk, IndexView};
use crate::job::OrganizeBy;
use crate::source::SourceFile;

/// How many bytes of the source a part may read for each that it copies, before it is cut.
const READ_FACTOR: u64 = 8;

/// A part and its weight in bytes.
type WeighedPart = (u64, PartContent);

/// What a plan is made of.
pub struct PlanContents {
    /// The parts.
    pub parts: Vec<WeighedPart>,
    /// Bytes that they write at the most.
    pub bytes: u64,
    /// Numbers of the segments whose files they copy from.
    pub segments: Vec<usize>,
}

/// Returns what an export of the request copies, and says of its source.
pub fn contents(context: &PlanContext<'_>) -> Result<PlanContents, ExportError> {
    let mut contents = match context.request.parameters().organize_by {
        Some(OrganizeBy::Patient) => blocks(context)?,
        None => copies(context)?,
    };
    let remarks = SourceRemarks::of(context.look);
    contents.bytes += remarks.bytes();
    let SourceRemarks { lines, list } = remarks;
    if !list.is_empty() {
        contents.parts.push((0, PartContent::Remarks { lines, list }));
    }
    Ok(contents)
}

/// Returns what is selected, type by type.
fn copies(context: &PlanContext<'_>) -> Result<PlanContents, ExportError> {
    let PlanContext { look, cancel, .. } = *context;
    let selection = context.selection()?;
    let mut parts = PartPlanner::of(context);
    let tally = each_selected_chunk(look, &selection, cancel, |s, chunk, chosen| {
        parts.add(s, &look.segments[s].file, chunk, chosen, &mut std::iter::empty());
    })?;
    // A part copies file by file: of one without other files, the Bundles come in this order.
    parts.cut();
    parts.add_told(look, deleted::told(look, &selection, cancel)?)?;
    let mut contents = parts.finish();
    contents.add_notes(notes::of(&selection, &tally, tally.selected == 0 && look.has_resources()));
    Ok(contents)
}

/// Returns what is selected, patient by patient (O-3), and what is told of resources that are gone.
fn blocks(context: &PlanContext<'_>) -> Result<PlanContents, ExportError> {
    let planned = organized::plan(context)?;
    let mut told = PartPlanner::of(context);
    told.add_told(context.look, planned.told)?;
    let told = told.finish();
    let parts = planned.parts.into_iter().map(|(weight, blocks)| (weight, PartContent::Blocks(blocks)));
    let mut parts: Vec<_> = parts.chain(told.parts).collect();
    if planned.left_out != Some(0) {
        parts.push((0, PartContent::LeftOut { resources: planned.left_out }));
    }
    let segments = BTreeSet::from_iter(planned.segments.into_iter().chain(told.segments));
    let (bytes, segments) = (planned.bytes + told.bytes, segments.into_iter().collect());
    let mut contents = PlanContents { parts, bytes, segments };
    contents.add_notes(planned.notes);
    Ok(contents)
}

impl PlanContents {
    fn add_notes(&mut self, notes: Vec<ExportNote>) {
        if !notes.is_empty() {
            self.bytes += notes::bytes(&notes);
            self.parts.push((0, PartContent::Notes(notes)));
        }
    }
}

/// The parts that are made so far.
struct PartPlanner {
    part_bytes: u64,
    lines: PartLines,
    url_growth: u64,
    rules: LineWriter,
    done: Vec<WeighedPart>,
    used: BTreeSet<usize>,
    files: Vec<SourceFile>,
    slices: Vec<SourceSlice>,
    /// Bytes that the part copies, and bytes of the blocks that it reads for them.
    weight: u64,
    read: u64,
    /// Bytes that all parts write, at the most.
    bytes: u64,
}

impl PartPlanner {
    fn of(context: &PlanContext<'_>) -> Self {
        let PlanContext { index, request, options, cancel, .. } = *context;
        let (part_bytes, lines) = (options.part_bytes, LineOptions::of(request, index.bases()));
        let (url_growth, bases) = (lines.url_growth(), lines.bases.clone());
        let rules = LineWriter::new(lines, cancel);
        let lines = PartLines { bases, told: Vec::new() };
        let (done, used, files, slices) = (Vec::new(), BTreeSet::new(), Vec::new(), Vec::new());
        Self { part_bytes, lines, url_growth, rules, done, used, files, slices, weight: 0, read: 0, bytes: 0 }
    }

    /// Adds the chosen spans of a chunk; `told` gives what is told of each of them that is a Bundle.
    fn add(
        &mut self,
        segment: usize,
        file: &SourceFile,
        chunk: &IndexChunk,
        chosen: Vec<bool>,
        told: &mut dyn Iterator<Item = Vec<u32>>,
    ) {
        let url_growth = self.url_growth;
        let mut binaries = chunk.binaries().peekable();
        let mut at = chunk.entry.start;
        let mut open: Option<SliceWriter<'_>> = None;
        for (n, ((span, index), is_chosen)) in chunk.spans().zip(chunk.types()).zip(chosen).enumerate() {
            let (start, length) = (at, u64::from(span.length));
            at += length;
            let urls = binaries.next_if(|(place, _)| *place == n).map_or(0, |(_, urls)| urls);
            let Some(resource_type) = ResourceType::at(*index).filter(|_| is_chosen) else { continue };
            if self.is_full(length) {
                self.close(open.take(), file);
                self.cut();
            }
            let open = open.get_or_insert_with(|| {
                self.used.insert(segment);
                SliceWriter::new(chunk, start)
            });
            let is_bundle = resource_type == ResourceType::BUNDLE;
            if is_bundle {
                self.lines.told.extend(told.next());
            } else {
                self.bytes += length + urls * url_growth + self.rules.growth(resource_type);
            }
            let is_tidy = span.is_tidy && !is_bundle && urls * url_growth == 0;
            self.weight += length;
            self.read += open.add(LineRun { start, length, is_tidy, resource_type });
        }
        self.close(open, file);
    }

    /// Adds Bundles of the source, of which this is told.
    fn add_told(&mut self, look: &IndexView<'_>, told: Vec<ToldBundle>) -> Result<(), ExportError> {
        let (mut bundles, mut entries) = (Vec::new(), Vec::new());
        for told in told {
            bundles.push(told.bundle);
            entries.push(told.entries);
            self.bytes += told.bytes;
        }
        let mut entries = entries.into_iter();
        each_chunk_of(look, &bundles, |s, chunk, chosen| {
            self.add(s, &look.segments[s].file, chunk, chosen, &mut entries);
            Ok(())
        })
    }

    fn is_full(&self, next: u64) -> bool {
        self.weight > 0
            && (self.weight + next > self.part_bytes
                || self.read > self.part_bytes.saturating_mul(READ_FACTOR))
    }

    fn close(&mut self, open: Option<SliceWriter<'_>>, file: &SourceFile) {
        let Some(slice) = open else { return };
        let number = self.files.iter().rposition(|known| known == file).unwrap_or_else(|| {
            self.files.push(file.clone());
            self.files.len() - 1
        });
        self.slices.push(slice.finish(number));
    }

    /// Ends the part.
    fn cut(&mut self) {
        if self.weight > 0 {
            let (files, slices) = (std::mem::take(&mut self.files), std::mem::take(&mut self.slices));
            let told = std::mem::take(&mut self.lines.told);
            let lines = PartLines { told, ..self.lines.clone() };
            self.done.push((self.weight, PartContent::Copy { files, slices, lines }));
        }
        (self.weight, self.read) = (0, 0);
    }

    fn finish(mut self) -> PlanContents {
        self.cut();
        let bytes = self.bytes + line_feeds(self.used.len());
        PlanContents { parts: self.done, bytes, segments: self.used.into_iter().collect() }
    }
}

/// A slice of a chunk that is being made.
pub struct SliceWriter<'a> {
    chunk: &'a IndexChunk,
    /// Where its first block begins.
    start: u64,
    /// Where its last resource ends.
    end: u64,
    runs: RunWriter,
    sums: TouchedSums<'a>,
}

impl<'a> SliceWriter<'a> {
    /// Creates a slice of `chunk` whose first resource begins at `first`.
    pub fn new(chunk: &'a IndexChunk, first: u64) -> Self {
        let before = (first - chunk.entry.start) / BLOCK as u64 * BLOCK as u64;
        let start = chunk.entry.start + before;
        let sums = TouchedSums::new(chunk.entry.start, chunk.sums());
        Self { chunk, start, end: start, runs: RunWriter::new(start), sums }
    }

    /// Adds a resource, which begins where the one before ended, or later; gives how many more
    /// bytes of the source are read for it.
    pub fn add(&mut self, run: LineRun) -> u64 {
        self.end = run.end();
        self.runs.add(run);
        self.sums.touch(run.start, run.end()) * BLOCK as u64
    }

    /// Returns the slice, of the file of that number.
    pub fn finish(self, file: usize) -> SourceSlice {
        let chunk = &self.chunk.entry;
        let blocks = (self.end - chunk.start).div_ceil(BLOCK as u64);
        let end = chunk.end.min(chunk.start + blocks * BLOCK as u64);
        SourceSlice { file, start: self.start, end, sum: self.sums.sum(), runs: self.runs.finish() }
    }
}
