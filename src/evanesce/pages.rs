//! The pages of an export's manifest (REQUIREMENTS section 6): of a complete one, or of what can be had of
//! one that still runs (ST-9). A page never changes, but that it gains its link to the next one.

use std::ops::Range;

use jiff::Timestamp;

use super::JobSnapshot;
use crate::job::{JobId, JobState, OrganizeBy, OutputFile};
use crate::view::{PublishedJob, parts_of};

/// A page of a manifest. How it looks as JSON, with URLs, is a matter of HTTP.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let page = evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?.manifest(0)?;
/// assert_eq!((page.job, page.has_next, page.organized_by), (job, false, None));
/// assert_eq!((&*page.files[0].resource_type, page.files[0].count), ("Patient", 3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPage {
    /// The job.
    pub job: JobId,
    /// The instant whose view of the source is exported (MF-1).
    pub transaction_time: Timestamp,
    /// The URL of the kick-off; empty if it is not known.
    pub request: String,
    /// The number of the page, from 0.
    pub number: usize,
    /// The files on it: output, deletions ([`OutputFile::is_deleted`]) and errors ([`OutputFile::is_error`]).
    pub files: Vec<OutputFile>,
    /// What the output is organized by (MF-7).
    pub organized_by: Option<OrganizeBy>,
    /// Whether there is a page after it, as far as is known now.
    pub has_next: bool,
}

/// Why there is no such page.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let shown = evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?;
/// assert_eq!(shown.manifest(1), Err(PageAbsent::Unknown));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageAbsent {
    /// It will be there when more is written.
    #[error("the page is not written yet")]
    NotYet,
    /// There is and will be none.
    #[error("the manifest has no such page")]
    Unknown,
}

impl JobSnapshot {
    /// Returns a page of the job's manifest, counted from 0. A job that was not allowed partial manifests has
    /// one page, when it is complete.
    ///
    /// # Errors
    /// There is no such page, or not yet. A job that failed has none.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// let page = evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?.manifest(0)?;
    /// for file in &page.files {
    ///     println!("{} has {} resources", file.name, file.count);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn manifest(&self, number: usize) -> Result<ManifestPage, PageAbsent> {
        let published = &*self.0;
        let transaction_time = match &published.record.state {
            JobState::Running { transaction_time } | JobState::Finishing { transaction_time } => {
                *transaction_time
            }
            JobState::Complete(completion) => completion.transaction_time,
            JobState::Queued => return Err(PageAbsent::NotYet),
            JobState::Failed(_) | JobState::Marked(_) | JobState::Erased(_) => {
                return Err(PageAbsent::Unknown);
            }
        };
        let ListedFiles { files, first, has_next } = match &published.record.state {
            JobState::Complete(_) => of_complete(published, number),
            _ => of_running(published, number),
        }?;
        let organized_by = organized_by(published, first.as_deref().unwrap_or(&files));
        let request = published.request.as_ref().map_or_else(String::new, |request| request.url.clone());
        Ok(ManifestPage {
            job: published.record.id,
            transaction_time,
            request,
            number,
            files,
            organized_by,
            has_next,
        })
    }
}

/// What stands on a page.
struct ListedFiles {
    files: Vec<OutputFile>,
    /// What stands on the first page, if that is another.
    first: Option<Vec<OutputFile>>,
    has_next: bool,
}

fn is_asked_for(published: &PublishedJob) -> bool {
    published.request.as_ref().is_some_and(|request| request.partial_manifests)
}

fn of_complete(published: &PublishedJob, number: usize) -> Result<ListedFiles, PageAbsent> {
    if !is_asked_for(published) {
        let files = published.files().cloned().collect();
        let all = ListedFiles { files, first: None, has_next: false };
        return if number == 0 { Ok(all) } else { Err(PageAbsent::Unknown) };
    }
    let parts = &published.parts;
    let range = parts_of(number, parts.len()).ok_or(PageAbsent::Unknown)?;
    let of = |range: Range<usize>| parts[range].iter().flat_map(|part| &part.files).cloned().collect();
    let first = parts_of(0, parts.len()).map_or(Vec::new(), of);
    let has_next = parts_of(number + 1, parts.len()).is_some();
    Ok(ListedFiles { files: of(range), first: Some(first), has_next })
}

fn of_running(published: &PublishedJob, number: usize) -> Result<ListedFiles, PageAbsent> {
    let is_asked_for = is_asked_for(published);
    match published.partial.manifest(number) {
        Some(files) if is_asked_for => {
            let first = published.partial.manifest(0).unwrap_or_default();
            let has_next = published.partial.manifest(number + 1).is_some();
            Ok(ListedFiles { files, first: Some(first), has_next })
        }
        _ if is_asked_for || number == 0 => Err(PageAbsent::NotYet),
        _ => Err(PageAbsent::Unknown),
    }
}

/// Returns what the output is organized by, of a manifest whose first page has these files: what was
/// asked for, unless the exporter does not honour it (MF-7). Each page says so by the first one, since
/// they may not differ in it (MF-8); a first page without output, as was asked.
fn organized_by(published: &PublishedJob, first: &[OutputFile]) -> Option<OrganizeBy> {
    let asked_for = published.request.as_ref().and_then(|request| request.organize_by)?;
    let mut output = first.iter().filter(|file| !file.is_error() && !file.is_deleted());
    output.all(|file| file.organized_by == Some(asked_for)).then_some(asked_for)
}
