//! `GET {base}/OperationDefinition/{id}` and `GET {base}/OperationDefinition?url=` (CP-5).

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::{Api, ApiError, accept, reading};
use crate::fhir::EXPORT_OPERATIONS;

/// `GET {base}/OperationDefinition/{id}`.
pub async fn read(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    let media_type = accept::json(&request)?;
    let base = api.base(&request)?;
    reading::parameters(&request, &[])?;
    let id = reading::id(&request)?;
    let export = EXPORT_OPERATIONS.iter().find(|export| export.id == id);
    let definition =
        export.ok_or_else(ApiError::unknown_resource)?.definition(base.as_str(), &api.export_parameters());
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, media_type)).body(definition.to_string()))
}

/// `GET {base}/OperationDefinition`: all of them, or those of `url`.
pub async fn search(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    let media_type = accept::json(&request)?;
    let base = api.base(&request)?;
    let parameters = reading::parameters(&request, &["url"])?;
    let (base, taken) = (base.as_str(), api.export_parameters());
    let found = EXPORT_OPERATIONS.iter().filter(|export| {
        let canonical = export.canonical();
        parameters.iter().all(|(_, url)| url.split(',').any(|url| url == canonical))
    });
    let found: Vec<_> = found.collect();
    let mut bundle = json!({
        "resourceType": "Bundle",
        "type": "searchset",
        "total": found.len(),
        "link": [{"relation": "self", "url": reading::url(base, "OperationDefinition", &parameters)}],
    });
    if !found.is_empty() {
        bundle["entry"] = found
            .iter()
            .map(|export| {
                json!({
                    "fullUrl": format!("{base}/OperationDefinition/{}", export.id),
                    "resource": export.definition(base, &taken),
                    "search": {"mode": "match"},
                })
            })
            .collect();
    }
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, media_type)).body(bundle.to_string()))
}
