//! The manifest of an export (REQUIREMENTS section 6): of a complete one, or of what can be had
//! of one that still runs (ST-9). It never changes, but that a page gains its link to the next
//! one.

use std::ops::Range;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Base;
use crate::fhir::milliseconds;
use crate::job::{JobState, OrganizeBy, OutputFile};
use crate::store::{Published, parts_of};

/// The number of a page, from 0, and what stands on it.
pub struct Page {
    number: usize,
    files: Vec<OutputFile>,
    has_next: bool,
    /// What the output is organized by (MF-7).
    organized_by: Option<OrganizeBy>,
}

/// The pages of a manifest.
pub enum Pages {
    /// The page that was asked for.
    Found(Page),
    /// It will be there when more is written.
    NotYet,
    /// There is and will be none.
    None,
}

impl Pages {
    /// Looks for a page. An export that was not allowed partial manifests has one page, with
    /// all files.
    pub fn find(published: &Published, number: usize) -> Self {
        let asked = published.request.as_ref().is_some_and(|request| request.partial_manifests);
        let is_complete = matches!(published.record.state, JobState::Complete(_));
        if is_complete && !asked {
            if number > 0 {
                return Self::None;
            }
            let files: Vec<_> = published.files().cloned().collect();
            let organized_by = organized_by(published, &files);
            return Self::Found(Page { number, files, has_next: false, organized_by });
        }
        if is_complete {
            let parts = &published.parts;
            let Some(range) = parts_of(number, parts.len()) else { return Self::None };
            let of =
                |range: Range<usize>| parts[range].iter().flat_map(|part| &part.files).cloned().collect();
            let first: Vec<_> = parts_of(0, parts.len()).map_or(Vec::new(), of);
            let organized_by = organized_by(published, &first);
            let has_next = parts_of(number + 1, parts.len()).is_some();
            return Self::Found(Page { number, files: of(range), has_next, organized_by });
        }
        match published.partial.manifest(number) {
            Some(files) if asked => {
                let has_next = published.partial.manifest(number + 1).is_some();
                let first = published.partial.manifest(0).unwrap_or_default();
                let organized_by = organized_by(published, &first);
                Self::Found(Page { number, files, has_next, organized_by })
            }
            _ if asked || number == 0 => Self::NotYet,
            _ => Self::None,
        }
    }
}

/// A page as JSON (MF-1 to MF-8). `requires_token` says whether the files are for who has an access
/// token (F-1).
pub fn manifest(
    base: &Base,
    requires_token: bool,
    published: &Published,
    transaction_time: Timestamp,
    page: &Page,
) -> Value {
    let job = published.record.id;
    let (polling_url, download_url) = (base.polling_url(job), base.download_url(job));
    let files = |belongs: fn(&OutputFile) -> bool| -> Vec<Value> {
        page.files.iter().filter(|file| belongs(file)).map(|file| item(&download_url, file)).collect()
    };
    let mut manifest = json!({
        "transactionTime": milliseconds(transaction_time),
        "request": published.request.as_ref().map_or("", |request| &request.url),
        "requiresAccessToken": requires_token,
        "output": files(is_output),
        "error": files(OutputFile::is_error),
    });
    if let Some(by) = page.organized_by {
        manifest["outputOrganizedBy"] = by.as_str().into();
    }
    let deleted = files(OutputFile::is_deleted);
    if !deleted.is_empty() {
        manifest["deleted"] = deleted.into();
    }
    if page.has_next {
        let url = format!("{polling_url}?page={}", page.number + 1);
        manifest["link"] = json!([{"relation": "next", "url": url}]);
    }
    manifest
}

/// What the output is organized by, of a manifest whose first page has these files: what was asked
/// for, unless the exporter does not honour it (MF-7). Each page says so by the first one, since they
/// may not differ in it (MF-8); a first page without output, as was asked.
fn organized_by(published: &Published, first: &[OutputFile]) -> Option<OrganizeBy> {
    let asked_for = published.request.as_ref().and_then(|request| request.organize_by)?;
    let mut output = first.iter().filter(|file| is_output(file));
    output.all(|file| file.organized_by == Some(asked_for)).then_some(asked_for)
}

fn is_output(file: &OutputFile) -> bool {
    !file.is_error() && !file.is_deleted()
}

/// One file. One that consists of blocks has no type (MF-4) and no count, which is optional: whether
/// the header of a block counts as a resource is understood in two ways (O-3). Its `extension` (MF-9; any object of
/// a manifest may have one, with values by their names) tells the length of its text in bytes, by
/// the name that the next version of the standard has for it (MF-4), and its SHA-256 if there is
/// one: those of the text, in whatever coding it is served.
fn item(base: &str, file: &OutputFile) -> Value {
    let mut extension = json!({"fileSize": file.bytes});
    if let Some(sha256) = &file.sha256 {
        extension["sha256"] = json!(sha256);
    }
    let mut item = json!({
        "url": format!("{base}/{}", file.name),
        "extension": extension,
    });
    if file.organized_by.is_none() {
        item["count"] = file.count.into();
        item["type"] = file.resource_type.as_str().into();
    }
    if let Some(next) = &file.continues_in {
        item["continuesInFile"] = format!("{base}/{next}").into();
    }
    item
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Export;
    use crate::job::{Completion, JobId, JobRecord, SealedPart};

    #[test]
    fn p13_a_manifest_of_as_many_files_as_an_export_may_have_is_less_than_8_mib() {
        let name = format!("{}_MedicinalProductUndesirableEffect.ndjson", JobId::random()).to_uppercase();
        let file = OutputFile::new(name, "MedicinalProductUndesirableEffect");
        let file = OutputFile { count: u64::MAX, bytes: u64::MAX, ..file };
        let files = vec![file; Export::default().max_files];
        let parts: Arc<[_]> = [SealedPart { index: 0, files, broken_lines: 0 }].into();
        let at = Timestamp::UNIX_EPOCH;
        let state = JobState::Complete(Completion::of(&[], at, at));
        let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
        let record = JobRecord { id: JobId::random(), tenant, owner, revision: 1, submitted_at: at, state };
        let published = Published::new(record, None, parts);
        let Pages::Found(page) = Pages::find(&published, 0) else { panic!() };
        let base = Base::of("https://fhir.example.org/r4/0a5b7c9d-1234-4abc-9def-0123456789ab");
        let bytes = manifest(&base, true, &published, at, &page).to_string().len();
        assert!((4 << 20..8 << 20).contains(&bytes), "{bytes}");
    }
}
