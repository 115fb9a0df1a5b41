//! Sources; one of them is made once and shared by all measures of large exports.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::Args;

/// Patients that make about 1, 4 and 10 GB.
const PATIENTS: [u32; 3] = [21_500, 85_000, 213_000];

/// A folder for a measure that holds one source, which goes when this is dropped.
pub struct Source {
    folder: TempDir,
    /// The source.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Its resources.
    pub resources: u64,
}

impl Source {
    /// About 4 GB, or 1 GB if it has to be quick.
    pub fn of_4_gb(args: &Args) -> Self {
        Self::of(args, if args.quick { PATIENTS[0] } else { PATIENTS[1] })
    }

    /// About 10 GB.
    pub fn of_10_gb(args: &Args) -> Self {
        Self::of(args, PATIENTS[2])
    }

    /// One group with a tenth of the patients; a tenth of the resources is of 2026.
    pub fn of(args: &Args, patients: u32) -> Self {
        let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
        let path = folder.path().join("source");
        let resources = generate(args, &path, patients, &["--groups", "1", "--recent", "0.1"]);
        sync_files(&path);
        let files = std::fs::read_dir(&path).expect("a folder");
        let bytes = files.map(|file| file.expect("a name").metadata().expect("a file").len()).sum();
        Self { folder, path, bytes, resources }
    }

    /// Its size as text.
    pub fn size(&self) -> String {
        match self.bytes as f64 / 1e6 {
            megabytes @ ..1000.0 => format!("{megabytes:.1} MB"),
            megabytes => format!("{:.2} GB", megabytes / 1e3),
        }
    }

    /// A new folder beside the source.
    pub fn folder(&self) -> TempDir {
        tempfile::tempdir_in(self.folder.path()).expect("a folder")
    }
}

/// Generates a source in a new folder, and returns the number of its resources.
pub fn generate(args: &Args, out: &Path, patients: u32, options: &[&str]) -> u64 {
    let mut command = Command::new(&args.server);
    command.args(["generate", "--patients", &patients.to_string(), "--out"]).arg(out).args(options);
    let output = command.output().expect("the binary");
    let text = String::from_utf8_lossy(&output.stdout);
    let resources = text.lines().find_map(|line| line.split_once(" resources, ")?.0.parse().ok());
    resources.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Calls fsync for each file of a folder.
pub fn sync_files(folder: &Path) {
    for file in std::fs::read_dir(folder).expect("a folder") {
        let file = std::fs::File::open(file.expect("a name").path()).expect("a file");
        file.sync_all().expect("an fsync");
    }
}
