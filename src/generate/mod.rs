//! A deterministic generator of a synthetic FHIR R4 data set: one NDJSON file a resource type, with
//! the records of a small practice group whose patients never existed. The same options give the same
//! bytes on every machine. Each patient has a stream of chance of its own (`draw`), so patient `n`
//! is the same however many others there are; `chart` writes one patient's whole record, and
//! `sheets` holds the files it goes to.

mod care;
mod chart;
mod draw;
mod group;
mod json;
mod kind;
mod moment;
mod person;
mod practice;
mod sheets;
mod visit;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chart::Chart;
use draw::Draw;
use practice::Practices;
use sheets::Sheets;

/// What to generate.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many patients. With none, only the practices and their staff are written.
    pub patients: u32,
    /// Which set: the same seed gives the same bytes, another seed other people.
    pub seed: u64,
    /// The folder for the `<Type>.ndjson` files. It is made if it is missing.
    pub out: PathBuf,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The files, in the order of their type's name. A type with no resource has no file.
    pub files: Vec<FileSummary>,
}

/// One file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSummary {
    /// The type of its resources; the file is `<resource_type>.ndjson`.
    pub resource_type: &'static str,
    /// How many resources, and so lines, it has.
    pub resources: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Summary {
    /// The number of resources in all files.
    pub fn resources(&self) -> u64 {
        self.files.iter().map(|file| file.resources).sum()
    }

    /// The size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Why a set was not generated, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The output folder could not be made or listed.
    #[error("cannot open the output folder {}; choose a folder this user may list and write to", path.display())]
    Folder {
        /// The output folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output folder already has NDJSON files, which the set would be mixed up with.
    #[error("refusing to generate beside {}; remove the .ndjson files there or choose an empty folder", found.display())]
    NotEmpty {
        /// One of the files that are in the way.
        found: PathBuf,
    },
    /// A file of the set could not be made or written. The set is incomplete.
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
/// # Errors
/// [`GenerateError::Folder`] if the folder cannot be made or listed, [`GenerateError::NotEmpty`] if it
/// has `.ndjson` files, in both cases before anything is written; [`GenerateError::Write`] if a file
/// cannot be written, which leaves the files begun so far.
pub fn generate(options: &Options, progress: &mut dyn FnMut(u32)) -> Result<Summary, GenerateError> {
    prepare(&options.out)?;
    let mut sheets = Sheets::new(&options.out);
    // Patients take the streams from 0, and there are fewer than 2^32 of them: this one is free.
    let practices = Practices::write(&mut Draw::stream(options.seed, u64::MAX), &mut sheets);
    for patient in 0..options.patients {
        Chart::open(Draw::stream(options.seed, patient.into()), &practices, &mut sheets).write();
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
