//! The OpenAPI 3.1 document of a list of routes.

use std::collections::BTreeMap;

use actix_web::http::Method;
use serde_json::{Map, Value, json};

use super::schemas::schemas;
use crate::config::ProtocolProfile;
use crate::fhir::{CapabilityOffer, ExportParameter, ParameterScope};
use crate::http::Api;
use crate::http::operations::common::{ANYWHERE, NO_TOKEN, RESPOND_ASYNC};
use crate::http::operations::description::{
    AnswerHeader, DocumentedAnswer, OperationDescription, OperationParameter, ParameterPlace, ParameterValues,
};
use crate::http::operations::operation::{Operation, OperationRoute, RequiredToken};
use crate::http::operations::status::POLLING_URL;

/// The header fields of every answer (G-6).
const REQUEST_IDS: &[AnswerHeader] =
    &[("X-Request-Id", "The id that the server gave the request."), ("opc-request-id", "The same.")];

/// Returns the document of these routes, with the security scheme of those that need a token, and its
/// name.
pub fn document(
    api: &Api,
    routes: &[OperationRoute],
    server: &str,
    scheme: Option<(&'static str, Value)>,
) -> Value {
    let tenant = json!({
        "name": "tenant", "in": "path", "required": true,
        "schema": {"type": "string", "examples": api.tenants.first().into_iter().collect::<Vec<_>>()},
        "description": "The population application.",
    });
    let name = scheme.as_ref().map(|(name, _)| *name);
    let paths = routes.iter().map(|route| {
        let scheme = name.filter(|_| route.url.token != RequiredToken::None);
        (route.url.path.to_string(), path(api, route, &tenant, scheme))
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

/// Returns a path with its methods.
fn path(api: &Api, route: &OperationRoute, tenant: &Value, scheme: Option<&str>) -> Value {
    let placeholders = route.url.path.split(['{', '}']).skip(1).step_by(2);
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
    for (method, operation) in route.methods() {
        let mut object = operation_object(api, operation, method, scheme);
        if let Some(scheme) = scheme {
            object["security"] = json!([{(scheme): []}]);
        }
        path.insert(method.as_str().to_ascii_lowercase(), object);
    }
    path.into()
}

fn operation_object(api: &Api, operation: &Operation, method: &Method, scheme: Option<&str>) -> Value {
    let description = &operation.description;
    let mut parameters: Vec<_> = description.parameters.iter().copied().flatten().map(parameter).collect();
    if let Some(CapabilityOffer::Export(_)) = operation.offer {
        let in_query =
            api.export_parameters().into_iter().filter(|parameter| parameter.taken != ParameterScope::ByPost);
        parameters.extend(in_query.map(export_parameter));
    }
    // C2, C3: the polling URL has a further one under Soarian's rules.
    if operation.url.path == POLLING_URL.path && api.protocol().profile == ProtocolProfile::Soarian {
        parameters.push(parameter(&RESPOND_ASYNC));
    }
    let mut object = json!({
        "operationId": format!("{}.{}", operation.url.name, method.as_str().to_ascii_lowercase()),
        "summary": description.summary,
        "parameters": parameters,
        "responses": responses(description, method, operation.url.token == RequiredToken::Access && scheme.is_some()),
    });
    if let Some(body) = description.body {
        object["requestBody"] = json!({"content": {body.media_type: {"schema": reference(body.schema)}}});
    }
    object
}

fn parameter(parameter: &OperationParameter) -> Value {
    let place = match parameter.place {
        ParameterPlace::Query => "query",
        ParameterPlace::Header => "header",
    };
    let schema = match parameter.values {
        ParameterValues::Like(example) => json!({"type": "string", "examples": [example]}),
        ParameterValues::OneOf(values) => json!({"type": "string", "enum": values}),
        ParameterValues::Number => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
    };
    json!({
        "name": parameter.name, "in": place, "required": parameter.is_required,
        "schema": schema, "description": parameter.description,
    })
}

fn export_parameter(parameter: &ExportParameter) -> Value {
    let mut schema = json!({"type": "string", "examples": [parameter.documentation.example]});
    if parameter.documentation.data_type == "instant" {
        schema["format"] = "date-time".into();
    }
    if parameter.documentation.repeats {
        schema = json!({"type": "array", "items": schema});
    }
    json!({
        "name": parameter.name, "in": "query", "required": false,
        "schema": schema, "description": parameter.documentation.text,
    })
}

/// Returns all answers by their status. Those of one status are described together.
fn responses(description: &OperationDescription, method: &Method, needs_token: bool) -> Value {
    let of_tokens = if needs_token { NO_TOKEN } else { &[] };
    let answers = description.answers.iter().copied().flatten().chain(ANYWHERE).chain(of_tokens);
    let mut by_status: BTreeMap<u16, Vec<&DocumentedAnswer>> = BTreeMap::new();
    answers.for_each(|answer| by_status.entry(answer.status).or_default().push(answer));
    let of_status = |answers: Vec<&DocumentedAnswer>| {
        let meanings: Vec<_> = answers.iter().map(|answer| answer.meaning).collect();
        let fields = answers.iter().flat_map(|answer| answer.headers).chain(REQUEST_IDS);
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

/// Returns a reference to a schema.
pub fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}
