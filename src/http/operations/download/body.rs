//! The bytes of a download: read, and compressed if need be, off the asynchronous threads, one chunk at a
//! time. No more than a chunk is held.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::audit;
use crate::evanesce::Download;
use crate::files::ReadAt;
use crate::files::coded::{CodedFile, FileEncoder, PIECE, PieceCompressor, PiecePosition};
use crate::job::JobId;

/// Bytes of text that are read at once: a piece, so that no piece is read twice.
const CHUNK: u64 = PIECE as u64;

/// About the bytes of stored pieces that are sent at once.
const STORED_CHUNK: usize = 512 << 10;

/// The chunks of a download. Each call may block.
pub type DownloadChunks = Box<dyn Iterator<Item = io::Result<Bytes>> + Send>;

/// Returns the text in `range`.
pub fn text(file: Arc<dyn ReadAt>, range: Range<u64>) -> DownloadChunks {
    let mut start = range.start;
    Box::new(std::iter::from_fn(move || {
        if start >= range.end {
            return None;
        }
        let end = range.end.min((start / CHUNK + 1) * CHUNK);
        let read = || {
            let mut buffer = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
            if file.read_full_at(&mut buffer, start)? < buffer.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(Bytes::from(buffer))
        };
        let chunk = read();
        start = end;
        Some(chunk)
    }))
}

/// Returns a coded file as it is stored, without its index.
pub fn stored(file: Arc<CodedFile>) -> DownloadChunks {
    let mut next = 0;
    Box::new(std::iter::from_fn(move || {
        let mut buffer = Vec::new();
        while next < file.pieces() && buffer.len() < STORED_CHUNK {
            if let Err(error) = file.read_stored(next, &mut buffer) {
                return Some(Err(error));
            }
            next += 1;
        }
        (!buffer.is_empty()).then(|| Ok(buffer.into()))
    }))
}

/// Returns the text of a file, compressed on its way. Its length is not known beforehand.
pub fn compressed(file: Arc<dyn ReadAt>, length: u64, mut press: PieceCompressor) -> DownloadChunks {
    let mut encoder = FileEncoder::new(press.coding());
    let mut pieces = text(file, 0..length).zip(1..);
    let count = length.div_ceil(CHUNK);
    Box::new(std::iter::from_fn(move || {
        let (text, n) = pieces.next()?;
        let end = if n == count { PiecePosition::Last } else { PiecePosition::More };
        let piece = |text: Bytes| encoder.piece(&mut press, &text, end).map_err(io::Error::other);
        Some(text.and_then(piece).map(Bytes::from))
    }))
}

/// Records in the audit log, and in the log if it was not whole, how a download ended, when its body is
/// dropped.
struct RecordedDownload {
    record: audit::AuditedDownload,
    cut: CancellationToken,
    job: JobId,
    sent: u64,
    is_whole: bool,
    /// The span of the request: the body outlives its handler.
    span: Span,
}

impl RecordedDownload {
    fn sent(&mut self, bytes: u64) {
        self.record.sent(bytes);
        self.sent += bytes;
    }

    fn finished(&mut self) {
        self.record.finished();
        self.is_whole = true;
    }
}

impl Drop for RecordedDownload {
    fn drop(&mut self) {
        let (job, sent) = (self.job, self.sent);
        if self.cut.is_cancelled() {
            self.record.cut();
        } else if !self.is_whole {
            tracing::info!(parent: &self.span, %job, sent, "a download broke off: the client went, or was cut off");
        }
    }
}

/// Returns the chunks as a body. A client that does not read holds nothing back: when the download is cut,
/// the file is taken from it even if the body is not polled. An error ends the connection before the
/// announced length, or before the last chunk, so the client sees a failed transfer.
pub fn body(
    job: JobId,
    chunks: Download<DownloadChunks>,
    record: audit::AuditedDownload,
) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    let cut = chunks.cut().clone();
    let record = RecordedDownload { record, cut, job, sent: 0, is_whole: false, span: Span::current() };
    stream::try_unfold((chunks, record), move |(chunks, mut recorded)| async move {
        match chunks.read(|chunks| chunks.next().transpose()).await {
            Ok(None) => {
                recorded.finished();
                Ok(None)
            }
            Ok(Some(chunk)) => {
                recorded.sent(chunk.len() as u64);
                Ok(Some((chunk, (chunks, recorded))))
            }
            Err(error) => {
                if !recorded.cut.is_cancelled() {
                    tracing::error!(%job, %error, "a file of a complete job cannot be read: its download fails");
                }
                Err(error)
            }
        }
    })
}
