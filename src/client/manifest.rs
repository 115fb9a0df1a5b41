//! The manifest of an export, and the plan of files that is made of it (REQUIREMENTS section 6).
//! The name of each file in the folder is made here, of its type and a number: nothing in a URL gets
//! into a name.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::error::{ClientError, ClientErrorKind};
use super::http::TokenPolicy;
use super::transport::{parse_url, shown};
use super::words::{is_html, words};

/// Longest page of a manifest in bytes.
pub const LONGEST_MANIFEST: u64 = 32 << 20;

/// The most files of an export.
pub const MOST_FILES: usize = 100_000;

/// The most pages of a manifest.
pub const MOST_PAGES: usize = 1000;

/// A page of a manifest, as a server writes it. What is `null` or missing is empty.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestBody {
    pub transaction_time: String,
    #[serde(default)]
    pub request: Option<String>,
    /// A boolean, or a text that is one (C6).
    #[serde(default)]
    pub requires_access_token: Value,
    #[serde(default, deserialize_with = "or_empty")]
    pub output: Vec<ManifestItem>,
    #[serde(default, deserialize_with = "or_empty")]
    pub deleted: Vec<ManifestItem>,
    #[serde(default, deserialize_with = "or_empty")]
    pub error: Vec<ManifestItem>,
    #[serde(default, deserialize_with = "or_empty")]
    pub link: Vec<ManifestLink>,
}

/// A file of a manifest.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestItem {
    #[serde(rename = "type", default)]
    pub resource_type: Option<String>,
    pub url: String,
    #[serde(default)]
    pub count: Option<u64>,
    #[serde(default, alias = "filesize")]
    pub file_size: Option<u64>,
    #[serde(default)]
    pub extension: Value,
}

/// A link of a manifest.
#[derive(Debug, Deserialize)]
pub struct ManifestLink {
    #[serde(default)]
    pub relation: String,
    #[serde(default)]
    pub url: String,
}

fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

impl ManifestBody {
    /// Parses a page.
    pub fn parse(url: &Url, body: &[u8]) -> Result<Self, ClientError> {
        serde_json::from_slice(body).map_err(|error| {
            let reason = match is_html("", body) {
                true => "with a web page and not with FHIR".to_owned(),
                false => words(&error.to_string(), 200),
            };
            ClientError::server(format!(
                "{} answered 200 without a manifest: {reason}; does a proxy answer in the server's place? The same \
                 command asks again",
                shown(url)
            ))
        })
    }

    /// Returns the URL of the next page (MF-8).
    pub fn next(&self, url: &Url) -> Result<Option<Url>, ClientError> {
        let Some(link) = self.link.iter().find(|link| link.relation == "next") else { return Ok(None) };
        let next = parse_url(&link.url, Some(url)).map_err(|wrong| {
            let wrong = words(&wrong, 100);
            ClientError::server(format!("the manifest has a next page whose URL {wrong}"))
        })?;
        Ok(Some(next))
    }
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Resources.
    Output,
    /// Bundles of deletions.
    Deleted,
    /// OperationOutcomes.
    Error,
}

impl FileKind {
    /// Returns the member of a manifest that lists such files.
    pub fn member(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Deleted => "deleted",
            Self::Error => "error",
        }
    }
}

/// A file to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    pub kind: FileKind,
    /// Its name in the folder.
    pub name: String,
    pub url: Url,
    pub resource_type: Option<String>,
    /// How many resources it should have.
    pub count: Option<u64>,
    /// How many bytes of text it should have.
    pub bytes: Option<u64>,
    /// The SHA-256 of the text that it should have, in lower case.
    pub sha256: Option<String>,
}

/// All files of an export.
#[derive(Debug)]
pub struct FilePlan {
    pub transaction_time: String,
    pub request: Option<String>,
    pub token: TokenPolicy,
    pub files: Vec<PlannedFile>,
    /// How many files of OperationOutcomes are not to be loaded.
    pub errors_left: usize,
}

impl FilePlan {
    /// Creates the plan of a manifest's pages, in their order.
    ///
    /// # Errors
    /// Fails if a file has no usable URL, or there are more than [`MOST_FILES`].
    pub fn new(url: &Url, pages: Vec<ManifestBody>) -> Result<Self, ClientError> {
        let mut plan = Self {
            transaction_time: String::new(),
            request: None,
            token: TokenPolicy::Trusted,
            files: Vec::new(),
            errors_left: 0,
        };
        let mut numbers = HashMap::new();
        for (n, page) in pages.into_iter().enumerate() {
            if n == 0 {
                plan.transaction_time = words(&page.transaction_time, 40);
                plan.request = page.request.map(|request| words(&request, 4000));
                plan.token = token_policy(&page.requires_access_token);
            }
            let kinds = [
                (FileKind::Output, page.output),
                (FileKind::Deleted, page.deleted),
                (FileKind::Error, page.error),
            ];
            for (kind, items) in kinds {
                for item in items {
                    plan.files.push(planned(url, kind, item, &mut numbers)?);
                }
            }
            if plan.files.len() > MOST_FILES {
                let message = format!("the manifest has more than {MOST_FILES} files; ask for fewer types");
                return Err(ClientError::server(message));
            }
        }
        Ok(plan)
    }

    /// Leaves the files of OperationOutcomes out.
    pub fn leave_errors(&mut self) {
        let before = self.files.len();
        self.files.retain(|file| file.kind != FileKind::Error);
        self.errors_left += before - self.files.len();
    }

    /// Returns what stays the same when the server writes new URLs for the same files (F-9).
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for file in &self.files {
            hash.update(format!("{} {:?} {:?} {:?}\n", file.name, file.count, file.bytes, file.sha256));
        }
        hash.update(&self.transaction_time);
        hex::encode(hash.finalize())
    }

    /// Checks that the files are those of an earlier manifest, by its fingerprint.
    pub fn check_same(&self, fingerprint: &str) -> Result<(), ClientError> {
        if self.fingerprint() == fingerprint { Ok(()) } else { Err(Self::other_files()) }
    }

    /// Returns the error of a manifest that lists other files than an earlier one.
    pub fn other_files() -> ClientError {
        let message = "the server's manifest lists other files than before; --restart begins the export anew";
        ClientError::new(ClientErrorKind::Differs, message)
    }

    /// Returns the size of all files in bytes, if the manifest tells that of each.
    pub fn bytes(&self) -> Option<u64> {
        self.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes?))
    }
}

fn token_policy(requires: &Value) -> TokenPolicy {
    let text = requires.as_str().map(str::to_ascii_lowercase);
    match requires.as_bool().or_else(|| text?.parse().ok()) {
        Some(true) => TokenPolicy::Demanded,
        Some(false) => TokenPolicy::Withheld,
        None => TokenPolicy::Trusted,
    }
}

fn planned(
    url: &Url,
    kind: FileKind,
    item: ManifestItem,
    numbers: &mut HashMap<String, u32>,
) -> Result<PlannedFile, ClientError> {
    let url = parse_url(&item.url, Some(url)).map_err(|wrong| {
        let wrong = words(&wrong, 100);
        ClientError::server(format!("the manifest has a file whose URL {wrong}"))
    })?;
    let resource_type = item.resource_type.filter(|name| is_type(name));
    let stem = match kind {
        FileKind::Deleted => "deleted",
        FileKind::Error => "errors",
        // A file of blocks has no type (MF-4).
        FileKind::Output => resource_type.as_deref().unwrap_or("resources"),
    };
    let number = numbers.entry(stem.to_owned()).or_default();
    *number += 1;
    let name = format!("{stem}.{number:04}.ndjson");
    let told = |key: &str| item.extension.get(key);
    Ok(PlannedFile {
        kind,
        name,
        url,
        count: item.count,
        bytes: item.file_size.or_else(|| told("fileSize")?.as_u64()),
        sha256: told("sha256").and_then(Value::as_str).and_then(checksum),
        resource_type,
    })
}

/// Returns whether a text is made like the name of a resource type.
fn is_type(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Returns a SHA-256 in lower case, if the text is one.
fn checksum(text: &str) -> Option<String> {
    let is_one = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| text.to_ascii_lowercase())
}

/// Returns whether a file of the folder has a name that [`FilePlan`] makes.
pub fn is_made_name(name: &str) -> bool {
    let mut parts = name.split('.');
    let (Some(stem), Some(number), Some("ndjson"), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_stem = matches!(stem, "deleted" | "errors" | "resources") || is_type(stem);
    is_stem && number.len() >= 4 && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(manifest: &Value) -> Result<FilePlan, ClientError> {
        let url = Url::parse("https://h/r4/request/1").unwrap();
        let body = ManifestBody::parse(&url, manifest.to_string().as_bytes())?;
        FilePlan::new(&url, vec![body])
    }

    #[test]
    fn p13_no_name_of_a_file_is_of_the_servers_choice() {
        let types =
            ["Patient", "Patient", "../../etc/passwd", "..", "/tmp/x", "a", "errors", "P\u{0}", "CON"];
        let output: Vec<_> =
            types.iter().map(|it| json!({"type": it, "url": "https://h/../../x.ndjson"})).collect();
        let plan = plan(&json!({"transactionTime": "t", "output": output, "error": [{"url": "/e"}],
            "deleted": [{"type": "Bundle", "url": "d"}]}))
        .unwrap();
        let names: Vec<_> = plan.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "Patient.0001.ndjson",
                "Patient.0002.ndjson",
                "resources.0001.ndjson",
                "resources.0002.ndjson",
                "resources.0003.ndjson",
                "resources.0004.ndjson",
                "resources.0005.ndjson",
                "resources.0006.ndjson",
                "CON.0001.ndjson",
                "deleted.0001.ndjson",
                "errors.0001.ndjson",
            ]
        );
        assert!(names.iter().all(|name| is_made_name(name)));
        assert_eq!(plan.files[9].url.as_str(), "https://h/r4/request/d");
        for foreign in ["notes.txt", "Patient.ndjson", "Patient.1.ndjson", "patient.0001.ndjson", ".."] {
            assert!(!is_made_name(foreign), "{foreign}");
        }
    }

    #[test]
    fn p13_the_name_of_a_type_has_at_most_64_letters() {
        let name = |letters: usize| {
            let long = "P".repeat(letters);
            plan(&json!({"transactionTime": "t", "output": [{"type": long, "url": "/x"}]})).unwrap().files[0]
                .name
                .clone()
        };
        assert_eq!(name(64), format!("{}.0001.ndjson", "P".repeat(64)));
        assert_eq!(name(65), "resources.0001.ndjson");
    }

    #[test]
    fn sizes_and_checksums_are_read_from_wherever_servers_write_them() {
        let hash = "AB".repeat(32);
        let plan = plan(&json!({"transactionTime": "t", "error": null, "output": [
            {"type": "Patient", "url": "/1", "count": 2, "extension": {"fileSize": 9, "sha256": hash}},
            {"type": "Patient", "url": "/2", "fileSize": 8},
            {"type": "Patient", "url": "/3", "filesize": 7, "extension": [{"url": "x", "valueCode": "y"}]},
            {"type": "Patient", "url": "/4", "extension": {"sha256": "short"}}]}))
        .unwrap();
        let told: Vec<_> = plan.files.iter().map(|file| (file.count, file.bytes)).collect();
        assert_eq!(told, [(Some(2), Some(9)), (None, Some(8)), (None, Some(7)), (None, None)]);
        assert_eq!(plan.files[0].sha256.as_deref(), Some(&*hash.to_lowercase()));
        assert_eq!(plan.files[3].sha256, None);
        assert_eq!(plan.bytes(), None);
    }

    #[test]
    fn f_1_the_manifest_decides_who_gets_the_token() {
        let policy = |value: Value| {
            plan(&json!({"transactionTime": "t", "requiresAccessToken": value})).unwrap().token
        };
        assert_eq!(policy(json!(true)), TokenPolicy::Demanded);
        assert_eq!(policy(json!("true")), TokenPolicy::Demanded);
        assert_eq!(policy(json!("True")), TokenPolicy::Demanded);
        assert_eq!(policy(json!(false)), TokenPolicy::Withheld);
        assert_eq!(policy(Value::Null), TokenPolicy::Trusted);
    }

    #[test]
    fn p13_an_export_has_at_most_100000_files() {
        let files = |n| vec![json!({"url": "/x"}); n];
        let plan = |n| plan(&json!({"transactionTime": "t", "output": files(n)}));
        assert_eq!(plan(MOST_FILES).unwrap().files.len(), MOST_FILES);
        assert!(plan(MOST_FILES + 1).is_err());
    }

    #[test]
    fn what_is_no_manifest_says_so() {
        for bad in [json!({}), json!([]), json!({"transactionTime": "t", "output": [{"type": "Patient"}]})] {
            let error = plan(&bad).unwrap_err();
            assert!(error.to_string().contains("without a manifest"), "{error}");
        }
    }
}
