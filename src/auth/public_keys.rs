//! Selects the keys of a JWKS that assertions may be verified with (RG-1): keys with a `kid`, for
//! RS384 or ES384. Other keys are ignored (RFC 7517, 5), because a client may publish keys for
//! other servers too. A set without one usable key is refused, and so is a set with a private key,
//! which is no longer private. The file of applications, key files, URLs and `evanesce app add` all
//! use this.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::fhir::quoted;

/// Least length of an RSA modulus in bits (RFC 7518 section 3.3).
pub const LEAST_BITS: usize = 2048;

/// Bytes of a P-384 coordinate.
const COORDINATE: usize = 48;

/// Longest `kid` in bytes.
pub const LONGEST_NAME: usize = 256;

/// The usable keys of a JWKS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys {
    /// At least one key.
    pub keys: JwkSet,
    /// What is wrong with each of the other keys.
    pub left_out: Vec<String>,
}

/// Why a text has no usable key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PublicKeysError(String);

/// Parses a JWKS and returns its usable public keys.
///
/// # Errors
/// Fails if the text is not a JWKS, has a private key, or has no usable key.
pub fn public_keys(text: &[u8]) -> Result<PublicKeys, PublicKeysError> {
    let json: Value = serde_json::from_slice(text).map_err(|error| {
        // The parser's message may quote the text.
        let (line, column) = (error.line(), error.column());
        PublicKeysError(format!("this is not JSON (line {line}, column {column})"))
    })?;
    public_keys_of(&json)
}

/// Returns the usable public keys of a parsed JWKS.
///
/// # Errors
/// Fails as [`public_keys`] does.
pub fn public_keys_of(json: &Value) -> Result<PublicKeys, PublicKeysError> {
    let refuse = |reason: String| PublicKeysError(reason);
    let all = json["keys"].as_array().filter(|keys| !keys.is_empty());
    let all = all.ok_or_else(|| refuse("this is not a JWKS with a list keys that is not empty".into()))?;
    // The members of private keys (RFC 7518 section 6).
    if all.iter().any(|key| ["d", "p", "q"].iter().any(|member| key.get(member).is_some())) {
        let reason = "there is a private key among the keys: make a new one, and give its public key only";
        return Err(refuse(reason.into()));
    }
    let read: Vec<_> = all.iter().map(usable).collect();
    let is_same = |one: &(Jwk, Algorithm), other: &(Jwk, Algorithm)| {
        one.1 == other.1 && one.0.common.key_id == other.0.common.key_id
    };
    let (mut keys, mut left_out) = (Vec::new(), Vec::new());
    for (key, (index, json)) in read.iter().zip(all.iter().enumerate()) {
        let reason = match key {
            Err(reason) => *reason,
            Ok(key) if read.iter().flatten().filter(|other| is_same(key, other)).count() > 1 => {
                "has the kid of another key: no signature could be attributed to it"
            }
            Ok((key, _)) => {
                keys.push(key.clone());
                continue;
            }
        };
        let name = json["kid"].as_str().map_or_else(|| format!("key {}", index + 1), quoted);
        left_out.push(format!("{name} {reason}"));
    }
    match left_out.first() {
        Some(reason) if keys.is_empty() => Err(refuse(reason.clone())),
        _ => Ok(PublicKeys { keys: JwkSet { keys }, left_out }),
    }
}

/// Returns a key and its algorithm, or why it is ignored.
fn usable(json: &Value) -> Result<(Jwk, Algorithm), &'static str> {
    if !json["kid"].as_str().is_some_and(|kid| (1..=LONGEST_NAME).contains(&kid.len())) {
        return Err("has no kid of 1 to 256 bytes");
    }
    let key = Jwk::deserialize(json).map_err(|_| "cannot be read")?;
    let algorithm = algorithm(&key)?;
    Ok((key, algorithm))
}

/// Returns the algorithm of a key, from its type and its own members, or why it cannot be used.
pub fn algorithm(key: &Jwk) -> Result<Algorithm, &'static str> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let is_whole = |text: &str| bytes(text).len() == COORDINATE;
    let (algorithm, named) = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) if bits(&bytes(&rsa.n)) >= LEAST_BITS => {
            (Algorithm::RS384, KeyAlgorithm::RS384)
        }
        AlgorithmParameters::RSA(_) => return Err("is an RSA key of less than 2048 bits"),
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P384 => {
            if !is_whole(&point.x) || !is_whole(&point.y) {
                return Err("is not a point on P-384");
            }
            (Algorithm::ES384, KeyAlgorithm::ES384)
        }
        _ => return Err("is for neither ES384 (an EC key on P-384) nor RS384 (an RSA key)"),
    };
    let common = &key.common;
    if common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
        return Err("is for another algorithm than ES384 or RS384, says its alg");
    }
    if common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return Err("is not for signatures, says its use");
    }
    if common.key_operations.as_ref().is_some_and(|may| !may.contains(&KeyOperations::Verify)) {
        return Err("is not for verifying, say its key_ops");
    }
    DecodingKey::from_jwk(key).map(|_| algorithm).map_err(|_| "cannot be read")
}

/// Returns the length of a number in bits.
pub fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros).map_or(0, |first| (number.len() - zeros) * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smart::{ClientKey, SigningAlgorithm};

    #[test]
    fn rg_1_public_keys_for_the_two_algorithms_are_taken() {
        for alg in [SigningAlgorithm::Es384, SigningAlgorithm::Rs384] {
            let (key, _) = ClientKey::generate(alg, None).unwrap();
            let found = public_keys(key.jwks().as_bytes()).unwrap();
            assert_eq!(found.keys.keys[0].common.key_id.as_deref(), Some(key.kid()));
            assert!(found.left_out.is_empty());
        }
    }

    #[test]
    fn rg_1_what_is_for_others_is_left_out() {
        let (key, _) = ClientKey::generate(SigningAlgorithm::Es384, Some("k1".into())).unwrap();
        let mut set: Value = serde_json::from_str(&key.jwks()).unwrap();
        let good = set["keys"][0].clone();
        let with = |name: &str, value: Value| {
            let mut key = good.clone();
            key["kid"] = "other".into();
            key[name] = value;
            key
        };
        let others = [
            (serde_json::json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"}), "'s' is for neither"),
            (serde_json::json!({"kty": "new", "kid": "n"}), "'n' is for neither"),
            (7.into(), "key 4 has no kid"),
            (with("kid", Value::Null), "key 5 has no kid"),
            (with("kid", "k".repeat(257).into()), "has no kid of 1 to 256 bytes"),
            (with("crv", "P-256".into()), "'other' is for neither"),
            (with("x", "AAAA".into()), "'other' is not a point"),
            (with("alg", "ES256".into()), "says its alg"),
            (with("use", "enc".into()), "says its use"),
            (with("key_ops", serde_json::json!(["encrypt"])), "say its key_ops"),
            (with("kid", "twice".into()), "'twice' has the kid of another"),
            (with("kid", "twice".into()), "'twice' has the kid of another"),
        ];
        set["keys"].as_array_mut().unwrap().extend(others.iter().map(|(key, _)| key.clone()));
        let found = public_keys_of(&set).unwrap();
        assert_eq!(found.keys.keys.len(), 1);
        assert_eq!(found.left_out.len(), others.len());
        for (reason, (key, expected)) in found.left_out.iter().zip(&others) {
            assert!(reason.contains(expected), "{key}: {reason}");
        }
    }

    #[test]
    fn rg_1_what_no_assertion_could_be_checked_with_is_refused() {
        let (key, _) = ClientKey::generate(SigningAlgorithm::Es384, Some("k1".into())).unwrap();
        let good: Value = serde_json::from_str(&key.jwks()).unwrap();
        let with = |name: &str, value: Value| {
            let mut keys = good.clone();
            keys["keys"][0][name] = value;
            keys.to_string()
        };
        let mut twice = good.clone();
        let first = good["keys"][0].clone();
        twice["keys"].as_array_mut().unwrap().push(first);
        let short =
            serde_json::json!({"keys": [{"kty": "RSA", "kid": "s", "n": "x".repeat(171), "e": "AQAB"}]});
        let secret = serde_json::json!({"keys": [{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}]});
        let cases = [
            ("not json".to_owned(), "not JSON"),
            ("{}".to_owned(), "not a JWKS"),
            ("{\"keys\": []}".to_owned(), "not empty"),
            (with("d", "AAAA".into()), "private key"),
            (secret.to_string(), "'s' is for neither"),
            (with("kid", "".into()), "'' has no kid"),
            (with("kid", Value::Null), "key 1 has no kid"),
            (with("crv", "P-256".into()), "'k1' is for neither"),
            (twice.to_string(), "'k1' has the kid of another"),
            (short.to_string(), "less than 2048 bits"),
        ];
        for (text, expected) in cases {
            let error = public_keys(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
