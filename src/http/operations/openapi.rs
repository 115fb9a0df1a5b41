//! `GET /openapi.json`: an OpenAPI 3.1 document of every URL that is there, made once of the table of
//! routes: with or without tokens, under the rules of the profile, for clients or for operators.

use std::collections::BTreeMap;

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use crate::config::ProtocolProfile;
use crate::fhir::{CapabilityOffer, ExportParameter, ParameterScope};
use crate::http::caller::Access;
use crate::http::input::reading;
use crate::http::operations::descriptions::{ANYWHERE, NO_TOKEN, POLLS_OF_SOARIAN};
use crate::http::operations::operation::{Answer, Description, Field, Operation, Parameter, Place, Values};
use crate::http::output::documents::{BASE, Document};
use crate::http::routes::ADMIN_OPERATIONS;
use crate::http::{Api, ApiError};

/// The name of the one security scheme of clients.
const SCHEME: &str = "smart";

/// The same of operators.
const OPERATORS: &str = "operator";

/// Header fields of every answer (G-6).
const REQUEST_IDS: &[Field] =
    &[("X-Request-Id", "The id that the server gave the request."), ("opc-request-id", "The same.")];

/// `GET /openapi.json`.
pub async fn openapi(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    let document = api.documents.openapi.get_or_init(|| {
        let scheme = json!({
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "SMART Backend Services: {base}/.well-known/smart-configuration.",
        });
        let scheme = api.authority.as_ref().map(|_| (SCHEME, scheme));
        Document::of(&document(&api, api.operations(), BASE, scheme))
    });
    answer(&request, document.at(&api.origin(&request)))
}

/// The same on the operators' listener, of what there is on it.
pub async fn of_operators(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    let document = api.documents.admin_openapi.get_or_init(|| {
        let description = "The operator's token, which stands in the file that admin.token_file names.";
        let scheme = json!({"type": "http", "scheme": "bearer", "description": description});
        Document::of(&document(&api, ADMIN_OPERATIONS.iter(), "/", Some((OPERATORS, scheme))))
    });
    answer(&request, document.at(""))
}

fn answer(request: &HttpRequest, document: String) -> Result<HttpResponse, ApiError> {
    reading::published(request, "application/json", document)
}

fn document(
    api: &Api,
    operations: impl Iterator<Item = &'static Operation>,
    server: &str,
    scheme: Option<(&'static str, Value)>,
) -> Value {
    let tenant = json!({
        "name": "tenant", "in": "path", "required": true,
        "schema": {"type": "string", "examples": api.tenants.first().into_iter().collect::<Vec<_>>()},
        "description": "The population application.",
    });
    let name = scheme.as_ref().map(|(name, _)| *name);
    let paths = operations.map(|operation| {
        let scheme = name.filter(|_| operation.access != Access::Open);
        (operation.path.to_string(), path(api, operation, &tenant, scheme))
    });
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Evanesce",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "FHIR R4 Bulk Data export. Refusals are OperationOutcomes that say what would \
                            have been right.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": paths.collect::<Map<_, _>>(),
        "components": {"schemas": schemas()},
    });
    if let Some((name, scheme)) = scheme {
        document["components"]["securitySchemes"] = json!({(name): scheme});
    }
    document
}

/// A path with its methods.
fn path(api: &Api, operation: &Operation, tenant: &Value, scheme: Option<&str>) -> Value {
    let placeholders = operation.path.split(['{', '}']).skip(1).step_by(2);
    let parameters: Vec<_> = placeholders
        .map(|name| match name {
            "tenant" => tenant.clone(),
            _ => json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}),
        })
        .collect();
    let mut path = Map::new();
    if !parameters.is_empty() {
        path.insert("parameters".into(), parameters.into());
    }
    for (method, _, description) in operation.methods_under(api.protocol().profile) {
        let mut object = operation_object(api, operation, method, description, scheme);
        if let Some(scheme) = scheme {
            object["security"] = json!([{(scheme): []}]);
        }
        path.insert(method.as_str().to_ascii_lowercase(), object);
    }
    path.into()
}

fn operation_object(
    api: &Api,
    operation: &Operation,
    method: &Method,
    description: &Description,
    scheme: Option<&str>,
) -> Value {
    let mut parameters: Vec<_> = description.parameters.iter().copied().flatten().map(parameter).collect();
    if let (Some(CapabilityOffer::Export(_)), &Method::GET) = (&operation.offer, method) {
        let in_query =
            api.export_parameters().into_iter().filter(|parameter| parameter.taken != ParameterScope::ByPost);
        parameters.extend(in_query.map(export_parameter));
    }
    if operation.name == "request" && api.protocol().profile == ProtocolProfile::Soarian {
        parameters.extend(POLLS_OF_SOARIAN.iter().map(parameter));
    }
    let mut object = json!({
        "operationId": format!("{}.{}", operation.name, method.as_str().to_ascii_lowercase()),
        "summary": description.summary,
        "parameters": parameters,
        "responses": responses(description, method, scheme == Some(SCHEME)),
    });
    if let Some(body) = description.body {
        object["requestBody"] = json!({"content": {body.media_type: {"schema": reference(body.schema)}}});
    }
    object
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        Place::Query => "query",
        Place::Header => "header",
    };
    let schema = match parameter.values {
        Values::Like(example) => json!({"type": "string", "examples": [example]}),
        Values::OneOf(values) => json!({"type": "string", "enum": values}),
        Values::Number => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
    };
    json!({
        "name": parameter.name, "in": place, "required": parameter.is_required,
        "schema": schema, "description": parameter.description,
    })
}

fn export_parameter(parameter: &ExportParameter) -> Value {
    let mut schema = json!({"type": "string", "examples": [parameter.example]});
    if parameter.data_type == "instant" {
        schema["format"] = "date-time".into();
    }
    if parameter.repeats {
        schema = json!({"type": "array", "items": schema});
    }
    json!({
        "name": parameter.name, "in": "query", "required": false,
        "schema": schema, "description": parameter.documentation,
    })
}

/// All answers by their status; those of one status are told together.
fn responses(description: &Description, method: &Method, needs_token: bool) -> Value {
    let of_tokens = if needs_token { NO_TOKEN } else { &[] };
    let answers = description.answers.iter().copied().flatten().chain(ANYWHERE).chain(of_tokens);
    let mut by_status: BTreeMap<u16, Vec<&Answer>> = BTreeMap::new();
    answers.for_each(|answer| by_status.entry(answer.status).or_default().push(answer));
    let of_status = |answers: Vec<&Answer>| {
        let meanings: Vec<_> = answers.iter().map(|answer| answer.meaning).collect();
        let fields = answers.iter().flat_map(|answer| answer.fields).chain(REQUEST_IDS);
        let field = |(name, meaning): &(&str, &str)| {
            ((*name).to_string(), json!({"description": meaning, "schema": {"type": "string"}}))
        };
        let content = answers
            .iter()
            .flat_map(|answer| answer.content)
            .map(|content| (content.media_type.to_string(), json!({"schema": reference(content.schema)})));
        let mut response = json!({
            "description": meanings.join(" "),
            "headers": fields.map(field).collect::<Map<_, _>>(),
        });
        let content: Map<_, _> = content.collect();
        if !content.is_empty() && method != Method::HEAD {
            response["content"] = content.into();
        }
        response
    };
    let responses = by_status.into_iter().map(|(status, answers)| (status.to_string(), of_status(answers)));
    responses.collect::<Map<_, _>>().into()
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// What bodies look like.
fn schemas() -> Value {
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
