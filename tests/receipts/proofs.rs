//! Proofs for strangers: what a client gets for its DELETE, what the commands make and check, and the verifier of
//! `docs/proofs.md`, which uses none of our code.

use std::path::PathBuf;

use super::*;
use crate::support::smart::{Client, jwks};
use crate::support::{Answer, Need, outcome, send, skip};

/// The URL in the `Link` of a 202 to a DELETE.
fn receipt_url(deleted: &Answer) -> String {
    let link = deleted.header("link");
    let (url, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(rest, "; rel=\"describedby\"; type=\"application/json\"");
    url.into()
}

/// Waits until there is a proof.
fn wait_proof(url: &str, headers: &[(&str, &str)]) -> Answer {
    eventually("the receipt", || {
        let answer = send("GET", url, headers);
        if answer.status == 202 {
            assert_eq!(answer.issue(), ("information".into(), "processing".into()));
            assert_eq!(answer.header("retry-after"), "1");
            return None;
        }
        Some(answer)
    })
}

/// A proof that the server answers, and the public key.
fn proven() -> (Setup, String, String) {
    let setup = Setup::new();
    let server = setup.start();
    erase_one(&server);
    let (polling, _) = server.export("$export?_type=Patient");
    let proof = wait_proof(&receipt_url(&delete(&polling)), &[]);
    erase_one(&server);
    let key = get(&format!("{}/receipts/key", server.base)).json();
    (setup, proof.text(), key["public_key"].as_str().unwrap().into())
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

fn check(path: &Path, key: &str) -> (i32, String, String) {
    receipts(&["check", path.to_str().unwrap(), "--key", key])
}

#[test]
fn the_202_of_a_delete_says_where_the_receipt_is_and_it_outlives_the_tombstone() {
    let setup = Setup::new().set("retention.tombstones=100ms").set("reaper.interval=20ms");
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let early = get(&format!("{polling}/receipt"));
    assert_eq!(early.outcome(), outcome(404, "not-found"), "nobody has deleted it: {early:?}");
    let url = receipt_url(&delete(&polling));
    assert_eq!(url, format!("{polling}/receipt"));
    let answer = wait_proof(&url, &[]);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let head = send("HEAD", &url, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(send("DELETE", &url, &[]).status, 405);
    eventually("the end of the tombstone", || (get(&polling).issue().1 == "not-found").then_some(()));
    let path = setup.folder.path().join("proof.json");
    std::fs::write(&path, &get(&url).body).unwrap();
    let key = get(&format!("{}/receipts/key", server.base)).json();
    let (code, out, error) = check(&path, key["public_key"].as_str().unwrap());
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.starts_with(&format!("good: the erasure of {} is among", job_id(&polling))), "{out}");
    // The same file is made on the server's machine, by a process of its own.
    let made: Value =
        serde_json::from_str(&receipts_of(&setup.data_dir(), &["prove", job_id(&polling)])).unwrap();
    assert_eq!(made["erasure"]["entry"], get(&url).json()["erasure"]["entry"]);
    assert_eq!(get(&format!("{}/receipts/head", server.base)).json(), get(&url).json()["head"]);
}

#[test]
fn a_receipt_waits_for_the_last_file() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    server.pause_reaper();
    let url = receipt_url(&delete(&polling));
    let answer = get(&url);
    assert_eq!((answer.status, answer.header("retry-after")), (202, "1"), "{answer:?}");
    assert_eq!(answer.issue(), ("information".into(), "processing".into()));
    server.resume_reaper();
    assert_eq!(wait_proof(&url, &[]).status, 200);
}

#[test]
fn others_get_of_a_receipt_what_they_get_of_an_unknown_export() {
    let (owner, other) = (Client::new("owner"), Client::new("other"));
    let scopes = "scopes = 'system/*.rs'\nsystem_export = true";
    let setup = Setup::new();
    for client in [&owner, &other] {
        setup.publish(&format!("{}.jwks.json", client.id), &jwks(&[&client.key]));
    }
    let setup = setup.smart(&format!("{}{}", owner.registered(scopes), other.registered(scopes)));
    let server = setup.start();
    let bearer = |client: &Client| client.bearer(&server, "system/*.rs");
    let (owners, others) = (bearer(&owner), bearer(&other));
    let (owners, others) = ([("Authorization", &*owners)], [("Authorization", &*others)]);
    let kickoff = [owners[0], ("Accept", "application/fhir+json"), ("Prefer", "respond-async")];
    let started = send("GET", &format!("{}/$export?_type=Patient", server.base), &kickoff);
    assert_eq!(started.status, 202, "{started:?}");
    let polling = started.header("content-location").to_string();
    eventually("the export", || (send("GET", &polling, &owners).status == 200).then_some(()));
    let url = format!("{polling}/receipt");
    // All but the ids, which differ from answer to answer.
    let said = |answer: Answer| {
        let id = answer.json()["id"].as_str().unwrap().to_string();
        (answer.status, answer.text().replace(&id, ""), answer.header("link").to_string())
    };
    let unknown = url.replace(job_id(&polling), "00000000-0000-4000-8000-000000000000");
    let unknown = said(send("GET", &unknown, &others));
    assert_eq!(unknown.0, 404);
    assert_eq!(said(send("GET", &url, &others)), unknown, "while it is there");
    let deleted = send("DELETE", &polling, &owners);
    assert_eq!(said(send("GET", &url, &others)), unknown, "while it goes");
    assert_eq!(wait_proof(&receipt_url(&deleted), &owners).status, 200);
    assert_eq!(said(send("GET", &url, &others)), unknown, "when it is gone");
    assert_eq!(send("GET", &url, &[]).status, 401);
    // The key is for anybody, the head for those who have a token.
    assert_eq!(get(&format!("{}/receipts/key", server.base)).status, 200);
    assert_eq!(get(&format!("{}/receipts/head", server.base)).status, 401);
    assert_eq!(send("GET", &format!("{}/receipts/head", server.base), &others).status, 200);
}

#[test]
fn a_check_says_good_or_wrong_first_and_needs_no_data_directory() {
    let (setup, proof, key) = proven();
    let path = setup.folder.path().join("proof.json");
    std::fs::write(&path, &proof).unwrap();
    let other = "ab".repeat(32);
    let (code, out, error) = check(&path, &other);
    assert_eq!(code, 1, "{out}");
    assert!(out.starts_with("wrong: the head was signed by the key "), "{out}");
    assert!(error.contains("proves nothing"), "{error}");
    let json = |key: &str| {
        let (code, out, _) = receipts(&["check", path.to_str().unwrap(), "--key", key, "-o", "json"]);
        (code, serde_json::from_str::<Value>(&out).unwrap())
    };
    let (code, good) = json(&key);
    assert_eq!((code, &good["verdict"], &good["kind"]), (0, &"good".into(), &"erasure".into()));
    assert_eq!(good["receipt"]["reason"], "deleted");
    let (code, wrong) = json(&other);
    assert_eq!((code, &wrong["verdict"]), (1, &"wrong".into()));
    std::fs::write(&path, proof.replace("\\\"files\\\":", "\\\"files\\\":1")).unwrap();
    assert!(check(&path, &key).1.starts_with("wrong: the entry is not among"));
    std::fs::write(&path, "{}").unwrap();
    assert!(check(&path, &key).1.starts_with("wrong: it is not a proof"));
    assert_eq!(check(&path, "no key").0, 2);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(check(&path, &key).0, 2);
}

#[test]
fn heads_are_listed_and_shown_to_be_consistent() {
    let (setup, _, key) = proven();
    let heads = json_lines(&receipts_of(&setup.data_dir(), &["heads", "-o", "json"]));
    let sizes: Vec<_> = heads.iter().map(|head| head["tree_size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [0, 1, 2, 3]);
    assert!(setup.log().contains(heads[3]["signature"].as_str().unwrap()), "a head is logged");
    let table = receipts_of(&setup.data_dir(), &["heads"]);
    assert_eq!(table.lines().count(), 5, "{table}");
    let listed = receipts_of(&setup.data_dir(), &["key", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()["public_key"], key);
    for from in sizes {
        let path = setup.folder.path().join(format!("from-{from}.json"));
        let (from, out) = (from.to_string(), path.to_str().unwrap());
        let told = receipts_of(&setup.data_dir(), &["consistency", "--from", &from, "--out", out]);
        assert!(told.starts_with(&format!("the tree of 3 entries begins with that of {from}")), "{told}");
        let (code, out, error) = check(&path, &key);
        assert!(code == 0 && out.starts_with("good: the later head goes on"), "{out}{error}");
    }
    let data_dir = setup.data_dir();
    let (code, _, error) =
        receipts(&["consistency", "--from", "9", "--data-dir", data_dir.to_str().unwrap()]);
    assert!(code == 2 && error.contains("no head of a tree of 9 entries"), "{error}");
    let job = "00000000-0000-4000-8000-000000000000";
    let (code, _, error) = receipts(&["prove", job, "--data-dir", data_dir.to_str().unwrap()]);
    assert!(code == 1 && error.contains("no erasure of a job"), "{error}");
}

/// The verifier in the manual, as a file of a folder.
fn verifier(folder: &Path) -> PathBuf {
    let page = include_str!("../../docs/proofs.md");
    let code = page.split_once("<<'PYTHON'\n").unwrap().1.split_once("\nPYTHON\n").unwrap().0;
    let path = folder.join("verify.py");
    std::fs::write(&path, code).unwrap();
    path
}

/// Turns bits of every byte of a proof. What the verifier takes must have the same content.
const TAMPER: &str = r#"
import json, sys
sys.path.insert(0, sys.argv[1])
from verify import verify
text, key = open(sys.argv[2], "rb").read(), bytes.fromhex(sys.argv[3])
whole, taken = json.loads(text), 0
assert verify(text, key)["kind"] == "erasure"
def plain(proof):
    return json.loads(json.dumps(proof, sort_keys=True), object_hook=lambda it: {
        name: value.lower() if name in ("signature",) else value for name, value in it.items()})
for place in range(len(text)):
    for bits in (1, 4, 32):
        changed = bytearray(text)
        changed[place] ^= bits
        try:
            verify(bytes(changed), key)
        except Exception:
            continue
        other = json.loads(bytes(changed))
        other["erasure"]["inclusion"] = [one.lower() for one in other["erasure"]["inclusion"]]
        assert plain(other) == plain(whole), (place, bits, bytes(changed))
        taken += 1
print("taken", taken)
"#;

#[test]
fn the_verifier_of_the_manual_takes_a_proof_and_none_of_which_a_byte_was_changed() {
    let (setup, proof, key) = proven();
    let folder = setup.folder.path();
    let (path, program) = (folder.join("proof.json"), folder.join("tamper.py"));
    std::fs::write(&path, &proof).unwrap();
    std::fs::write(&program, TAMPER).unwrap();
    let verifier = verifier(folder);
    let python = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.arg(program).args(arguments).stdin(Stdio::null()).output()
    };
    let Ok(output) = python(&verifier, &[path.to_str().unwrap(), &key]) else {
        return skip(Need::Python, "the verifier of the manual", "python3 does not start");
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.starts_with("good: the files of "), "{output:?}");
    let other = python(&verifier, &[path.to_str().unwrap(), &"ab".repeat(32)]).unwrap();
    assert!(!other.status.success());
    let tampered = python(&program, &[folder.to_str().unwrap(), path.to_str().unwrap(), &key]).unwrap();
    assert!(tampered.status.success(), "{tampered:?}");
}
