//! The layout of the data directory. The place of a job's directory is its state.

use std::fmt;

use uuid::Uuid;

use crate::job::JobId;

/// The folders that hold the directories of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DirPlace {
    /// Being written.
    Building,
    /// Sealed. Files are served from here.
    Ready,
    /// On its way out. Nothing is ever served from here.
    Trash,
}

impl DirPlace {
    /// All places.
    pub const ALL: [Self; 3] = [Self::Building, Self::Ready, Self::Trash];

    /// Returns the name of the folder in the data directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Trash => "trash",
        }
    }
}

/// One directory of a job. In `trash/` a job may have several: `<job>`, `<job>.1` and so on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobDirectory {
    /// The folder that it is in.
    pub place: DirPlace,
    /// Its name in that folder.
    pub name: String,
    /// The job that it belongs to.
    pub job: JobId,
}

impl fmt::Display for JobDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.place.name(), self.name)
    }
}

/// Returns a new name for an output file: `<UPPER-UUID>_<Type>.ndjson` (G-1).
pub fn output_name(resource_type: &str) -> String {
    let mut buffer = Uuid::encode_buffer();
    let uuid = Uuid::new_v4().hyphenated().encode_upper(&mut buffer).to_owned();
    format!("{uuid}_{resource_type}.ndjson")
}

/// Parses the name of a directory in `place`, and returns its job if the name is one of ours. In
/// `trash/` a second directory of the same job is called `<job>.<n>`.
pub fn job_of(place: DirPlace, name: &str) -> Option<JobId> {
    if let Ok(job) = name.parse() {
        return Some(job);
    }
    let (job, n) = name.split_once('.')?;
    let numbered = place == DirPlace::Trash && !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    if numbered { job.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_ours_are_no_job() {
        let id = JobId::random();
        assert_eq!(job_of(DirPlace::Building, &id.to_string()), Some(id));
        assert_eq!(job_of(DirPlace::Trash, &format!("{id}.12")), Some(id));
        assert_eq!(job_of(DirPlace::Ready, &format!("{id}.12")), None);
        for bad in [format!("{id}."), format!("{id}.x"), format!("{id}~"), "lost+found".into(), ".x".into()] {
            assert_eq!(job_of(DirPlace::Trash, &bad), None, "{bad}");
        }
    }
}
