//! `GET {base}/metadata` (REQUIREMENTS section 10).

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::accept::{JSON, check_accept};
use super::error::FHIR_JSON;
use super::{Api, ApiError};
use crate::fhir::capability_statement;

/// `GET {base}/metadata`.
pub async fn metadata(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    check_accept(&request, JSON)?;
    api.check_tenant(&request)?;
    let statement = capability_statement(&api.base(), api.started_at);
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, FHIR_JSON)).body(statement.to_string()))
}
