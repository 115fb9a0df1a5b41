//! The mess around resources: line ends, blank lines, white space, a byte order mark, missing last
//! line ends, and lines that are not resources.

use super::draw::{RandomStream, StreamOwner, StreamPurpose};
use super::kind::RecordKind;
use super::sheets::SourceSheet;

/// Lines that are not resources, each in its own way.
pub(super) const BROKEN: &[&[u8]] = &[
    br#"{"resourceType":"Patient","id":"broken-cut","name":[{"family":"Placeh"#,
    b"broken: this is not JSON",
    br#"[{"resourceType":"Patient","id":"broken-in-an-array"}]"#,
    b"42",
    b"{\"resourceType\":\"Patient\",\"id\":\"broken-utf-8\",\"name\":[{\"family\":\"\xff\xfe\"}]}",
    br#"{"id":"broken-no-type"}"#,
    br#"{"resourceType":42,"id":"broken-number-for-a-type"}"#,
    br#"{"resourceType":"Penguin","id":"broken-unknown-type"}"#,
    br#"{"resourceType":"Patient","id":"broken-two-types","resourceType":"Observation"}"#,
    br#"{"resourceType":"Patient","id":"broken-two"}{"resourceType":"Patient","id":"broken-on-a-line"}"#,
];

/// The sheet that begins with a byte order mark.
const MARKED: RecordKind = RecordKind::Patient;

/// The mess around the resources of one owner.
pub(super) struct MessWriter {
    seed: u64,
    draw: RandomStream,
}

impl MessWriter {
    /// The mess around the practices' resources.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, draw: RandomStream::stream(seed, StreamPurpose::Mess, StreamOwner::Practices) }
    }

    /// Turns to the resources of `owner`.
    pub(super) fn turn_to(&mut self, owner: StreamOwner) {
        self.draw = RandomStream::stream(self.seed, StreamPurpose::Mess, owner);
    }

    /// Puts something, or mostly nothing, before the next resource of `sheet`.
    pub(super) fn before(&mut self, sheet: &mut SourceSheet) {
        if sheet.name() == MARKED.name() && sheet.is_blank() {
            sheet.json.bytes.extend_from_slice(b"\xEF\xBB\xBF");
        }
        let space: &[u8] = match self.draw.below(100) {
            0 => b"\n",
            1 => b"\r\n",
            2 => b"  \t \n",
            3 => b"  ",
            4 => b"\t",
            5 => return sheet.broken(BROKEN[self.draw.index(BROKEN.len())]),
            _ => b"",
        };
        sheet.json.bytes.extend_from_slice(space);
    }

    /// What stands between a resource and the end of its line.
    pub(super) fn after(&mut self) -> &'static [u8] {
        match self.draw.below(100) {
            0..5 => b"\r",
            5 => b"  ",
            6 => b" \t\r",
            _ => b"",
        }
    }
}
