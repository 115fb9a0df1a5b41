//! Access tokens: JWTs (RFC 9068) that this server signs with ES384 and that only it takes. A
//! token is for one tenant, and for no longer than five minutes; it says what was granted, while
//! what its application may have is looked up at each request.

use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Scopes;
use super::signing_keys::SigningKeys;
use crate::job::{ClientId, TenantId};

/// What a header says that a JWT is an access token (RFC 9068).
const TYPE: &str = "at+jwt";

/// The longest token that is looked at, in bytes; ours are shorter unless the scopes are many.
const LONGEST: usize = 16 << 10;

/// Who gives tokens: the tenant, and its base URL as `server.public_url` has it, whatever the
/// request says of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Whose data the tokens are for.
    pub tenant: TenantId,
    /// `{public url}/r4/{tenant}`: `iss` and `aud` of its tokens.
    pub url: String,
}

impl Issuer {
    /// The URL that assertions are for (`aud`).
    pub fn token_url(&self) -> String {
        format!("{}/auth/token", self.url)
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who gave it.
    pub iss: String,
    /// Who takes it.
    pub aud: String,
    /// Whose it is.
    pub sub: ClientId,
    /// The same.
    pub client_id: ClientId,
    /// The tenant that it is for.
    pub tenant: TenantId,
    /// What was granted.
    pub scope: String,
    /// When it was given, in seconds of Unix time.
    pub iat: i64,
    /// When it ends, in seconds of Unix time.
    pub exp: i64,
    /// Its own name.
    pub jti: String,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is none of ours, or not for this tenant.
    #[error("the access token is not valid here")]
    Invalid,
    /// It was good once.
    #[error("the access token has expired")]
    Expired,
}

/// A token for `client` that is good from `now` on for so many seconds; `now` in seconds of
/// Unix time.
pub fn issue(
    keys: &SigningKeys,
    issuer: &Issuer,
    client: &ClientId,
    scopes: &Scopes,
    now: i64,
    seconds: u64,
) -> Result<String, jsonwebtoken::errors::Error> {
    let key = keys.signing();
    let header =
        Header { typ: Some(TYPE.into()), kid: Some(key.kid().into()), ..Header::new(Algorithm::ES384) };
    let claims = Claims {
        iss: issuer.url.clone(),
        aud: issuer.url.clone(),
        sub: client.clone(),
        client_id: client.clone(),
        tenant: issuer.tenant.clone(),
        scope: scopes.to_string(),
        iat: now,
        exp: now.saturating_add_unsigned(seconds),
        jti: Uuid::new_v4().to_string(),
    };
    encode(&header, &claims, &key.encoding)
}

/// What a token says, if `issuer` gave it, and the name of the key that signed it. It may have
/// expired.
pub fn read(keys: &SigningKeys, issuer: &Issuer, token: &str) -> Result<(String, Claims), TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::Invalid);
    }
    let header = decode_header(token).map_err(|_| TokenError::Invalid)?;
    if header.alg != Algorithm::ES384 || header.typ.as_deref() != Some(TYPE) {
        return Err(TokenError::Invalid);
    }
    let kid = header.kid.ok_or(TokenError::Invalid)?;
    let key = keys.find(&kid).ok_or(TokenError::Invalid)?;
    let mut validation = Validation::new(Algorithm::ES384);
    validation.set_audience(&[&issuer.url]);
    validation.set_issuer(&[&issuer.url]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    // By the clock of this instance, and without leeway: the clock that gave the token reads it.
    validation.validate_exp = false;
    let claims = decode::<Claims>(token, &key.decoding, &validation).map_err(|_| TokenError::Invalid)?.claims;
    if claims.tenant != issuer.tenant || claims.sub != claims.client_id {
        return Err(TokenError::Invalid);
    }
    Ok((kid, claims))
}
