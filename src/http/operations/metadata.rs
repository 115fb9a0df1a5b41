//! `GET {base}/metadata` (REQUIREMENTS section 10), made once of the list of routes.

use actix_web::HttpRequest;
use actix_web::web::{self, Data};

use super::common::{BAD_ACCEPT, BAD_READ, ETAG, NO_TENANT, NOT_MEANT, READ_PARAMETERS, UNCHANGED};
use super::description::{OperationDescription, OperationParameter, answer, resource};
use super::operation::{GET_HEAD, Operation, OperationUrl, RequiredToken};
use crate::ExportCapabilities;
use crate::config::{DevicePolicy, ReferencePolicy};
use crate::fhir::{self, CapabilityOffer, PATIENT_EXPORT, capability_statement, quoted};
use crate::http::input::reading;
use crate::http::negotiation::accept;
use crate::http::output::documents::{BASE, CachedDocument};
use crate::http::{Api, ApiError, ApiResult, output};
use crate::job::{Level, TenantId};

/// The values that R4 gives `mode`; a server may answer the same to each.
const MODES: &[&str] = &["full", "normative", "terminology"];

/// `GET {base}/metadata`.
pub static METADATA: Operation = Operation {
    url: &OperationUrl::new("metadata", "/r4/{tenant}/metadata", RequiredToken::None),
    methods: GET_HEAD,
    offer: None,
    handler: || web::to(metadata),
    description: OperationDescription {
        summary: "The CapabilityStatement.",
        parameters: &[
            READ_PARAMETERS,
            &[OperationParameter::query("mode", "", "The same is answered to each.").one_of(MODES)],
        ],
        body: None,
        answers: &[
            &[answer(200, "The statement.", &resource("CapabilityStatement")).with(&[ETAG])],
            UNCHANGED,
            NOT_MEANT,
            BAD_READ,
            BAD_ACCEPT,
            NO_TENANT,
        ],
    },
};

async fn metadata(request: HttpRequest, api: Data<Api>) -> ApiResult {
    let media_type = accept::json(&request)?;
    let base = api.base(&request)?;
    for (_, mode) in reading::parameters(&request, &["mode"])? {
        if !MODES.contains(&mode.as_str()) {
            let mode = quoted(&mode);
            return Err(ApiError::invalid(format!("There is no mode {mode}; use {}.", MODES.join(" or "))));
        }
    }
    let tenant = api.tenant_of(&request)?;
    let capabilities = api.capabilities(&tenant)?;
    let make = || statement(&api, &tenant, capabilities);
    let statement = api.documents_of(&tenant)?.metadata.get_or_init(make);
    output::published(&request, media_type, statement.at(base.as_str()))
}

fn statement(api: &Api, tenant: &TenantId, capabilities: ExportCapabilities) -> CachedDocument {
    let export = &api.evanesce.config().export;
    let profile = fhir::CapabilityProfile {
        parameters: capabilities.export_parameters().collect(),
        max_file_bytes: export.max_file_bytes,
        is_exported: Box::new(move |it, level| capabilities.exports(it, level)),
        references: match export.references {
            ReferencePolicy::Referenced => "those that something exported points to",
            ReferencePolicy::All => "all of them",
            ReferencePolicy::None => "none of them",
        },
        devices: match export.devices(api.protocol().profile) {
            DevicePolicy::ByPatient => {
                "Devices are in no compartment of R4: those whose Device.patient is exported come along."
            }
            DevicePolicy::ByReference => {
                "Devices are in no compartment of R4: they come along as reference resources do, but not \
                 those of other patients."
            }
        },
        token_url: api.authority.as_ref().map(|_| api.issuer_of(tenant).token_url()),
    };
    let is_offered = |offer: &&CapabilityOffer| match offer {
        CapabilityOffer::Export(export) => offers(capabilities, export),
        CapabilityOffer::Interaction(..) => true,
    };
    let offers = api.operations().filter_map(|operation| operation.offer.as_ref()).filter(is_offered);
    let offers: Vec<_> = offers.collect();
    CachedDocument::of(&capability_statement(BASE, api.started_at, &offers, &profile))
}

impl Api {
    /// Returns what the exports of a tenant can be asked for.
    ///
    /// # Errors
    /// Fails if there is no such tenant.
    pub(super) fn capabilities(&self, tenant: &TenantId) -> Result<ExportCapabilities, ApiError> {
        self.evanesce.capabilities(tenant).ok_or_else(ApiError::unknown_application)
    }
}

/// Returns whether a tenant has an export at all; single applications may still not (K-15).
pub(super) fn offers(capabilities: ExportCapabilities, export: &fhir::ExportOperation) -> bool {
    *export != PATIENT_EXPORT || capabilities.offers(&Level::Patient)
}
