//! Runs: which bytes of a stretch of a file go out. They are kept as text in the plan, a few
//! bytes each: neighbours that are selected together are one run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use integer_encoding::VarInt;

use crate::fhir::ResourceType;

/// Whole lines of one type that lie one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineRun {
    /// Where it begins in the file.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Whether every byte of it goes out as it is. If not, it is one resource, and the blanks
    /// around it stay behind.
    pub is_tidy: bool,
    /// The type of its resources.
    pub resource_type: ResourceType,
}

impl LineRun {
    /// Returns the offset of its end.
    pub fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// Writes runs, in the order of the file.
pub struct RunWriter {
    encoded: Vec<u8>,
    end: u64,
    pending: Option<LineRun>,
}

impl RunWriter {
    /// Runs that begin at `start` or later.
    pub fn new(start: u64) -> Self {
        Self { encoded: Vec::new(), end: start, pending: None }
    }

    /// Adds a resource.
    pub fn add(&mut self, run: LineRun) {
        match &mut self.pending {
            Some(last)
                if last.is_tidy
                    && run.is_tidy
                    && last.resource_type == run.resource_type
                    && last.start + last.length == run.start =>
            {
                last.length += run.length;
            }
            _ => {
                self.flush();
                self.pending = Some(run);
            }
        }
    }

    fn flush(&mut self) {
        let Some(run) = self.pending.take() else { return };
        let gap = run.start - self.end;
        for number in [gap << 1 | u64::from(run.is_tidy), run.length] {
            self.encoded.extend(number.encode_var_vec());
        }
        self.encoded.push(run.resource_type.index());
        self.end = run.start + run.length;
    }

    /// Returns the runs as text.
    pub fn finish(mut self) -> String {
        self.flush();
        BASE64.encode(&self.encoded)
    }
}

/// Reads what [`RunWriter`] wrote; `None` if it did not.
pub fn read(text: &str, start: u64) -> Option<Vec<LineRun>> {
    let encoded = BASE64.decode(text).ok()?;
    let (mut rest, mut end, mut runs) = (encoded.as_slice(), start, Vec::new());
    while !rest.is_empty() {
        let (gap, used) = u64::decode_var(rest)?;
        rest = &rest[used..];
        let (length, used) = u64::decode_var(rest)?;
        rest = &rest[used..];
        let (index, after) = rest.split_first()?;
        rest = after;
        let start = end.checked_add(gap >> 1)?;
        end = start.checked_add(length)?;
        runs.push(LineRun { start, length, is_tidy: gap & 1 == 1, resource_type: ResourceType::at(*index)? });
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_run_and_all_come_out_as_they_went_in() {
        let resource_type = |name| ResourceType::of(name).unwrap();
        let run = |start, length, is_tidy, name| LineRun {
            start,
            length,
            is_tidy,
            resource_type: resource_type(name),
        };
        let mut writer = RunWriter::new(100);
        for added in [
            run(100, 10, true, "Patient"),
            run(110, 20, true, "Patient"),
            run(130, 5, true, "Group"),
            run(135, 7, false, "Group"),
            run(142, 7, false, "Group"),
            run(1 << 40, 300, true, "Group"),
        ] {
            writer.add(added);
        }
        let expected = [
            run(100, 30, true, "Patient"),
            run(130, 5, true, "Group"),
            run(135, 7, false, "Group"),
            run(142, 7, false, "Group"),
            run(1 << 40, 300, true, "Group"),
        ];
        assert_eq!(read(&writer.finish(), 100).unwrap(), expected);
        assert_eq!(read("", 5), Some(vec![]));
        assert_eq!((read("gICA", 0), read("%", 0)), (None, None));
    }
}
