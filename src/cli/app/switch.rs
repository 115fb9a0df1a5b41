//! `evanesce app disable` and `enable`.

use std::path::Path;

use serde_json::json;
use toml_edit::{Item, Table, Value, value};

use super::edit::FileEdit;
use crate::cli::CliError;
use crate::cli::output::{OutputArgs, report_as};
use crate::job::{ClientId, TenantId};

/// The arguments of `evanesce app disable` and `enable`.
#[derive(Debug, clap::Args)]
pub struct SwitchArgs {
    /// Its name at the token endpoint.
    #[arg(value_name = "ID")]
    client_id: ClientId,
    /// Its tenant.
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,
    #[command(flatten)]
    output: OutputArgs,
}

/// Whether the application becomes active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchState {
    /// It may do what it is allowed.
    Yes,
    /// It answers as one that is not defined.
    No,
}

/// Switches the application, and says if there was nothing to do.
pub fn run(file: &Path, args: &SwitchArgs, active: SwitchState) -> Result<(), CliError> {
    let SwitchArgs { client_id, tenant, output } = args;
    let mut edit = FileEdit::begin(file)?;
    let table = edit.table(tenant, client_id)?;
    let (word, active) = match active {
        SwitchState::Yes => ("enabled", true),
        SwitchState::No => ("disabled", false),
    };
    let is_active = table.get("active").and_then(Item::as_bool).unwrap_or(true);
    let changed = is_active != active;
    if changed {
        set(table, active);
        edit.finish()?;
    }
    let already = if changed { "" } else { " already" };
    let document = json!({"tenant": tenant, "client_id": client_id, "active": active, "changed": changed});
    report_as(output, format_args!("{client_id} of the tenant {tenant} is {word}{already}"), &document)
}

/// Keeps a comment behind the value.
fn set(table: &mut Table, active: bool) {
    match table.get_mut("active") {
        Some(Item::Value(old)) => {
            let decor = old.decor().clone();
            *old = Value::from(active);
            *old.decor_mut() = decor;
        }
        _ => {
            table.insert("active", value(active));
        }
    }
}
