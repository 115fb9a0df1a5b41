//! How long lines are in a block, at the most.

use crate::export::CancelToken;
use crate::export::source_exporter::line_writer::{LineOptions, LineWriter};
use crate::fhir::ResourceType;
use crate::index::{IndexChunk, LineSpan};

/// Bounds of the lengths of lines on their way out.
pub struct LineLengths {
    rules: LineWriter,
    url_growth: u64,
}

impl LineLengths {
    /// Returns the bounds of lines with which this is done.
    pub fn new(options: LineOptions, cancel: &CancelToken) -> Self {
        Self { url_growth: options.url_growth(), rules: LineWriter::new(options, cancel) }
    }

    /// Returns the bytes of each resource of a chunk on its way out, with a line feed, at the most.
    pub fn of(&self, chunk: &IndexChunk) -> Vec<u64> {
        let growth = |index: &u8| ResourceType::at(*index).map_or(0, |of_type| self.rules.growth(of_type));
        let spans = chunk.spans().zip(chunk.types());
        let bytes =
            |(span, index): (LineSpan, _)| u64::from(span.length) + u64::from(!span.is_tidy) + growth(index);
        let mut bytes: Vec<u64> = spans.map(bytes).collect();
        chunk.binaries().for_each(|(n, urls)| bytes[n] += urls * self.url_growth);
        bytes
    }
}
