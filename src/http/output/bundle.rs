//! Bundles of what a search found (R4 3.1.1.5).

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
    link: Vec<Link>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entry: Vec<Entry<'a>>,
}

/// A URL of the search, or of another page of it.
#[derive(Serialize)]
pub struct Link {
    /// What it leads to, such as `self` or `next`.
    pub relation: &'static str,
    /// Itself.
    pub url: String,
}

/// A resource that was found.
#[derive(Serialize)]
pub struct Entry<'a> {
    #[serde(rename = "fullUrl")]
    full_url: String,
    resource: &'a RawValue,
    search: Mode,
}

#[derive(Serialize)]
struct Mode {
    mode: &'static str,
}

impl<'a> Bundle<'a> {
    /// What was found, of `total` on all pages.
    pub fn new(total: usize, link: Vec<Link>, entry: Vec<Entry<'a>>) -> Self {
        Self { resource_type: "Bundle", kind: "searchset", total, link, entry }
    }
}

impl<'a> Entry<'a> {
    /// A match, with the URL that it can be read at.
    pub fn found(full_url: String, resource: &'a RawValue) -> Self {
        Self { full_url, resource, search: Mode { mode: "match" } }
    }
}
