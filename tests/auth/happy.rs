//! A client that does all as it should.

use serde_json::{Value, json};

use super::{ALL, started};
use crate::support::smart::{Client, Key, ask, jwks};
use crate::support::{KICKOFF, Setup, delete, eventually, get, send};

/// Also INF-3.
#[test]
fn g_3_an_export_from_its_kick_off_to_its_end_takes_a_token_at_each_step() {
    let (client, _setup, server) = started("acme");
    let bearer = client.bearer(&server, "system/*.read");
    let with = [("Authorization", bearer.as_str())];
    let headers = [KICKOFF[0], KICKOFF[1], with[0]];
    let kick_off = format!("{}/$export?_type=Patient", server.base);
    assert_eq!(send("GET", &kick_off, &KICKOFF).outcome(), (401, "login".into()));
    let answer = send("GET", &kick_off, &headers);
    assert_eq!(answer.status, 202, "{answer:?}");
    let polling = answer.header("content-location").to_owned();
    assert_eq!(get(&polling).outcome(), (401, "login".into()));
    let manifest = eventually("the export", || {
        let answer = send("GET", &polling, &with);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(manifest["requiresAccessToken"], true, "MF-3");
    let file = manifest["output"][0]["url"].as_str().unwrap();
    assert_eq!(get(file).outcome(), (401, "login".into()));
    assert_eq!(send("GET", file, &with).status, 200);
    assert_eq!(delete(&polling).outcome(), (401, "login".into()));
    assert_eq!(send("DELETE", &polling, &with).status, 202);
    assert_eq!(send("GET", &polling, &with).outcome(), (404, "deleted".into()));
}

/// Also INF-7.
#[test]
fn f_1_a_file_takes_a_token_also_when_it_is_asked_for_by_head_or_in_part() {
    let (client, _setup, server) = started("acme");
    let bearer = client.bearer(&server, "system/*.read");
    let with = ("Authorization", bearer.as_str());
    let kick_off = format!("{}/$export?_type=Patient", server.base);
    let answer = send("GET", &kick_off, &[KICKOFF[0], KICKOFF[1], with]);
    let polling = answer.header("content-location").to_owned();
    let manifest = eventually("the export", || {
        let answer = send("GET", &polling, &[with]);
        (answer.status == 200).then(|| answer.json())
    });
    let file = manifest["output"][0]["url"].as_str().unwrap();
    let range = ("Range", "bytes=0-9");
    for (method, headers, without, good) in
        [("GET", &[][..], 401, 200), ("HEAD", &[], 401, 200), ("GET", &[range], 401, 206)]
    {
        assert_eq!(send(method, file, headers).status, without);
        let mut headers = headers.to_vec();
        headers.push(with);
        assert_eq!(send(method, file, &headers).status, good);
    }
}

/// Also C17, C18, INF-14.
#[test]
fn sc_1_what_a_client_finds_out_first_is_true() {
    let (client, _setup, server) = started("acme");
    let url = format!("{}/.well-known/smart-configuration", server.base);
    let answer = send("GET", &url, &[("Accept", "text/html")]);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert!(answer.header("cache-control").contains("max-age"));
    let found = answer.json();
    let list = |key: &str| found[key].as_array().unwrap().clone();
    assert_eq!(found["token_endpoint"], format!("{}/auth/token", server.base));
    assert_eq!(list("grant_types_supported"), ["client_credentials"]);
    assert_eq!(list("token_endpoint_auth_methods_supported"), ["private_key_jwt"]);
    assert_eq!(list("token_endpoint_auth_signing_alg_values_supported"), ["RS384", "ES384"]);
    assert_eq!(list("code_challenge_methods_supported"), ["S256"]);
    assert_eq!(list("capabilities"), ["client-confidential-asymmetric", "permission-v1", "permission-v2"]);
    for only_with_launch in ["authorization_endpoint", "issuer", "jwks_uri"] {
        assert!(found.get(only_with_launch).is_none(), "{only_with_launch}");
    }
    for scope in list("scopes_supported") {
        let answer = client.ask(&server, scope.as_str().unwrap());
        assert_eq!((answer.status, &answer.json()["scope"]), (200, &scope));
    }
}

/// Also C14, INF-14.
#[test]
fn a_token_is_answered_as_oauth_has_it() {
    let (client, _setup, server) = started("acme");
    let answer = client.ask(&server, "system/Patient.read system/Group.write");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    assert!(!answer.header("x-request-id").is_empty());
    let json = answer.json();
    let keys: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["access_token", "expires_in", "scope", "token_type"]);
    assert_eq!((&json["token_type"], &json["expires_in"]), (&json!("bearer"), &json!(300)));
    assert_eq!(json["scope"], "system/Patient.read", "what was granted, not what was asked for");
}

#[test]
fn rg_1_keys_may_stand_in_the_registration_and_may_be_of_rsa_or_of_p_384() {
    let keys = [Key::rs384("r"), Key::es384("e")];
    let set = jwks(&keys.iter().collect::<Vec<_>>());
    let inline: Vec<_> = set["keys"].as_array().unwrap().iter().map(as_toml).collect();
    let text = format!(
        "[[application]]\nclient_id = 'acme'\ntenant = 'default'\n{ALL}\njwks = {{ keys = [{}] }}",
        inline.join(", ")
    );
    let setup = Setup::new().smart(&text);
    let server = setup.start();
    for key in keys {
        let client = Client { id: "acme".into(), key };
        let answer = client.ask(&server, "system/*.rs");
        assert_eq!(answer.status, 200, "{}: {answer:?}", client.key.alg);
    }
}

#[test]
fn a_file_of_keys_that_changes_is_read_again() {
    let (mut client, setup, server) = started("acme");
    assert_eq!(client.ask(&server, "system/*.rs").status, 200);
    client.key = Key::es384("key-2");
    assert_eq!(client.ask(&server, "system/*.rs").status, 401);
    setup.publish("acme.jwks.json", &jwks(&[&client.key]));
    assert_eq!(client.ask(&server, "system/*.rs").status, 200);
}

#[test]
fn cp_4_the_capability_statement_says_where_tokens_are_given() {
    let (_client, _setup, server) = started("acme");
    let security = get(&format!("{}/metadata", server.base)).json()["rest"][0]["security"].clone();
    let extension = &security["extension"][0];
    assert_eq!(extension["url"], "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris");
    let token_url = format!("{}/auth/token", server.base);
    assert_eq!(extension["extension"], json!([{"url": "token", "valueUri": token_url}]));
    assert_eq!(security["service"][0]["coding"][0]["code"], "SMART-on-FHIR");
}

#[test]
fn without_authentication_nothing_is_said_of_tokens() {
    let setup = Setup::new();
    let server = setup.start();
    for path in [".well-known/smart-configuration", "auth/jwks"] {
        assert_eq!(get(&format!("{}/{path}", server.base)).outcome(), (404, "not-found".into()), "{path}");
    }
    assert_eq!(ask(&server.base, "x", "system/*.rs").outcome(), (404, "not-found".into()));
    let statement = get(&format!("{}/metadata", server.base)).json();
    assert!(statement["rest"][0]["security"].get("extension").is_none());
    setup.wait_logged("WHOEVER CAN CONNECT");
}

#[test]
fn without_applications_nobody_gets_a_token_and_the_log_says_why() {
    let mut setup = Setup::new();
    setup.auth = "smart";
    let server = setup.start();
    assert_eq!(Client::new("acme").ask(&server, "system/*.rs").status, 401);
    setup.wait_logged("auth.applications is not set");
}

#[test]
fn our_public_keys_verify_our_tokens() {
    let (client, _setup, server) = started("acme");
    let token = client.token(&server, "system/*.rs");
    let answer = get(&format!("{}/auth/jwks", server.base));
    assert!(answer.header("cache-control").contains("max-age"));
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&answer.body).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let key = jsonwebtoken::DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES384);
    validation.set_audience(&[&server.base]);
    let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims;
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(server.base), &json!(server.base)));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("acme"), &json!("acme")));
    assert_eq!((&claims["tenant"], &claims["scope"]), (&json!("default"), &json!("system/*.rs")));
}

/// A JWK as an inline table.
fn as_toml(jwk: &Value) -> String {
    let pairs = jwk.as_object().unwrap().iter().map(|(key, value)| format!("{key} = {value}"));
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}
