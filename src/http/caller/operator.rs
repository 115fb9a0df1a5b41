//! The operator's token, which every operation of operators needs.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest};

use crate::http::{Api, ApiError};

/// Returns the token of an `Authorization: Bearer` field.
fn bearer_token(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// Refuses requests without the operator's token. Wraps each route that needs it.
pub async fn operators_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let api = request.app_data::<Data<Api>>();
    let token = api.and_then(|api| api.operator_token.clone());
    let given = bearer_token(request.request());
    if token.zip(given).is_some_and(|(token, given)| token.is(given)) {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    Ok(request.error_response(ApiError::not_the_operator()).map_into_right_body())
}
