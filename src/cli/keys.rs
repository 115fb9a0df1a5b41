//! `evanesce keys`: shows the keys of a running server, and turns their epoch.

use clap::Subcommand;

use super::CliError;
use super::data_dir::DataDirArgs;
use super::operate::{ask, order};
use super::output::{OutputArgs, print, report};
use super::table::FieldList;
use crate::control::OperatorRequest;
use crate::keys::KeyStoreStatus;

/// `evanesce keys ...`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Show the epoch and how many keys are in it.
    Status {
        #[command(flatten)]
        server: DataDirArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Turn the epoch now: after it no copy of anything opens what was erased before.
    Rotate {
        #[command(flatten)]
        server: DataDirArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Shows the keys or turns their epoch.
pub fn run(command: KeysCommand) -> Result<(), CliError> {
    match command {
        KeysCommand::Status { server, output } if output.is_json() => {
            print(order(&server, &OperatorRequest::Keys)?)
        }
        KeysCommand::Status { server, .. } => print(shown(&ask(&server, &OperatorRequest::Keys)?)),
        KeysCommand::Rotate { server, output } => {
            let answer = order(&server, &OperatorRequest::TurnEpoch)?;
            if output.is_json() {
                return report(answer);
            }
            let status: KeyStoreStatus = serde_json::from_value(answer).map_err(CliError::failed)?;
            report(format!("epoch {} has begun; the keys of earlier ones are destroyed", status.epoch))
        }
    }
}

fn shown(status: &KeyStoreStatus) -> FieldList {
    let mut list = FieldList::new();
    list.field("epoch", format!("{} since {:.0}", status.epoch, status.begun));
    list.field("epoch keys", &status.provider);
    list.field("live keys", status.live);
    if status.unavailable > 0 {
        let missing = "the key of their epoch is missing: these exports can only be deleted";
        list.field("unavailable", format!("{} ({missing})", status.unavailable));
    }
    if status.damaged > 0 {
        list.field("damaged", format!("{} slots or files", status.damaged));
    }
    list
}
