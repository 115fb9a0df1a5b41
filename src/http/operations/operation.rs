//! What an operation is: a URL, its methods, a handler and a description. The router, the names in logs
//! and metrics, the `Allow` of a 405, the CapabilityStatement and the OpenAPI document are all made of it.

use actix_web::Route;
use actix_web::http::Method;

use super::description::OperationDescription;
use crate::fhir::CapabilityOffer;

/// The path of a tenant's base URL (G-1).
pub const TENANT: &str = "/r4/{tenant}";

/// The methods of an operation that only reads.
pub const GET_HEAD: &[Method] = &[Method::GET, Method::HEAD];
/// The method of an operation that has no use for HEAD.
pub const GET: &[Method] = &[Method::GET];
/// The method of an operation that takes a body.
pub const POST: &[Method] = &[Method::POST];

/// The token that the caller of a URL needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredToken {
    /// No token: anybody may call.
    None,
    /// An access token (G-3).
    Access,
    /// The operator's token.
    Operator,
}

/// A URL of the server.
pub struct OperationUrl {
    /// Its name in logs and metrics, with which the ids of its operations begin in the OpenAPI document.
    pub name: &'static str,
    /// Its path from the root, with placeholders.
    pub path: &'static str,
    /// The token that each of its operations needs.
    pub token: RequiredToken,
}

impl OperationUrl {
    /// Returns a URL.
    pub const fn new(name: &'static str, path: &'static str, token: RequiredToken) -> Self {
        Self { name, path, token }
    }

    /// Returns the URL below the base URL of a tenant, with `values` for the placeholders that follow the
    /// tenant, in their order.
    pub fn at(&self, base: &str, values: &[&str]) -> String {
        let path = self.path.strip_prefix(TENANT).unwrap_or(self.path);
        let mut values = values.iter();
        let mut url = String::from(base);
        for (n, part) in path.split(['{', '}']).enumerate() {
            let is_placeholder = n % 2 == 1;
            url += if is_placeholder { values.next().copied().unwrap_or_default() } else { part };
        }
        url
    }
}

/// An operation: what a URL does for some of its methods.
pub struct Operation {
    /// Its URL, which it may share with others.
    pub url: &'static OperationUrl,
    /// Its methods, in the order of `Allow`.
    pub methods: &'static [Method],
    /// What the CapabilityStatement says of it.
    pub offer: Option<CapabilityOffer>,
    /// Its handler.
    pub handler: fn() -> Route,
    /// What the OpenAPI document says of it.
    pub description: OperationDescription,
}

/// A URL with its operations.
pub struct OperationRoute {
    /// The URL.
    pub url: &'static OperationUrl,
    /// Its operations; a URL without any takes no method.
    pub operations: Vec<&'static Operation>,
}

impl OperationRoute {
    /// Groups operations by their URLs, in the order in which the URLs come first.
    pub fn group(operations: impl Iterator<Item = &'static Operation>) -> Vec<Self> {
        let mut routes: Vec<Self> = Vec::new();
        for operation in operations {
            match routes.iter_mut().find(|route| route.url.path == operation.url.path) {
                Some(route) => route.operations.push(operation),
                None => routes.push(Self { url: operation.url, operations: vec![operation] }),
            }
        }
        routes
    }

    /// Returns each method with its operation.
    pub fn methods(&self) -> impl Iterator<Item = (&'static Method, &'static Operation)> {
        self.operations
            .iter()
            .flat_map(|operation| operation.methods.iter().map(|method| (method, *operation)))
    }

    /// Returns the value of `Allow`.
    pub fn allow(&self) -> String {
        self.methods().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_made_of_its_path_and_the_values_of_its_placeholders() {
        let at = |path, values: &[&str]| {
            OperationUrl { name: "", path, token: RequiredToken::None }.at("https://h/r4/t", values)
        };
        assert_eq!(at("/r4/{tenant}/a/{job}/{file}", &["1", "x.ndjson"]), "https://h/r4/t/a/1/x.ndjson");
        assert_eq!(at("/r4/{tenant}/a/{job}", &[""]), "https://h/r4/t/a/");
        assert_eq!(at("/r4/{tenant}/a", &[]), "https://h/r4/t/a");
    }
}
