//! From nothing to an export with the commands of docs/authentication.md, against the real server.

use super::{done, text};
use crate::support::*;

#[test]
fn the_commands_of_the_readme_lead_from_a_key_to_an_export_and_back() {
    for alg in ["ES384", "RS384"] {
        let setup = Setup::new().smart("");
        let folder = setup.folder.path();
        let (keys, file) = (folder.join("keys"), folder.join("applications.toml"));
        done(&["keygen", "--alg", alg, "--out", text(&keys)]);
        let server = setup.start();
        let jwks = keys.join("client-jwks.json");
        let add = ["app", "add", "--client-id", "acme", "--tenant", "default", "--scopes", "system/*.rs"];
        let how = ["--jwks-file", text(&jwks), "--all-groups", "--system-export"];
        done(&[&add[..], &how, &["--applications", text(&file)]].concat());
        let key = keys.join("client-key.pem");
        let ask = ["token", "--url", &server.base, "--client-id", "acme", "--key", text(&key)];
        // The server takes a moment to see the file.
        let token = eventually("the application to be known", || {
            let output = super::run(&ask);
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        });
        let bearer = format!("Bearer {}", token.trim_end());
        let kickoff = |bearer: &str| {
            let fields = [KICKOFF[0], KICKOFF[1], ("Authorization", bearer)];
            send("GET", &format!("{}/Group/All_Patients/$export?_type=Patient", server.base), &fields)
        };
        let answer = kickoff(&bearer);
        assert_eq!(answer.status, 202, "{answer:?}");
        let polling = answer.header("content-location").to_string();
        assert_eq!(send("DELETE", &polling, &[("Authorization", &bearer)]).status, 202);
        done(&["app", "disable", "acme", "--tenant", "default", "--applications", text(&file)]);
        eventually("the application to be gone", || (kickoff(&bearer).status == 404).then_some(()));
    }
}
