//! The schemas of bodies.

use serde_json::{Map, Value, json};

use super::document::reference;

/// Returns the schemas that descriptions name.
pub fn schemas() -> Value {
    let resource = |name: &str| {
        json!({
            "type": "object", "properties": {"resourceType": {"const": name}}, "required": ["resourceType"],
        })
    };
    let files = json!({"type": "array", "items": reference("File")});
    let texts = |names: &[&str]| {
        let text = |name: &&str| ((*name).to_string(), json!({"type": "string"}));
        json!({
            "type": "object",
            "properties": names.iter().map(text).collect::<Map<_, _>>(),
            "required": names,
        })
    };
    json!({
        "Any": {},
        "TokenRequest": texts(&["grant_type", "scope", "client_assertion_type", "client_assertion"]),
        "TokenResponse": {
            "type": "object",
            "properties": {
                "access_token": {"type": "string"},
                "token_type": {"const": "bearer"},
                "expires_in": {"type": "integer", "minimum": 1, "maximum": 300},
                "scope": {"type": "string"},
            },
            "required": ["access_token", "token_type", "expires_in", "scope"],
        },
        "OAuthError": texts(&["error", "error_description"]),
        "IntrospectionRequest": texts(&["token"]),
        "SearchForm": {"type": "object", "additionalProperties": {"type": "string"}},
        "Reason": texts(&["reason"]),
        "LogFilter": texts(&["filter"]),
        "Ndjson": {"type": "string"},
        "Parameters": resource("Parameters"),
        "CapabilityStatement": resource("CapabilityStatement"),
        "OperationDefinition": resource("OperationDefinition"),
        "Bundle": resource("Bundle"),
        "Group": resource("Group"),
        "Binary": resource("Binary"),
        "OperationOutcome": {
            "type": "object",
            "properties": {
                "resourceType": {"const": "OperationOutcome"},
                "id": {"type": "string"},
                "issue": {"type": "array", "minItems": 1, "items": {
                    "type": "object",
                    "properties": {
                        "severity": {"enum": ["fatal", "error", "warning", "information"]},
                        "code": {"type": "string"},
                        "details": {
                            "type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"],
                        },
                        "diagnostics": {"type": "string"},
                    },
                    "required": ["severity", "code", "details"],
                }},
            },
            "required": ["resourceType", "id", "issue"],
        },
        "Manifest": {
            "type": "object",
            "properties": {
                "transactionTime": {"type": "string", "format": "date-time"},
                "request": {"type": "string"},
                "requiresAccessToken": {"type": "boolean"},
                "outputOrganizedBy": {"const": "Patient"},
                "output": files,
                "error": files,
            },
            "required": ["transactionTime", "request", "requiresAccessToken", "output", "error"],
        },
        "ReceiptKey": texts(&["public_key", "key_id", "algorithm"]),
        "TreeHead": {
            "type": "object",
            "properties": {
                "first": {"type": "integer", "minimum": 0},
                "tree_size": {"type": "integer", "minimum": 0},
                "root_hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "timestamp": {"type": "string", "format": "date-time"},
                "chain_head": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "key_id": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "signature": {"type": "string", "pattern": "^[0-9a-f]{128}$"},
            },
            "required": [
                "first", "tree_size", "root_hash", "timestamp", "chain_head", "key_id", "signature",
            ],
        },
        "EntryProof": {
            "type": "object",
            "properties": {
                "entry": {"type": "string"},
                "leaf_index": {"type": "integer", "minimum": 0},
                "inclusion": {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
            },
            "required": ["entry", "leaf_index", "inclusion"],
        },
        "ErasureProof": {
            "type": "object",
            "properties": {
                "version": {"const": 1},
                "erasure": reference("EntryProof"),
                "epoch": reference("EntryProof"),
                "head": reference("TreeHead"),
            },
            "required": ["version", "erasure", "head"],
        },
        "File": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "url": {"type": "string", "format": "uri"},
                "count": {"type": "integer", "minimum": 1},
                "continuesInFile": {"type": "string", "format": "uri"},
            },
            // MF-4: output that is organized has no type and no count.
            "required": ["url"],
        },
    })
}
