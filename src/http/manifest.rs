//! The manifest of an export (REQUIREMENTS section 6): of a complete one, or of what can be had
//! of one that still runs (ST-9). It never changes, but that a page gains its link to the next
//! one.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Api;
use crate::job::{JobState, OutputFile};
use crate::store::{Published, parts_of};

/// The number of a page, from 0, and what stands on it.
pub struct Page {
    number: usize,
    files: Vec<OutputFile>,
    has_next: bool,
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
        let asked = published.request.as_ref().is_some_and(|request| request.parameters().partial_manifests);
        let is_complete = matches!(published.record.state, JobState::Complete(_));
        if is_complete && !asked {
            if number > 0 {
                return Self::None;
            }
            return Self::Found(Page {
                number,
                files: published.files().cloned().collect(),
                has_next: false,
            });
        }
        if is_complete {
            let parts = &published.parts;
            let Some(range) = parts_of(number, parts.len()) else { return Self::None };
            let files = parts[range].iter().flat_map(|part| &part.files).cloned().collect();
            let has_next = parts_of(number + 1, parts.len()).is_some();
            return Self::Found(Page { number, files, has_next });
        }
        match published.partial.manifest(number) {
            Some(files) if asked => {
                let has_next = published.partial.manifest(number + 1).is_some();
                Self::Found(Page { number, files, has_next })
            }
            _ if asked || number == 0 => Self::NotYet,
            _ => Self::None,
        }
    }
}

/// A page as JSON (MF-1 to MF-8).
pub fn manifest(api: &Api, published: &Published, transaction_time: Timestamp, page: &Page) -> Value {
    let polling_url = api.polling_url(published.record.id);
    let base = format!("{}/bulk-api/download/{}", api.base(), published.record.id);
    let files = |belongs: fn(&OutputFile) -> bool| -> Vec<Value> {
        page.files.iter().filter(|file| belongs(file)).map(|file| item(&base, file)).collect()
    };
    let mut manifest = json!({
        "transactionTime": transaction_time.to_string(),
        "request": published.request.as_ref().map_or("", |request| &request.kickoff.url),
        "requiresAccessToken": false,
        "output": files(|file| !file.is_error() && !file.is_deleted()),
        "error": files(OutputFile::is_error),
    });
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

/// One file. Its `extension` (MF-9; any object of a manifest may have one, with values by their
/// names) tells the length of its text in bytes, by the name that the next version of the standard
/// has for it (MF-4), and its SHA-256 if there is one: those of the text, in whatever coding it is
/// served.
fn item(base: &str, file: &OutputFile) -> Value {
    let mut extension = json!({"fileSize": file.bytes});
    if let Some(sha256) = &file.sha256 {
        extension["sha256"] = json!(sha256);
    }
    json!({
        "type": file.resource_type,
        "url": format!("{base}/{}", file.name),
        "count": file.count,
        "extension": extension,
    })
}
