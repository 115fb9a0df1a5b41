//! Indexes files. Stretches of all files are read in parallel, and each chunk is written as soon as it
//! is made, so that memory does not grow with the files.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use super::chunk::IndexChunk;
use super::cipher::IndexCipher;
use super::draft::ChunkDraft;
use super::segment::{Segment, SegmentDoubts, SegmentWriter};
use super::stretch::StretchReader;
use crate::cancel::CancelToken;
use crate::fhir::reference::BaseUrls;
use crate::files::ReadAt;
use crate::source::{Source, SourceError, SourceFile};

/// Bytes of the source that make one chunk.
pub const STRETCH: u64 = 8 << 20;

/// A file to index.
pub struct IndexTask {
    /// The version to index.
    pub file: SourceFile,
    /// The index of an earlier version, which the file begins with.
    pub beginning: Option<(Arc<Segment>, usize)>,
}

impl IndexTask {
    /// Returns how many chunks are indexed already.
    pub fn kept(&self) -> usize {
        self.beginning.as_ref().map_or(0, |(_, kept)| *kept)
    }

    /// Returns where the part that is not indexed begins.
    pub fn from(&self) -> u64 {
        self.beginning.as_ref().map_or(0, |(segment, kept)| match kept {
            0 => 0,
            kept => segment.chunks[kept - 1].entry.end,
        })
    }
}

/// How to build.
pub struct IndexBuilder<'a> {
    /// Where the files are read.
    pub source: &'a dyn Source,
    /// The folder of the index files.
    pub folder: &'a Path,
    /// The options that the index depends on, beside the files.
    pub terms: &'a str,
    /// What encrypts the index files.
    pub cipher: &'a Arc<IndexCipher>,
    /// The source's own base URL.
    pub bases: &'a BaseUrls,
    /// Threads that read.
    pub threads: usize,
    /// Collects segments that cannot be read.
    pub doubts: &'a SegmentDoubts,
    /// Set when nobody needs the index any more.
    pub closed: &'a CancelToken,
}

/// Why a file could not be indexed.
#[derive(Debug, thiserror::Error)]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub enum BuildError {
    /// The source could not be read, or changed meanwhile.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The index could not be kept.
    #[error("the index could not be written: {0}")]
    Index(#[from] io::Error),
    /// The index was closed.
    #[error("the index was closed")]
    Closed,
}

/// Lines of one file for one thread.
struct FileStretch {
    /// Which task's file.
    task: usize,
    from: u64,
    to: u64,
}

/// A file whose reads fail once nobody needs the index, so that even a file without a line break is
/// left at once.
struct WatchedFile<'a> {
    file: &'a dyn ReadAt,
    closed: &'a CancelToken,
}

impl ReadAt for WatchedFile<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.closed.is_cancelled() {
            return Err(io::Error::other("the index was closed"));
        }
        self.file.read_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

/// A file that is being indexed.
struct SegmentSite {
    /// The number of stretches still to come.
    left: u64,
    place: Option<OpenSegment>,
}

/// An index file being written, and its chunks.
type OpenSegment = (SegmentWriter, Vec<Arc<IndexChunk>>);

/// A stretch that was read, with the number of its task.
type ReadStretch = (usize, Result<Option<ChunkDraft>, BuildError>);

impl IndexBuilder<'_> {
    /// Indexes files. Returns their segments in the order of the tasks, and `None` for each file that
    /// cannot be read.
    ///
    /// # Errors
    /// Fails with the first other error. Index files that were finished before stay.
    pub fn build(&self, tasks: &[IndexTask]) -> Result<Vec<Option<Segment>>, BuildError> {
        let mut stretches = Vec::new();
        let mut sites = Vec::new();
        for (n, task) in tasks.iter().enumerate() {
            let (from, size) = (task.from(), task.file.size);
            let count = size.saturating_sub(from).div_ceil(STRETCH);
            let stretch = |i| {
                let from = from + i * STRETCH;
                FileStretch { task: n, from, to: size.min(from + STRETCH) }
            };
            stretches.extend((0..count).map(stretch));
            sites.push(SegmentSite { left: count, place: None });
        }
        let next = AtomicUsize::new(0);
        let unreadable: Vec<_> = tasks.iter().map(|_| AtomicBool::new(false)).collect();
        std::thread::scope(|scope| {
            let (done, results) = sync_channel::<ReadStretch>(2 * self.threads);
            for _ in 0..self.threads.min(stretches.len()) {
                let (done, stretches, next, unreadable) = (done.clone(), &stretches, &next, &unreadable);
                scope.spawn(move || self.work(tasks, stretches, next, unreadable, &done));
            }
            drop(done);
            let mut segments: Vec<Option<Segment>> = tasks.iter().map(|_| None).collect();
            for (n, draft) in results {
                let draft = draft?;
                let site = &mut sites[n];
                let (writer, chunks) = match &mut site.place {
                    Some(place) => place,
                    empty => empty.insert(self.open(&tasks[n])?),
                };
                if let Some(draft) = draft {
                    chunks.push(Arc::new(writer.add(draft)?));
                }
                site.left -= 1;
                if site.left == 0 {
                    segments[n] = Some(self.finish(&tasks[n], site.place.take())?);
                }
            }
            // Files with nothing to read are left.
            for ((segment, task), is_unreadable) in segments.iter_mut().zip(tasks).zip(&unreadable) {
                if segment.is_none() && !is_unreadable.load(Ordering::Relaxed) {
                    *segment = Some(self.finish(task, None)?);
                }
            }
            Ok(segments)
        })
    }

    fn open(&self, task: &IndexTask) -> io::Result<OpenSegment> {
        Ok(match &task.beginning {
            Some((segment, kept)) => {
                (SegmentWriter::extend(segment, *kept)?, segment.chunks[..*kept].to_vec())
            }
            None => (SegmentWriter::create(self.folder, &task.file.name, self.cipher.clone())?, Vec::new()),
        })
    }

    fn finish(&self, task: &IndexTask, place: Option<OpenSegment>) -> Result<Segment, BuildError> {
        let (writer, mut chunks) = place.map_or_else(|| self.open(task), Ok)?;
        chunks.sort_by_key(|chunk| chunk.entry.start);
        Ok(writer.finish(task.file.clone(), self.terms, chunks, self.doubts.clone())?)
    }

    /// Opens the version that is to be indexed.
    fn open_same(&self, file: &SourceFile) -> Result<Box<dyn ReadAt>, SourceError> {
        let opened = self.source.open(&file.name)?;
        if opened.file == *file { Ok(opened.content) } else { Err(SourceError::Changed(file.name.clone())) }
    }

    /// Runs one thread, which reads stretches until there are none, or nobody needs them. An unreadable
    /// file is not tried again.
    fn work(
        &self,
        tasks: &[IndexTask],
        stretches: &[FileStretch],
        next: &AtomicUsize,
        unreadable: &[AtomicBool],
        done: &SyncSender<ReadStretch>,
    ) {
        let mut reader = StretchReader::new(self.bases, self.closed);
        let mut opened: Option<(usize, Box<dyn ReadAt>)> = None;
        while let Some(FileStretch { task, from, to }) = stretches.get(next.fetch_add(1, Ordering::Relaxed)) {
            if unreadable[*task].load(Ordering::Relaxed) {
                continue;
            }
            let file = &tasks[*task].file;
            let draft = match &opened {
                Some((open, opened)) if open == task => Ok(opened),
                _ => self.open_same(file).map(|file| &opened.insert((*task, file)).1),
            };
            let draft = draft.and_then(|opened| {
                let wanted = WatchedFile { file: &**opened, closed: self.closed };
                let read = reader.read(&wanted, file.size, *from, *to);
                read.map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => SourceError::Changed(file.name.clone()),
                    _ => SourceError::Unreadable { name: file.name.clone(), error },
                })
            });
            if let Err(error) = &draft
                && error.is_of_one_file()
            {
                if !unreadable[*task].swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "left out of the source");
                }
                continue;
            }
            let draft = if self.closed.is_cancelled() {
                Err(BuildError::Closed)
            } else {
                draft.map_err(BuildError::from)
            };
            if done.send((*task, draft)).is_err() {
                break;
            }
        }
    }
}
