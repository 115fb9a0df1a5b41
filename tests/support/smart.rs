//! A client of SMART Backend Services as a test needs it: keys, assertions good and evil, tokens.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, RSA_PKCS1_SHA384, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Answer, Server, Setup, post};

pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A key pair of a client.
pub struct Key {
    pub kid: String,
    pub alg: &'static str,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair, &'static str),
    Rsa(RsaKeyPair),
}

impl Key {
    pub fn es384(kid: &str) -> Self {
        Self::ec(kid, &ECDSA_P384_SHA384_FIXED_SIGNING, "ES384", "P-384")
    }

    /// Signatures in DER, as OpenSSL makes them and JWS does not have them.
    pub fn es384_der(kid: &str) -> Self {
        Self::ec(kid, &ECDSA_P384_SHA384_ASN1_SIGNING, "ES384", "P-384")
    }

    pub fn es256(kid: &str) -> Self {
        Self::ec(kid, &ECDSA_P256_SHA256_FIXED_SIGNING, "ES256", "P-256")
    }

    fn ec(kid: &str, how: &'static EcdsaSigningAlgorithm, alg: &'static str, curve: &'static str) -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(how, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref()).unwrap();
        Self { kid: kid.into(), alg, pair: Pair::Ec(pair, curve) }
    }

    pub fn rs384(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        Self { kid: kid.into(), alg: "RS384", pair: Pair::Rsa(pair) }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA384, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Ec(pair, curve) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                json!({"kty": "EC", "crv": curve, "kid": self.kid, "x": text(x), "y": text(y)})
            }
            Pair::Rsa(pair) => {
                // RSAPublicKey: a SEQUENCE of two INTEGERs, of which the first has 257 bytes.
                let der = pair.public_key().as_ref();
                assert_eq!((&der[4..9], &der[265..267]), (&[2, 0x82, 1, 1, 0][..], &[2, 3][..]));
                json!({"kty": "RSA", "kid": self.kid, "n": text(&der[9..265]), "e": text(&der[267..])})
            }
        }
    }

    /// The public key as bytes: what an attacker takes for a secret.
    pub fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ec(pair, _) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}

pub fn jwks(keys: &[&Key]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

pub fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A JWT whose signature is what `sign` makes.
pub fn jwt(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign(signed.as_bytes())))
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A client with one key.
pub struct Client {
    pub id: String,
    pub key: Key,
}

impl Client {
    pub fn new(id: &str) -> Self {
        Self { id: id.into(), key: Key::es384("key-1") }
    }

    /// Its entry in a file of applications: `rest` is `scopes = ...` and what else it may have.
    pub fn registered(&self, rest: &str) -> String {
        let file = format!("{}.jwks.json", self.id);
        format!(
            "[[application]]\nclient_id = '{}'\ntenant = 'default'\njwks_file = '{file}'\n{rest}\n",
            self.id
        )
    }

    pub fn header(&self) -> Value {
        json!({"alg": self.key.alg, "kid": self.key.kid, "typ": "JWT"})
    }

    pub fn claims(&self, base: &str) -> Value {
        let jti = uuid::Uuid::new_v4().to_string();
        let aud = format!("{base}/auth/token");
        json!({"iss": self.id, "sub": self.id, "aud": aud, "exp": now() + 300, "jti": jti})
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        jwt(header, claims, |message| self.key.sign(message))
    }

    pub fn assertion(&self, base: &str) -> String {
        self.sign(&self.header(), &self.claims(base))
    }

    pub fn ask(&self, server: &Server, scope: &str) -> Answer {
        ask(&server.base, &self.assertion(&server.base), scope)
    }

    /// An access token.
    pub fn token(&self, server: &Server, scope: &str) -> String {
        let answer = self.ask(server, scope);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().into()
    }

    /// The value of `Authorization`.
    pub fn bearer(&self, server: &Server, scope: &str) -> String {
        format!("Bearer {}", self.token(server, scope))
    }
}

/// Asks for a token with an assertion.
pub fn ask(base: &str, assertion: &str, scope: &str) -> Answer {
    ask_form(
        base,
        &[
            ("grant_type", "client_credentials"),
            ("scope", scope),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        ],
    )
}

/// Posts a form to the token endpoint.
pub fn ask_form(base: &str, form: &[(&str, &str)]) -> Answer {
    post_form(&format!("{base}/auth/token"), &[], form)
}

pub fn post_form(url: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let body: Vec<_> =
        form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let mut fields = vec![("Content-Type", "application/x-www-form-urlencoded")];
    fields.extend(headers);
    post(url, &fields, &body.join("&"))
}

impl Setup {
    /// With authentication, and these applications.
    pub fn smart(mut self, applications: &str) -> Self {
        self.register(applications);
        self.auth = "smart";
        let file = self.folder.path().join("applications.toml");
        self.set(&format!("auth.applications={}", file.display()))
    }

    /// Writes the file of applications anew.
    pub fn register(&self, applications: &str) {
        std::fs::write(self.folder.path().join("applications.toml"), applications).unwrap();
    }

    /// Writes a file of keys beside that of applications.
    pub fn publish(&self, name: &str, keys: &Value) {
        std::fs::write(self.folder.path().join(name), keys.to_string()).unwrap();
    }

    /// With authentication, and this one client.
    pub fn smart_for(self, client: &Client, rest: &str) -> Self {
        self.publish(&format!("{}.jwks.json", client.id), &jwks(&[&client.key]));
        self.smart(&client.registered(rest))
    }
}
