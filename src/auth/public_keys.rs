//! What may be registered as the public keys of an application (RG-1): a JWKS whose keys each
//! have a `kid` and are for RS384 or ES384. A private key in it is refused: it is none any more.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use serde::Deserialize;
use serde_json::Value;

use crate::fhir::quoted;

/// Least length of an RSA key's modulus in bits (RFC 7518 section 3.3).
const LEAST_BITS: usize = 2048;

/// Why a text is no JWKS that can be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PublicKeysError(String);

/// The public keys of a JWKS.
pub fn public_keys(text: &str) -> Result<JwkSet, PublicKeysError> {
    let refuse = |reason: String| PublicKeysError(reason);
    let json: Value =
        serde_json::from_str(text).map_err(|error| refuse(format!("this is no JSON: {error}")))?;
    let keys = json["keys"].as_array().filter(|keys| !keys.is_empty());
    let keys =
        keys.ok_or_else(|| refuse("this is no JWKS, which has a list keys that is not empty".into()))?;
    // The members of private and of symmetric keys (RFC 7518 section 6).
    if keys.iter().any(|key| ["d", "p", "q", "k"].iter().any(|member| key.get(member).is_some())) {
        let reason = "there is a private key among the keys: make a new one, and give its public key only";
        return Err(refuse(reason.into()));
    }
    let keys: JwkSet = JwkSet::deserialize(&json)
        .map_err(|error| refuse(format!("a key of this JWKS cannot be read: {error}")))?;
    for (index, key) in keys.keys.iter().enumerate() {
        let name = key.common.key_id.as_deref().map_or(format!("key {}", index + 1), quoted);
        check(key).map_err(|reason| refuse(format!("{name} {reason}")))?;
        let same = |other: &&Jwk| other.common.key_id == key.common.key_id && kind(other) == kind(key);
        if keys.keys.iter().filter(same).count() > 1 {
            return Err(refuse(format!("{name} is there twice: no signature could be told to be its")));
        }
    }
    Ok(keys)
}

fn kind(key: &Jwk) -> std::mem::Discriminant<AlgorithmParameters> {
    std::mem::discriminant(&key.algorithm)
}

fn check(key: &Jwk) -> Result<(), &'static str> {
    if key.common.key_id.as_ref().is_none_or(String::is_empty) {
        return Err("has no kid");
    }
    match &key.algorithm {
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P384 => Ok(()),
        AlgorithmParameters::RSA(rsa) if bits(&rsa.n) >= LEAST_BITS => Ok(()),
        AlgorithmParameters::RSA(_) => Err("is an RSA key of less than 2048 bits"),
        _ => Err("is for neither ES384 (an EC key on P-384) nor RS384 (an RSA key)"),
    }
}

/// About how many bits a number has that is written in base64url.
fn bits(number: &str) -> usize {
    number.len() * 6 / 8 * 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::client::{Alg, ClientKey};

    #[test]
    fn rg_1_public_keys_for_the_two_algorithms_are_taken() {
        for alg in [Alg::Es384, Alg::Rs384] {
            let (key, _) = ClientKey::generate(alg, None).unwrap();
            let keys = public_keys(&key.jwks()).unwrap();
            assert_eq!(keys.keys[0].common.key_id.as_deref(), Some(key.kid()));
        }
    }

    #[test]
    fn rg_1_what_no_assertion_could_be_checked_with_is_refused() {
        let (key, _) = ClientKey::generate(Alg::Es384, Some("k1".into())).unwrap();
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
            ("not json".to_owned(), "no JSON"),
            ("{}".to_owned(), "no JWKS"),
            ("{\"keys\": []}".to_owned(), "not empty"),
            (with("d", "AAAA".into()), "private key"),
            (secret.to_string(), "private key"),
            (with("kid", "".into()), "'' has no kid"),
            (with("kid", Value::Null), "key 1 has no kid"),
            (with("crv", "P-256".into()), "'k1' is for neither"),
            (twice.to_string(), "'k1' is there twice"),
            (short.to_string(), "less than 2048 bits"),
        ];
        for (text, expected) in cases {
            let error = public_keys(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
