//! `evanesce token`: the client's side of SMART Backend Services (REQUIREMENTS section 9.3).

use std::path::{Path, PathBuf};

use evanesce::smart::{ClientKey, SigningAlgorithm};
use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;
use tempfile::TempDir;

use super::token_server::{Answers, TokenServer};
use super::{done, refused, text};

fn key(alg: SigningAlgorithm) -> (TempDir, PathBuf, ClientKey) {
    let folder = tempfile::tempdir().unwrap();
    let (key, pem) = ClientKey::generate(alg, None).unwrap();
    let path = folder.path().join("key.pem");
    std::fs::write(&path, pem).unwrap();
    (folder, path, key)
}

fn token<'a>(server: &'a TokenServer, key: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["token", "--url", &server.base, "--client-id", "acme", "--key", text(key)];
    arguments.extend(more);
    arguments
}

#[test]
fn t_1_a_token_is_asked_for_with_an_assertion_that_its_key_verifies() {
    for alg in [SigningAlgorithm::Es384, SigningAlgorithm::Rs384] {
        let server = TokenServer::plain(Answers::default());
        let (_folder, path, key) = key(alg);
        assert_eq!(done(&token(&server, &path, &[])), "a.b.c\n", "the token alone");
        let form = server.forms.recv().unwrap();
        assert_eq!(form.media_type, "application/x-www-form-urlencoded");
        let field = |name: &str| form.fields[name].as_str();
        assert_eq!((field("grant_type"), field("scope")), ("client_credentials", "system/*.rs"));
        assert_eq!(field("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        assert_eq!(form.fields.len(), 4);
        let keys: JwkSet = serde_json::from_str(&key.jwks()).unwrap();
        let header = jsonwebtoken::decode_header(field("client_assertion")).unwrap();
        let verifier = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(alg.into());
        validation.set_audience(&[&server.endpoint]);
        validation.set_issuer(&["acme"]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let claims = jsonwebtoken::decode::<Value>(field("client_assertion"), &verifier, &validation);
        let claims = claims.unwrap().claims;
        assert_eq!(claims["sub"], "acme");
        let ahead = claims["exp"].as_i64().unwrap() - Timestamp::now().as_second();
        assert!((200..=300).contains(&ahead), "T-6: {ahead}");
        assert!(!claims["jti"].as_str().unwrap().is_empty());
    }
}

#[test]
fn scope_and_kid_are_those_that_are_given_and_the_whole_answer_can_be_had() {
    let server = TokenServer::plain(Answers::default());
    let (_folder, path, _) = key(SigningAlgorithm::Es384);
    let more = ["--kid", "k1", "--scope", "system/Patient.read system/Group.rs", "--alg", "ES384", "--json"];
    let json: Value = serde_json::from_str(&done(&token(&server, &path, &more))).unwrap();
    assert_eq!((&json["access_token"], &json["expires_in"]), (&"a.b.c".into(), &300.into()));
    let form = server.forms.recv().unwrap();
    assert_eq!(form.fields["scope"], "system/Patient.read system/Group.rs");
    let header = jsonwebtoken::decode_header(&form.fields["client_assertion"]).unwrap();
    assert_eq!(header.kid.as_deref(), Some("k1"));
}

#[test]
fn g_2_over_tls_only_an_authority_that_is_trusted_will_do() {
    let server = TokenServer::tls(Answers::default());
    let (folder, path, _) = key(SigningAlgorithm::Es384);
    let cacert = folder.path().join("ca.pem");
    std::fs::write(&cacert, server.authority.as_ref().unwrap()).unwrap();
    assert_eq!(done(&token(&server, &path, &["--cacert", text(&cacert)])), "a.b.c\n");
    server.forms.recv().unwrap();
    let error = refused(&token(&server, &path, &[]), 1);
    assert!(error.contains("certificate"), "{error}");
    let error = refused(&token(&server, &path, &["--cacert", text(&path)]), 2);
    assert!(error.contains("there is none in the file"), "{error}");
    assert!(server.forms.try_recv().is_err(), "no assertion went out");
}

#[test]
fn what_goes_wrong_is_said_on_standard_error() {
    let (folder, path, _) = key(SigningAlgorithm::Es384);
    let ok = Answers::default();
    let discovery = |discovery| Answers { discovery, ..ok.clone() };
    let answer = |token| Answers { token, ..ok.clone() };
    let refusal = r#"{"error":"invalid_client","error_description":"The jti was used \u001b[2J before."}"#;
    for (answers, asked, expected) in [
        (discovery((404, "")), false, "answered 404, so the server names no token endpoint"),
        (discovery((200, "<html>")), false, "names no token_endpoint"),
        (discovery((200, r#"{"token_endpoint": "file:///etc/x"}"#)), false, "neither http nor https"),
        (discovery((302, "")), false, "answered 302"),
        (
            answer((400, refusal)),
            true,
            "gives no access token (400, invalid_client: The jti was used [2J before.)",
        ),
        (answer((500, "")), true, "gives no access token (500, without saying why)"),
        (answer((307, "")), true, "gives no access token (307"),
        (answer((200, "{}")), true, "without an access_token"),
        (answer((200, r#"{"access_token": "a\nb"}"#)), true, "has spaces or other bytes"),
    ] {
        let server = TokenServer::plain(answers);
        let error = refused(&token(&server, &path, &[]), 1);
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
        assert_eq!(server.forms.try_iter().count(), usize::from(asked), "{expected}");
    }
    let server = TokenServer::tls(discovery((200, r#"{"token_endpoint": "http://localhost/token"}"#)));
    let cacert = folder.path().join("ca.pem");
    std::fs::write(&cacert, server.authority.as_ref().unwrap()).unwrap();
    let error = refused(&token(&server, &path, &["--cacert", text(&cacert)]), 1);
    assert!(error.contains("is not https"), "{error}");

    let server = TokenServer::plain(Answers::default());
    let no_key = folder.path().join("ca.pem");
    for (arguments, expected) in [
        (token(&server, &no_key, &[]), "ES384"),
        (token(&server, &path, &["--alg", "RS384"]), "it is for ES384, not for RS384"),
        (token(&server, &folder.path().join("missing.pem"), &[]), "missing.pem"),
        (vec!["token", "--url", "localhost", "--client-id", "a", "--key", text(&path)], "not a URL"),
    ] {
        let error = refused(&arguments, 2);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    assert!(server.forms.try_recv().is_err());
}
