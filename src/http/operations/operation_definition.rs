//! `GET {base}/OperationDefinition/{id}` and `GET {base}/OperationDefinition?url=` (CP-5), which may be
//! searched by POST too.

use actix_web::HttpRequest;
use actix_web::web::{self, Data, Payload};
use serde_json::value::RawValue;

use super::common::{
    BAD_ACCEPT, BAD_BODY, BAD_READ, BEYOND_SCOPES, ETAG, NO_RESOURCE, NO_TENANT, NOT_MEANT, READ_PARAMETERS,
    SEARCH_FORM, SEARCHED, UNCHANGED,
};
use super::description::{OperationDescription, OperationParameter, answer, resource};
use super::metadata::offers;
use super::operation::{GET_HEAD, Operation, OperationUrl, POST, RequiredToken};
use crate::fhir::{CapabilityOffer, EXPORT_OPERATIONS};
use crate::http::input::{query, reading};
use crate::http::negotiation::accept;
use crate::http::output::bundle::{Bundle, BundleEntry, BundleLink};
use crate::http::output::documents::{BASE, CachedDefinition, CachedDocument};
use crate::http::{Api, ApiError, ApiResult, output};
use crate::job::TenantId;

static DEFINITIONS_URL: OperationUrl =
    OperationUrl::new("operation-definitions", "/r4/{tenant}/OperationDefinition", RequiredToken::None);
static DEFINITION_URL: OperationUrl =
    OperationUrl::new("operation-definition", "/r4/{tenant}/OperationDefinition/{id}", RequiredToken::None);

/// `GET {base}/OperationDefinition`.
pub static SEARCH: Operation = Operation {
    url: &DEFINITIONS_URL,
    methods: GET_HEAD,
    offer: Some(CapabilityOffer::Interaction("OperationDefinition", "search-type", &[("url", "uri")])),
    handler: || web::to(search),
    description: OperationDescription {
        summary: "The definitions of the export operations.",
        parameters: &[
            READ_PARAMETERS,
            &[OperationParameter::query(
                "url",
                "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export",
                "The canonical URL of the definition.",
            )],
        ],
        body: None,
        answers: &[SEARCHED, UNCHANGED, NOT_MEANT, BAD_READ, BAD_ACCEPT, NO_TENANT],
    },
};

/// `POST {base}/OperationDefinition/_search`.
pub static SEARCH_BY_POST: Operation = Operation {
    url: &OperationUrl::new(
        "operation-definition-search",
        "/r4/{tenant}/OperationDefinition/_search",
        RequiredToken::None,
    ),
    methods: POST,
    offer: None,
    handler: || web::to(search_by_post),
    description: OperationDescription {
        summary: "The same, with the parameters in a form.",
        parameters: &[READ_PARAMETERS],
        body: Some(SEARCH_FORM),
        answers: &[SEARCHED, UNCHANGED, NOT_MEANT, BAD_BODY, BAD_READ, BAD_ACCEPT, NO_TENANT],
    },
};

/// `GET {base}/OperationDefinition/{id}`.
pub static READ: Operation = Operation {
    url: &DEFINITION_URL,
    methods: GET_HEAD,
    offer: Some(CapabilityOffer::Interaction("OperationDefinition", "read", &[])),
    handler: || web::to(read),
    description: OperationDescription {
        summary: "The definition of an export operation.",
        parameters: &[READ_PARAMETERS],
        body: None,
        answers: &[
            &[answer(200, "The definition.", &resource("OperationDefinition")).with(&[ETAG])],
            UNCHANGED,
            NOT_MEANT,
            BAD_READ,
            BAD_ACCEPT,
            BEYOND_SCOPES,
            NO_RESOURCE,
            NO_TENANT,
        ],
    },
};

async fn read(request: HttpRequest, api: Data<Api>) -> ApiResult {
    let media_type = accept::json(&request)?;
    let base = api.base(&request)?;
    reading::parameters(&request, &[])?;
    let id = reading::id(&request)?;
    let tenant = api.tenant_of(&request)?;
    let definition = definitions(&api, &tenant)?.iter().find(|definition| definition.id == id);
    let definition = definition.ok_or_else(ApiError::unknown_resource)?;
    output::published(&request, media_type, definition.document.at(base.as_str()))
}

async fn search(request: HttpRequest, api: Data<Api>) -> ApiResult {
    find(&request, query::parse(request.query_string())?, &api)
}

async fn search_by_post(request: HttpRequest, payload: Payload, api: Data<Api>) -> ApiResult {
    let given = reading::posted(&request, payload, &api).await?;
    find(&request, given, &api)
}

fn find(request: &HttpRequest, given: Vec<(String, String)>, api: &Api) -> ApiResult {
    let media_type = accept::json_by(request, &given)?;
    let base = api.base(request)?;
    let base = base.as_str();
    let parameters = reading::retain_known(request, given, &["url"])?;
    let is_asked_for = |definition: &&CachedDefinition| {
        parameters.iter().all(|(_, url)| url.split(',').any(|url| url == definition.canonical))
    };
    let found = definitions(api, &api.tenant_of(request)?)?.iter().filter(is_asked_for);
    let found: Result<Vec<_>, _> = found
        .map(|definition| {
            let url = DEFINITION_URL.at(base, &[definition.id]);
            RawValue::from_string(definition.document.at(base)).map(|resource| (url, resource))
        })
        .collect();
    let found = found.map_err(|_| ApiError::internal())?;
    let own = BundleLink { relation: "self", url: reading::url(&DEFINITIONS_URL, base, &parameters) };
    let entries = found.iter().map(|(url, resource)| BundleEntry::found(url.clone(), resource));
    let bundle = Bundle::new(found.len(), vec![own], entries.collect());
    let body = serde_json::to_string(&bundle).map_err(|_| ApiError::internal())?;
    output::published(request, media_type, body)
}

/// Returns the definitions of the exports that the tenant has.
fn definitions<'a>(api: &'a Api, tenant: &TenantId) -> Result<&'a [CachedDefinition], ApiError> {
    let capabilities = api.capabilities(tenant)?;
    let make = || {
        let exports = EXPORT_OPERATIONS.iter().filter(|export| offers(capabilities, export));
        let parameters: Vec<_> = capabilities.export_parameters().collect();
        let of = |export: &&crate::fhir::ExportOperation| CachedDefinition {
            id: export.id,
            canonical: export.canonical(),
            document: CachedDocument::of(&export.definition(BASE, &parameters)),
        };
        exports.map(of).collect()
    };
    Ok(api.documents_of(tenant)?.definitions.get_or_init(make))
}
