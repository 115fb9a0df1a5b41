//! How far an export is, and which files of it can be opened already.

use std::time::{Duration, Instant};

use super::JobSnapshot;
use crate::job::{JobState, OutputFile};

/// How far an export is, at one moment.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let JobProgress { percent, parts, sealed_parts, bytes, .. } =
///     evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?.progress();
/// assert_eq!((percent, parts, sealed_parts), (100.0, 1, 1));
/// assert!(bytes > 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JobProgress {
    /// How much of the work is done, in percent. Below 100 until the job is complete.
    pub percent: f64,
    /// The work of the whole plan, in the exporter's unit ([`Part::weight`](crate::Part::weight)): bytes to
    /// copy, for the built-in one. 0 when queued, or if the job was complete when the instance started.
    pub planned: u64,
    /// The work that is done, in the same unit.
    pub done: u64,
    /// Bytes in output files as they are stored, sealed or not.
    pub bytes: u64,
    /// The number of parts in the plan; 0 when queued.
    pub parts: usize,
    /// The number of parts that are written and recorded. A restart does not run them again.
    pub sealed_parts: usize,
    /// How long the job is expected to run; `None` if that cannot be told yet.
    pub time_left: Option<Duration>,
}

impl JobSnapshot {
    /// Returns how far the export is now, which may be further than when the snapshot was taken.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// let shown = evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?;
    /// println!("{:.0} % done, {} bytes written", shown.progress().percent, shown.progress().bytes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(&self) -> JobProgress {
        let counted = &self.0.progress;
        let (parts, sealed_parts, bytes) = match &self.0.record.state {
            JobState::Complete(completion) => {
                (self.0.parts.len(), self.0.parts.len(), completion.stored_bytes())
            }
            _ => (counted.parts(), counted.sealed(), counted.written()),
        };
        JobProgress {
            percent: self.percent(),
            planned: counted.planned(),
            done: counted.done(),
            bytes,
            parts,
            sealed_parts,
            time_left: counted.time_left(Instant::now()),
        }
    }

    /// Returns the files that can be opened with [`Evanesce::open_file`](crate::Evanesce::open_file): all of
    /// a complete job; those of sealed parts, of one that runs and was allowed partial manifests; else none.
    /// They are named and counted, and nothing holds them: a file that is not open goes with its job.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// let shown = evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?;
    /// for file in shown.files() {
    ///     println!("{}: {} {} resources, {} bytes", file.name, file.count, file.resource_type, file.bytes);
    /// }
    /// assert_eq!(shown.files().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn files(&self) -> Vec<OutputFile> {
        match &self.0.record.state {
            JobState::Complete(_) => self.0.files().cloned().collect(),
            _ if self.0.is_partial() => self.0.partial.files(),
            _ => Vec::new(),
        }
    }
}
