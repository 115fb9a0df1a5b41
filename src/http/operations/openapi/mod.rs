//! `GET /openapi.json`: an OpenAPI 3.1 document of every URL that is there, made once: with or without tokens,
//! under the rules of the profile, for clients or for operators.

mod document;
mod schemas;

use actix_web::HttpRequest;
use actix_web::web::{self, Data};
use serde_json::json;

use self::document::document;
use super::common::{ETAG, JSON, NOT_MEANT, UNCHANGED};
use super::description::{OperationDescription, answer};
use super::operation::{GET, GET_HEAD, Operation, OperationUrl, RequiredToken};
use super::operator_orders::DONE;
use crate::http::output::documents::{BASE, CachedDocument};
use crate::http::{Api, ApiResult, output};

/// `GET /openapi.json`.
pub static CLIENT_DOCUMENT: Operation = Operation {
    url: &OperationUrl::new("openapi", "/openapi.json", RequiredToken::None),
    methods: GET_HEAD,
    offer: None,
    handler: || web::to(client_document),
    description: OperationDescription {
        summary: "This document.",
        parameters: &[],
        body: None,
        answers: &[&[answer(200, "An OpenAPI 3.1 document.", JSON).with(&[ETAG])], UNCHANGED, NOT_MEANT],
    },
};

/// `GET /openapi.json` on the operators' listener.
pub static OPERATOR_DOCUMENT: Operation = Operation {
    url: &OperationUrl::new("admin-openapi", "/openapi.json", RequiredToken::Operator),
    methods: GET,
    offer: None,
    handler: || web::to(operator_document),
    description: OperationDescription {
        summary: "This document.",
        parameters: &[],
        body: None,
        answers: &[DONE, UNCHANGED, NOT_MEANT],
    },
};

async fn client_document(request: HttpRequest, api: Data<Api>) -> ApiResult {
    let document = api.documents.openapi.get_or_init(|| {
        let scheme = json!({
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "SMART Backend Services: {base}/.well-known/smart-configuration.",
        });
        let scheme = api.authority.as_ref().map(|_| ("smart", scheme));
        CachedDocument::of(&document(&api, &api.routes(), BASE, scheme))
    });
    published(&request, document.at(&api.origin(&request)))
}

async fn operator_document(request: HttpRequest, api: Data<Api>) -> ApiResult {
    let document = api.documents.admin_openapi.get_or_init(|| {
        let description = "The operator's token, which stands in the file that admin.token_file names.";
        let scheme = json!({"type": "http", "scheme": "bearer", "description": description});
        CachedDocument::of(&document(&api, &Api::operator_routes(), "/", Some(("operator", scheme))))
    });
    published(&request, document.at(""))
}

fn published(request: &HttpRequest, document: String) -> ApiResult {
    output::published(request, "application/json", document)
}
