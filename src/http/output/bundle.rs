//! Bundles of search results (R4 3.1.1.5).

use serde::Serialize;
use serde_json::value::RawValue;

/// A Bundle of type `searchset`.
#[derive(Serialize)]
pub struct Bundle<'a> {
    #[serde(rename = "resourceType")]
    resource_type: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    total: usize,
    link: Vec<BundleLink>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entry: Vec<BundleEntry<'a>>,
}

/// A URL of the search, or of another page of it.
#[derive(Serialize)]
pub struct BundleLink {
    /// What it leads to, such as `self` or `next`.
    pub relation: &'static str,
    /// The URL.
    pub url: String,
}

/// A resource that was found.
#[derive(Serialize)]
pub struct BundleEntry<'a> {
    #[serde(rename = "fullUrl")]
    full_url: String,
    resource: &'a RawValue,
    search: SearchMode,
}

#[derive(Serialize)]
struct SearchMode {
    mode: &'static str,
}

impl<'a> Bundle<'a> {
    /// Returns a Bundle of what was found; `total` counts all pages.
    pub fn new(total: usize, link: Vec<BundleLink>, entry: Vec<BundleEntry<'a>>) -> Self {
        Self { resource_type: "Bundle", kind: "searchset", total, link, entry }
    }
}

impl<'a> BundleEntry<'a> {
    /// Returns a match, with the URL at which it can be read.
    pub fn found(full_url: String, resource: &'a RawValue) -> Self {
        Self { full_url, resource, search: SearchMode { mode: "match" } }
    }
}
