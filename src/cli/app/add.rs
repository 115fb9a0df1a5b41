//! `evanesce app add`: appends an application to the file.

use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::JwkSet;
use serde::Serialize;
use serde_json::json;
use toml_edit::{Array, Item, Table, Value, value};

use super::edit::FileEdit;
use crate::auth::{Scopes, public_keys};
use crate::cli::CliError;
use crate::cli::output::{OutputArgs, complain, report_as};
use crate::job::{ClientId, TenantId};

/// The arguments of `evanesce app add`. What is not said is not allowed.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// Its name at the token endpoint.
    #[arg(long, value_name = "ID")]
    client_id: ClientId,
    /// The tenant whose data it may have.
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,
    /// What it may ask for at the most, such as "system/*.rs".
    #[arg(long, value_name = "SCOPES")]
    scopes: Scopes,
    #[command(flatten)]
    keys: KeyArgs,
    /// A Group that it may export and read; may be repeated.
    #[arg(long = "group", value_name = "ID", conflicts_with = "all_groups")]
    groups: Vec<String>,
    /// It may export and read all Groups.
    #[arg(long)]
    all_groups: bool,
    /// It may export the whole system.
    #[arg(long)]
    system_export: bool,
    /// It may export all patients.
    #[arg(long)]
    patient_export: bool,
    /// What people call it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Jobs of it that may be queued or running; by default as many as any client.
    #[arg(long, value_name = "N")]
    max_active_jobs: Option<u32>,
    /// It may have tokens of its tenant introspected.
    #[arg(long)]
    introspection: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Where its public keys are.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct KeyArgs {
    /// A JWKS file that stays where it is and is read when it is needed.
    #[arg(long, value_name = "FILE")]
    jwks_file: Option<PathBuf>,
    /// The URL of a JWKS, beginning with https://.
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,
    /// A JWKS file that is copied into the file of applications.
    #[arg(long, value_name = "FILE")]
    jwks_inline: Option<PathBuf>,
}

impl KeyArgs {
    /// Returns the setting and its value. File names in the file of applications are relative to
    /// its folder, those on the command line to the working directory.
    fn setting(&self, folder: &Path) -> Result<(&'static str, Value), CliError> {
        match (&self.jwks_file, &self.jwks_url, &self.jwks_inline) {
            (Some(file), _, _) => {
                usable_keys(file)?;
                let absolute = |path: &Path| path.canonicalize().map_err(|e| unreadable(path, &e));
                let (file, folder) = (absolute(file)?, absolute(folder)?);
                let file = file.strip_prefix(folder).unwrap_or(&file);
                let text = file
                    .to_str()
                    .ok_or_else(|| CliError::usage(format!("the name {} is not UTF-8", file.display())))?;
                Ok(("jwks_file", text.into()))
            }
            (_, Some(url), _) => {
                let host = url.strip_prefix("https://").and_then(|rest| rest.split('/').next());
                let good = host.is_some_and(|host| !host.is_empty() && !host.contains('@'));
                if !good || url.contains(|c: char| c.is_whitespace() || c == '#') {
                    let reason = "should be such as https://acme.example/jwks.json";
                    return Err(CliError::usage(format!("--jwks-url {reason}")));
                }
                Ok(("jwks_url", url.into()))
            }
            (_, _, Some(file)) => {
                let keys = usable_keys(file)?.serialize(toml_edit::ser::ValueSerializer::new());
                let keys = keys.map_err(|e| unreadable(file, &e))?;
                Ok(("jwks", keys))
            }
            // The argument parser has refused this before.
            (None, None, None) => {
                Err(CliError::usage("give one of --jwks-file, --jwks-url and --jwks-inline"))
            }
        }
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> CliError {
    CliError::usage(format!("cannot use {}: {error}", path.display()))
}

/// Returns the usable keys of a file, and complains about the others.
fn usable_keys(file: &Path) -> Result<JwkSet, CliError> {
    let text = std::fs::read(file).map_err(|e| unreadable(file, &e))?;
    let found = public_keys(&text).map_err(|e| unreadable(file, &e))?;
    for reason in found.left_out {
        complain(format_args!("a key of {} is not used: {reason}", file.display()));
    }
    Ok(found.keys)
}

/// Adds the application.
pub fn run(file: &Path, args: AddArgs) -> Result<(), CliError> {
    let mut edit = FileEdit::begin(file)?;
    let table = args.table(edit.folder())?;
    edit.tables()?.push(table);
    edit.finish()?;
    let AddArgs { client_id, tenant, output, .. } = &args;
    let document = json!({"tenant": tenant, "client_id": client_id, "active": true, "changed": true});
    report_as(output, format_args!("{client_id} may ask for tokens of the tenant {tenant}"), &document)
}

impl AddArgs {
    fn table(&self, folder: &Path) -> Result<Table, CliError> {
        let mut table = Table::new();
        let mut set = |key: &str, item: Value| table.insert(key, Item::Value(item));
        set("client_id", self.client_id.as_str().into());
        set("tenant", self.tenant.as_str().into());
        if let Some(name) = &self.name {
            set("name", name.into());
        }
        set("scopes", self.scopes.to_string().into());
        if self.all_groups {
            set("groups", "*".into());
        } else if !self.groups.is_empty() {
            set("groups", self.groups.iter().collect::<Array>().into());
        }
        let allowed = [
            ("system_export", self.system_export),
            ("patient_export", self.patient_export),
            ("introspection", self.introspection),
        ];
        for (key, _) in allowed.into_iter().filter(|(_, allowed)| *allowed) {
            set(key, true.into());
        }
        if let Some(jobs) = self.max_active_jobs {
            set("max_active_jobs", i64::from(jobs).into());
        }
        let (key, keys) = self.keys.setting(folder)?;
        table.insert(key, value(keys));
        Ok(table)
    }
}
