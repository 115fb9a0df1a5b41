//! The client's side of SMART Backend Services: its private key, and the assertions that it signs
//! (REQUIREMENTS section 9.3). The bulk client, `evanesce token` and `keygen` are made of it; a host with an
//! HTTP client of its own sends the assertions itself.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use uuid::Uuid;

mod private_jwk;

/// The two algorithms that a server must support (RG-1).
///
/// ```
/// assert_eq!(evanesce::smart::SigningAlgorithm::Es384.to_string(), "ES384");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum SigningAlgorithm {
    /// ECDSA on P-384 with SHA-384.
    #[cfg_attr(feature = "cli", value(name = "ES384"))]
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    #[cfg_attr(feature = "cli", value(name = "RS384"))]
    Rs384,
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(alg: SigningAlgorithm) -> Self {
        match alg {
            SigningAlgorithm::Es384 => Self::ES384,
            SigningAlgorithm::Rs384 => Self::RS384,
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Es384 => "ES384",
            Self::Rs384 => "RS384",
        })
    }
}

/// Why a key cannot be used, or an assertion cannot be signed.
///
/// ```
/// use evanesce::smart::{ClientKey, ClientKeyError};
///
/// assert!(matches!(ClientKey::from_text(b"no key", None), Err(ClientKeyError::Unusable)));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ClientKeyError {
    /// The text is not a supported private key.
    #[error(
        "this is not a private key for ES384 (EC, P-384) or RS384 (RSA, 2048 bits at least) as PEM or JWK; \
         PKCS#8 is what `openssl pkcs8 -topk8 -nocrypt -in KEY` makes of other forms"
    )]
    Unusable,
    /// A key could not be generated.
    #[error("no key could be made")]
    Generation,
    /// The library failed to sign.
    #[error("the assertion could not be signed: {0}")]
    Signing(jsonwebtoken::errors::Error),
}

/// A private key of a client, with its id and algorithm. Its debug output shows only public parts.
///
/// ```
/// use evanesce::smart::{ClientKey, SigningAlgorithm, expires};
///
/// let (key, pem) = ClientKey::generate(SigningAlgorithm::Es384, Some("2026-11".into()))?;
/// assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
/// println!("{}", key.jwks()); // what the server is given
/// let now = jiff::Timestamp::now();
/// let assertion = key.assertion("acme", "https://fhir.example.org/auth/token", expires(now))?;
/// assert_eq!(assertion.split('.').count(), 3);
/// # Ok::<_, evanesce::smart::ClientKeyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClientKey {
    private: EncodingKey,
    public: Jwk,
    alg: SigningAlgorithm,
    kid: String,
}

/// The claims of an assertion, only the mandatory ones. Without `iat`, a clock that is ahead does
/// no harm.
#[derive(Serialize)]
struct OutgoingClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    jti: String,
}

impl ClientKey {
    /// Parses a PEM text or a private JWK, alone or in a set. Without a `kid` the key's id is the JWK's own,
    /// or its thumbprint (RFC 7638).
    pub fn from_text(text: &[u8], kid: Option<String>) -> Result<Self, ClientKeyError> {
        match private_jwk::read(text) {
            Some(jwk) => Self::from_pem(pem(&jwk.pkcs8).as_bytes(), kid.or(jwk.kid)),
            None => Self::from_pem(text, kid),
        }
    }

    /// Parses a PEM text. Without a `kid` the key's id is its thumbprint (RFC 7638).
    pub fn from_pem(pem: &[u8], kid: Option<String>) -> Result<Self, ClientKeyError> {
        let key = |alg: SigningAlgorithm, key: jsonwebtoken::errors::Result<EncodingKey>| {
            let private = key.ok()?;
            // This also checks the curve, and that the key is private.
            let public = Jwk::from_encoding_key(&private, alg.into()).ok()?;
            Some((alg, private, public))
        };
        let (alg, private, public) = key(SigningAlgorithm::Es384, EncodingKey::from_ec_pem(pem))
            .or_else(|| key(SigningAlgorithm::Rs384, EncodingKey::from_rsa_pem(pem)))
            .ok_or(ClientKeyError::Unusable)?;
        let mut key = Self { private, public, alg, kid: String::new() };
        key.kid = match kid {
            Some(kid) => kid,
            None => key.public.thumbprint(ThumbprintHash::SHA256).map_err(|_| ClientKeyError::Unusable)?,
        };
        key.public.common.key_id = Some(key.kid.clone());
        key.public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(key)
    }

    /// Generates a key on P-384 or an RSA key of 3072 bits. Also returns its PEM text (PKCS#8).
    pub fn generate(alg: SigningAlgorithm, kid: Option<String>) -> Result<(Self, String), ClientKeyError> {
        let made = |_| ClientKeyError::Generation;
        let pem = match alg {
            SigningAlgorithm::Es384 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(made)?;
                pem(pair.to_pkcs8v1().map_err(made)?.as_ref())
            }
            SigningAlgorithm::Rs384 => {
                let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa3072).map_err(made)?;
                pem(pair.as_der().map_err(made)?.as_ref())
            }
        };
        Ok((Self::from_pem(pem.as_bytes(), kid)?, pem))
    }

    /// Returns the key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the key's algorithm.
    pub fn alg(&self) -> SigningAlgorithm {
        self.alg
    }

    /// Returns the public key as a JWKS in JSON, which a server is given.
    pub fn jwks(&self) -> String {
        let keys = JwkSet { keys: vec![self.public.clone()] };
        let mut text = serde_json::to_string_pretty(&keys).expect("keys are plain data");
        text.push('\n');
        text
    }

    /// Signs an assertion of `client_id` for the token endpoint `audience`. It expires at
    /// `expires`, five minutes from now at most, and can be used once (T-2).
    pub fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        expires: Timestamp,
    ) -> Result<String, ClientKeyError> {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(self.alg.into()) };
        let claims = OutgoingClaims {
            iss: client_id,
            sub: client_id,
            aud: audience,
            exp: expires.as_second(),
            jti: Uuid::new_v4().to_string(),
        };
        jsonwebtoken::encode(&header, &claims, &self.private).map_err(ClientKeyError::Signing)
    }
}

/// Returns when an assertion that is made now should expire: a minute before the limit, because the
/// server's clock may be behind.
///
/// ```
/// let now = jiff::Timestamp::UNIX_EPOCH;
/// assert_eq!(evanesce::smart::expires(now).as_second(), 4 * 60);
/// ```
pub fn expires(now: Timestamp) -> Timestamp {
    now.checked_add(SignedDuration::from_mins(4)).unwrap_or(Timestamp::MAX)
}

/// Encodes a key as PEM (RFC 7468).
fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + "-----END PRIVATE KEY-----\n"
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    use super::*;

    #[test]
    fn t_1_a_new_key_signs_what_its_jwks_verifies() {
        for (alg, size) in [(SigningAlgorithm::Es384, 96), (SigningAlgorithm::Rs384, 384)] {
            let (key, pem) = ClientKey::generate(alg, None).unwrap();
            let again = ClientKey::from_pem(pem.as_bytes(), None).unwrap();
            assert_eq!((again.alg(), again.kid()), (alg, key.kid()), "the same key has the same name");
            let expires = expires(Timestamp::now());
            let assertion = again.assertion("acme", "https://h/token", expires).unwrap();
            let header = jsonwebtoken::decode_header(&assertion).unwrap();
            assert_eq!((header.alg, header.kid.as_deref()), (alg.into(), Some(key.kid())));
            assert_eq!(header.typ.as_deref(), Some("JWT"));
            let keys: JwkSet = serde_json::from_str(&key.jwks()).unwrap();
            let mut validation = Validation::new(alg.into());
            validation.set_audience(&["https://h/token"]);
            let jwk = DecodingKey::from_jwk(keys.find(key.kid()).unwrap()).unwrap();
            let claims = jsonwebtoken::decode::<Value>(&assertion, &jwk, &validation).unwrap().claims;
            assert_eq!((&claims["iss"], &claims["sub"]), (&"acme".into(), &"acme".into()));
            assert_eq!(claims["exp"], expires.as_second());
            let signature = assertion.rsplit('.').next().unwrap();
            assert_eq!(signature.len(), (size * 4usize).div_ceil(3), "{alg}");
            let other = again.assertion("acme", "https://h/token", expires).unwrap();
            let other = jsonwebtoken::decode::<Value>(&other, &jwk, &validation).unwrap().claims;
            assert_ne!(claims["jti"], other["jti"], "T-2");
        }
    }

    /// RFC 7517 names the members, and the private part is that of the key in RFC 7515, A.3 and A.2, in kind.
    #[test]
    fn a_private_jwk_is_the_same_key_as_its_pem() {
        use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
        let (key, pem) = ClientKey::generate(SigningAlgorithm::Es384, None).unwrap();
        let der: Vec<u8> =
            STANDARD.decode(pem.lines().filter(|it| !it.starts_with('-')).collect::<String>()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &der).unwrap();
        let secret: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().unwrap();
        let mut set: Value = serde_json::from_str(&key.jwks()).unwrap();
        let text = |set: &Value| set.to_string().into_bytes();
        assert!(ClientKey::from_text(&text(&set), None).is_err(), "it is public");
        set["keys"][0]["d"] = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret.as_ref()).into();
        set["keys"][0]["kid"] = "mine".into();
        let read = ClientKey::from_text(&text(&set), None).unwrap();
        assert_eq!((read.kid(), read.alg()), ("mine", SigningAlgorithm::Es384));
        let members = |key: &ClientKey| {
            let jwk = serde_json::from_str::<Value>(&key.jwks()).unwrap()["keys"][0].clone();
            (jwk["x"].clone(), jwk["y"].clone())
        };
        assert_eq!(members(&read), members(&key));
        assert_eq!(ClientKey::from_text(&text(&set["keys"][0]), Some("k".into())).unwrap().kid(), "k");
        assert_eq!(ClientKey::from_text(pem.as_bytes(), None).unwrap().kid(), key.kid());
    }

    /// The example of RFC 7638 section 3.1 is a public key; what is asked here is that the name
    /// is the hash of the members that it says, in their order.
    #[test]
    fn a_key_without_a_name_is_called_by_its_thumbprint() {
        use sha2::{Digest, Sha256};
        let (key, _) = ClientKey::generate(SigningAlgorithm::Es384, None).unwrap();
        let jwk: Value = serde_json::from_str::<Value>(&key.jwks()).unwrap()["keys"][0].clone();
        let members = format!(r#"{{"crv":"P-384","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(members));
        assert_eq!(key.kid(), hash);
        assert_eq!((&jwk["kid"], &jwk["use"], &jwk["alg"]), (&hash.into(), &"sig".into(), &"ES384".into()));
    }

    #[test]
    fn what_is_no_private_key_of_the_two_kinds_is_refused() {
        use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let p256 = pem(p256.to_pkcs8v1().unwrap().as_ref());
        let (_, good) = ClientKey::generate(SigningAlgorithm::Es384, None).unwrap();
        let public = good.replace("PRIVATE", "PUBLIC");
        let cut = good.replace("-----END", "");
        for bad in ["", "no key", &p256, &public, &cut] {
            let error = ClientKey::from_pem(bad.as_bytes(), None).unwrap_err();
            assert!(error.to_string().contains("ES384"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_key_does_not_show_its_private_part() {
        let (key, pem) = ClientKey::generate(SigningAlgorithm::Es384, None).unwrap();
        let secret = pem.lines().nth(1).unwrap();
        assert!(!format!("{key:?}{}", key.jwks()).contains(&secret[40..60]));
        assert!(!key.jwks().contains("\"d\""));
    }
}
