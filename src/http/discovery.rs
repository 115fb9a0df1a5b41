//! `GET {base}/metadata` (REQUIREMENTS section 10): made of the table of routes.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::routes::OPERATIONS;
use super::{Api, ApiError, accept, reading};
use crate::config::{Devices, References};
use crate::fhir::{Profile, capability_statement, quoted};

/// R4's values of `mode`; a server may answer the same to each.
const MODES: &[&str] = &["full", "normative", "terminology"];

/// `GET {base}/metadata`.
pub async fn metadata(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    let media_type = accept::json(&request)?;
    let base = api.base(&request)?;
    for (_, mode) in reading::parameters(&request, &["mode"])? {
        if !MODES.contains(&mode.as_str()) {
            let mode = quoted(&mode);
            return Err(ApiError::invalid(format!("There is no mode {mode}; use {}.", MODES.join(" or "))));
        }
    }
    let export = &api.evanesce.services().config.export;
    let profile = Profile {
        parameters: api.export_parameters(),
        max_file_bytes: export.max_file_bytes,
        references: match export.references {
            References::Referenced => "those that something exported points to",
            References::All => "all of them",
            References::None => "none of them",
        },
        devices: match export.devices(api.protocol().profile) {
            Devices::ByPatient => {
                "Devices are in no compartment of R4: those whose Device.patient is exported come along."
            }
            Devices::ByReference => {
                "Devices are in no compartment of R4: they come along as reference resources do, but not \
                 those of other patients."
            }
        },
        token_url: api.authority.as_ref().and(api.issuer(&request).ok()).map(|issuer| issuer.token_url()),
    };
    let offers: Vec<_> = OPERATIONS.iter().filter_map(|operation| operation.offer.as_ref()).collect();
    let statement = capability_statement(base.as_str(), api.started_at, &offers, &profile);
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, media_type)).body(statement.to_string()))
}
