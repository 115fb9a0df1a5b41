//! What the options change in every resource, whoever writes it: whether it is dated, whether it was
//! updated recently, and the narrative that makes it longer.

use super::draw::{RandomStream, StreamOwner, StreamPurpose};
use super::json::{JsonText, JsonWriter, RawJson};
use super::moment::{DAY, UnixMillis};
use super::options::{GenerateOptions, ResourceShare};

/// What the prose of a narrative is made of, in any order.
const SENTENCES: &[&str] = &[
    "Synthetic text about nobody. ",
    "The patient was seen in good spirits and had nothing to add. ",
    "Blood pressure was taken twice, sitting, after five minutes of rest. ",
    "No complaints. ",
    "Diet and exercise were talked over at length; the plan stays as it is. ",
    "The results of the last laboratory panel were explained. ",
    "Medication is taken as prescribed, with no side effects to speak of. ",
    "A copy of this note went to nobody, for there is nobody to send it to. ",
    "Heart and lungs without findings. ",
    "The next visit was agreed for some months from now, earlier if need be. ",
    "Questions were answered. ",
    "Vaccinations are up to date according to the record. ",
];

/// Recent updates fall within this many days from 2026-01-01, the last of which is 2026-06-29.
const RECENT_DAYS: u64 = 180;

/// The options of a run with the streams of the owner whose resources are being written.
pub(super) struct OptionStreams {
    seed: u64,
    undated: ResourceShare,
    recent: ResourceShare,
    notes: u64,
    updates: RandomStream,
    narrative: RandomStream,
}

impl OptionStreams {
    /// The variation of the practices' resources.
    pub(super) fn new(options: &GenerateOptions) -> Self {
        let stream = |purpose| RandomStream::stream(options.seed, purpose, StreamOwner::Practices);
        Self {
            seed: options.seed,
            undated: options.undated,
            recent: options.recent,
            notes: options.notes.into(),
            updates: stream(StreamPurpose::Updates),
            narrative: stream(StreamPurpose::Narrative),
        }
    }

    /// Turns to the resources of `owner`.
    pub(super) fn turn_to(&mut self, owner: StreamOwner) {
        self.updates = RandomStream::stream(self.seed, StreamPurpose::Updates, owner);
        self.narrative = RandomStream::stream(self.seed, StreamPurpose::Narrative, owner);
    }

    /// The `meta.lastUpdated` of the next resource, if it has one; `updated` is what it has in a plain
    /// set. The draws are the same whatever the shares, so that a larger share only adds to a smaller.
    pub(super) fn updated(&mut self, updated: UnixMillis) -> Option<UnixMillis> {
        let undated = self.updates.share(self.undated);
        let recent = self.updates.share(self.recent);
        let later = 1 + self.updates.below(RECENT_DAYS * DAY - 1);
        match (undated, recent) {
            (true, _) => None,
            (false, true) => Some(UnixMillis::midnight(2026, 1, 1).plus(later)),
            (false, false) => Some(updated),
        }
    }

    /// Writes the narrative of the next resource, if narratives are asked for.
    pub(super) fn narrative(&mut self, json: &mut JsonWriter) {
        if self.notes == 0 {
            return;
        }
        // A resource has half a chance of a piece more, and then again: 3/2 pieces in the mean.
        let piece = (2 * self.notes).div_ceil(3);
        let length = self.narrative.heads() * piece + self.narrative.below(piece);
        let prose = FillerText { draw: self.narrative.fork(), length: (length as usize).max(1) };
        json.object("text", |json| {
            json.text("status", "additional");
            let open = RawJson(r#"<div xmlns=\"http://www.w3.org/1999/xhtml\">"#);
            json.text("div", (open, prose, "</div>"));
        });
    }
}

/// Sentences up to a length in bytes; the last may be cut.
pub(super) struct FillerText {
    pub(super) draw: RandomStream,
    pub(super) length: usize,
}

impl JsonText for FillerText {
    fn show(&self, out: &mut Vec<u8>) {
        let mut draw = self.draw.clone();
        let end = out.len() + self.length;
        while out.len() < end {
            draw.pick(SENTENCES).show(out);
        }
        out.truncate(end);
    }
}
