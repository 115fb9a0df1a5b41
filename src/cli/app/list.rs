//! `evanesce app list`: one row per application.

use std::path::Path;

use serde_json::{Value, json};

use crate::auth::{Application, ClientKeys, Groups, Registry};
use crate::cli::CliError;
use crate::cli::output::{OutputArgs, print};
use crate::cli::table::{ColumnKind, NOTHING, TextTable, TextTone, counted, toned};

/// The arguments of `evanesce app list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Lists the applications by tenant and name.
pub fn run(file: &Path, args: &ListArgs) -> Result<(), CliError> {
    let registry = Registry::open(file).map_err(CliError::failed)?;
    let mut applications: Vec<_> = registry.all().collect();
    applications.sort_by_key(|one| (one.tenant.clone(), one.client_id.clone()));
    if args.output.is_json() {
        let all: Vec<_> = applications.into_iter().map(|one| document(one)).collect();
        return print(Value::from(all));
    }
    let columns = ["STATE", "APPLICATION", "SCOPES", "GROUPS", "MAY", "KEYS", "NAME"];
    let columns = columns.map(|name| (name, ColumnKind::Text));
    let mut table = TextTable::new(&columns).spare(&[5, 6]);
    applications.into_iter().for_each(|one| table.row(row(one)));
    print(table)
}

fn document(one: &Application) -> Value {
    let (kind, place) = keys(&one.keys);
    let groups = match &one.groups {
        Groups::All => json!("*"),
        Groups::Only(ids) => json!(ids),
    };
    json!({
        "tenant": one.tenant,
        "client_id": one.client_id,
        "name": one.name,
        "active": one.active,
        "scopes": one.scopes.to_string(),
        "groups": groups,
        "system_export": one.system_export,
        "patient_export": one.patient_export,
        "max_active_jobs": one.max_active_jobs,
        "introspection": one.introspection,
        "keys": {kind: place},
    })
}

/// Returns the kind of its keys and where they are; for keys in the file, their ids.
fn keys(keys: &ClientKeys) -> (&'static str, Value) {
    match keys {
        ClientKeys::Inline(keys) => {
            let names: Vec<_> = keys.keys.iter().map(|key| key.common.key_id.clone()).collect();
            ("jwks", json!(names))
        }
        ClientKeys::File(path) => ("jwks_file", json!(path.display().to_string())),
        ClientKeys::Url(url) => ("jwks_url", json!(url)),
    }
}

fn row(one: &Application) -> [String; 7] {
    let groups = match &one.groups {
        Groups::All => "all".to_owned(),
        Groups::Only(ids) if ids.is_empty() => NOTHING.to_owned(),
        Groups::Only(ids) => counted(ids.len() as u64, "group"),
    };
    let allowed = [
        ("system export", one.system_export),
        ("patient export", one.patient_export),
        ("introspection", one.introspection),
    ];
    let allowed: Vec<_> = allowed.into_iter().filter(|(_, allowed)| *allowed).map(|(what, _)| what).collect();
    let state =
        if one.active { toned(TextTone::Good, "active") } else { toned(TextTone::Warning, "disabled") };
    [
        state,
        format!("{}/{}", one.tenant, one.client_id),
        one.scopes.to_string(),
        groups,
        if allowed.is_empty() { NOTHING.into() } else { allowed.join(", ") },
        keys(&one.keys).0.into(),
        one.name.as_ref().map_or_else(|| NOTHING.into(), |name| name.escape_debug().to_string()),
    ]
}
