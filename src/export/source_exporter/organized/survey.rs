//! Who has what: for each patient the resources of its block. That is what a Group export of this
//! patient alone selects: what of its compartment is asked for, and what that points to.
//!
//! An export of everything is organized as the Patient-level export is, since a block can hold
//! nothing else. It takes 16 bytes of memory for each resource of each block.

use std::collections::HashSet;

use rustc_hash::FxHashMap;

use super::line_lengths::LineLengths;
use super::placed_provenances::PlacedProvenances;
use super::reference_graph::ReferenceGraph;
use crate::config::ReferencePolicy;
use crate::export::source_exporter::SourceOptions;
use crate::export::source_exporter::context::PlanContext;
use crate::export::source_exporter::deleted::{self, ToldBundle};
use crate::export::source_exporter::line_writer::LineOptions;
use crate::export::source_exporter::notes::{self, ExportNote, SelectionTally};
use crate::export::source_exporter::selection::Selection;
use crate::export::{CancelToken, ExportError};
use crate::fhir::ResourceType;
use crate::index::{
    ChunkLinks, IndexChunk, IndexView, LineSpan, ResourceKey, SegmentReader, SpanPlace, keys,
};
use crate::job::{ExportRequest, Level};

/// Blocks that one resource stands in at the most. A Group names its members and is in the
/// compartment of each: those of a whole population would be written once a patient, and the output
/// would grow with the square of the source (G-11).
pub const MOST_BLOCKS: usize = 100;

/// A patient, and what is known of its block.
pub struct SurveyedPatient {
    /// Its name as the index has it.
    pub key: ResourceKey,
    /// The line that its id is read from.
    pub name: SpanPlace,
    /// The length of that line in bytes.
    pub name_bytes: u64,
    /// Whether that line is the Patient resource itself, and not one that refers to it.
    pub is_own: bool,
    /// Bytes of the resources of its block, at the most.
    pub bytes: u64,
}

/// A block: whose it is, and the spots of its resources in the order of the source.
pub type SurveyedBlock<'s> = (&'s SurveyedPatient, &'s [(u32, SpanPlace)]);

/// The patients whose blocks are written, and the resources of each block.
pub struct PatientSurvey {
    /// In the order of the lines that name them: patients that follow each other in one file
    /// mostly do in others.
    patients: Vec<SurveyedPatient>,
    /// Number of the patient and where the resource is, in order.
    lines: Vec<(u32, SpanPlace)>,
    /// How many resources are asked for, but belong to no block; `None` if some of these may be such
    /// that the export may not hold, since only their lines could tell.
    pub left_out: Option<u64>,
    /// What would else go without saying.
    pub notes: Vec<ExportNote>,
    /// What is told of resources that are gone: what an export that is not organized tells.
    pub told: Vec<ToldBundle>,
}

impl PatientSurvey {
    /// Looks at what `request` selects.
    ///
    /// # Errors
    /// Those of a plan.
    pub fn new(context: &PlanContext<'_>) -> Result<Self, ExportError> {
        let PlanContext { index, look, request, options, cancel, .. } = *context;
        let asked_for = context.asked_for()?;
        let plain = Selection::new(request, options, asked_for.clone());
        let bound = LineLengths::new(LineOptions::of(request, index.bases()), cancel);
        let may_tell = request.access.restrictions().next().is_none();
        let (request, options) = as_blocks(request, options);
        let selection = Selection::new(&request, &options, asked_for);
        let mut taker = SurveyTaker {
            cancel,
            beside: ReferenceGraph::load(look, &selection, &bound, cancel)?,
            along: PlacedProvenances::load(look, &selection, &bound, cancel)?,
            selection,
            bound,
            numbers: FxHashMap::default(),
            patients: Vec::new(),
            lines: Vec::new(),
            pointed: Vec::new(),
            missed: 0,
            tally: SelectionTally::default(),
            missed_pointed: HashSet::new(),
        };
        for (s, segment) in look.segments.iter().enumerate() {
            let reader = segment.open()?;
            for (c, chunk) in segment.chunks.iter().enumerate() {
                cancel.check()?;
                taker.take(look, &plain, (s, c), chunk, &reader)?;
            }
        }
        taker.place_beside(!plain.follows_references())?;
        taker.place_along()?;
        let left_out = may_tell.then_some(taker.missed);
        let notes = notes::of(&plain, &taker.tally, taker.tally.selected == 0 && look.has_resources());
        taker.finish(left_out, deleted::told(look, &plain, cancel)?, notes)
    }

    /// Returns the blocks that have something in them.
    pub fn blocks(&self) -> impl Iterator<Item = SurveyedBlock<'_>> {
        let blocks = self.lines.chunk_by(|a, b| a.0 == b.0);
        blocks.map(|lines| (&self.patients[lines[0].0 as usize], lines))
    }
}

/// Returns what is asked for, as far as a block can have it.
fn as_blocks(request: &ExportRequest, options: &SourceOptions) -> (ExportRequest, SourceOptions) {
    let mut request = request.clone();
    let references = match (request.level(), options.references) {
        (Level::Patient | Level::Group { .. }, ReferencePolicy::None) => ReferencePolicy::None,
        _ => ReferencePolicy::Referenced,
    };
    if request.kickoff.level == Level::System {
        request.kickoff.level = Level::Patient;
    }
    (request, SourceOptions { references, ..*options })
}

/// A survey that is being taken.
struct SurveyTaker<'c> {
    cancel: &'c CancelToken,
    selection: Selection,
    bound: LineLengths,
    beside: ReferenceGraph,
    along: Option<PlacedProvenances>,
    numbers: FxHashMap<ResourceKey, u32>,
    patients: Vec<FoundPatient>,
    lines: Vec<(u32, SpanPlace)>,
    /// Number of the patient, and of a resource that one of its resources points to.
    pointed: Vec<(u32, u32)>,
    /// Resources that would be exported if the output were not organized, and are not in the
    /// compartments of the patients whose blocks are made.
    missed: u64,
    /// What an export that is not organized selects.
    tally: SelectionTally,
    /// Numbers of what those of them that belong to too many patients point to.
    missed_pointed: HashSet<u32>,
}

/// A patient that was found.
struct FoundPatient {
    key: ResourceKey,
    bytes: u64,
    /// Where its name is, the length of the line, and whether that is its own resource.
    name: Option<(SpanPlace, u64, bool)>,
}

impl SurveyTaker<'_> {
    fn number(&mut self, key: ResourceKey) -> Option<u32> {
        if !self.selection.is_about(&key) {
            return None;
        }
        let patients = &mut self.patients;
        Some(*self.numbers.entry(key).or_insert_with(|| {
            patients.push(FoundPatient { key, bytes: 0, name: None });
            (patients.len() - 1) as u32
        }))
    }

    /// Looks at a chunk: `(s, c)` are the numbers of its segment and its own in that.
    fn take(
        &mut self,
        look: &IndexView<'_>,
        plain: &Selection,
        (s, c): (usize, usize),
        chunk: &IndexChunk,
        reader: &SegmentReader<'_>,
    ) -> Result<(), ExportError> {
        let links = reader.links(chunk)?;
        let overlay = &look.overlay;
        let choose = |selection: &Selection| {
            let (superseded, adopted) = (overlay.superseded(s, c), overlay.adopted(s, c));
            selection.choose(chunk, Some(&links), superseded, adopted, self.cancel)
        };
        let (chosen, asked_for) = (choose(&self.selection), choose(plain));
        self.tally.add((look, s, c), plain, Some(&links), &asked_for, self.cancel)?;
        let mut adopted = overlay.adopted(s, c).peekable();
        let names = names(chunk, reader, self.along.is_some())?;
        let bytes = self.bound.of(chunk);
        let (mut owners, mut sets) = (Vec::new(), Vec::new());
        for (n, span) in chunk.spans().enumerate() {
            self.cancel.check()?;
            let spot = (s as u32, c as u32, n as u32);
            let keys = links.patients(&chunk.patients()[n]).filter_map(|place| links.everybody().get(place));
            owners.clear();
            for key in keys {
                self.cancel.check()?;
                owners.extend(self.number(*key));
            }
            self.name(&owners, spot, span, names.get(n));
            if let Some((_, keys)) = adopted.next_if(|(place, _)| *place == n) {
                owners.extend(keys.iter().filter_map(|key| self.number(*key)));
            }
            let has_age = self.selection.has_age(chunk.updated()[n]);
            if let Some(along) = self.along.as_mut().filter(|_| asked_for[n] && has_age) {
                along.is_exported(names[n]);
            }
            if !chosen[n] || owners.len() > MOST_BLOCKS {
                self.missed += u64::from(asked_for[n] && has_age);
                if chosen[n] {
                    let to = links.pointers(links.sets()[n]).filter_map(|key| self.beside.number(key));
                    self.missed_pointed.extend(to);
                }
                continue;
            }
            for owner in &owners {
                sets.push((*owner, links.sets()[n]));
                if has_age {
                    self.lines.push((*owner, spot));
                    let patient = &mut self.patients[*owner as usize];
                    patient.bytes += bytes[n];
                    if let Some(along) = &mut self.along {
                        along.place(*owner, patient.key, names[n]);
                    }
                }
            }
        }
        self.point(&links, sets)
    }

    /// Notes that a resource names these patients: `own` is its own name, if it may be a Patient.
    fn name(&mut self, owners: &[u32], spot: SpanPlace, span: LineSpan, own: Option<&ResourceKey>) {
        for owner in owners {
            let found = &mut self.patients[*owner as usize];
            let is_own = own == Some(&found.key);
            // Of a Patient that is there twice the last counts (F-7).
            if is_own || found.name.is_none() {
                found.name = Some((spot, u64::from(span.length), is_own));
            }
        }
    }

    /// Notes what sets of pointers of a chunk's patients point to.
    fn point(&mut self, links: &ChunkLinks, mut sets: Vec<(u32, u32)>) -> Result<(), ExportError> {
        self.cancel.sort_once(&mut sets)?;
        for (owner, set) in sets {
            self.cancel.check()?;
            let to = links.pointers(set).filter_map(|key| self.beside.number(key));
            self.pointed.extend(to.map(|resource| (owner, resource)));
        }
        Ok(())
    }

    /// Places what patients' resources point to. `missed_beside` says that all of that counts as
    /// missed so far.
    fn place_beside(&mut self, missed_beside: bool) -> Result<(), ExportError> {
        let cancel = self.cancel;
        cancel.sort_once(&mut self.pointed)?;
        let mut placed = HashSet::new();
        for of_one in self.pointed.chunk_by(|a, b| a.0 == b.0) {
            let owner = of_one[0].0;
            let patient = &mut self.patients[owner as usize];
            self.beside.follow(
                of_one.iter().map(|(_, resource)| *resource),
                cancel,
                |number, resource| {
                    placed.insert(number);
                    self.lines.push((owner, resource.spot));
                    patient.bytes += resource.bytes;
                    if let Some(along) = &mut self.along {
                        along.place(owner, patient.key, resource.key);
                        if !missed_beside {
                            along.is_exported(resource.key);
                        }
                    }
                },
            )?;
        }
        if missed_beside {
            self.missed -= placed.len() as u64;
        } else {
            let missed_pointed = self.missed_pointed.iter().copied();
            self.beside.follow(missed_pointed, cancel, |number, resource| {
                self.missed += u64::from(!placed.contains(&number));
                self.along.iter_mut().for_each(|along| along.is_exported(resource.key));
            })?;
        }
        Ok(())
    }

    /// Places the Provenances that go along.
    fn place_along(&mut self) -> Result<(), ExportError> {
        let Some(along) = self.along.take() else { return Ok(()) };
        let (placed, missed) = along.finish(self.cancel)?;
        for (owner, spot, bytes) in placed {
            self.cancel.check()?;
            self.lines.push((owner, spot));
            self.patients[owner as usize].bytes += bytes;
        }
        self.missed += missed;
        Ok(())
    }

    /// Puts everything in order.
    fn finish(
        mut self,
        left_out: Option<u64>,
        told: Vec<ToldBundle>,
        notes: Vec<ExportNote>,
    ) -> Result<PatientSurvey, ExportError> {
        let named = self.patients.into_iter().map(|FoundPatient { key, bytes, name }| {
            let (name, name_bytes, is_own) = name?;
            Some(SurveyedPatient { key, name, name_bytes, is_own, bytes })
        });
        let unnamed = || ExportError::Other("the index has a patient that no resource names".into());
        let named = named.collect::<Option<Vec<_>>>().ok_or_else(unnamed)?;
        let mut order: Vec<(SpanPlace, u32)> = named.iter().map(|patient| patient.name).zip(0u32..).collect();
        self.cancel.sort(&mut order)?;
        let mut places = vec![0; order.len()];
        for (place, (_, number)) in (0u32..).zip(&order) {
            places[*number as usize] = place;
        }
        for (owner, _) in &mut self.lines {
            self.cancel.check()?;
            *owner = places[*owner as usize];
        }
        self.cancel.sort(&mut self.lines)?;
        let mut named: Vec<_> = named.into_iter().map(Some).collect();
        let patients = order.iter().filter_map(|(_, number)| named[*number as usize].take()).collect();
        Ok(PatientSurvey { patients, lines: self.lines, left_out, notes, told })
    }
}

/// Returns the names of a chunk's resources, if there are Patients among them, or if they are wanted
/// anyway.
fn names(
    chunk: &IndexChunk,
    reader: &SegmentReader<'_>,
    anyway: bool,
) -> Result<Vec<ResourceKey>, ExportError> {
    if !anyway && !chunk.types().contains(&ResourceType::PATIENT.index()) {
        return Ok(Vec::new());
    }
    Ok(keys(&reader.keys(chunk)?).to_vec())
}
