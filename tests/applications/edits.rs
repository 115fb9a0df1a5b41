//! `evanesce app add`, `list`, `disable` and `enable`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use evanesce::auth::{ClientKeys, Groups, Registry};
use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use super::{application, done, folder, refused, run, text};
use crate::support::smart::{Client, Key, ask, jwt};
use crate::support::{Setup, evanesce_command, eventually};

const COMMENTED: &str = "# Who may have our data.

# Order 4711, until June.
[[application]]
tenant = 'default'    # ours
client_id = \"acme\"
active = true # since May
scopes = \"system/*.rs\"
jwks_file = 'a.json'
groups = [
  \"g1\", # the first
  \"g2\",
]

# The other tenant's.
[[application]]
client_id = \"acme\"
tenant = \"u\"
scopes = \"system/Patient.read\"
jwks_url = \"https://acme.example/jwks\"
# The end.
";

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

/// `evanesce app add` with the least that it needs.
fn add<'a>(file: &'a Path, client_id: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["app", "add", "--applications", text(file), "--client-id", client_id];
    arguments.extend(["--tenant", "default", "--scopes", "system/*.rs"]);
    arguments.extend(more);
    arguments
}

#[test]
fn rg_1_an_application_is_added_with_what_it_is_allowed_and_no_more() {
    let (folder, file) = folder();
    let keys = folder.path().join("a.json");
    let find = |client: &str| {
        let registry = Registry::open(&file).unwrap();
        registry.find(&"default".parse().unwrap(), &client.parse().unwrap()).unwrap()
    };
    done(&add(&file, "least", &["--jwks-file", text(&keys)]));
    assert_eq!(mode(&file), 0o600);
    let least = find("least");
    assert!(least.active && !least.system_export && !least.patient_export && !least.introspection);
    assert_eq!(least.groups, Groups::Only([].into()));
    assert_eq!((least.name.as_ref(), least.max_active_jobs), (None, None));
    assert_eq!(least.keys, ClientKeys::File(keys.clone()));
    assert!(read(&file).contains("jwks_file = \"a.json\""), "beside it: {}", read(&file));

    let url = "https://acme.example/jwks.json";
    let more = ["--jwks-url", url, "--group", "g1", "--group", "g2", "--system-export", "--patient-export"];
    let more = [&more[..], &["--name", "A \"c\" me", "--max-active-jobs", "3", "--introspection"]].concat();
    done(&add(&file, "most", &more));
    let most = find("most");
    assert!(most.system_export && most.patient_export && most.introspection);
    assert_eq!(most.groups, Groups::Only(["g1".into(), "g2".into()].into()));
    assert_eq!((most.name.as_deref(), most.max_active_jobs), (Some("A \"c\" me"), Some(3)));
    assert_eq!(most.keys, ClientKeys::Url(url.into()));

    done(&add(&file, "inline", &["--jwks-inline", text(&keys), "--all-groups"]));
    let inline = find("inline");
    let ClientKeys::Inline(jwks) = &inline.keys else { panic!("{:?}", inline.keys) };
    assert_eq!(*jwks, evanesce::auth::public_keys(read(&keys).as_bytes()).unwrap().keys);
    assert_eq!(inline.groups, Groups::All);

    let lines = done(&["app", "list", "--applications", text(&file)]);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0].split_whitespace().nth(1), Some("APPLICATION"));
    let words: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(words, ["active", "default/inline", "system/*.rs", "all", "-", "jwks", "-"]);
    assert!(
        lines[3].contains("2 groups  system export, patient export, introspection  jwks_url"),
        "{lines:?}"
    );
    let json = done(&["app", "list", "--json", "--applications", text(&file)]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[2]["client_id"], "most");
    assert_eq!(json[2]["groups"], serde_json::json!(["g1", "g2"]));
    assert_eq!(json[2]["keys"]["jwks_url"], url);
    assert_eq!(json[0]["keys"]["jwks"][0], jwks.keys[0].common.key_id.clone().unwrap());
}

#[test]
fn comments_order_and_permissions_stay_as_they_are() {
    let (folder, file) = folder();
    std::fs::write(&file, COMMENTED).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let switch = |what: &str, tenant: &str| {
        done(&["app", what, "acme", "--tenant", tenant, "--applications", text(&file)])
    };
    assert!(switch("disable", "default").contains("is disabled"));
    assert_eq!(read(&file), COMMENTED.replace("active = true # since May", "active = false # since May"));
    assert!(switch("disable", "default").contains("already"));
    switch("enable", "default");
    assert_eq!(read(&file), COMMENTED);
    assert!(switch("enable", "u").contains("already"));
    assert_eq!(read(&file), COMMENTED);
    switch("disable", "u");
    let url = "jwks_url = \"https://acme.example/jwks\"\n";
    assert_eq!(read(&file), COMMENTED.replace(url, &format!("{url}active = false\n")));
    switch("enable", "u");
    let before = read(&file);
    let keys = folder.path().join("a.json");
    done(&add(&file, "new", &["--jwks-file", text(&keys)]));
    let after = read(&file);
    let added = "\n[[application]]\nclient_id = \"new\"\ntenant = \"default\"\nscopes = \"system/*.rs\"\n\
                 jwks_file = \"a.json\"\n";
    assert_eq!(after.replace(added, ""), before, "{after}");
    assert_eq!(mode(&file), 0o640);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn a_link_to_the_file_stays_one() {
    let (folder, link) = folder();
    let file = folder.path().join("real.toml");
    std::fs::write(&file, COMMENTED).unwrap();
    std::os::unix::fs::symlink("real.toml", &link).unwrap();
    done(&["app", "disable", "acme", "--tenant", "u", "--applications", text(&link)]);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(read(&file).contains("active = false"));
}

#[test]
fn mistakes_are_refused_and_the_file_stays_as_it_was() {
    let (folder, file) = folder();
    std::fs::write(&file, COMMENTED).unwrap();
    let keys = folder.path().join("a.json");
    let private = folder.path().join("private.json");
    let with_private = read(&keys).replace("\"kty\"", "\"d\": \"AAAA\", \"kty\"");
    std::fs::write(&private, with_private).unwrap();
    let (keys, private) = (text(&keys), text(&private));
    let missing = folder.path().join("missing.json");
    let cases: Vec<(Vec<&str>, i32, &str)> = vec![
        (add(&file, "acme", &["--jwks-file", keys]), 1, "acme is duplicated in the tenant default"),
        (add(&file, "b", &["--jwks-file", private]), 2, "private key"),
        (add(&file, "b", &["--jwks-inline", private]), 2, "private key"),
        (add(&file, "b", &["--jwks-file", text(&missing)]), 2, "missing.json"),
        (add(&file, "b", &["--jwks-inline", text(&file)]), 2, "not JSON"),
        (add(&file, "b", &["--jwks-url", "http://acme.example/jwks"]), 2, "https://"),
        (add(&file, "b", &["--jwks-url", "https:///jwks"]), 2, "https://"),
        (add(&file, "b", &[]), 2, "--jwks-url"),
        (add(&file, "b", &["--jwks-file", keys, "--jwks-url", "https://h/"]), 2, "cannot be used with"),
        (add(&file, "b", &["--jwks-file", keys, "--group", "g", "--all-groups"]), 2, "cannot be used with"),
        (add(&file, "b", &["--jwks-file", keys, "--scopes", "system/*.sr"]), 2, "cannot be used multiple"),
        (add(&file, "b c", &["--jwks-file", keys]), 2, "client id"),
        (vec!["app", "disable", "b", "--tenant", "u", "--applications", text(&file)], 1, "no application b"),
        (vec!["app", "disable", "acme", "--applications", text(&file)], 2, "--tenant"),
        (vec!["app", "list"], 2, "--applications"),
        (vec!["app", "list", "--applications", text(&missing)], 1, "cannot be read"),
    ];
    for (arguments, code, expected) in cases {
        let error = refused(&arguments, code);
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert_eq!(read(&file), COMMENTED, "{arguments:?}");
    }
    let bad_scope =
        ["app", "add", "--client-id", "b", "--tenant", "u", "--scopes", "system/*.sr", "--jwks-file"];
    let error = refused(&[&bad_scope[..], &[keys, "--applications", text(&file)]].concat(), 2);
    assert!(error.contains("system/*.sr"), "{error}");
    // What is broken already is not edited.
    std::fs::write(&file, "[[application]]\nclient_id = 3\n").unwrap();
    let error = refused(&add(&file, "b", &["--jwks-file", keys]), 1);
    assert!(error.contains("line 2"), "{error}");
    std::fs::write(&file, "application = []\n").unwrap();
    let error = refused(&add(&file, "b", &["--jwks-file", keys]), 1);
    assert!(error.contains("[[application]]"), "{error}");
}

#[test]
fn the_file_is_the_one_of_the_settings_if_none_is_named() {
    let (folder, file) = folder();
    std::fs::write(&file, application("default", "a", "")).unwrap();
    let config = folder.path().join("evanesce.toml");
    std::fs::write(&config, format!("[auth]\napplications = {:?}\n", text(&file))).unwrap();
    let listed = done(&["app", "--config", text(&config), "list"]);
    assert!(listed.contains("default/a"), "{listed}");
    std::fs::write(&config, "[export]\nworkers = 2\n").unwrap();
    let error = refused(&["app", "list", "--config", text(&config)], 2);
    assert!(error.contains("auth.applications"), "{error}");
}

#[test]
fn rg_1_a_set_of_keys_is_registered_if_the_server_takes_it_and_not_if_it_does_not() {
    let (good, p256) = (Key::es384("good"), Key::es256("p256"));
    let with = |key: &Key, name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        jwk
    };
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "kid": "okp", "x": "AAAA"});
    let mut unnamed = Key::es384("x").jwk();
    unnamed.as_object_mut().unwrap().remove("kid");
    let alone = |jwk: &Value| json!({"keys": [jwk]});
    for (keys, is_taken, is_said) in [
        (json!({"keys": [good.jwk()]}), true, ""),
        (json!({"keys": [okp, good.jwk()]}), true, "'okp' is for neither"),
        (json!({"keys": [p256.jwk(), good.jwk()]}), true, "'p256' is for neither"),
        (json!({"keys": [unnamed, good.jwk()]}), true, "key 1 has no kid"),
        (json!({"keys": [{"kty": "oct", "kid": "s", "k": "AAAA"}, good.jwk()]}), true, "'s' is for neither"),
        (json!({"keys": [{"kty": "new", "kid": "n"}, good.jwk()]}), true, "'n' is for neither"),
        (json!({"keys": [{"kid": "n"}, 7, good.jwk()]}), true, "key 2"),
        (
            json!({"keys": [Key::es384("twice").jwk(), Key::es384("twice").jwk(), good.jwk()]}),
            true,
            "'twice'",
        ),
        (json!({"keys": [Key::es384("good").jwk(), good.jwk()]}), false, "'good' has the kid of another key"),
        (alone(&p256.jwk()), false, "'p256' is for neither"),
        (alone(&with(&good, "alg", "ES256".into())), false, "'good'"),
        (alone(&with(&good, "use", "enc".into())), false, "'good'"),
        (alone(&with(&good, "key_ops", json!(["encrypt"]))), false, "'good'"),
        (alone(&with(&good, "x", "AAAA".into())), false, "'good'"),
        (alone(&with(&good, "kid", "k".repeat(257).into())), false, "has no kid"),
        (alone(&with(&good, "d", "AAAA".into())), false, "private key"),
        (json!({"keys": [with(&p256, "d", "AAAA".into()), good.jwk()]}), false, "private key"),
        (json!({"keys": []}), false, "not empty"),
        (json!({"keys": 7}), false, "not empty"),
    ] {
        let setup = Setup::new().smart("");
        let (folder, path) = (setup.folder.path(), setup.folder.path().join("good.jwks.json"));
        setup.publish("good.jwks.json", &keys);
        for how in ["--jwks-file", "--jwks-inline"] {
            let file = folder.join(format!("{how}.toml"));
            let output = run(&add(&file, "good", &[how, text(&path), "--system-export"]));
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.success(), is_taken, "{keys}: {error}");
            assert!(error.contains(is_said) && error.is_empty() == is_said.is_empty(), "{keys}: {error}");
        }
        // What the server makes of the same set, however it comes by it.
        let client = |id: &str| Client { id: id.into(), key: Key::es384("unused") };
        setup.register(&client("good").registered("scopes = 'system/*.rs'"));
        let server = setup.start();
        let gets_token = |id: &str| {
            let header = json!({"alg": "ES384", "kid": "good", "typ": "JWT"});
            let assertion = jwt(&header, &client(id).claims(&server.base), |message| good.sign(message));
            ask(&server.base, &assertion, "system/*.rs").status == 200
        };
        assert_eq!(gets_token("good"), is_taken, "{keys}");
        if is_taken {
            let inline = format!("client_id = 'inline'\ntenant = 'default'\njwks = {}\n", toml(&keys));
            setup.register(&format!("[[application]]\nscopes = 'system/*.rs'\n{inline}"));
            eventually("the application is known", || gets_token("inline").then_some(()));
        }
    }
}

/// The same as a value in TOML.
fn toml(json: &Value) -> String {
    use serde::Serialize;
    json.serialize(toml_edit::ser::ValueSerializer::new()).unwrap().to_string()
}

#[test]
fn edits_at_the_same_time_are_all_there_in_the_end() {
    let (folder, file) = folder();
    let keys = folder.path().join("a.json");
    let names: Vec<_> = (0..8).map(|n| format!("client-{n}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| done(&add(&file, name, &["--jwks-file", text(&keys)])));
        }
    });
    let listed = done(&["app", "list", "--applications", text(&file)]);
    for name in &names {
        assert!(listed.contains(name.as_str()), "{name}: {listed}");
    }
}

/// An editor that knows nothing of our lock: the edit is held, after it has read the file, at
/// the opening of the key file, which is a FIFO.
#[test]
fn what_an_editor_wrote_meanwhile_is_not_overwritten() {
    let (folder, file) = folder();
    std::fs::write(&file, COMMENTED).unwrap();
    let (keys, fifo) = (read(&folder.path().join("a.json")), folder.path().join("fifo.json"));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let mut command = evanesce_command();
    command.args(add(&file, "new", &["--jwks-inline", text(&fifo)])).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    // Opening it for writing waits until it is open for reading.
    let mut writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let edited = COMMENTED.replace("until June", "until July");
    std::fs::write(&file, &edited).unwrap();
    std::io::Write::write_all(&mut writer, keys.as_bytes()).unwrap();
    drop(writer);
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("changed meanwhile"), "{error}");
    assert_eq!(read(&file), edited);
}

#[test]
fn an_edit_waits_for_the_one_before_it() {
    let (folder, file) = folder();
    std::fs::write(&file, COMMENTED).unwrap();
    let lock = std::fs::File::open(folder.path()).unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
    let waiting = std::thread::scope(|scope| {
        let disable = ["app", "disable", "acme", "--tenant", "u", "--applications", text(&file)];
        let edit = scope.spawn(move || run(&disable));
        // What the holder of the lock does, whenever the other has begun, is not lost.
        std::fs::write(&file, COMMENTED.replace("until June", "until July")).unwrap();
        rustix::fs::flock(&lock, FlockOperation::Unlock).unwrap();
        edit.join().unwrap()
    });
    assert!(waiting.status.success(), "{waiting:?}");
    assert!(read(&file).contains("until July") && read(&file).contains("active = false"));
}
