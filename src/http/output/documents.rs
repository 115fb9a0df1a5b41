//! What the server says of itself and what does not change while it runs: the CapabilityStatement, the
//! OperationDefinitions, the OpenAPI document and their like. Each is made once, when it is first asked
//! for. The base URL, which proxies may tell differently from request to request, is left open in it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use crate::job::TenantId;

/// Stands for the base URL in a document that is made: a character for private use, which is in no
/// text of ours and which JSON does not escape.
pub const BASE: &str = "\u{e000}";

/// A document with gaps for the base URL.
pub struct CachedDocument(Vec<String>);

impl CachedDocument {
    /// Of JSON that has [`BASE`] where the base URL belongs.
    pub fn of(json: &Value) -> Self {
        Self(json.to_string().split(BASE).map(String::from).collect())
    }

    /// The text with this base URL, which has nothing in it that JSON would escape.
    pub fn at(&self, base: &str) -> String {
        self.0.join(base)
    }
}

/// The documents of one instance: a fixed number of them for each tenant.
#[derive(Default)]
pub struct DocumentCache {
    of_tenants: BTreeMap<TenantId, TenantDocuments>,
    /// Of all URLs of clients.
    pub openapi: OnceLock<CachedDocument>,
    /// Of those of operators.
    pub admin_openapi: OnceLock<CachedDocument>,
}

/// Those of a tenant.
#[derive(Default)]
pub struct TenantDocuments {
    /// The CapabilityStatement.
    pub metadata: OnceLock<CachedDocument>,
    /// The OperationDefinitions, by their ids and canonical URLs, in their order.
    pub definitions: OnceLock<Vec<CachedDefinition>>,
    /// The SMART configuration.
    pub smart: OnceLock<CachedDocument>,
}

/// An OperationDefinition.
pub struct CachedDefinition {
    /// Its id.
    pub id: &'static str,
    /// Its canonical URL.
    pub canonical: String,
    /// Itself.
    pub document: CachedDocument,
}

impl DocumentCache {
    /// None are made yet.
    pub fn new<'a>(tenants: impl IntoIterator<Item = &'a TenantId>) -> Self {
        let of_tenants = tenants.into_iter().map(|tenant| (tenant.clone(), TenantDocuments::default()));
        Self { of_tenants: of_tenants.collect(), ..Self::default() }
    }

    /// Those of a tenant, if it has URLs.
    pub fn of(&self, tenant: &TenantId) -> Option<&TenantDocuments> {
        self.of_tenants.get(tenant)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_base_is_filled_in_wherever_it_was_left_open() {
        let base = |rest: &str| format!("{BASE}{rest}");
        let document = CachedDocument::of(&json!({"a": BASE, "b": [base("/x"), "say \"hi\" to {base}"]}));
        assert_eq!(
            document.at("https://h/r4/t"),
            r#"{"a":"https://h/r4/t","b":["https://h/r4/t/x","say \"hi\" to {base}"]}"#
        );
    }
}
