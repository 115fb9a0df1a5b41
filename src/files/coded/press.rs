//! Making coded files: a [`PieceCompressor`] compresses piece after piece, of any number of files; an
//! [`FileEncoder`] knows what one file needs beside its pieces.

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

/// Compresses pieces. What it has of one it does not use for the next.
pub struct PieceCompressor(CompressionEngine);

enum CompressionEngine {
    Gzip(Compress),
    Zstd(Compressor<'static>),
}

impl PieceCompressor {
    /// A press that tries as hard as `level` says: 1 to 9 for gzip, 1 to 19 for zstd.
    ///
    /// # Errors
    /// Its memory cannot be had.
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

    /// Its coding.
    pub fn coding(&self) -> ContentCoding {
        match self.0 {
            CompressionEngine::Gzip(_) => ContentCoding::Gzip,
            CompressionEngine::Zstd(_) => ContentCoding::Zstd,
        }
    }

    fn press(&mut self, text: &[u8]) -> io::Result<Vec<u8>> {
        match &mut self.0 {
            CompressionEngine::Gzip(compress) => deflate(compress, text),
            CompressionEngine::Zstd(compressor) => compressor.compress(text),
        }
    }
}

/// Deflates `text` to blocks that refer to nothing before them and end on a byte.
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

/// Whether a file goes on after a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PiecePosition {
    /// It does.
    More,
    /// It does not.
    Last,
}

/// What one file needs beside its pieces.
pub struct FileEncoder {
    coding: ContentCoding,
    /// Of the text (gzip).
    crc: Crc,
    index: Vec<PieceEntry>,
}

impl FileEncoder {
    /// For a file that has no piece yet.
    pub fn new(coding: ContentCoding) -> Self {
        Self { coding, crc: Crc::new(), index: Vec::new() }
    }

    /// The next piece, as it is stored: `text` is [`super::PIECE`] bytes long, or shorter if it is
    /// the last. `press` is one of the same coding.
    ///
    /// # Errors
    /// It could not be compressed, which has no other reason than memory.
    pub fn piece(
        &mut self,
        press: &mut PieceCompressor,
        text: &[u8],
        end: PiecePosition,
    ) -> Result<Vec<u8>, FilesError> {
        let mut piece = || {
            let mut piece = press.press(text)?;
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

    /// What stands in a file after its last piece.
    pub fn index(&self) -> Vec<u8> {
        index::write(self.coding, &self.index)
    }
}
