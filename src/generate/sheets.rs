//! The output files, one a resource type. A sheet's JSON buffer is itself the write buffer: resources
//! are written into it in place, and it is emptied into the file when it has grown past a quarter of
//! a mebibyte. So the code that makes resources meets no I/O error, and no byte is copied twice.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::json::{Json, Show};
use super::kind::Kind;
use super::moment::Moment;
use super::{FileSummary, GenerateError, Summary};

/// A sheet is emptied into its file when it holds this many bytes.
const SPILL: usize = 256 * 1024;

/// All the sheets of one run.
pub(super) struct Sheets(Vec<Sheet>);

impl Sheets {
    /// Sheets that will write to `<folder>/<Type>.ndjson`. No file is made before it has a resource.
    pub(super) fn new(folder: &Path) -> Self {
        Self(Kind::ALL.iter().map(|&kind| Sheet::new(kind, folder)).collect())
    }

    /// The sheet of one type.
    pub(super) fn sheet(&mut self, kind: Kind) -> &mut Sheet {
        &mut self.0[kind as usize]
    }

    /// Writes one whole resource; `body` adds the elements after `meta`.
    pub(super) fn resource(
        &mut self,
        kind: Kind,
        id: impl Show,
        updated: Moment,
        body: impl FnOnce(&mut Json),
    ) {
        let sheet = self.sheet(kind);
        body(sheet.begin(id, updated));
        sheet.end();
    }

    /// Empties the sheets that are full.
    ///
    /// # Errors
    /// As for [`Sheet::spill_when_full`].
    pub(super) fn spill_full(&mut self) -> Result<(), GenerateError> {
        self.0.iter_mut().try_for_each(Sheet::spill_when_full)
    }

    /// Writes out what is left and says what was written.
    ///
    /// # Errors
    /// As for [`Sheet::spill_when_full`].
    pub(super) fn finish(mut self) -> Result<Summary, GenerateError> {
        self.0.iter_mut().try_for_each(Sheet::spill)?;
        let files = self.0.iter().filter(|sheet| sheet.resources > 0).map(|sheet| FileSummary {
            resource_type: sheet.kind.name(),
            resources: sheet.resources,
            bytes: sheet.bytes,
        });
        Ok(Summary { files: files.collect() })
    }
}

/// The resources of one type on their way to their file.
pub(super) struct Sheet {
    kind: Kind,
    path: PathBuf,
    /// Opened when the first bytes are written.
    file: Option<File>,
    /// The text not yet in the file.
    pub(super) json: Json,
    resources: u64,
    /// Bytes already in the file.
    bytes: u64,
}

impl Sheet {
    fn new(kind: Kind, folder: &Path) -> Self {
        let path = folder.join(kind.name()).with_extension("ndjson");
        Self { kind, path, file: None, json: Json::new(), resources: 0, bytes: 0 }
    }

    /// Starts a resource with the elements that all of them have.
    pub(super) fn begin(&mut self, id: impl Show, updated: Moment) -> &mut Json {
        self.json.open_item();
        self.json.text("resourceType", self.kind.name());
        self.json.text("id", id);
        self.json.object("meta", |json| json.text("lastUpdated", updated));
        &mut self.json
    }

    /// Ends the resource, and with it the line.
    pub(super) fn end(&mut self) {
        self.json.end_line();
        self.resources += 1;
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
}
