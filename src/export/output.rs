//! One output file while it is written, plain or compressed. Bytes pass the job's gate in pieces of
//! the size that its limits ask for. The limits count bytes on disk.

use sha2::{Digest, Sha256};

use super::ExportError;
use super::writer::{OutputForm, WriterContext};
use crate::cancel::STRIDE;
use crate::files::coded::{FileEncoder, PIECE, PieceCompressor, PiecePosition};
use crate::files::{ExportDir, OutputSink};
use crate::job::{CodedForm, OutputFile};
use crate::telemetry;

/// A file is compressed if its first piece shrinks by at least this share. The file then never
/// takes more room than its text, for which room was reserved: bytes of JSON text have at most 212
/// values, so each later piece shrinks by a few hundredths. A host that writes something else loses
/// less than a thousandth per piece that does not shrink.
const LEAST_GAIN: usize = PIECE / 16;

/// One output file while it is written.
pub(super) struct OutputWriter {
    pub file: OutputFile,
    /// Created when the first bytes are written.
    sink: Option<Box<dyn OutputSink>>,
    buffer: Vec<u8>,
    /// `None` if the file is plain text.
    encoder: Option<FileEncoder>,
    sum: Option<Sha256>,
}

impl OutputWriter {
    pub fn new(name: String, resource_type: &'static str, form: OutputForm) -> Self {
        Self {
            file: OutputFile::new(name, resource_type),
            sink: None,
            buffer: Vec::new(),
            encoder: form.coding.map(|(coding, _)| FileEncoder::new(coding)),
            sum: form.checksums.then(Sha256::new),
        }
    }

    /// Appends text. `press` is given if the file has an encoder.
    pub fn append(
        &mut self,
        mut text: &[u8],
        dir: &dyn ExportDir,
        mut press: Option<&mut PieceCompressor>,
        shared: &WriterContext,
    ) -> Result<(), ExportError> {
        self.file.bytes += text.len() as u64;
        if let Some(sum) = &mut self.sum {
            for stride in text.chunks(STRIDE) {
                shared.cancel.check()?;
                sum.update(stride);
            }
        }
        // A full piece waits for more text, because it may be the last piece.
        while self.encoder.is_some() && self.buffer.len() + text.len() > PIECE {
            let (now, rest) = text.split_at(PIECE - self.buffer.len());
            self.buffer.extend_from_slice(now);
            text = rest;
            self.write_piece(PiecePosition::More, dir, press.as_deref_mut(), shared)?;
        }
        let is_plain = self.encoder.is_none();
        // Large texts are written directly, without being gathered first.
        if is_plain && self.buffer.is_empty() && text.len() >= shared.chunk() {
            return self.write(text, dir, shared);
        }
        self.buffer.extend_from_slice(text);
        if is_plain && self.buffer.len() >= shared.chunk() { self.write_buffer(dir, shared) } else { Ok(()) }
    }

    /// Writes what is left, syncs the file and closes it.
    pub fn seal(
        mut self,
        dir: &dyn ExportDir,
        press: Option<&mut PieceCompressor>,
        shared: &WriterContext,
    ) -> Result<OutputFile, ExportError> {
        self.write_piece(PiecePosition::Last, dir, press, shared)?;
        if let Some(sink) = &mut self.sink {
            sink.finish()?;
        }
        self.file.sha256 = self.sum.map(|sum| hex::encode(sum.finalize()));
        Ok(self.file)
    }

    /// Writes the gathered text, compressed if the file is.
    fn write_piece(
        &mut self,
        end: PiecePosition,
        dir: &dyn ExportDir,
        press: Option<&mut PieceCompressor>,
        shared: &WriterContext,
    ) -> Result<(), ExportError> {
        let (Some(encoder), Some(press)) = (&mut self.encoder, press) else {
            return self.write_buffer(dir, shared);
        };
        let mut piece = encoder.piece(press, &self.buffer, end)?;
        if end == PiecePosition::Last {
            piece.extend_from_slice(&encoder.index());
        }
        if self.file.coded.is_none() {
            let least = if end == PiecePosition::Last { 1 } else { LEAST_GAIN };
            if piece.len() + least > self.buffer.len() {
                self.encoder = None;
                return self.write_buffer(dir, shared);
            }
            let piece = u32::try_from(PIECE).expect("a piece is a megabyte");
            self.file.coded = Some(CodedForm { coding: press.coding(), bytes: 0, piece });
        }
        self.buffer.clear();
        self.write(&piece, dir, shared)
    }

    fn write_buffer(&mut self, dir: &dyn ExportDir, shared: &WriterContext) -> Result<(), ExportError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer, dir, shared)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    /// Writes stored bytes, in pieces that pass the gate.
    fn write(
        &mut self,
        bytes: &[u8],
        dir: &dyn ExportDir,
        shared: &WriterContext,
    ) -> Result<(), ExportError> {
        for piece in shared.pieces(bytes) {
            shared.gate.pass(piece.len()).map_err(|_| ExportError::Cancelled)?;
            let sink = match &mut self.sink {
                Some(sink) => sink,
                None => {
                    let sink = dir.create_file(&self.file.stored_name())?;
                    shared.progress.opened(1);
                    self.sink.insert(sink)
                }
            };
            sink.write_all(piece)?;
            if let Some(coded) = &mut self.file.coded {
                coded.bytes += piece.len() as u64;
            }
            shared.gate.wrote(piece.len());
            shared.progress.wrote(piece.len() as u64);
            telemetry::bytes_written(piece.len());
        }
        Ok(())
    }
}
