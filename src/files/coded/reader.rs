//! Reads coded files: the stored pieces in order, or the text at any offset.

use std::io;
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress};

use super::GZIP_HEAD;
use super::index::{self, PieceEntry, sum_of};
use crate::files::ReadAt;
use crate::job::{CodedForm, ContentCoding};

/// An open coded file. Its [`ReadAt`] reads the text.
pub struct CodedFile {
    file: Arc<dyn ReadAt>,
    coding: ContentCoding,
    /// Bytes of its text, and of the text in a piece.
    bytes: u64,
    piece: u64,
    pieces: Vec<IndexedPiece>,
}

struct IndexedPiece {
    start: u64,
    entry: PieceEntry,
}

impl CodedFile {
    /// Opens the file of a text of `bytes`.
    ///
    /// # Errors
    /// Fails with `InvalidData` if its index is damaged.
    pub fn open(file: Arc<dyn ReadAt>, bytes: u64, coded: &CodedForm) -> io::Result<Self> {
        let mut start = 0;
        let place = |entry: PieceEntry| {
            let piece = IndexedPiece { start, entry };
            start += u64::from(entry.length);
            piece
        };
        let pieces = index::read(&*file, bytes, coded)?.into_iter().map(place).collect();
        Ok(Self { file, coding: coded.coding, bytes, piece: coded.piece.into(), pieces })
    }

    /// Returns the number of pieces.
    #[cfg(feature = "server")]
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Appends the stored bytes of piece `n` to `buffer`.
    ///
    /// # Errors
    /// Fails with `InvalidData` if it is damaged.
    pub fn read_stored(&self, n: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        let IndexedPiece { start, entry } = &self.pieces[n];
        let begin = buffer.len();
        buffer.resize(begin + entry.length as usize, 0);
        let piece = &mut buffer[begin..];
        let read = self.file.read_full_at(piece, *start)?;
        if read < piece.len() || sum_of(piece) != entry.sum {
            return Err(self.damaged(n));
        }
        Ok(())
    }

    /// Returns the text of piece `n`.
    fn read_text(&self, n: usize) -> io::Result<Vec<u8>> {
        let mut stored = Vec::new();
        self.read_stored(n, &mut stored)?;
        let length = self.piece.min(self.bytes - n as u64 * self.piece);
        let mut text = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
        match self.coding {
            ContentCoding::Gzip => {
                let head = if n == 0 { GZIP_HEAD.len() } else { 0 };
                let blocks = stored.get(head..).ok_or_else(|| self.damaged(n))?;
                let inflated =
                    Decompress::new(false).decompress_vec(blocks, &mut text, FlushDecompress::None);
                inflated.map_err(|_| self.damaged(n))?;
            }
            ContentCoding::Zstd => {
                let mut decompressor = zstd::bulk::Decompressor::new()?;
                decompressor.decompress_to_buffer(&stored, &mut text).map_err(|_| self.damaged(n))?;
            }
        }
        if text.len() as u64 == length { Ok(text) } else { Err(self.damaged(n)) }
    }

    fn damaged(&self, n: usize) -> io::Error {
        let text = format!("piece {n} of {} is damaged", self.pieces.len());
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

impl ReadAt for CodedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.bytes {
            return Ok(0);
        }
        let n = usize::try_from(offset / self.piece).map_err(io::Error::other)?;
        let text = self.read_text(n)?;
        let text = &text[usize::try_from(offset % self.piece).map_err(io::Error::other)?..];
        let length = text.len().min(buffer.len());
        buffer[..length].copy_from_slice(&text[..length]);
        Ok(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::super::{FileEncoder, PIECE, PieceCompressor, PiecePosition, body_bytes};
    use super::*;

    /// Lines that compress, but not to nothing.
    fn text(length: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let line = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n);
            format!("{{\"id\":\"{n}\",\"value\":\"{state:x}\"}}\n").into_bytes()
        };
        (0..).flat_map(line).take(length).collect()
    }

    /// A stored file of `text`, and its record.
    fn stored(coding: ContentCoding, text: &[u8]) -> (Vec<u8>, CodedForm) {
        let (mut compressor, mut encoder) =
            (PieceCompressor::new(coding, 3).unwrap(), FileEncoder::new(coding));
        let mut bytes = Vec::new();
        let count = text.len().div_ceil(PIECE);
        for (n, piece) in text.chunks(PIECE).enumerate() {
            let end = if n + 1 == count { PiecePosition::Last } else { PiecePosition::More };
            bytes.extend(encoder.piece(&mut compressor, piece, end).unwrap());
        }
        bytes.extend(encoder.index());
        let coded = CodedForm { coding, bytes: bytes.len() as u64, piece: PIECE.try_into().unwrap() };
        (bytes, coded)
    }

    const CODINGS: [ContentCoding; 2] = [ContentCoding::Gzip, ContentCoding::Zstd];

    #[test]
    fn what_is_served_is_one_member_or_whole_frames_that_any_decoder_reads() {
        for length in [1, 1000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17] {
            let text = text(length);
            for coding in CODINGS {
                let (mut bytes, coded) = stored(coding, &text);
                if coding == ContentCoding::Zstd {
                    assert!(zstd::decode_all(&bytes[..]).unwrap() == text, "the index is skipped");
                }
                let body = usize::try_from(body_bytes(length as u64, &coded).unwrap()).unwrap();
                bytes.truncate(body);
                let mut decoded = Vec::new();
                match coding {
                    // One member, and nothing behind it.
                    ContentCoding::Gzip => {
                        let mut decoder = flate2::bufread::GzDecoder::new(&bytes[..]);
                        decoder.read_to_end(&mut decoded).unwrap();
                        assert!(decoder.into_inner().is_empty());
                    }
                    ContentCoding::Zstd => decoded = zstd::decode_all(&bytes[..]).unwrap(),
                }
                assert!(decoded == text, "{coding:?} {length}");
            }
        }
    }

    #[test]
    fn text_that_cannot_be_compressed_grows_by_less_than_a_thousandth() {
        use rand::{Rng, SeedableRng};
        let mut noise = vec![0; 3 * PIECE + 5];
        rand_pcg::Pcg64Mcg::seed_from_u64(1).fill_bytes(&mut noise);
        for coding in CODINGS {
            let (bytes, coded) = stored(coding, &noise);
            assert!(bytes.len() - noise.len() < noise.len() / 1000, "{coding:?}: {}", bytes.len());
            let file = CodedFile::open(Arc::new(bytes), noise.len() as u64, &coded).unwrap();
            let mut read = vec![0; noise.len()];
            assert_eq!(file.read_full_at(&mut read, 0).unwrap(), noise.len());
            assert!(read == noise);
        }
    }

    #[test]
    fn no_changed_byte_goes_unseen() {
        let text = text(2 * PIECE + 100);
        for coding in CODINGS {
            let (bytes, coded) = stored(coding, &text);
            for at in [0, 3, 15, bytes.len() / 3, bytes.len() / 2, bytes.len() - 30, bytes.len() - 1] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                let read = || {
                    let file = CodedFile::open(Arc::new(damaged), text.len() as u64, &coded)?;
                    (0..file.pieces()).try_for_each(|n| file.read_stored(n, &mut Vec::new()))?;
                    file.read_full_at(&mut vec![0; text.len()], 0)
                };
                assert_eq!(read().unwrap_err().kind(), io::ErrorKind::InvalidData, "{coding:?} {at}");
            }
            let short = bytes[..bytes.len() - 1].to_vec();
            assert!(CodedFile::open(Arc::new(short), text.len() as u64, &coded).is_err());
            for senseless in [CodedForm { piece: 0, ..coded }, CodedForm { bytes: 3, ..coded }] {
                let file = Arc::new(bytes.clone());
                assert!(CodedFile::open(file, text.len() as u64, &senseless).is_err());
            }
        }
    }

    /// A text of more than two pieces, and a file of it in each coding.
    static FILES: LazyLock<(Vec<u8>, [CodedFile; 2])> = LazyLock::new(|| {
        let text = text(2 * PIECE + 12_345);
        let files = CODINGS.map(|coding| {
            let (bytes, coded) = stored(coding, &text);
            CodedFile::open(Arc::new(bytes), text.len() as u64, &coded).unwrap()
        });
        (text, files)
    });

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_stretch_of_the_text_can_be_read(start in 0..3 * PIECE, length in 0..2 * PIECE) {
            let (text, files) = &*FILES;
            for file in files {
                let mut read = vec![0; length];
                let count = file.read_full_at(&mut read, start as u64).unwrap();
                let end = text.len().min(start + length);
                prop_assert!(read[..count] == text[start.min(end)..end]);
            }
        }
    }
}
