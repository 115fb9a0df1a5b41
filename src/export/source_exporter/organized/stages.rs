//! From a survey to parts: as many blocks as a worker holds in memory make a stage, as many stages
//! as make the size of a part make a part.

use std::collections::BTreeSet;
use std::ops::Range;

use super::blocks::{self, EncodedBlock};
use super::survey::{self, SurveyedPatient};
use super::{BlockPart, BlockStage, header, left_out_bytes};
use crate::export::source_exporter::SourceOptions;
use crate::export::source_exporter::copy::SourceSlice;
use crate::export::source_exporter::deleted::ToldBundle;
use crate::export::source_exporter::line_writer::{LineOptions, PartLines};
use crate::export::source_exporter::notes::ExportNote;
use crate::export::source_exporter::plan::SliceWriter;
use crate::export::source_exporter::runs::LineRun;
use crate::export::{CancelToken, ExportError};
use crate::fhir::ResourceType;
use crate::index::{IndexView, SpanPlace};
use crate::source::SourceFile;

/// The share of a part that is held in memory at once.
const HELD_SHARE: u64 = 8;

/// What is planned.
pub struct PlannedBlocks {
    /// The parts, each with its weight in bytes.
    pub parts: Vec<(u64, BlockPart)>,
    /// Bytes that are written, at the most.
    pub bytes: u64,
    /// Numbers of the segments whose files are read.
    pub segments: Vec<usize>,
    /// How many resources are in no block, if that may be told.
    pub left_out: Option<u64>,
    /// What would else go without saying, which is not in them either.
    pub notes: Vec<ExportNote>,
    /// What is told of resources that are gone, which is not in the parts and bytes.
    pub told: Vec<ToldBundle>,
}

/// Parts that are being made.
pub struct StagePlanner<'p> {
    look: &'p IndexView<'p>,
    lines: PartLines,
    url_growth: u64,
    options: SourceOptions,
    cancel: &'p CancelToken,
    done: Vec<(u64, BlockPart)>,
    bytes: u64,
    used: BTreeSet<usize>,
    /// Numbers of the segments whose files the part reads.
    files: Vec<usize>,
    stages: Vec<BlockStage>,
    weight: u64,
    /// The blocks of the stage, and bytes that it holds in memory.
    blocks: Vec<survey::SurveyedBlock<'p>>,
    held: u64,
}

/// Returns the bytes of a block, at the most, its header repeated in each file that it goes on in.
pub fn bytes((patient, lines): &survey::SurveyedBlock<'_>, max_file_bytes: u64) -> u64 {
    let header = header::bytes(patient.name_bytes);
    let once = header + patient.bytes;
    if once <= max_file_bytes {
        return once;
    }
    // A file that goes on in another, and the first line of that one, are more than a file's size.
    let more_files = match max_file_bytes.checked_sub(header) {
        Some(room) if room > 0 => 2 * patient.bytes / room,
        _ => u64::MAX,
    };
    once + header * more_files.min(lines.len() as u64 - 1)
}

impl<'p> StagePlanner<'p> {
    /// No part yet.
    pub fn new(
        look: &'p IndexView<'p>,
        lines: &LineOptions,
        options: SourceOptions,
        cancel: &'p CancelToken,
    ) -> Self {
        Self {
            look,
            lines: PartLines { bases: lines.bases.clone(), told: Vec::new() },
            url_growth: lines.url_growth(),
            options,
            cancel,
            done: Vec::new(),
            bytes: 0,
            used: BTreeSet::new(),
            files: Vec::new(),
            stages: Vec::new(),
            weight: 0,
            blocks: Vec::new(),
            held: 0,
        }
    }

    /// Adds the next block.
    ///
    /// # Errors
    /// [`ExportError::Cancelled`] if the token has fired.
    pub fn add(&mut self, block: survey::SurveyedBlock<'p>) -> Result<(), ExportError> {
        let (bytes, held) = (bytes(&block, self.options.max_file_bytes), block.0.name_bytes + block.0.bytes);
        if self.held + held > self.most_held() {
            self.end_stage()?;
        }
        if self.weight > 0 && self.weight + bytes > self.options.part_bytes {
            self.end_stage()?;
            self.end_part();
        }
        self.blocks.push(block);
        self.held += held;
        self.weight += bytes;
        self.bytes += bytes;
        Ok(self.cancel.check()?)
    }

    /// Returns all parts.
    pub fn finish(
        mut self,
        left_out: Option<u64>,
        told: Vec<ToldBundle>,
        notes: Vec<ExportNote>,
    ) -> Result<PlannedBlocks, ExportError> {
        self.end_stage()?;
        self.end_part();
        let bytes = self.bytes + left_out_bytes(left_out);
        let segments = self.used.into_iter().collect();
        Ok(PlannedBlocks { parts: self.done, bytes, segments, left_out, notes, told })
    }

    fn most_held(&self) -> u64 {
        self.options.part_bytes / HELD_SHARE
    }

    fn end_stage(&mut self) -> Result<(), ExportError> {
        let blocks = std::mem::take(&mut self.blocks);
        let held = std::mem::take(&mut self.held);
        if blocks.is_empty() {
            return Ok(());
        }
        // Such a block is the only one: all but its Patient resource is copied.
        let is_too_large = held > self.most_held();
        let (mut held, mut copied) = (Vec::new(), Vec::new());
        for (patient, lines) in &blocks {
            let is_held = |spot: &SpanPlace| !is_too_large || is_own(patient, spot);
            held.push(patient.name);
            held.extend(spots(lines).filter(is_held));
            copied.extend(spots(lines).filter(|spot| !is_held(spot)));
        }
        self.cancel.sort_once(&mut held)?;
        let number = |spot: &SpanPlace| held.partition_point(|other| other < spot);
        let planned = blocks.iter().map(|block| EncodedBlock {
            name: number(&block.0.name),
            of: (!block.0.is_own).then_some(block.0.key),
            at_most: bytes(block, self.options.max_file_bytes),
            lines: ranges(
                spots(block.1)
                    .filter(|spot| !is_too_large || is_own(block.0, spot))
                    .map(|spot| number(&spot)),
            ),
        });
        let blocks = blocks::write(&planned.collect::<Vec<_>>());
        let stage = BlockStage { held: self.slices(&held)?, blocks, copied: self.slices(&copied)? };
        self.stages.push(stage);
        Ok(())
    }

    /// Slices of the resources that are there, in the order of these.
    fn slices(&mut self, spots: &[SpanPlace]) -> Result<Vec<SourceSlice>, ExportError> {
        let mut slices = Vec::new();
        for of_chunk in spots.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            self.cancel.check()?;
            slices.extend(self.slice(of_chunk));
        }
        Ok(slices)
    }

    /// Returns a slice of resources of one chunk.
    fn slice(&mut self, spots: &[SpanPlace]) -> Option<SourceSlice> {
        let (s, c) = (spots[0].0 as usize, spots[0].1 as usize);
        let chunk = &self.look.segments[s].chunks[c];
        let mut wanted = spots.iter().map(|spot| spot.2 as usize).peekable();
        // A line whose URLs of Binaries change does not go out as it is, even if others of its type do.
        let changes: Vec<usize> = match self.url_growth {
            0 => Vec::new(),
            _ => chunk.binaries().map(|(n, _)| n).collect(),
        };
        let mut at = chunk.entry.start;
        let mut slice: Option<SliceWriter<'_>> = None;
        for (n, (span, index)) in chunk.spans().zip(chunk.types()).enumerate() {
            let (start, length) = (at, u64::from(span.length));
            at += length;
            if wanted.next_if_eq(&n).is_none() {
                continue;
            }
            let resource_type = ResourceType::at(*index)?;
            let slice = slice.get_or_insert_with(|| SliceWriter::new(chunk, start));
            let is_tidy = span.is_tidy && changes.binary_search(&n).is_err();
            slice.add(LineRun { start, length, is_tidy, resource_type });
            if wanted.peek().is_none() {
                break;
            }
        }
        let file = self.files.iter().position(|known| *known == s).unwrap_or_else(|| {
            self.files.push(s);
            self.files.len() - 1
        });
        Some(slice?.finish(file))
    }

    fn end_part(&mut self) {
        let weight = std::mem::take(&mut self.weight);
        let stages = std::mem::take(&mut self.stages);
        let files = std::mem::take(&mut self.files);
        if stages.is_empty() {
            return;
        }
        self.used.extend(&files);
        let files: Vec<SourceFile> = files.iter().map(|s| self.look.segments[*s].file.clone()).collect();
        self.done.push((weight, BlockPart { files, stages, lines: self.lines.clone() }));
    }
}

/// Returns where the resources of a block are.
fn spots(lines: &[(u32, SpanPlace)]) -> impl Iterator<Item = SpanPlace> {
    lines.iter().map(|(_, spot)| *spot)
}

/// Returns whether that is the patient's own resource.
fn is_own(patient: &SurveyedPatient, spot: &SpanPlace) -> bool {
    patient.is_own && patient.name == *spot
}

/// Numbers, in order, as ranges.
fn ranges(numbers: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}
