//! The output files: one per resource type, and in a mess one more for all types. A sheet's JSON
//! buffer is also its write buffer. Resources are written into it in place, and it is emptied into
//! the file at a quarter of a mebibyte. So the code that makes resources meets no I/O error, and no
//! byte is copied twice.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::draw::StreamOwner;
use super::json::{JsonText, JsonWriter};
use super::kind::RecordKind;
use super::mess::{BROKEN, MessWriter};
use super::moment::UnixMillis;
use super::options::GenerateOptions;
use super::variation::OptionStreams;
use super::{FileSummary, GenerateError, GenerateSummary};

/// A sheet is emptied into its file when it holds this many bytes.
const SPILL: usize = 256 * 1024;

/// The index of the sheet for all types; those before it are at the index of their kind.
const MIXED: usize = RecordKind::ALL.len();

/// All the sheets of one run.
pub(super) struct SourceSheets {
    sheets: Vec<SourceSheet>,
    variation: OptionStreams,
    mess: Option<MessWriter>,
}

impl SourceSheets {
    /// Sheets that will write to `<out>/<name>.ndjson`. No file is made before it has a line.
    pub(super) fn new(options: &GenerateOptions) -> Self {
        let names = RecordKind::ALL.iter().map(|kind| kind.name()).chain(["mixed"]);
        let sheets = names.map(|name| SourceSheet::new(name, &options.out)).collect();
        let mess = options.mess.then(|| MessWriter::new(options.seed));
        let mut sheets = Self { sheets, variation: OptionStreams::new(options), mess };
        if options.mess {
            BROKEN.iter().for_each(|line| sheets.mixed().broken(line));
        }
        sheets
    }

    /// Turns to the resources of `owner`.
    pub(super) fn turn_to(&mut self, owner: StreamOwner) {
        self.variation.turn_to(owner);
        if let Some(mess) = &mut self.mess {
            mess.turn_to(owner);
        }
    }

    /// The sheet of one type.
    pub(super) fn sheet(&mut self, kind: RecordKind) -> &mut SourceSheet {
        &mut self.sheets[kind as usize]
    }

    /// The sheet for all types.
    pub(super) fn mixed(&mut self) -> &mut SourceSheet {
        &mut self.sheets[MIXED]
    }

    /// Writes one whole resource; `body` adds the elements after `meta` and narrative.
    pub(super) fn resource(
        &mut self,
        kind: RecordKind,
        id: impl JsonText,
        updated: UnixMillis,
        body: impl FnOnce(&mut JsonWriter),
    ) {
        body(self.begin(kind, id, updated));
        self.end(kind);
    }

    /// As [`SourceSheets::resource`], on the sheet for all types.
    pub(super) fn odd(
        &mut self,
        kind: RecordKind,
        id: impl JsonText,
        updated: UnixMillis,
        body: impl FnOnce(&mut JsonWriter),
    ) {
        body(self.begin_on(MIXED, kind, id, updated));
        self.end_on(MIXED);
    }

    /// Starts a resource with the elements that all of them have.
    pub(super) fn begin(
        &mut self,
        kind: RecordKind,
        id: impl JsonText,
        updated: UnixMillis,
    ) -> &mut JsonWriter {
        self.begin_on(kind as usize, kind, id, updated)
    }

    /// Ends a resource that was begun, and with it the line.
    pub(super) fn end(&mut self, kind: RecordKind) {
        self.end_on(kind as usize);
    }

    fn begin_on(
        &mut self,
        index: usize,
        kind: RecordKind,
        id: impl JsonText,
        updated: UnixMillis,
    ) -> &mut JsonWriter {
        let sheet = &mut self.sheets[index];
        if let Some(mess) = &mut self.mess {
            mess.before(sheet);
        }
        let json = &mut sheet.json;
        json.open_item();
        json.text("resourceType", kind.name());
        json.text("id", id);
        if let Some(updated) = self.variation.updated(updated) {
            json.object("meta", |json| json.text("lastUpdated", updated));
        }
        self.variation.narrative(json);
        json
    }

    fn end_on(&mut self, index: usize) {
        let sheet = &mut self.sheets[index];
        sheet.json.close_item();
        if let Some(mess) = &mut self.mess {
            sheet.json.bytes.extend_from_slice(mess.after());
        }
        sheet.json.end_line();
        sheet.resources += 1;
    }

    /// Empties the sheets that are full.
    ///
    /// # Errors
    /// As for [`SourceSheet::spill_when_full`].
    pub(super) fn spill_full(&mut self) -> Result<(), GenerateError> {
        self.sheets.iter_mut().try_for_each(SourceSheet::spill_when_full)
    }

    /// Writes out what is left and says what was written. In a mess, every other file loses the line
    /// break at its end.
    ///
    /// # Errors
    /// As for [`SourceSheet::spill_when_full`].
    pub(super) fn finish(mut self) -> Result<GenerateSummary, GenerateError> {
        self.sheets.iter_mut().try_for_each(SourceSheet::spill)?;
        if self.mess.is_some() {
            self.sheets.iter_mut().step_by(2).try_for_each(SourceSheet::cut_line_break)?;
        }
        let files = self.sheets.iter().filter(|sheet| sheet.bytes > 0).map(|sheet| FileSummary {
            name: sheet.name,
            resources: sheet.resources,
            broken_lines: sheet.broken_lines,
            bytes: sheet.bytes,
        });
        Ok(GenerateSummary { files: files.collect() })
    }
}

/// The lines of one file on their way to it.
pub(super) struct SourceSheet {
    name: &'static str,
    path: PathBuf,
    /// Opened when the first bytes are written.
    file: Option<File>,
    /// The text not yet in the file.
    pub(super) json: JsonWriter,
    resources: u64,
    broken_lines: u64,
    /// Bytes already in the file.
    bytes: u64,
}

impl SourceSheet {
    fn new(name: &'static str, folder: &Path) -> Self {
        let path = folder.join(name).with_extension("ndjson");
        Self { name, path, file: None, json: JsonWriter::new(), resources: 0, broken_lines: 0, bytes: 0 }
    }

    /// The name of its file, without `.ndjson`.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether nothing was written to it yet.
    pub(super) fn is_blank(&self) -> bool {
        self.bytes == 0 && self.json.bytes.is_empty()
    }

    /// Writes a line that is a resource as it stands.
    pub(super) fn line(&mut self, text: impl JsonText) {
        text.show(&mut self.json.bytes);
        self.json.end_line();
        self.resources += 1;
    }

    /// Writes a line that is none.
    pub(super) fn broken(&mut self, text: &[u8]) {
        self.json.bytes.extend_from_slice(text);
        self.json.end_line();
        self.broken_lines += 1;
    }

    /// Empties the buffer into the file if it is full; a resource may be half written.
    ///
    /// # Errors
    /// [`GenerateError::Write`] if the file cannot be made or does not take the bytes.
    pub(super) fn spill_when_full(&mut self) -> Result<(), GenerateError> {
        if self.json.bytes.len() < SPILL { Ok(()) } else { self.spill() }
    }

    fn spill(&mut self) -> Result<(), GenerateError> {
        if self.json.bytes.is_empty() {
            return Ok(());
        }
        let result = match &mut self.file {
            Some(file) => file.write_all(&self.json.bytes),
            // `create_new`, so that a file somebody else made in the meantime is not overwritten.
            None => File::create_new(&self.path)
                .and_then(|file| self.file.insert(file).write_all(&self.json.bytes)),
        };
        result.map_err(|source| GenerateError::Write { path: self.path.clone(), source })?;
        self.bytes += self.json.bytes.len() as u64;
        self.json.bytes.clear();
        Ok(())
    }

    /// Takes the last byte, which is a line break, off the file again.
    fn cut_line_break(&mut self) -> Result<(), GenerateError> {
        if let Some(file) = &self.file {
            self.bytes -= 1;
            let failed = |source| GenerateError::Write { path: self.path.clone(), source };
            file.set_len(self.bytes).map_err(failed)?;
        }
        Ok(())
    }
}
