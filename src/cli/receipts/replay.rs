//! `evanesce receipts replay`: puts the erasures back that a restored data directory does not know.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use crate::cli::CliError;
use crate::cli::output::{OutputArgs, report_as};
use crate::cli::table::counted;
use crate::config::Config;
use crate::lock;
use crate::receipts::{HeadWitness, ReplayedReceipts, replay as replay_receipts};

/// The arguments of `evanesce receipts replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// A newer copy of receipts.ndjson, which was kept elsewhere.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Replays. The server must be stopped.
pub fn replay(config: &Config, data_dir: &Path, args: &ReplayArgs) -> Result<(), CliError> {
    let from = args.from.display();
    if !args.from.is_file() {
        return Err(CliError::usage(format!("cannot read {from}: it is not a file")));
    }
    let witness = config.receipts.witness.as_deref().map(HeadWitness::new);
    let head = witness.as_ref().map(HeadWitness::newest).transpose().map_err(CliError::usage)?.flatten();
    let lock = lock::take(data_dir).map_err(CliError::failed)?;
    let in_use = || format!("a server uses the data directory {}; stop it first", data_dir.display());
    let _lock = lock.ok_or_else(|| CliError::usage(in_use()))?;
    let replayed = replay_receipts(data_dir, &args.from, head.map(|head| head.chain()), Timestamp::now())
        .map_err(|error| CliError::failed(format!("{from} was not replayed: {error}")))?;
    let ReplayedReceipts { entries, erasures, is_joined, has_head } = replayed;
    let erasures_text = counted(erasures, "erasure");
    let sentence = match (entries, is_joined) {
        (0, _) => "the receipts lack nothing that it has; nothing was changed".to_owned(),
        (_, false) => {
            format!("the receipts go on with {} of it, {erasures_text} among them", counted(entries, "line"))
        }
        (_, true) => format!(
            "both have entries of their own: {erasures_text} of it were taken over, and a gap is told of; holds and \
             pauses of it are not in force"
        ),
    };
    let next = if erasures > 0 { "; the next start erases these jobs" } else { "" };
    let document =
        json!({"entries": entries, "erasures": erasures, "joined": is_joined, "reaches_witness": has_head});
    report_as(&args.output, format_args!("{sentence}{next}"), &document)?;
    if has_head {
        return Ok(());
    }
    let reason = format!(
        "{from} does not go through the newest tree head of receipts.witness: it lacks erasures; replay a newer copy"
    );
    Err(CliError::failed(reason))
}
