//! A deterministic generator of a synthetic FHIR R4 data set: one NDJSON file per resource type,
//! with the records of a small practice group whose patients never existed. The same options give
//! the same bytes on every machine. Each patient has random streams of its own (`draw`), so a
//! patient does not depend on how many others there are. `chart` writes one patient's record, and
//! `sheets` holds the files. Benchmarks use larger sets (`variation`, `group`), tests a mess
//! (`mess`, `odd`).

mod care;
mod chart;
mod draw;
mod group;
mod json;
mod kind;
mod mess;
mod moment;
mod odd;
mod options;
mod person;
mod practice;
mod sheets;
mod variation;
mod visit;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chart::PatientChart;
use draw::{RandomStream, StreamOwner, StreamPurpose};
use practice::PracticeList;
use sheets::SourceSheets;

pub use options::{GenerateOptions, ResourceShare};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateSummary {
    /// The files, in the order of their names. A type without resources has no file.
    pub files: Vec<FileSummary>,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSummary {
    /// Its name without `.ndjson`: the type of its resources, or `mixed` if they are of several.
    pub name: &'static str,
    /// The number of resources, each on a line of its own.
    pub resources: u64,
    /// The number of lines that are neither blank nor a resource.
    pub broken_lines: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

impl GenerateSummary {
    /// Returns the number of resources in all files.
    pub fn resources(&self) -> u64 {
        self.files.iter().map(|file| file.resources).sum()
    }

    /// Returns the number of broken lines in all files.
    pub fn broken_lines(&self) -> u64 {
        self.files.iter().map(|file| file.broken_lines).sum()
    }

    /// Returns the size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Why a set was not generated, or not completely.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The output folder cannot be created or listed.
    #[error("cannot open the output folder {}; choose a folder this user may list and write to", path.display())]
    Folder {
        /// The output folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output folder already has NDJSON files, which would mix with the set.
    #[error("refusing to generate beside {}; remove the .ndjson files there or choose an empty folder", found.display())]
    NotEmpty {
        /// One of these files.
        found: PathBuf,
    },
    /// A file cannot be created or written. The set is incomplete.
    #[error("cannot write {}; free some space or choose another folder, and remove the files begun", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes a data set to `options.out`, and calls `progress` with the number of patients done after
/// each one. Memory does not grow with the number of patients.
///
/// # A mess
/// With [`GenerateOptions::mess`] the resources are those of the same set without it, and some more. They are
/// mixed up with what a careful reader has to put up with, all of it counted in the [`GenerateSummary`]:
/// - About one line in a hundred each: a blank line, also one of white space; white space around a
///   resource; a line that is not a resource (cut off, not JSON, an array, a number, two objects, not
///   UTF-8, with no type, an unknown one, two of them or a number for one). One line in twenty ends
///   in CRLF.
/// - `Patient.ndjson` begins with a byte order mark, and every other file has no last line break.
/// - `mixed.ndjson`, the last file by name, begins with one broken line of each kind. For the second
///   patient and each tenth after it, it has a Patient with the same id and other content, and
///   Observations: with an escaped reference (two), with a note that looks like a reference to
///   another patient, with a contained resource that has one, with extensions nested 200 deep, and with
///   its type last (this one has no `meta`). The second patient also has one of more than 2 MiB.
///
/// # Errors
/// [`GenerateError::Folder`] if the folder cannot be made or listed, [`GenerateError::NotEmpty`] if it
/// has `.ndjson` files, in both cases before anything is written; [`GenerateError::Write`] if a file
/// cannot be written, which leaves the files begun so far.
pub fn generate(
    options: &GenerateOptions,
    progress: &mut dyn FnMut(u32),
) -> Result<GenerateSummary, GenerateError> {
    prepare(&options.out)?;
    let mut sheets = SourceSheets::new(options);
    let mut draw = RandomStream::stream(options.seed, StreamPurpose::Record, StreamOwner::Practices);
    let practices = PracticeList::write(&mut draw, &mut sheets);
    for patient in 0..options.patients {
        PatientChart::open(options, patient, &practices, &mut sheets).write();
        if options.mess {
            odd::write(options, patient, &mut sheets);
        }
        sheets.spill_full()?;
        progress(patient + 1);
    }
    group::write_all(options, &practices, &mut sheets)?;
    sheets.finish()
}

/// Makes the folder if need be, and sees that the set would be alone in it.
fn prepare(folder: &Path) -> Result<(), GenerateError> {
    let failed = |source| GenerateError::Folder { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let found = entry.map_err(failed)?.path();
        if found.extension().is_some_and(|extension| extension == "ndjson") {
            return Err(GenerateError::NotEmpty { found });
        }
    }
    Ok(())
}
