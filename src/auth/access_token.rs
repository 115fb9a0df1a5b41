//! Access tokens: JWTs (RFC 9068) that this server signs with ES384 and that only it accepts. A
//! token is for one tenant and lives for five minutes at most. It says what was granted. What its
//! application may have is looked up at each request.

use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Scopes;
use super::signing_keys::SigningKeys;
use crate::job::{ClientId, TenantId};

/// The `typ` of an access token's header (RFC 9068).
const TYPE: &str = "at+jwt";

/// The longest accepted token in bytes. Issued tokens are shorter unless they have many scopes.
const LONGEST: usize = 16 << 10;

/// The issuer of tokens: a tenant and its base URL, built from `server.public_url` and never from
/// the request's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIssuer {
    /// The tenant whose data the tokens are for.
    pub tenant: TenantId,
    /// `{public url}/r4/{tenant}`, the `iss` and `aud` of tokens.
    pub url: String,
}

impl TokenIssuer {
    /// Returns the URL of the token endpoint, the `aud` of assertions.
    pub fn token_url(&self) -> String {
        format!("{}/auth/token", self.url)
    }
}

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: String,
    /// The application that the token was issued to.
    pub sub: ClientId,
    /// The same as `sub`.
    pub client_id: ClientId,
    /// The tenant that the token is for.
    pub tenant: TenantId,
    /// The scopes that were granted.
    pub scope: String,
    /// When the token was issued, in seconds of Unix time.
    pub iat: i64,
    /// When the token expires, in seconds of Unix time.
    pub exp: i64,
    /// The id of the token.
    pub jti: String,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token was not issued here, or not for this tenant.
    #[error("the access token is not valid here")]
    Invalid,
    /// The token was valid once.
    #[error("the access token has expired")]
    Expired,
}

/// Issues a token for `client` that is valid for some seconds from `now`, in seconds of Unix time.
pub fn issue(
    keys: &SigningKeys,
    issuer: &TokenIssuer,
    client: &ClientId,
    scopes: &Scopes,
    now: i64,
    seconds: u64,
) -> Result<String, jsonwebtoken::errors::Error> {
    let key = keys.signing();
    let header =
        Header { typ: Some(TYPE.into()), kid: Some(key.kid().into()), ..Header::new(Algorithm::ES384) };
    let claims = AccessTokenClaims {
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

/// Returns the claims of a token that `issuer` issued, and the id of the key that signed it. The
/// token may have expired.
pub fn read(
    keys: &SigningKeys,
    issuer: &TokenIssuer,
    token: &str,
) -> Result<(String, AccessTokenClaims), TokenError> {
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
    // Expiry is checked by this instance's clock without leeway: it is the clock that issued the
    // token.
    validation.validate_exp = false;
    let claims = decode::<AccessTokenClaims>(token, &key.decoding, &validation)
        .map_err(|_| TokenError::Invalid)?
        .claims;
    if claims.tenant != issuer.tenant || claims.sub != claims.client_id {
        return Err(TokenError::Invalid);
    }
    Ok((kid, claims))
}
