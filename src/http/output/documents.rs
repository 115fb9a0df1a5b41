//! The documents in which the server describes itself and which do not change while it runs: the
//! CapabilityStatement, the OperationDefinitions, the OpenAPI document and others. Each is made when it is
//! first requested. Its base URL is left open, since proxies may report it differently from request to
//! request.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use crate::job::TenantId;

/// Stands for the base URL in a document: a character for private use, which no text of ours has and which
/// JSON does not escape.
pub const BASE: &str = "\u{e000}";

/// A document with gaps for the base URL.
pub struct CachedDocument(Vec<String>);

impl CachedDocument {
    /// Returns the document of JSON that has [`BASE`] where the base URL belongs.
    pub fn of(json: &Value) -> Self {
        Self(json.to_string().split(BASE).map(String::from).collect())
    }

    /// Returns the text with this base URL, which must not need escapes in JSON.
    pub fn at(&self, base: &str) -> String {
        self.0.join(base)
    }
}

/// The documents of one instance, of which each tenant has a fixed number.
#[derive(Default)]
pub struct DocumentCache {
    of_tenants: BTreeMap<TenantId, TenantDocuments>,
    /// The OpenAPI document for clients.
    pub openapi: OnceLock<CachedDocument>,
    /// The OpenAPI document for operators.
    pub admin_openapi: OnceLock<CachedDocument>,
}

/// The documents of a tenant.
#[derive(Default)]
pub struct TenantDocuments {
    /// The CapabilityStatement.
    pub metadata: OnceLock<CachedDocument>,
    /// The OperationDefinitions, in their order.
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
    /// The document.
    pub document: CachedDocument,
}

impl DocumentCache {
    /// Returns the documents of these tenants, none of them made yet.
    pub fn new<'a>(tenants: impl IntoIterator<Item = &'a TenantId>) -> Self {
        let of_tenants = tenants.into_iter().map(|tenant| (tenant.clone(), TenantDocuments::default()));
        Self { of_tenants: of_tenants.collect(), ..Self::default() }
    }

    /// Returns the documents of a tenant, if it has URLs.
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
