//! A client of SMART Backend Services with keys that `evanesce keygen` made.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::*;

pub struct ClientKeys(TempDir);

impl ClientKeys {
    pub fn new() -> Self {
        let folder = temporary_folder();
        let made = evanesce_command().args(["keygen", "--out"]).arg(folder.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        Self(folder)
    }

    /// A setup whose server knows the client `acme` by them.
    pub fn register(&self, setup: Setup) -> Setup {
        let jwks = std::fs::read_to_string(self.0.path().join("client-jwks.json")).unwrap();
        setup.publish("acme.jwks.json", &serde_json::from_str(&jwks).unwrap());
        setup.smart(
            "[[application]]\nclient_id = 'acme'\ntenant = 'default'\njwks_file = 'acme.jwks.json'\n\
             scopes = 'system/*.rs'\ngroups = '*'\nsystem_export = true\npatient_export = true\n",
        )
    }

    pub fn private(&self) -> PathBuf {
        self.0.path().join("client-key.pem")
    }

    /// The arguments of the client.
    pub fn arguments(&self) -> Vec<String> {
        let key = self.private().display().to_string();
        ["--client-id", "acme", "--key", &key].map(String::from).into()
    }
}
