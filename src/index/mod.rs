//! The index of a source: what is in which line. It is derived from the source, kept in
//! `index/<tenant>/` of the data directory and made again when in doubt. A stat scan at every
//! look says what has changed; hints of the file system only bring it up to date earlier.
//!
//! A file is indexed in chunks of about 8 MiB. Selecting looks at 17 bytes of each resource,
//! which are in memory; names, patients and pointers are on disk, as hashes. Every block of the
//! source has a checksum here, taken from the very bytes that were parsed: whoever copies blocks
//! compares them, so that only what was parsed is ever published.

mod build;
mod chunk;
mod draft;
mod element;
mod keeper;
mod key;
mod leftovers;
mod line;
mod overlay;
mod pointers;
mod segment;
mod stretch;
mod table;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use xxhash_rust::xxh3::xxh3_64;

use crate::cancel::{CancelToken, Cancelled};
use crate::fhir::reference::Bases;
use crate::source::{LeftOut, Reason, Snapshot, Source, SourceError, SourceFile};
use crate::telemetry;

use build::{Builder, Task};
use segment::Doubts;

pub use build::BuildError;
pub use chunk::{BLOCK, Chunk, Links, Listing, NOTHING, Shape, Span, Targeting};
pub use keeper::Keeper;
pub use key::{Key, key};
pub(crate) use leftovers::{FOLDER, remove_leftovers};
pub use line::{LineReader, UNKNOWN_AGE, nanoseconds};
pub use overlay::{Gone, Overlay, Spot};
pub use pointers::each_reference;
pub use segment::{Segment, SegmentReader, keys};
pub use stretch::text_of;

/// The longest line that is a resource, in bytes.
pub const LONGEST_LINE: u64 = 256 << 20;

/// Scans that may find the source changing under them before that is an error.
const PATIENCE: u32 = 5;

/// How long who waits for others goes without a look at its token.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// How an index is kept.
#[derive(Debug, Clone)]
pub struct IndexOptions {
    /// The folder of the index files; made if it is missing (0700).
    pub folder: PathBuf,
    /// Those below which references in the source are relative (K-12).
    pub bases: Bases,
}

/// See the module.
pub struct Index {
    source: Arc<dyn Source>,
    options: IndexOptions,
    /// What the index depends on beside the files.
    terms: String,
    threads: usize,
    state: Mutex<State>,
    doubts: Doubts,
    closed: CancelToken,
}

/// What is known now.
#[derive(Default)]
pub struct State {
    /// The files, in the order of their names.
    pub segments: Vec<Arc<Segment>>,
    /// What follows from all of them.
    pub overlay: Overlay,
    /// What else is in the source and is not read.
    pub left_out: LeftOut,
    /// Whether index files were looked for.
    is_loaded: bool,
    /// What the metrics say of it.
    told: telemetry::IndexSize,
    told_left_out: telemetry::LeftOutFiles,
}

/// The index as it is at one instant; nobody changes it meanwhile.
pub struct Look<'a> {
    /// All that was in the source at this instant is in the index.
    pub taken_at: Timestamp,
    state: MutexGuard<'a, State>,
}

impl std::ops::Deref for Look<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Index {
    /// An index of `source`, which is not read yet.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(source: Arc<dyn Source>, options: IndexOptions) -> io::Result<Self> {
        make_folder(&options.folder)?;
        let threads = std::thread::available_parallelism()?.get();
        Ok(Self {
            source,
            terms: options.bases.text(),
            options,
            threads,
            state: Mutex::default(),
            doubts: Doubts::default(),
            closed: CancelToken::new(),
        })
    }

    /// The source.
    pub fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// The base URLs below which references in the source are relative.
    pub fn bases(&self) -> &Bases {
        &self.options.bases
    }

    /// Brings the index up to date with a new scan of the source and gives it. Blocks for as
    /// long as that takes, and while others look.
    pub fn look(&self) -> Result<Look<'_>, BuildError> {
        self.refresh(self.state.lock())
    }

    /// As [`Index::look`], but does not wait for others any longer than until the token fires. What
    /// is indexed here is indexed for all who come later, and so to its end.
    pub fn look_unless(&self, cancel: &CancelToken) -> Result<Result<Look<'_>, BuildError>, Cancelled> {
        loop {
            cancel.check()?;
            if let Some(state) = self.state.try_lock_for(BETWEEN_LOOKS) {
                return Ok(self.refresh(state));
            }
        }
    }

    /// As [`Index::look`], but waits for others at most for `patience`; `None` if they go on.
    pub fn look_within(&self, patience: Duration) -> Option<Result<Look<'_>, BuildError>> {
        self.state.try_lock_for(patience).map(|state| self.refresh(state))
    }

    /// Says that a file's content is not what was indexed: it is indexed anew at the next look.
    pub fn doubt(&self, name: &str) {
        self.doubts.lock().insert(name.to_owned());
    }

    /// Reads all index files: those that are damaged are made again at the next look.
    pub fn check(&self) {
        check_all(&self.state.lock().segments);
    }

    /// Ends what is being indexed, and every later look that would index something, with
    /// [`BuildError::Closed`].
    pub fn close(&self) {
        self.closed.cancel();
    }

    fn refresh<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<Look<'a>, BuildError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let snapshot = self.source.snapshot()?;
            let taken_at = snapshot.taken_at;
            match self.bring_up_to(&mut state, snapshot) {
                Ok(()) => return Ok(Look { taken_at, state }),
                Err(BuildError::Source(SourceError::Changed(name))) if attempts < PATIENCE => {
                    tracing::info!(file = name, "the source changed while it was indexed: once more");
                }
                // An index file that was read in vain is made again.
                Err(BuildError::Index(_)) if attempts < PATIENCE && !self.doubts.lock().is_empty() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn bring_up_to(&self, state: &mut State, snapshot: Snapshot) -> Result<(), BuildError> {
        let Snapshot { files, mut left_out, .. } = snapshot;
        let doubted = self.doubts.lock().clone();
        let is_current =
            |segment: &Segment, file: &SourceFile| segment.file == *file && !doubted.contains(&file.name);
        if state.is_loaded
            && state.segments.len() == files.len()
            && state.segments.iter().zip(&files).all(|(segment, file)| is_current(segment, file))
        {
            state.left_out = left_out;
            state.tell_left_out();
            return check_readable(state);
        }
        let began = Instant::now();
        make_folder(&self.options.folder)?;
        state.is_loaded = false;
        let mut known: BTreeMap<_, _> =
            state.segments.drain(..).map(|segment| (segment.file.name.clone(), segment)).collect();
        let (mut segments, mut tasks) = (Vec::new(), Vec::new());
        for file in files {
            let segment = known.remove(&file.name).or_else(|| self.load(&file.name));
            match segment {
                Some(segment) if is_current(&segment, &file) => segments.push(segment),
                segment => {
                    let doubted = doubted.contains(&file.name);
                    let beginning = segment.filter(|_| !doubted).and_then(|old| self.beginning(old, &file));
                    tasks.push(Task { file, beginning });
                }
            }
        }
        let builder = Builder {
            source: &*self.source,
            folder: &self.options.folder,
            terms: &self.terms,
            bases: self.bases(),
            threads: self.threads,
            doubts: &self.doubts,
            closed: &self.closed,
        };
        let built = builder.build(&tasks)?;
        self.doubts.lock().retain(|name| !doubted.contains(name));
        for (segment, task) in built.into_iter().zip(&tasks) {
            let Some(segment) = segment else {
                left_out.add(&task.file.name, Reason::Unreadable);
                continue;
            };
            tell_broken(&segment, task.kept());
            segments.push(Arc::new(segment));
        }
        segments.sort_by(|a, b| a.file.name.cmp(&b.file.name));
        self.remove_others(&segments)?;
        let overlay = Overlay::load_or_make(&self.options.folder, &segments);
        let overlay = overlay.inspect_err(|_| check_all(&segments))?;
        tell_outdated(&segments, &overlay, &state.overlay);
        (state.segments, state.overlay, state.left_out) = (segments, overlay, left_out);
        state.is_loaded = true;
        state.tell(&tasks, began.elapsed());
        check_readable(state)
    }

    fn load(&self, name: &str) -> Option<Arc<Segment>> {
        let doubts = self.doubts.clone();
        match Segment::load(&self.options.folder, name, &self.terms, self.threads, doubts) {
            Ok(segment) => Some(Arc::new(segment)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = name, %error, "an index file is made again");
                None
            }
        }
    }

    /// Whether `file` is an indexed one that has grown: then the chunks that can be kept. The
    /// last one is read again, since its last line may have been half written.
    fn beginning(&self, old: Arc<Segment>, file: &SourceFile) -> Option<(Arc<Segment>, usize)> {
        let kept = old.chunks.len().checked_sub(1).filter(|kept| *kept > 0)?;
        if old.file.identity != file.identity || old.file.size >= file.size {
            return None;
        }
        let opened = self.source.open(&file.name).ok()?.content;
        let mut buffer = vec![0; BLOCK];
        let mut is_same = |chunk: &Chunk| {
            let mut blocks = (chunk.entry.start..).step_by(BLOCK).zip(chunk.sums());
            blocks.all(|(at, sum)| {
                let length = (chunk.entry.end - at).min(BLOCK as u64) as usize;
                let read = opened.read_full_at(&mut buffer[..length], at);
                read.is_ok_and(|read| read == length) && xxh3_64(&buffer[..length]) == *sum
            })
        };
        (is_same(&old.chunks[0]) && is_same(&old.chunks[kept - 1])).then(|| (old.clone(), kept))
    }

    /// Removes the index files of what is not in the source any more.
    fn remove_others(&self, segments: &[Arc<Segment>]) -> io::Result<()> {
        let kept: HashSet<_> =
            segments.iter().map(|segment| segment::file_name(&segment.file.name)).collect();
        for entry in fs::read_dir(&self.options.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| segment::is_ours(name) && !kept.contains(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Where one is damaged, others may be.
fn check_all(segments: &[Arc<Segment>]) {
    let damaged = segments.iter().filter(|segment| segment.check().is_err()).count();
    tracing::warn!(damaged, "index files were checked");
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// That something could be read: a source of which nothing can be is away, and an export of it
/// would look whole.
fn check_readable(state: &State) -> Result<(), BuildError> {
    if state.left_out.count(Reason::Unreadable) == 0 || state.has_resources() {
        return Ok(());
    }
    let error = io::Error::other("the files that may have resources cannot be read; the log has the reason");
    Err(SourceError::Unreadable { name: String::new(), error }.into())
}

/// Logs that the order of files and lines makes older versions count, if that is new.
fn tell_outdated(segments: &[Arc<Segment>], overlay: &Overlay, before: &Overlay) {
    let Some(outdated) = overlay.outdated().filter(|outdated| before.outdated() != Some(outdated)) else {
        return;
    };
    let name = |segment: u32| segments.get(segment as usize).map(|segment| &*segment.file.name);
    tracing::warn!(
        resources = outdated.count,
        file = name(outdated.older),
        newer_in = name(outdated.newer),
        "older versions take the place of newer ones, because they come later in the order of files and \
         lines; the first of them is in this file"
    );
}

/// Logs the lines of new chunks, from number `kept` on, that are no resources, without their
/// content (P12).
fn tell_broken(segment: &Segment, kept: usize) {
    let name = &segment.file.name;
    if segment.is_barren() {
        tracing::warn!(file = name, lines = segment.broken_count(0), "a file of the source has no resource");
        return;
    }
    for (line, broken) in segment.broken_lines(kept) {
        tracing::warn!(file = name, line, reason = broken.text(), "a line of the source is no resource");
    }
    let rest = segment.broken_count(kept) - segment.broken_lines(kept).count() as u64;
    if rest > 0 {
        tracing::warn!(file = name, lines = rest, "more lines of the source are not resources");
    }
}

impl State {
    /// Resources and gaps.
    pub fn spans(&self) -> u64 {
        self.segments.iter().map(|segment| segment.spans()).sum()
    }

    /// Bytes in memory.
    pub fn resident_bytes(&self) -> u64 {
        let chunks = self.segments.iter().flat_map(|segment| &segment.chunks);
        chunks.map(|chunk| chunk.resident_bytes()).sum()
    }

    /// Whether there is a resource in the source.
    pub fn has_resources(&self) -> bool {
        self.segments.iter().any(|segment| segment.contents().resources > 0)
    }

    /// Shows what is not read, and files without a resource.
    fn tell_left_out(&mut self) {
        let barren = self.segments.iter().filter(|segment| segment.is_barren()).count();
        let counts = self.left_out.counts().iter().map(|(reason, count)| (reason.label(), *count));
        self.told_left_out.set(counts.chain([("no-resource", barren as u64)]).collect());
    }

    fn tell(&mut self, tasks: &[Task], took: Duration) {
        let indexed: u64 = tasks.iter().map(|task| task.file.size.saturating_sub(task.from())).sum();
        let (resources, bytes) = (self.spans(), self.resident_bytes());
        let superseded = self.overlay.superseded_count();
        tracing::info!(
            files = self.segments.len(),
            resources,
            superseded,
            resident_bytes = bytes,
            indexed_files = tasks.len(),
            indexed_bytes = indexed,
            ?took,
            "the index is up to date"
        );
        let outdated = self.overlay.outdated().map_or(0, |outdated| outdated.count);
        self.told.set(resources, superseded as u64, outdated, bytes);
        self.tell_left_out();
        telemetry::indexed(indexed, took);
    }
}
