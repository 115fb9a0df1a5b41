//! Writes coded files. A [`PieceCompressor`] compresses pieces of any number of files; a
//! [`FileEncoder`] makes what one file needs beside its pieces.

use std::io;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::GZIP_HEAD;
use super::index::{self, PieceEntry};
use crate::files::FilesError;
use crate::job::ContentCoding;

/// The end of a deflate stream: one last block with nothing in it (RFC 1951, 3.2.6).
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Compresses pieces, each independently of the others.
pub struct PieceCompressor(CompressionEngine);

enum CompressionEngine {
    Gzip(Compress),
    Zstd(Compressor<'static>),
}

impl PieceCompressor {
    /// Creates a compressor of that level: 1 to 9 for gzip, 1 to 19 for zstd.
    ///
    /// # Errors
    /// Fails if its memory cannot be allocated.
    pub fn new(coding: ContentCoding, level: u8) -> Result<Self, FilesError> {
        let engine = || match coding {
            ContentCoding::Gzip => {
                Ok(CompressionEngine::Gzip(Compress::new(Compression::new(level.into()), false)))
            }
            ContentCoding::Zstd => {
                let mut compressor = Compressor::new(level.into())?;
                // For clients: what is read here is checked by the index.
                compressor.set_parameter(CParameter::ChecksumFlag(true))?;
                Ok(CompressionEngine::Zstd(compressor))
            }
        };
        engine().map(Self).map_err(FilesError::new("prepare to compress with", coding.name()))
    }

    /// Returns the content coding.
    pub fn coding(&self) -> ContentCoding {
        match self.0 {
            CompressionEngine::Gzip(_) => ContentCoding::Gzip,
            CompressionEngine::Zstd(_) => ContentCoding::Zstd,
        }
    }

    fn compress(&mut self, text: &[u8]) -> io::Result<Vec<u8>> {
        match &mut self.0 {
            CompressionEngine::Gzip(compress) => deflate(compress, text),
            CompressionEngine::Zstd(compressor) => compressor.compress(text),
        }
    }
}

/// Deflates `text` to blocks that refer to nothing before them and end on a byte boundary.
fn deflate(compress: &mut Compress, text: &[u8]) -> io::Result<Vec<u8>> {
    compress.reset();
    let mut pressed = Vec::with_capacity(text.len() / 4 + 64);
    loop {
        let rest = &text[usize::try_from(compress.total_in()).map_err(io::Error::other)?..];
        let status = compress.compress_vec(rest, &mut pressed, FlushCompress::Full);
        let is_consumed = compress.total_in() == text.len() as u64;
        // A flush that had room to spare has come to its end.
        if is_consumed && pressed.len() < pressed.capacity() {
            return Ok(pressed);
        }
        if status.map_err(io::Error::other)? == Status::StreamEnd {
            return Err(io::Error::other("a deflate stream ended before its time"));
        }
        pressed.reserve(text.len() / 4 + 64);
    }
}

/// Where a piece stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PiecePosition {
    /// Another piece follows.
    More,
    /// It is the last piece.
    Last,
}

/// Makes what one file needs beside its pieces: head, checksum and index.
pub struct FileEncoder {
    coding: ContentCoding,
    /// Of the text (gzip).
    crc: Crc,
    index: Vec<PieceEntry>,
}

impl FileEncoder {
    /// Creates the encoder of a file that has no piece yet.
    pub fn new(coding: ContentCoding) -> Self {
        Self { coding, crc: Crc::new(), index: Vec::new() }
    }

    /// Returns the next piece in its stored form. `text` is [`super::PIECE`] bytes long, or shorter if
    /// it is the last. `compressor` must have the same coding.
    ///
    /// # Errors
    /// Fails if memory for the compression runs out.
    pub fn piece(
        &mut self,
        compressor: &mut PieceCompressor,
        text: &[u8],
        end: PiecePosition,
    ) -> Result<Vec<u8>, FilesError> {
        let mut piece = || {
            let mut piece = compressor.compress(text)?;
            if self.coding == ContentCoding::Gzip {
                self.crc.update(text);
                if self.index.is_empty() {
                    piece.splice(0..0, GZIP_HEAD);
                }
                if end == PiecePosition::Last {
                    piece.extend_from_slice(&LAST_BLOCK);
                    piece.extend_from_slice(&self.crc.sum().to_le_bytes());
                    piece.extend_from_slice(&self.crc.amount().to_le_bytes());
                }
            }
            self.index.push(PieceEntry::of(&piece)?);
            Ok(piece)
        };
        piece().map_err(FilesError::new("compress with", self.coding.name()))
    }

    /// Returns what follows the last piece of the file.
    pub fn index(&self) -> Vec<u8> {
        index::write(self.coding, &self.index)
    }
}
