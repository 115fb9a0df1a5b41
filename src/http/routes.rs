//! The list of all operations. Only what stands here is routed, and only what is routed is described.

use super::Api;
use super::operations::operation::{Operation, OperationRoute, OperationUrl};
use super::operations::{
    binary, delete, download, group, health, introspection, jwks, kickoff, metadata, metrics, openapi,
    operation_definition, operator_orders, receipts, smart_configuration, status, token,
};
use crate::config::ProtocolProfile;

/// The operations of clients.
static CLIENT_OPERATIONS: &[&Operation] = &[
    &kickoff::SYSTEM,
    &kickoff::PATIENT,
    &kickoff::GROUP,
    &status::STATUS,
    &delete::DELETE,
    &delete::DELETE_REQUEST,
    &receipts::RECEIPT,
    &download::DOWNLOAD,
    &receipts::KEY,
    &receipts::HEAD,
    &metadata::METADATA,
    &operation_definition::SEARCH,
    // Before the read, whose path has a placeholder in its place.
    &operation_definition::SEARCH_BY_POST,
    &operation_definition::READ,
    &group::SEARCH,
    &group::SEARCH_BY_POST,
    &group::READ,
    &binary::READ,
    &openapi::CLIENT_DOCUMENT,
    &health::HEALTH,
    &health::READINESS,
];

/// Kick-offs by POST, which Soarian's rules do not have.
static POST_KICKOFFS: &[&Operation] =
    &[&kickoff::SYSTEM_BY_POST, &kickoff::PATIENT_BY_POST, &kickoff::GROUP_BY_POST];

/// The operations that issue and check tokens. They are absent without an authority.
static TOKEN_OPERATIONS: &[&Operation] =
    &[&smart_configuration::SMART_CONFIGURATION, &token::TOKEN, &introspection::INTROSPECTION, &jwks::JWKS];

/// URLs that take no method (D-9).
static EMPTY_URLS: &[&OperationUrl] = &[&status::FOLDER_URL];

/// The operations of operators, on a listener of their own.
static OPERATOR_OPERATIONS: &[&Operation] = &[
    &health::OPERATOR_HEALTH,
    &health::OPERATOR_READINESS,
    &metrics::METRICS,
    &openapi::OPERATOR_DOCUMENT,
    &operator_orders::STATUS,
    &operator_orders::JOBS,
    &operator_orders::CANCEL,
    &operator_orders::HOLD,
    &operator_orders::RELEASE,
    &operator_orders::PAUSE,
    &operator_orders::RESUME,
    &operator_orders::CONFIRM_CLOCK,
    &operator_orders::LOG_LEVEL,
    &operator_orders::SET_LOG_LEVEL,
    &operator_orders::RESET_LOG_LEVEL,
];

impl Api {
    /// Returns the operations that clients may call here.
    pub(super) fn operations(&self) -> impl Iterator<Item = &'static Operation> + use<> {
        let by_post = if self.protocol().profile == ProtocolProfile::Standard { POST_KICKOFFS } else { &[] };
        let of_tokens = if self.authority.is_some() { TOKEN_OPERATIONS } else { &[] };
        [CLIENT_OPERATIONS, by_post, of_tokens].into_iter().flatten().copied()
    }

    /// Returns the URLs of clients with their operations.
    pub(super) fn routes(&self) -> Vec<OperationRoute> {
        let empty = EMPTY_URLS.iter().map(|url| OperationRoute { url, operations: Vec::new() });
        OperationRoute::group(self.operations()).into_iter().chain(empty).collect()
    }

    /// Returns the URLs of operators with their operations.
    pub(super) fn operator_routes() -> Vec<OperationRoute> {
        OperationRoute::group(OPERATOR_OPERATIONS.iter().copied())
    }
}

/// Returns this name if a URL has it. The names are a closed list, whatever URLs are requested.
pub fn known_name(name: &str) -> Option<&'static str> {
    let operations = [CLIENT_OPERATIONS, TOKEN_OPERATIONS, OPERATOR_OPERATIONS].into_iter().flatten();
    let urls = operations.map(|operation| operation.url).chain(EMPTY_URLS.iter().copied());
    urls.map(|url| url.name).find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_path_and_no_name_is_written_twice() {
        let of_clients = [CLIENT_OPERATIONS, POST_KICKOFFS, TOKEN_OPERATIONS].concat();
        let mut names = BTreeSet::new();
        for (operations, empty) in [(of_clients, EMPTY_URLS), (OPERATOR_OPERATIONS.to_vec(), &[])] {
            for operation in &operations {
                let same_path = |other: &&&Operation| other.url.path == operation.url.path;
                let is_shared = |other: &Operation| std::ptr::eq(other.url, operation.url);
                assert!(
                    operations.iter().filter(same_path).all(|other| is_shared(other)),
                    "{}",
                    operation.url.path
                );
            }
            for route in OperationRoute::group(operations.into_iter()) {
                assert!(
                    names.insert(route.url.name) && known_name(route.url.name).is_some(),
                    "{}",
                    route.url.name
                );
                let methods: Vec<_> = route.methods().map(|(method, _)| method.as_str()).collect();
                assert_eq!(
                    methods.iter().collect::<BTreeSet<_>>().len(),
                    methods.len(),
                    "{}",
                    route.url.path
                );
            }
            assert!(empty.iter().all(|url| names.insert(url.name) && known_name(url.name).is_some()));
        }
        assert_eq!(known_name("something"), None);
    }
}
