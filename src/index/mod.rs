//! The index of a source: what is in which line. It is derived from the source, kept in
//! `index/<tenant>/` of the data directory, and rebuilt when in doubt. Each look scans the source with
//! `stat` for changes; hints of the file system only bring the index up to date earlier.
//!
//! Many threads look at the index at once. One that finds the source changed waits until nobody looks,
//! and brings the index up to date.
//!
//! A file is indexed in chunks of about 8 MiB. A selection looks at 17 bytes per resource, which are in
//! memory; names, patients and pointers are on disk, as hashes. Every block of the source has a
//! checksum, taken from the very bytes that were parsed. Copies are compared with it, so that only what
//! was parsed is ever published.

mod build;
mod chunk;
mod cipher;
mod draft;
mod element;
mod keeper;
mod key;
mod leftovers;
mod line;
mod overlay;
mod pointers;
mod segment;
mod state;
mod stretch;
mod table;
mod totals;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use xxhash_rust::xxh3::xxh3_64;

use crate::cancel::{CancelToken, TokenFired};
use crate::fhir::reference::BaseUrls;
use crate::source::{LeftOut, LeftOutReason, Snapshot, Source, SourceError, SourceFile};

use build::{IndexBuilder, IndexTask};
use segment::SegmentDoubts;
use state::{ShownMetrics, check_all, check_readable, tell_broken, tell_outdated};

pub use build::BuildError;
pub use chunk::{
    BLOCK, ChunkLinks, FileShape, IndexChunk, LineSpan, ListingResource, NOTHING, TargetingProvenance,
};
pub use cipher::IndexCipher;
pub use keeper::IndexKeeper;
pub use key::{ResourceKey, key};
pub(crate) use leftovers::{FOLDER, remove_leftovers};
pub use line::{LineParser, UNKNOWN_AGE, nanoseconds};
pub use overlay::{GoneResource, IndexOverlay, SpanPlace};
pub use pointers::each_reference;
pub use segment::{Segment, SegmentReader, keys};
pub use state::{IndexState, IndexView};
pub use stretch::text_of;
use totals::SourceTotals;
pub use totals::{PatientSum, ResourceSum, TOLD_ENTRIES};

/// The longest line that is a resource, in bytes.
pub const LONGEST_LINE: u64 = 256 << 20;

/// How often the source may change during a scan before that is an error.
const SCANS: u32 = 5;

/// The longest wait for others between two checks of the token.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// The options of an index.
#[derive(Debug, Clone)]
pub struct IndexOptions {
    /// The folder of the index files, created if missing (0700).
    pub folder: PathBuf,
    /// The base URLs below which references in the source are relative (K-12).
    pub bases: BaseUrls,
    /// What encrypts the index files.
    pub cipher: Arc<IndexCipher>,
}

/// The index of one source.
pub struct Index {
    source: Arc<dyn Source>,
    options: IndexOptions,
    /// The options that the index depends on, beside the files.
    terms: String,
    threads: usize,
    state: RwLock<IndexState>,
    shown: Mutex<ShownMetrics>,
    doubts: SegmentDoubts,
    closed: CancelToken,
}

impl Index {
    /// Creates an index of `source`, which is not read yet.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn open(source: Arc<dyn Source>, options: IndexOptions) -> io::Result<Self> {
        make_folder(&options.folder)?;
        let threads = std::thread::available_parallelism()?.get();
        Ok(Self {
            source,
            terms: options.bases.text(),
            options,
            threads,
            state: RwLock::default(),
            shown: Mutex::default(),
            doubts: SegmentDoubts::default(),
            closed: CancelToken::new(),
        })
    }

    /// Returns the source.
    pub fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// Returns the base URLs below which references in the source are relative.
    pub fn bases(&self) -> &BaseUrls {
        &self.options.bases
    }

    /// Scans the source, brings the index up to date and returns it. Blocks for as long as that takes,
    /// and while others do it.
    ///
    /// # Errors
    /// Fails if the source cannot be read, or the index cannot be stored.
    pub fn look(&self) -> Result<IndexView<'_>, BuildError> {
        self.look_with(&LookPatience::Endless).unwrap_or(Err(BuildError::Closed))
    }

    /// As [`Index::look`], but stops waiting for others when the token fires. What this call indexes
    /// itself is for all later callers, and so is finished.
    ///
    /// # Errors
    /// Fails if the token has fired.
    pub fn look_unless(&self, cancel: &CancelToken) -> Result<Result<IndexView<'_>, BuildError>, TokenFired> {
        self.look_with(&LookPatience::Unless(cancel)).ok_or(TokenFired)
    }

    /// As [`Index::look`], but waits for others at most for `patience`. Returns `None` after that.
    pub fn look_within(&self, patience: Duration) -> Option<Result<IndexView<'_>, BuildError>> {
        self.look_with(&LookPatience::Until(Instant::now() + patience))
    }

    /// Returns `None` if the patience is over.
    fn look_with(&self, patience: &LookPatience<'_>) -> Option<Result<IndexView<'_>, BuildError>> {
        let state = patience.lock(|wait| self.state.try_read_for(wait))?;
        let snapshot = match self.source.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return Some(Err(error.into())),
        };
        if self.is_current(&state, &snapshot.files) {
            return Some(self.seen(state, snapshot.taken_at, snapshot.left_out));
        }
        drop(state);
        let state = patience.lock(|wait| self.state.try_write_for(wait))?;
        Some(self.refresh(state))
    }

    /// Returns whether exactly these files are indexed as they are.
    fn is_current(&self, state: &IndexState, files: &[SourceFile]) -> bool {
        let doubts = self.doubts.lock();
        let is_same = |(segment, file): (&Arc<Segment>, &SourceFile)| {
            segment.file == *file && !doubts.contains(&file.name)
        };
        state.is_loaded
            && state.segments.len() == files.len()
            && state.segments.iter().zip(files).all(is_same)
    }

    fn seen<'a>(
        &'a self,
        state: RwLockReadGuard<'a, IndexState>,
        taken_at: Timestamp,
        left_out: LeftOut,
    ) -> Result<IndexView<'a>, BuildError> {
        self.shown.lock().show_left_out(&state, &left_out);
        check_readable(&state, &left_out)?;
        Ok(IndexView { taken_at, left_out, state })
    }

    /// Notes that a file's content is not what was indexed. The next look indexes it anew.
    pub fn doubt(&self, name: &str) {
        self.doubts.lock().insert(name.to_owned());
    }

    /// Reads all index files. The next look rebuilds damaged ones.
    pub fn check(&self) {
        check_all(&self.state.read().segments);
    }

    /// Closes the index. What is being indexed, and every later look that would index something, fails
    /// with [`BuildError::Closed`].
    pub fn close(&self) {
        self.closed.cancel();
    }

    fn refresh<'a>(
        &'a self,
        mut state: RwLockWriteGuard<'a, IndexState>,
    ) -> Result<IndexView<'a>, BuildError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Snapshot { taken_at, files, left_out } = self.source.snapshot()?;
            if self.is_current(&state, &files) {
                return self.seen(RwLockWriteGuard::downgrade(state), taken_at, left_out);
            }
            match self.bring_up_to(&mut state, files, left_out) {
                Ok(left_out) => return self.seen(RwLockWriteGuard::downgrade(state), taken_at, left_out),
                Err(BuildError::Source(SourceError::Changed(name))) if attempts < SCANS => {
                    tracing::info!(file = name, "the source changed while it was indexed: once more");
                }
                // An index file that was read in vain is made again.
                Err(BuildError::Index(_)) if attempts < SCANS && !self.doubts.lock().is_empty() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Indexes what is not indexed yet. Returns what is left out of the source.
    fn bring_up_to(
        &self,
        state: &mut IndexState,
        files: Vec<SourceFile>,
        mut left_out: LeftOut,
    ) -> Result<LeftOut, BuildError> {
        let doubted = self.doubts.lock().clone();
        let is_current =
            |segment: &Segment, file: &SourceFile| segment.file == *file && !doubted.contains(&file.name);
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
                    tasks.push(IndexTask { file, beginning });
                }
            }
        }
        let builder = IndexBuilder {
            source: &*self.source,
            folder: &self.options.folder,
            terms: &self.terms,
            cipher: &self.options.cipher,
            bases: self.bases(),
            threads: self.threads,
            doubts: &self.doubts,
            closed: &self.closed,
        };
        let built = builder.build(&tasks)?;
        self.doubts.lock().retain(|name| !doubted.contains(name));
        for (segment, task) in built.into_iter().zip(&tasks) {
            let Some(segment) = segment else {
                left_out.add(&task.file.name, LeftOutReason::Unreadable);
                continue;
            };
            tell_broken(&segment, task.kept());
            segments.push(Arc::new(segment));
        }
        segments.sort_by(|a, b| a.file.name.cmp(&b.file.name));
        self.remove_others(&segments)?;
        let overlay = IndexOverlay::load_or_make(&self.options.folder, &self.options.cipher, &segments);
        let overlay = overlay.inspect_err(|_| check_all(&segments))?;
        tell_outdated(&segments, &overlay, &state.overlay);
        if !overlay.is_of_the_same(&state.overlay) {
            let totals = SourceTotals::of(&segments, &overlay, self.threads);
            state.totals = totals.inspect_err(|_| check_all(&segments))?;
        }
        (state.segments, state.overlay) = (segments, overlay);
        state.is_loaded = true;
        self.shown.lock().show(state, &tasks, began.elapsed());
        Ok(left_out)
    }

    fn load(&self, name: &str) -> Option<Arc<Segment>> {
        let (doubts, cipher) = (self.doubts.clone(), self.options.cipher.clone());
        match Segment::load(&self.options.folder, name, &self.terms, self.threads, doubts, cipher) {
            Ok(segment) => Some(Arc::new(segment)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = name, %error, "an index file is made again");
                None
            }
        }
    }

    /// Returns the chunks that can be kept if `file` is an indexed one that has grown. The last chunk
    /// is read again, because its last line may have been half written.
    fn beginning(&self, old: Arc<Segment>, file: &SourceFile) -> Option<(Arc<Segment>, usize)> {
        let kept = old.chunks.len().checked_sub(1).filter(|kept| *kept > 0)?;
        if old.file.identity != file.identity || old.file.size >= file.size {
            return None;
        }
        let opened = self.source.open(&file.name).ok()?.content;
        let mut buffer = vec![0; BLOCK];
        let mut is_same = |chunk: &IndexChunk| {
            let mut blocks = (chunk.entry.start..).step_by(BLOCK).zip(chunk.sums());
            blocks.all(|(at, sum)| {
                let length = (chunk.entry.end - at).min(BLOCK as u64) as usize;
                let read = opened.read_full_at(&mut buffer[..length], at);
                read.is_ok_and(|read| read == length) && xxh3_64(&buffer[..length]) == *sum
            })
        };
        (is_same(&old.chunks[0]) && is_same(&old.chunks[kept - 1])).then(|| (old.clone(), kept))
    }

    /// Removes the index files of what is no longer in the source.
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

/// How long a look waits for others.
enum LookPatience<'c> {
    Endless,
    Until(Instant),
    Unless(&'c CancelToken),
}

impl LookPatience<'_> {
    /// Waits for a lock. `attempt` tries for the given time. Returns `None` if the patience is over.
    fn lock<T>(&self, attempt: impl Fn(Duration) -> Option<T>) -> Option<T> {
        loop {
            match self {
                Self::Until(end) => return attempt(end.saturating_duration_since(Instant::now())),
                Self::Unless(cancel) if cancel.is_cancelled() => return None,
                Self::Endless | Self::Unless(_) => {}
            }
            if let Some(locked) = attempt(BETWEEN_LOOKS) {
                return Some(locked);
            }
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
