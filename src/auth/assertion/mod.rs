//! Client assertions (RFC 7523, REQUIREMENTS 9.3): JWTs that a client signs with its own key. An
//! assertion's own form and claims are checked first, and the client is told what is wrong with
//! them. Whether the client is known, has such a key and signed with it is one question with one
//! answer, so nobody can find out which clients exist.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::ClientKeys;
use super::public_keys::{self, LEAST_BITS, LONGEST_NAME};

/// Largest assertion in bytes.
const LONGEST: usize = 16 << 10;

/// How far ahead `exp` may be, in seconds.
pub const LONGEST_LIFE: i64 = 300;

/// A well-formed assertion for this server. Its signature has not been checked.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientAssertion<'a> {
    /// The signed bytes: header and claims as they stand.
    signed: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    /// The id of the key.
    pub kid: String,
    jku: Option<String>,
    /// The client that the assertion names.
    pub client: String,
    /// The assertion's id.
    pub jti: String,
    /// When the assertion expires, in seconds of Unix time.
    pub exp: i64,
}

/// Why an assertion is not accepted. The text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// It cannot be parsed.
    #[error("The assertion is not a JWT of three parts whose header and claims are JSON objects.")]
    Malformed,
    /// It is too long.
    #[error("The assertion is too long.")]
    TooLong,
    /// It has another algorithm, or none.
    #[error("The assertion is not signed with RS384 or ES384.")]
    Algorithm,
    /// Its header is not acceptable.
    #[error("The header of the assertion has no kid, another typ than JWT, or a crit.")]
    Header,
    /// `iss`, `sub` and `client_id` differ.
    #[error("The iss and sub of the assertion, and the client_id if there is one, are not the same.")]
    Subject,
    /// It is for another audience.
    #[error("The aud of the assertion is not the URL of this token endpoint.")]
    Audience,
    /// It has expired, is not valid yet, or is valid for too long.
    #[error("The assertion has expired, is not good yet, or its exp is more than 5 minutes ahead.")]
    Time,
    /// It has no id.
    #[error("The assertion has no jti of 1 to 256 bytes.")]
    Name,
    /// The client is unknown or inactive, has no such key, or did not sign.
    #[error("The assertion is not by a key of a client that is known here and active.")]
    Unknown,
    /// It is a replay. Only the client that signed it gets this answer.
    #[error("The assertion was used before; make a new one, with a jti of its own, for each request.")]
    Used,
}

impl AssertionError {
    /// Returns the name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too-long",
            Self::Algorithm => "algorithm",
            Self::Header => "header",
            Self::Subject => "subject",
            Self::Audience => "audience",
            Self::Time => "time",
            Self::Name => "jti",
            Self::Unknown => "unknown",
            Self::Used => "used",
        }
    }
}

/// A JOSE header. Duplicate members are an error.
#[derive(Deserialize)]
struct AssertionHeader {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "stated")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "stated")]
    jku: Option<String>,
    #[serde(default, deserialize_with = "stated")]
    crit: Option<IgnoredAny>,
}

/// Parses a member that is present. `null` does not stand for a missing member (RFC 7515, 4.1.11
/// for `crit`).
fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct AssertionClaims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    #[serde(default, deserialize_with = "stated")]
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "stated")]
    iat: Option<f64>,
    jti: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What an assertion is checked against.
pub struct ExpectedClaims<'a> {
    /// The URL of the token endpoint.
    pub audience: &'a str,
    /// The form field `client_id`, if it was sent (T-3).
    pub client: Option<&'a str>,
    /// The time in seconds of Unix time.
    pub now: i64,
    /// How many seconds clocks may differ.
    pub skew: i64,
}

impl<'a> ClientAssertion<'a> {
    /// Parses an assertion and checks everything but its signature.
    pub fn read(text: &'a str, expected: &ExpectedClaims<'_>) -> Result<Self, AssertionError> {
        use AssertionError as Refused;
        if text.len() > LONGEST {
            return Err(Refused::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Refused::Malformed)?;
        let header: AssertionHeader = part(header)?;
        let claims: AssertionClaims = part(claims)?;
        let algorithm = match header.alg.as_str() {
            "RS384" => Algorithm::RS384,
            "ES384" => Algorithm::ES384,
            _ => return Err(Refused::Algorithm),
        };
        let is_name = |name: &String| (1..=LONGEST_NAME).contains(&name.len());
        let kid = header.kid.filter(is_name).ok_or(Refused::Header)?;
        if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) || header.crit.is_some() {
            return Err(Refused::Header);
        }
        let client = claims.iss.ok_or(Refused::Subject)?;
        if claims.sub.as_ref() != Some(&client) || expected.client.is_some_and(|field| field != client) {
            return Err(Refused::Subject);
        }
        let is_ours = |audience: &String| audience == expected.audience;
        let is_for_us = match &claims.aud {
            None => false,
            Some(Audience::One(audience)) => is_ours(audience),
            Some(Audience::Several(audiences)) => audiences.iter().any(is_ours),
        };
        if !is_for_us {
            return Err(Refused::Audience);
        }
        let exp = in_time(claims.exp, claims.nbf, claims.iat, expected).ok_or(Refused::Time)?;
        let jti = claims.jti.filter(is_name).ok_or(Refused::Name)?;
        Ok(Self { signed, signature, algorithm, kid, jku: header.jku, client, jti, exp })
    }

    /// Returns whether the owner of these keys signed the assertion. Exactly one key must match,
    /// and a `jku` must be the registered URL (T-4).
    pub fn is_signed_by(&self, registered: &ClientKeys, keys: &JwkSet) -> bool {
        let is_registered = match (&self.jku, registered) {
            (None, _) => true,
            (Some(jku), ClientKeys::Url(url)) => jku == url,
            (Some(_), ClientKeys::Inline(_) | ClientKeys::File(_)) => false,
        };
        let fits = |key: &&Jwk| {
            key.common.key_id.as_deref() == Some(self.kid.as_str())
                && public_keys::algorithm(key) == Ok(self.algorithm)
        };
        let mut fitting = keys.keys.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => {
                let key = DecodingKey::from_jwk(key);
                key.is_ok_and(|key| self.verify(&key)) && is_registered
            }
            _ => {
                self.pretend();
                false
            }
        }
    }

    fn verify(&self, key: &DecodingKey) -> bool {
        let verified = crypto::verify(self.signature, self.signed.as_bytes(), key, self.algorithm);
        verified.unwrap_or(false)
    }

    /// Takes as long as a verification, for a client that is unknown or has no such key.
    pub fn pretend(&self) {
        let key = match self.algorithm {
            Algorithm::RS384 => DecodingKey::from_rsa_raw_components(&[0xc5; LEAST_BITS / 8], &[1, 0, 1]),
            _ => DecodingKey::from_ec_der(&NOBODY),
        };
        // Nobody signs with these keys.
        let _ = self.verify(&key);
    }
}

/// The generator of P-384: a public key whose private key (1) is no secret. No client is registered
/// with it, and the result of its verification is thrown away.
const NOBODY: [u8; 97] = [
    0x04, 0xaa, 0x87, 0xca, 0x22, 0xbe, 0x8b, 0x05, 0x37, 0x8e, 0xb1, 0xc7, 0x1e, 0xf3, 0x20, 0xad, 0x74,
    0x6e, 0x1d, 0x3b, 0x62, 0x8b, 0xa7, 0x9b, 0x98, 0x59, 0xf7, 0x41, 0xe0, 0x82, 0x54, 0x2a, 0x38, 0x55,
    0x02, 0xf2, 0x5d, 0xbf, 0x55, 0x29, 0x6c, 0x3a, 0x54, 0x5e, 0x38, 0x72, 0x76, 0x0a, 0xb7, 0x36, 0x17,
    0xde, 0x4a, 0x96, 0x26, 0x2c, 0x6f, 0x5d, 0x9e, 0x98, 0xbf, 0x92, 0x92, 0xdc, 0x29, 0xf8, 0xf4, 0x1d,
    0xbd, 0x28, 0x9a, 0x14, 0x7c, 0xe9, 0xda, 0x31, 0x13, 0xb5, 0xf0, 0xb8, 0xc0, 0x0a, 0x60, 0xb1, 0xce,
    0x1d, 0x7e, 0x81, 0x9d, 0x7a, 0x43, 0x1d, 0x7c, 0x90, 0xea, 0x0e, 0x5f,
];

/// Parses a part as JSON. Duplicate members and trailing bytes are errors.
fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, AssertionError> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| AssertionError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| AssertionError::Malformed)
}

/// Returns when the assertion expires, if it is valid now (T-1, T-6). Times may have fractions (RFC
/// 7519).
fn in_time(
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    expected: &ExpectedClaims<'_>,
) -> Option<i64> {
    let (now, skew) = (expected.now as f64, expected.skew as f64);
    let exp = exp.filter(|exp| *exp + skew > now && *exp <= now + LONGEST_LIFE as f64 + skew)?;
    let has_begun = |time: Option<f64>| time.is_none_or(|time| time <= now + skew);
    (has_begun(nbf) && has_begun(iat)).then_some(exp.ceil() as i64)
}

#[cfg(test)]
mod tests;
