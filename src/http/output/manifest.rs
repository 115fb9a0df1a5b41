//! The JSON of a manifest's page (REQUIREMENTS section 6).

use serde_json::{Value, json};

use crate::ManifestPage;
use crate::fhir::milliseconds;
use crate::http::TenantBase;
use crate::job::{JobId, OutputFile};

/// Returns a page as JSON (MF-1 to MF-8). `requires_token` tells whether files need an access token (F-1).
pub fn manifest(base: &TenantBase, requires_token: bool, page: &ManifestPage) -> Value {
    let files = |belongs: fn(&OutputFile) -> bool| -> Vec<Value> {
        page.files.iter().filter(|file| belongs(file)).map(|file| item(base, page.job, file)).collect()
    };
    let mut manifest = json!({
        "transactionTime": milliseconds(page.transaction_time),
        "request": page.request,
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
        let url = format!("{}?page={}", base.polling_url(page.job), page.number + 1);
        manifest["link"] = json!([{"relation": "next", "url": url}]);
    }
    manifest
}

fn is_output(file: &OutputFile) -> bool {
    !file.is_error() && !file.is_deleted()
}

/// Returns a file as JSON. A file of blocks has no type (MF-4) and no count, which is optional: whether
/// the header of a block counts as a resource is understood in two ways (O-3). Its `extension` (MF-9; any
/// object of a manifest may have one, with values by their names) has the length of its text in bytes, by
/// the name that the next version of the standard has for it (MF-4), and the text's SHA-256 if there is
/// one, whatever the coding in which it is served.
fn item(base: &TenantBase, job: JobId, file: &OutputFile) -> Value {
    let mut extension = json!({"fileSize": file.bytes});
    if let Some(sha256) = &file.sha256 {
        extension["sha256"] = json!(sha256);
    }
    let mut item = json!({
        "url": base.file_url(job, &file.name),
        "extension": extension,
    });
    if file.organized_by.is_none() {
        item["count"] = file.count.into();
        item["type"] = file.resource_type.as_str().into();
    }
    if let Some(next) = &file.continues_in {
        item["continuesInFile"] = base.file_url(job, next).into();
    }
    item
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::config::ExportConfig;

    #[test]
    fn p13_a_manifest_of_as_many_files_as_an_export_may_have_is_less_than_8_mib() {
        let name = format!("{}_MedicinalProductUndesirableEffect.ndjson", JobId::random()).to_uppercase();
        let file = OutputFile::new(name, "MedicinalProductUndesirableEffect");
        let file = OutputFile { count: u64::MAX, bytes: u64::MAX, ..file };
        let page = ManifestPage {
            job: JobId::random(),
            transaction_time: Timestamp::UNIX_EPOCH,
            request: String::new(),
            number: 0,
            files: vec![file; ExportConfig::default().max_files],
            organized_by: None,
            has_next: false,
        };
        let base = TenantBase::of("https://fhir.example.org/r4/0a5b7c9d-1234-4abc-9def-0123456789ab");
        let bytes = manifest(&base, true, &page).to_string().len();
        assert!((4 << 20..8 << 20).contains(&bytes), "{bytes}");
    }
}
