//! `evanesce app list`: one line per application.

use std::path::Path;

use serde_json::{Value, json};

use crate::auth::{Application, ClientKeys, Groups, Registry};
use crate::cli::CliError;
use crate::cli::output::{print, print_all};

/// The arguments of `evanesce app list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// One JSON document instead of lines for people.
    #[arg(long)]
    json: bool,
}

/// Lists the applications by tenant and name.
pub fn run(file: &Path, args: &ListArgs) -> Result<(), CliError> {
    let registry = Registry::open(file).map_err(CliError::failed)?;
    let mut applications: Vec<_> = registry.all().collect();
    applications.sort_by_key(|one| (one.tenant.clone(), one.client_id.clone()));
    if args.json {
        let all: Vec<_> = applications.into_iter().map(|one| document(one)).collect();
        return print(Value::from(all));
    }
    print_all(applications.into_iter().map(|one| line(one)))
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

fn line(one: &Application) -> String {
    let groups = match &one.groups {
        Groups::All => "all groups".to_owned(),
        Groups::Only(ids) => format!("{} groups", ids.len()),
    };
    let allowed = [
        ("system export", one.system_export),
        ("patient export", one.patient_export),
        ("introspection", one.introspection),
    ];
    let allowed = allowed.into_iter().filter(|(_, allowed)| *allowed).map(|(what, _)| format!(", {what}"));
    let (kind, _) = keys(&one.keys);
    let active = if one.active { "active  " } else { "disabled" };
    let name = one.name.as_ref().map(|name| format!("  {}", name.escape_debug())).unwrap_or_default();
    let allowed: String = allowed.collect();
    format!("{active}  {}/{}  {}  {groups}{allowed}  {kind}{name}", one.tenant, one.client_id, one.scopes)
}
