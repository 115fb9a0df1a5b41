//! A client's private key in a JWK (RFC 7517), as other tools keep it, turned into PKCS #8.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// A private key that was read.
pub struct PrivateJwk {
    /// PKCS #8, DER.
    pub pkcs8: Vec<u8>,
    /// Its id, if it has one.
    pub kid: Option<String>,
}

/// A JWK, or a set of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum JwkText {
    Set { keys: Vec<JwkMembers> },
    One(Box<JwkMembers>),
}

/// The members of private keys (RFC 7518, 6.2 and 6.3).
#[derive(Deserialize)]
struct JwkMembers {
    kty: String,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<String>,
    n: Option<String>,
    e: Option<String>,
    p: Option<String>,
    q: Option<String>,
    dp: Option<String>,
    dq: Option<String>,
    qi: Option<String>,
}

/// Reads a JWK, or the first of a set that is a usable private key: EC on P-384, or RSA.
pub fn read(text: &[u8]) -> Option<PrivateJwk> {
    let keys = match serde_json::from_slice(text).ok()? {
        JwkText::Set { keys } => keys,
        JwkText::One(key) => vec![*key],
    };
    keys.into_iter().find_map(|key| {
        let pkcs8 = match key.kty.as_str() {
            "EC" if key.crv.as_deref() == Some("P-384") => elliptic(&key)?,
            "RSA" => rsa(&key)?,
            _ => return None,
        };
        Some(PrivateJwk { pkcs8, kid: key.kid })
    })
}

fn bytes(member: Option<&String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(member?).ok()
}

fn elliptic(key: &JwkMembers) -> Option<Vec<u8>> {
    // An uncompressed point (SEC 1, 2.3.3).
    let public = [vec![4], bytes(key.x.as_ref())?, bytes(key.y.as_ref())?].concat();
    let private = bytes(key.d.as_ref())?;
    let pair =
        EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P384_SHA384_FIXED_SIGNING, &private, &public);
    Some(pair.ok()?.to_pkcs8v1().ok()?.as_ref().to_vec())
}

fn rsa(key: &JwkMembers) -> Option<Vec<u8>> {
    let public_key = PublicKeyComponents { n: bytes(key.n.as_ref())?, e: bytes(key.e.as_ref())? };
    let components = KeyPairComponents {
        public_key,
        d: bytes(key.d.as_ref())?,
        p: bytes(key.p.as_ref())?,
        q: bytes(key.q.as_ref())?,
        dP: bytes(key.dp.as_ref())?,
        dQ: bytes(key.dq.as_ref())?,
        qInv: bytes(key.qi.as_ref())?,
    };
    let pair = aws_lc_rs::rsa::KeyPair::from_components(&components).ok()?;
    Some(pair.as_der().ok()?.as_ref().to_vec())
}
