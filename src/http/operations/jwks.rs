//! `GET {base}/auth/jwks`: the public keys of access tokens, public as the SMART configuration is.

use actix_web::HttpRequest;
use actix_web::web::{self, Data};

use super::common::{JSON, NO_TENANT, NOT_MEANT, UNCHANGED};
use super::description::{OperationDescription, answer};
use super::operation::{GET_HEAD, Operation, OperationUrl, RequiredToken};
use super::smart_configuration::{KEPT, cached};
use crate::http::{Api, ApiResult};

/// `GET {base}/auth/jwks`.
pub static JWKS: Operation = Operation {
    url: &OperationUrl::new("jwks", "/r4/{tenant}/auth/jwks", RequiredToken::None),
    methods: GET_HEAD,
    offer: None,
    handler: || web::to(jwks),
    description: OperationDescription {
        summary: "The public keys of access tokens.",
        parameters: &[],
        body: None,
        answers: &[
            &[answer(200, "A JSON Web Key Set.", JSON).with(&[KEPT])],
            UNCHANGED,
            NOT_MEANT,
            NO_TENANT,
        ],
    },
};

async fn jwks(request: HttpRequest, api: Data<Api>) -> ApiResult {
    let authority = api.authority()?;
    api.issuer(&request)?;
    cached(&request, authority.jwks().to_string())
}
