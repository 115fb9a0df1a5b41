//! Output that is organized by Patient (O-3): for each patient a block, which is a header, the
//! Patient resource, then what else of its compartment is selected and what that points to, in the
//! order of the source. A resource of several patients, or one that several point to, stands in
//! each of their blocks; what is in none is counted in the manifest's `error` file.
//!
//! A part is done in stages: the lines of some blocks are read into memory, in the order of the
//! files and each block of the source once, and then written block by block. A block that is too
//! large for a stage is a stage by itself, of which only the line with the patient's name is held:
//! the rest is copied as it is read. So a worker holds an eighth of a part in memory, or one line.
//! Of a file that is not what was planned nothing is published, as in any other part.

mod blocks;
mod header;
mod line_lengths;
mod placed_provenances;
mod reference_graph;
mod stages;
mod survey;

use serde::{Deserialize, Serialize};

use super::SourceExporter;
use super::context::PlanContext;
use super::copy::{SourceSlice, damaged};
use super::line_writer::{LineOptions, LineWriter, PartLines};
use super::runs::LineRun;
use crate::export::{CancelToken, ExportError, PartWriter};
use crate::fhir::reference::BaseUrls;
use crate::fhir::{IssueCode, OperationOutcome, ResourceType, Severity};
use crate::index::text_of;
use crate::source::SourceFile;

use blocks::EncodedBlock;
use stages::StagePlanner;
use survey::{MOST_BLOCKS, PatientSurvey};

pub use stages::PlannedBlocks;

/// What a part of blocks is made of.
#[derive(Debug, Serialize, Deserialize)]
pub struct BlockPart {
    /// The files, each as it was planned.
    files: Vec<SourceFile>,
    stages: Vec<BlockStage>,
    /// What is done with the lines.
    lines: PartLines,
}

/// Blocks that are written one after the other.
#[derive(Debug, Serialize, Deserialize)]
struct BlockStage {
    /// The lines that are held in memory.
    held: Vec<SourceSlice>,
    /// The blocks, as text.
    blocks: String,
    /// What the last block has behind its lines that are held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    copied: Vec<SourceSlice>,
}

/// Plans the blocks of a request.
///
/// # Errors
/// Those of a plan.
pub fn plan(context: &PlanContext<'_>) -> Result<PlannedBlocks, ExportError> {
    let PlanContext { index, look, request, options, cancel, .. } = *context;
    let mut survey = PatientSurvey::new(context)?;
    let (told, notes) = (std::mem::take(&mut survey.told), std::mem::take(&mut survey.notes));
    let mut stages = StagePlanner::new(look, &LineOptions::of(request, index.bases()), *options, cancel);
    survey.blocks().try_for_each(|block| stages.add(block))?;
    stages.finish(survey.left_out, told, notes)
}

/// Says that resources were left out, if some were. Where their number is not for the client, it is
/// told what would be, whether or not there are any.
pub fn left_out(resources: Option<u64>) -> Option<OperationOutcome> {
    let which = format!(
        "they belong to no patient, or to more than {MOST_BLOCKS} patients, and nothing in a patient's \
         block refers to them. An export without organizeOutputBy has those of them that its \
         _typeFilter"
    );
    let text = match resources {
        Some(0) => return None,
        Some(resources) => format!("{resources} resources were left out: {which} selects."),
        None => format!("Resources are left out if {which} and its scopes select."),
    };
    Some(OperationOutcome::new(Severity::Information, IssueCode::Processing, text))
}

/// Returns the bytes of the outcome in an `error` file.
fn left_out_bytes(resources: Option<u64>) -> u64 {
    left_out(resources).map_or(0, |outcome| outcome.to_json().len() as u64 + 1)
}

impl BlockPart {
    /// Writes the blocks.
    ///
    /// # Errors
    /// Those of [`SourceSlice::copy`], and of the writer.
    pub fn write(
        self,
        exporter: &SourceExporter,
        out: &mut PartWriter,
        cancel: &CancelToken,
    ) -> Result<(), ExportError> {
        let mut lines = LineWriter::of_part(self.lines, out, cancel)?;
        let mut buffer = Vec::new();
        for stage in &self.stages {
            let mut held = HeldLines::for_all(&stage.held)?;
            exporter.each_slice(&self.files, &stage.held, cancel, |slice, name, file| {
                slice.read(file, name, &mut buffer, cancel, |run, bytes| held.add(run, bytes))
            })?;
            for block in blocks::read(&stage.blocks).ok_or_else(damaged)? {
                held.write(&block, exporter.index.bases(), &mut lines, out)?;
            }
            exporter.each_slice(&self.files, &stage.copied, cancel, |slice, name, file| {
                slice.copy(file, name, &mut lines, &mut buffer, out)
            })?;
        }
        Ok(())
    }
}

/// Lines of the source in memory, by their numbers.
#[derive(Default)]
struct HeldLines {
    text: Vec<u8>,
    /// Where each ends, and its type.
    lines: Vec<(usize, ResourceType)>,
}

impl HeldLines {
    /// None yet, but room for those of all slices.
    fn for_all(slices: &[SourceSlice]) -> Result<Self, ExportError> {
        let mut bytes = 0;
        for slice in slices {
            bytes += slice.runs()?.iter().map(|run| run.length as usize).sum::<usize>();
        }
        Ok(Self { text: Vec::with_capacity(bytes), lines: Vec::new() })
    }

    /// Adds the lines of a run.
    fn add(&mut self, run: &LineRun, bytes: &[u8]) {
        if !run.is_tidy {
            return self.push(run.resource_type, text_of(bytes, run.start == 0));
        }
        let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        whole.split(|byte| *byte == b'\n').for_each(|line| self.push(run.resource_type, line));
    }

    fn push(&mut self, resource_type: ResourceType, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.lines.push((self.text.len(), resource_type));
    }

    fn line(&self, number: usize) -> Option<(ResourceType, &[u8])> {
        let (end, resource_type) = *self.lines.get(number)?;
        let start = number.checked_sub(1).map_or(0, |before| self.lines[before].0);
        Some((resource_type, &self.text[start..end]))
    }

    /// Writes what a block has of these lines: its own Patient resource first.
    fn write(
        &self,
        block: &EncodedBlock,
        bases: &BaseUrls,
        rules: &mut LineWriter,
        out: &mut PartWriter,
    ) -> Result<(), ExportError> {
        let name = self.line(block.name).ok_or_else(damaged)?.1;
        let header = match block.of {
            None => header::of_patient(name, rules.cancel())?,
            Some(patient) => header::referred_to(patient, name, bases, rules.cancel())?,
        };
        out.begin_block(header.ok_or_else(damaged)?, block.at_most)?;
        let is_first = |number: &usize| block.of.is_none() && *number == block.name;
        let all = || block.lines.iter().cloned().flatten();
        for number in all().filter(is_first).chain(all().filter(|number| !is_first(number))) {
            let (resource_type, line) = self.line(number).ok_or_else(damaged)?;
            rules.write(resource_type, line, out)?;
            out.progress(line.len() as u64 + 1)?;
        }
        Ok(())
    }
}
