//! The index of one source file, and the file that keeps it: the areas of the chunks, a directory of
//! them in JSON, and the place of the directory. Everything has a checksum. An index file that is
//! damaged or of another version is rebuilt. Nothing is synced, because what a power loss takes can be
//! rebuilt too.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::chunk::{ChunkEntry, ChunkLinks, FileArea, FileShape, IndexChunk, LineCounts, NAMED_BROKEN_LINES};
use super::cipher::IndexCipher;
use super::draft::ChunkDraft;
use super::key::ResourceKey;
use super::line::LineFault;
use super::table::ColumnTable;
use crate::plain_file;
use crate::source::SourceFile;

/// The head of an index file. A file with another version or byte order is not read.
const FORMAT: &str =
    if cfg!(target_endian = "little") { "evanesce index 5 le" } else { "evanesce index 5 be" };

/// The words after the directory: its offset, its length in bytes, its checksum.
const TRAILER: usize = 3 * 8;

#[derive(Serialize, Deserialize)]
struct SegmentDirectory {
    format: String,
    /// The options that the index depends on, such as the source's base URL.
    terms: String,
    /// Its name is left empty: names of source files may name patients, and are not written here (P12).
    file: SourceFile,
    chunks: Vec<ChunkEntry>,
}

/// Names of source files whose index cannot be trusted and must be rebuilt.
pub type SegmentDoubts = Arc<Mutex<HashSet<String>>>;

/// The index of one version of one source file.
#[derive(Debug)]
pub struct Segment {
    /// The version of the file.
    pub file: SourceFile,
    /// The chunks, in the order of the file.
    pub chunks: Vec<Arc<IndexChunk>>,
    path: PathBuf,
    doubts: SegmentDoubts,
    cipher: Arc<IndexCipher>,
}

/// Returns the name of the index file of a source file, which does not show the source's name.
pub fn file_name(source_name: &str) -> String {
    format!("{:032x}.segment", xxh3_128(source_name.as_bytes()))
}

/// Returns whether the name is that of an index file, finished or not.
pub fn is_ours(name: &str) -> bool {
    let stem = name.strip_suffix(".segment").or_else(|| name.strip_suffix(".new"));
    stem.is_some_and(|stem| stem.len() == 32 && stem.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the index is damaged")
}

fn open(path: &Path) -> io::Result<File> {
    plain_file::open(path, plain_file::LinkPolicy::Refuse)
}

fn read_area(file: &File, area: FileArea, cipher: &IndexCipher) -> io::Result<ColumnTable> {
    let length = usize::try_from(area.words).map_err(|_| damaged())?;
    let mut words = vec![0u64; length].into_boxed_slice();
    let mut sealed = vec![0; length * 8 + cipher.added() as usize];
    file.read_exact_at(&mut sealed, area.at)?;
    cipher.open_into(&sealed, bytemuck::cast_slice_mut(&mut words))?;
    if xxh3_64(bytemuck::cast_slice(&words)) != area.sum {
        return Err(damaged());
    }
    Ok(ColumnTable::of(words))
}

fn read_directory(file: &File, cipher: &IndexCipher) -> io::Result<SegmentDirectory> {
    let length = file.metadata()?.len();
    let trailer_at = length.checked_sub(TRAILER as u64).ok_or_else(damaged)?;
    let mut trailer = [0u64; 3];
    file.read_exact_at(bytemuck::cast_slice_mut(&mut trailer), trailer_at)?;
    let [at, bytes, sum] = trailer;
    if at.checked_add(bytes) != Some(trailer_at) {
        return Err(damaged());
    }
    let mut text = vec![0; usize::try_from(bytes).map_err(|_| damaged())?];
    file.read_exact_at(&mut text, at)?;
    if xxh3_64(&text) != sum {
        return Err(damaged());
    }
    Ok(serde_json::from_slice(&cipher.open_text(&text)?)?)
}

impl Segment {
    /// Reads the index file of `source_name` in `folder`. Large ones are read on `threads` threads.
    ///
    /// # Errors
    /// Fails with [`io::ErrorKind::NotFound`] if there is none, and with other kinds if it is damaged,
    /// of another version or built on other `terms`. It must be rebuilt in each case.
    pub fn load(
        folder: &Path,
        source_name: &str,
        terms: &str,
        threads: usize,
        doubts: SegmentDoubts,
        cipher: Arc<IndexCipher>,
    ) -> io::Result<Self> {
        let path = folder.join(file_name(source_name));
        let file = open(&path)?;
        let directory = read_directory(&file, &cipher)?;
        if directory.format != FORMAT || directory.terms != terms {
            return Err(damaged());
        }
        let share = directory.chunks.len().div_ceil(threads).max(16);
        let read = |entries: &[ChunkEntry]| -> io::Result<Vec<Arc<IndexChunk>>> {
            let read = |entry: &ChunkEntry| {
                let resident = read_area(&file, entry.resident, &cipher)?;
                Ok(Arc::new(IndexChunk::new(entry.clone(), resident)))
            };
            entries.iter().map(read).collect()
        };
        let chunks = std::thread::scope(|scope| {
            let shares: Vec<_> =
                directory.chunks.chunks(share).map(|entries| scope.spawn(|| read(entries))).collect();
            let joined = shares.into_iter().map(|share| share.join().unwrap_or_else(|_| Err(damaged())));
            joined.collect::<io::Result<Vec<_>>>()
        })?;
        let file = SourceFile { name: source_name.into(), ..directory.file };
        Ok(Self { file, chunks: chunks.concat(), path, doubts, cipher })
    }

    /// Opens the index file for reading names and links. A failure to read, here or later, adds the
    /// file to the doubts.
    pub fn open(&self) -> io::Result<SegmentReader<'_>> {
        let file = open(&self.path).inspect_err(|error| self.doubt(error))?;
        Ok(SegmentReader { file, segment: self })
    }

    /// Reads everything. A failure adds the file to the doubts.
    pub fn check(&self) -> io::Result<()> {
        let reader = self.open()?;
        self.chunks.iter().try_for_each(|chunk| {
            reader.keys(chunk)?;
            reader.links(chunk).map(drop)
        })
    }

    fn doubt(&self, error: &io::Error) {
        tracing::warn!(file = self.file.name, %error, "an index file cannot be read: it is made again");
        self.doubts.lock().insert(self.file.name.clone());
    }

    /// Returns the named lines that are not resources in the chunks from number `first` on, by their
    /// number in the file, from 1.
    pub fn broken_lines(&self, first: usize) -> impl Iterator<Item = (u64, LineFault)> + '_ {
        let mut before = 0;
        let chunks = self.chunks.iter().map(move |chunk| {
            let lines_before = before;
            before += chunk.entry.line_feeds;
            (lines_before, chunk)
        });
        let named = chunks.skip(first).flat_map(|(before, chunk)| {
            chunk.entry.broken.named.iter().map(move |(line, broken)| (before + line + 1, *broken))
        });
        named.take(NAMED_BROKEN_LINES)
    }

    /// Returns the number of lines that are not resources in the chunks from number `first` on.
    pub fn broken_count(&self, first: usize) -> u64 {
        self.chunks.iter().skip(first).map(|chunk| chunk.entry.broken.count).sum()
    }

    /// Returns the counts of lines that are resources.
    pub fn contents(&self) -> LineCounts {
        let mut all = LineCounts::default();
        self.chunks.iter().for_each(|chunk| all += chunk.entry.contents);
        all
    }

    /// Returns whether the file has content, but no resource.
    pub fn is_barren(&self) -> bool {
        self.file.size > 0 && self.chunks.iter().all(|chunk| chunk.entry.contents.resources == 0)
    }

    /// Returns what the file looks like, if it has no resources and its beginning shows it.
    pub fn shape(&self) -> Option<FileShape> {
        self.chunks.first().and_then(|chunk| chunk.entry.shape)
    }

    /// Returns the number of spans: resources and gaps.
    pub fn spans(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.types().len() as u64).sum()
    }
}

/// Reads what is not in memory.
pub struct SegmentReader<'a> {
    file: File,
    segment: &'a Segment,
}

impl SegmentReader<'_> {
    /// Returns the table of the names of a chunk's resources, one per span.
    pub fn keys(&self, chunk: &IndexChunk) -> io::Result<ColumnTable> {
        self.read(chunk.entry.keys)
    }

    /// Returns what a chunk's resources belong and point to.
    pub fn links(&self, chunk: &IndexChunk) -> io::Result<ChunkLinks> {
        self.read(chunk.entry.links).map(ChunkLinks::new)
    }

    fn read(&self, area: FileArea) -> io::Result<ColumnTable> {
        read_area(&self.file, area, &self.segment.cipher).inspect_err(|error| self.segment.doubt(error))
    }
}

/// Returns the names in a table of [`SegmentReader::keys`].
pub fn keys(table: &ColumnTable) -> &[ResourceKey] {
    table.column(0)
}

/// Writes an index file, chunk by chunk.
pub struct SegmentWriter {
    file: File,
    at: u64,
    path: PathBuf,
    temporary: Option<PathBuf>,
    cipher: Arc<IndexCipher>,
}

impl SegmentWriter {
    /// Begins a new index file, which replaces the old one when it is finished.
    pub fn create(folder: &Path, source_name: &str, cipher: Arc<IndexCipher>) -> io::Result<Self> {
        let path = folder.join(file_name(source_name));
        let temporary = path.with_extension("new");
        let mut options = OpenOptions::new();
        let file = plain_file::replace_with(options.write(true).mode(0o600), &temporary)?;
        Ok(Self { file, at: 0, path, temporary: Some(temporary), cipher })
    }

    /// Continues the index file of `segment` after its first `kept` chunks, in place.
    pub fn extend(segment: &Segment, kept: usize) -> io::Result<Self> {
        let mut file = plain_file::open_with(
            OpenOptions::new().write(true),
            &segment.path,
            plain_file::LinkPolicy::Refuse,
        )?;
        let end = |area: &FileArea| area.at + area.words * 8 + segment.cipher.added();
        let ends = segment.chunks[..kept].iter().map(|chunk| {
            let entry = &chunk.entry;
            end(&entry.resident).max(end(&entry.keys)).max(end(&entry.links))
        });
        let at = ends.max().unwrap_or(0);
        file.set_len(at)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(Self { file, at, path: segment.path.clone(), temporary: None, cipher: segment.cipher.clone() })
    }

    /// Writes a chunk and returns what stays in memory.
    pub fn add(&mut self, draft: ChunkDraft) -> io::Result<IndexChunk> {
        let [resident, keys, links] = draft.tables();
        let entry = ChunkEntry {
            start: draft.start,
            end: draft.end,
            line_feeds: draft.line_feeds,
            targeting: draft.targeting(),
            deleting: draft.deleting(),
            broken: draft.broken,
            contents: draft.contents,
            shape: draft.shape,
            resident: self.area(&resident)?,
            keys: self.area(&keys)?,
            links: self.area(&links)?,
        };
        Ok(IndexChunk::new(entry, resident))
    }

    fn area(&mut self, table: &ColumnTable) -> io::Result<FileArea> {
        let bytes: &[u8] = bytemuck::cast_slice(table.words());
        let sealed = self.cipher.seal(bytes)?;
        self.file.write_all(&sealed)?;
        let area = FileArea { at: self.at, words: table.words().len() as u64, sum: xxh3_64(bytes) };
        self.at += sealed.len() as u64;
        Ok(area)
    }

    /// Writes the directory. The file is the index of `file` then.
    pub fn finish(
        mut self,
        file: SourceFile,
        terms: &str,
        chunks: Vec<Arc<IndexChunk>>,
        doubts: SegmentDoubts,
    ) -> io::Result<Segment> {
        let entries = chunks.iter().map(|chunk| chunk.entry.clone()).collect();
        let nameless = SourceFile { name: String::new(), ..file.clone() };
        let directory =
            SegmentDirectory { format: FORMAT.into(), terms: terms.into(), file: nameless, chunks: entries };
        let text = self.cipher.seal(&serde_json::to_vec(&directory)?)?;
        self.file.write_all(&text)?;
        let trailer = [self.at, text.len() as u64, xxh3_64(&text)];
        self.file.write_all(bytemuck::cast_slice(&trailer))?;
        if let Some(temporary) = self.temporary.take() {
            std::fs::rename(temporary, &self.path)?;
        }
        Ok(Segment { file, chunks, path: self.path.clone(), doubts, cipher: self.cipher.clone() })
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary
            && let Err(error) = std::fs::remove_file(temporary)
        {
            tracing::warn!(%error, "a half-made index file could not be removed");
        }
    }
}
