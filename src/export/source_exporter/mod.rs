//! The built-in exporter: what a request selects of a source, copied byte by byte. The plan
//! decides everything: a part says which bytes of which files go out. It is written against
//! [`Exporter`] and has no private door.

mod context;
mod copy;
mod deleted;
mod estimate;
mod group;
mod line_narrowing;
mod line_writer;
mod notes;
mod organized;
mod patients;
mod plan;
mod provenances;
mod references;
mod remarks;
mod roster;
mod runs;
mod selected_chunks;
mod selection;
mod single;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{
    CHECK_PATIENCE, CancelToken, ExportError, Exporter, GroupName, HeldResources, Part, PartSummary,
    PartWriter, Plan,
};
use crate::config::{DevicePolicy, ReferencePolicy};
use crate::fhir::ResourceType;
use crate::files::ReadAt;
use crate::index::{BuildError, Index, IndexKeeper, IndexView};
use crate::job::ExportRequest;
use crate::source::{SourceError, SourceFile};

use context::PlanContext;
use copy::SourceSlice;
use line_writer::{LineWriter, PartLines};
use remarks::SourceRemark;
use roster::RosterCache;
use single::{KnownGroups, patiently};

/// Kick-offs and reads that may wait for the index at once; the rest of the kick-offs are checked,
/// and measured, when they are planned.
const WAITING_CHECKS: usize = 16;

/// How long a kick-off waits for others at the index if it only wants to know the size of its
/// export: planning will tell.
const ESTIMATE_PATIENCE: Duration = Duration::from_millis(300);

/// Files of one job that are held open, so that it goes on with a version that was replaced
/// meanwhile; others are opened when they are copied.
const HELD_FILES: usize = 256;

/// Plans that may find the source changing under them, or the index damaged, before that is an
/// error.
const PATIENCE: u32 = 3;

/// Exports what a source holds.
pub struct SourceExporter {
    index: Arc<Index>,
    _keeper: IndexKeeper,
    options: SourceOptions,
    waiting: AtomicUsize,
    /// Open files of running jobs, by their version.
    held: Mutex<HashMap<String, Weak<PlannedFile>>>,
    groups: Mutex<KnownGroups>,
    rosters: RosterCache,
}

/// How a source is exported.
#[derive(Debug, Clone, Copy)]
pub struct SourceOptions {
    /// Selected bytes that make one part.
    pub part_bytes: u64,
    /// Size in bytes at which the writer ends a file: a plan of blocks counts their headers.
    pub max_file_bytes: u64,
    /// Which resources outside of compartments go with patients.
    pub references: ReferencePolicy,
    /// Which Devices go with patients.
    pub devices: DevicePolicy,
    /// Whether pages of the source are dropped from the page cache when they are copied.
    pub drop_pages: bool,
}

/// An open file of the source.
type PlannedFile = Box<dyn ReadAt>;

/// The content of a [`Part`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PartContent {
    /// Bytes to copy.
    Copy {
        /// The files, each as it was planned.
        files: Vec<SourceFile>,
        /// What of them.
        slices: Vec<SourceSlice>,
        /// What is done with their lines.
        #[serde(default)]
        lines: PartLines,
    },
    /// Blocks of patients (O-3).
    Blocks(organized::BlockPart),
    /// Resources that are in no block.
    LeftOut {
        /// How many, if that may be told.
        resources: Option<u64>,
    },
    /// What would else go without saying.
    Notes(Vec<notes::ExportNote>),
    /// What is said of the source.
    Remarks {
        /// How many of its lines are no resources.
        lines: u64,
        /// What to say.
        list: Vec<SourceRemark>,
    },
}

impl From<SourceError> for ExportError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Changed(_) => Self::SourceChanged(error.to_string()),
            SourceError::Unreadable { .. } => Self::SourceUnreadable(error.to_string()),
        }
    }
}

impl From<BuildError> for ExportError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Source(error) => error.into(),
            BuildError::Index(error) => error.into(),
            BuildError::Closed => Self::Cancelled,
        }
    }
}

/// Errors of the index's own files.
impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Index(error)
    }
}

impl SourceExporter {
    /// Creates an exporter of what `index` has, which is kept up to date from now on; if `watch` is
    /// set, after each change of the source.
    ///
    /// # Errors
    /// If a thread cannot be had.
    pub fn new(index: Index, options: SourceOptions, watch: bool) -> io::Result<Self> {
        let index = Arc::new(index);
        let _keeper = IndexKeeper::start(index.clone(), watch)?;
        Ok(Self {
            index,
            _keeper,
            options,
            waiting: AtomicUsize::new(0),
            held: Mutex::default(),
            groups: Mutex::default(),
            rosters: RosterCache::default(),
        })
    }

    /// Returns the index as it is now, or `None` if others are at it for longer than `patience`, or too
    /// many wait already.
    fn look_within(&self, patience: Duration) -> Option<Result<IndexView<'_>, BuildError>> {
        let looked = if self.waiting.fetch_add(1, Ordering::Relaxed) < WAITING_CHECKS {
            self.index.look_within(patience)
        } else {
            None
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        looked
    }

    fn plan_once(&self, request: &ExportRequest, cancel: &CancelToken) -> Result<Plan, ExportError> {
        let look = self.index.look_unless(cancel)??;
        if !look.has_resources() {
            tracing::warn!("the source has no FHIR resources: the export is empty");
        }
        let contents = plan::contents(&self.context(&look, request, cancel))?;
        let held = HeldResources::new(self.hold(&look, &contents.segments)?);
        let parts = contents.parts.into_iter().map(|(weight, content)| {
            cancel.check()?;
            let content = serde_json::to_value(content).expect("a part's content has string keys only");
            Ok(Part { weight, content })
        });
        let (parts, bytes) = (parts.collect::<Result<_, ExportError>>()?, Some(contents.bytes));
        Ok(Plan { transaction_time: look.taken_at, parts, bytes, held })
    }

    /// Opens the files of these names as they were indexed, as many as may be held.
    fn hold(&self, look: &IndexView<'_>, names: &[usize]) -> Result<Vec<Arc<PlannedFile>>, ExportError> {
        let mut held = self.held.lock();
        held.retain(|_, file| file.strong_count() > 0);
        let mut files = Vec::new();
        for segment in names.iter().take(HELD_FILES).map(|n| &look.segments[*n]) {
            let fingerprint = &segment.file.fingerprint;
            if let Some(file) = held.get(fingerprint).and_then(Weak::upgrade) {
                files.push(file);
                continue;
            }
            let opened = self.index.source().open(&segment.file.name)?;
            if opened.file != segment.file {
                return Err(SourceError::Changed(opened.file.name).into());
            }
            let file = Arc::new(opened.content);
            held.insert(fingerprint.clone(), Arc::downgrade(&file));
            files.push(file);
        }
        Ok(files)
    }

    /// Returns the version that was planned if it is still held, else the file as it is now: what is
    /// copied of it is compared with what was planned.
    fn open(&self, file: &SourceFile) -> Result<Arc<PlannedFile>, ExportError> {
        let held = self.held.lock().get(&file.fingerprint).and_then(Weak::upgrade);
        match held {
            Some(file) => Ok(file),
            None => Ok(Arc::new(self.index.source().open(&file.name)?.content)),
        }
    }

    fn context<'p>(
        &'p self,
        look: &'p IndexView<'p>,
        request: &'p ExportRequest,
        cancel: &'p CancelToken,
    ) -> PlanContext<'p> {
        let (index, rosters, options) = (&*self.index, &self.rosters, &self.options);
        PlanContext { index, look, rosters, request, options, cancel }
    }

    /// Gives `visit` each slice with the name of its file, and the file.
    fn each_slice(
        &self,
        files: &[SourceFile],
        slices: &[SourceSlice],
        cancel: &CancelToken,
        mut visit: impl FnMut(&SourceSlice, &str, &dyn ReadAt) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        for of_file in slices.chunk_by(|a, b| a.file == b.file) {
            let file = files.get(of_file[0].file).ok_or_else(copy::damaged)?;
            let visited = self.open(file).and_then(|opened| {
                of_file.iter().try_for_each(|slice| {
                    cancel.check()?;
                    visit(slice, &file.name, &**opened)?;
                    if self.options.drop_pages {
                        opened.drop_pages(slice.start, slice.end);
                    }
                    Ok(())
                })
            });
            if let Err(ExportError::SourceChanged(_)) = &visited {
                // The next plan must not be made of the same index.
                self.index.doubt(&file.name);
            }
            visited?;
        }
        Ok(())
    }
}

impl Exporter for SourceExporter {
    fn check(&self, request: &ExportRequest, cancel: &CancelToken) -> Result<Option<u64>, ExportError> {
        let may_refuse = patients::is_about_some(request);
        let patience = if may_refuse { CHECK_PATIENCE } else { ESTIMATE_PATIENCE };
        let Some(look) = self.look_within(patience) else { return Ok(None) };
        let sized = match look {
            Ok(look) => estimate::estimate(&self.context(&look, request, cancel)),
            Err(error) if may_refuse => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        match sized {
            Ok(estimate) => Ok(estimate),
            // An index that is made again, or a source on the move: planning decides.
            Err(ExportError::Index(_) | ExportError::SourceChanged(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&self, resource_type: ResourceType, id: &str) -> Result<Option<Vec<u8>>, ExportError> {
        patiently(|| self.read_one(resource_type, id))
    }

    fn groups(&self) -> Result<Arc<Vec<GroupName>>, ExportError> {
        patiently(|| self.read_groups())
    }

    fn plan(&self, request: &ExportRequest, cancel: &CancelToken) -> Result<Plan, ExportError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.plan_once(request, cancel) {
                // The next look indexes anew what could not be trusted.
                Err(ExportError::SourceChanged(_)) if attempts < PATIENCE => {}
                Err(ExportError::Index(_)) if attempts < PATIENCE => self.index.check(),
                planned => return planned,
            }
        }
    }

    fn stop(&self) {
        self.index.close();
    }

    fn run(
        &self,
        part: &Part,
        out: &mut PartWriter,
        cancel: &CancelToken,
    ) -> Result<PartSummary, ExportError> {
        let content = PartContent::deserialize(&part.content)
            .map_err(|e| ExportError::Other(format!("the plan is not of this version: {e}")))?;
        match content {
            PartContent::Remarks { lines, list } => {
                for remark in &list {
                    out.outcome(&remark.outcome())?;
                }
                Ok(PartSummary { broken_lines: lines })
            }
            PartContent::Copy { files, slices, lines } => {
                let mut lines = LineWriter::of_part(lines, out, cancel)?;
                let mut buffer = Vec::new();
                self.each_slice(&files, &slices, cancel, |slice, name, file| {
                    slice.copy(file, name, &mut lines, &mut buffer, out)
                })?;
                Ok(PartSummary::default())
            }
            PartContent::Blocks(blocks) => {
                blocks.write(self, out, cancel)?;
                Ok(PartSummary::default())
            }
            PartContent::Notes(notes) => {
                notes.iter().try_for_each(|note| out.outcome(&note.outcome()))?;
                Ok(PartSummary::default())
            }
            PartContent::LeftOut { resources } => {
                organized::left_out(resources).map_or(Ok(()), |outcome| out.outcome(&outcome))?;
                Ok(PartSummary::default())
            }
        }
    }
}
