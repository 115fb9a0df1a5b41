//! `evanesce keygen`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use evanesce::auth::public_keys;
use evanesce::smart::{self, ClientKey};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::{done, refused, text};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn rg_1_the_key_that_is_made_signs_what_its_jwks_verifies() {
    for (alg, expected) in [("ES384", Algorithm::ES384), ("rs384", Algorithm::RS384)] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("keys");
        let said = done(&["keygen", "--alg", alg, "--out", text(&out)]);
        let (pem, jwks) = (out.join("client-key.pem"), out.join("client-jwks.json"));
        assert_eq!((mode(&pem), mode(&jwks)), (0o600, 0o644));
        let pem = std::fs::read(pem).unwrap();
        assert!(pem.starts_with(b"-----BEGIN PRIVATE KEY-----\n"));
        assert!(pem.split(|byte| *byte == b'\n').all(|line| line.len() <= 64));
        let key = ClientKey::from_pem(&pem, None).unwrap();
        assert!(said.contains(key.kid()), "{said}");
        let assertion = key.assertion("acme", "https://h/token", smart::expires(Timestamp::now())).unwrap();
        let found = public_keys(&std::fs::read(jwks).unwrap()).unwrap();
        let jwk = found.keys.find(key.kid()).unwrap();
        let mut validation = Validation::new(expected);
        validation.set_audience(&["https://h/token"]);
        let verifier = DecodingKey::from_jwk(jwk).unwrap();
        jsonwebtoken::decode::<serde_json::Value>(&assertion, &verifier, &validation).unwrap();
    }
}

#[test]
fn a_key_is_not_overwritten_unless_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (pem, jwks) = (folder.path().join("client-key.pem"), folder.path().join("client-jwks.json"));
    let keygen = ["keygen", "--out", text(folder.path()), "--kid", "k1"];
    done(&keygen);
    assert!(std::fs::read_to_string(&jwks).unwrap().contains("\"kid\": \"k1\""));
    let before = std::fs::read(&pem).unwrap();
    let error = refused(&keygen, 1);
    assert!(error.contains("client-key.pem is there already") && error.contains("--force"), "{error}");
    std::fs::remove_file(&jwks).unwrap();
    refused(&keygen, 1);
    assert_eq!(std::fs::read(&pem).unwrap(), before);
    assert!(!jwks.exists(), "no public key beside the private one of another pair");
    std::fs::remove_file(&pem).unwrap();
    std::fs::write(&jwks, "old").unwrap();
    refused(&keygen, 1);
    assert!(!pem.exists());

    std::fs::write(&pem, "old").unwrap();
    std::fs::set_permissions(&pem, std::fs::Permissions::from_mode(0o644)).unwrap();
    done(&[&keygen[..], &["--force"]].concat());
    assert_eq!(mode(&pem), 0o600, "whatever the old one's were");
    assert!(ClientKey::from_pem(&std::fs::read(&pem).unwrap(), None).is_ok());
    let names = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 2, "nothing is left beside them");
    for bad in ["", "a b", "a\nb", "\u{e9}"] {
        refused(&["keygen", "--out", text(folder.path()), "--force", "--kid", bad], 2);
    }
}
