//! `evanesce jobs show`: the life of one job on one screen. What the running server knows of it, and
//! what the receipts say, which outlive it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{state, who};
use crate::cli::CliError;
use crate::cli::data_dir::DataDirArgs;
use crate::cli::operate::order;
use crate::cli::output::{OutputArgs, print_all, print_json};
use crate::cli::table::{FieldList, TextTone, count, counted, instant, rough, size, toned};
use crate::control::OperatorRequest;
use crate::evanesce::JobDetail;
use crate::job::{JobId, JobState, Mark, Receipt, StateName, SweepFailure};
use crate::receipts::{self, FILE_NAME, ReceiptEntry, ReceiptsError};

/// The arguments of `evanesce jobs show`.
#[derive(Debug, clap::Args)]
pub struct JobShowArgs {
    /// The id at the end of its polling URL.
    job: JobId,
    #[command(flatten)]
    output: OutputArgs,
}

/// Shows a job.
pub fn run(server: &DataDirArgs, args: &JobShowArgs) -> Result<(), CliError> {
    let request = OperatorRequest::Job { job: args.job };
    let detail: Option<JobDetail> = match order(server, &request) {
        Ok(answer) => Some(serde_json::from_value(answer).map_err(CliError::failed)?),
        Err(error) if error.code == 2 => return Err(error),
        // The receipts may know it still.
        Err(_) => None,
    };
    let entries = entries(server, args.job)?;
    if detail.is_none() && entries.is_empty() {
        return Err(CliError::failed(format!(
            "there is no job {}, and no receipt of one; `evanesce jobs --all` lists the jobs",
            args.job
        )));
    }
    if args.output.is_json() {
        return print_json(&document(detail.as_ref(), &entries)?);
    }
    let now = Timestamp::now();
    let mut lines = vec![facts(args.job, detail.as_ref(), &entries, now).to_string()];
    lines.push(format!("\n{}", toned(TextTone::Strong, "Life")));
    lines.push(life(detail.as_ref(), &entries).to_string());
    let waits = match &detail {
        Some(detail) => waits(detail, &order(server, &OperatorRequest::Status)?, now),
        None => Vec::new(),
    };
    if !waits.is_empty() {
        lines.push(format!("\n{}", toned(TextTone::Strong, "Waits for")));
        lines.extend(waits);
    }
    print_all(lines)
}

/// Returns what the receipts say of the job.
fn entries(server: &DataDirArgs, job: JobId) -> Result<Vec<ReceiptEntry>, CliError> {
    let mut entries = Vec::new();
    let walked = receipts::walk(&server.of_server()?.join(FILE_NAME), |item| {
        if item.entry.job() == Some(job) {
            entries.push(item.entry.clone());
        }
        Ok::<_, ReceiptsError>(())
    });
    walked.map_err(CliError::failed)?;
    Ok(entries)
}

fn document(detail: Option<&JobDetail>, entries: &[ReceiptEntry]) -> Result<Value, CliError> {
    let mut document = match detail {
        Some(detail) => serde_json::to_value(detail).map_err(CliError::failed)?,
        None => json!({}),
    };
    document["receipts"] = serde_json::to_value(entries).map_err(CliError::failed)?;
    Ok(document)
}

fn receipt(entries: &[ReceiptEntry]) -> Option<&Receipt> {
    entries.iter().rev().find_map(|entry| match entry {
        ReceiptEntry::Erasure(receipt) => Some(&**receipt),
        _ => None,
    })
}

/// Returns what the job is now.
fn facts(job: JobId, detail: Option<&JobDetail>, entries: &[ReceiptEntry], now: Timestamp) -> FieldList {
    let mut list = FieldList::new();
    list.field("job", job);
    if let Some(JobDetail { overview, hold, downloads, .. }) = detail {
        list.field("state", state(overview.state));
        list.field("client", who(overview));
        if let Some(percent) = overview.percent.filter(|_| overview.state.is_active()) {
            let left = overview
                .seconds_left
                .map(|left| format!(", about {} left", rough(Duration::from_secs(left))));
            list.field("done", format!("{percent:.1}%{}", left.unwrap_or_default()));
        }
        if let (Some(files), Some(bytes)) = (overview.files, overview.bytes) {
            list.field("files", format!("{}, {}", count(files), size(bytes)));
        }
        if let Some(failure) = overview.failure {
            list.field("failure", failure.text());
        }
        if let Some(at) = overview.expires_at {
            list.field("expires", instant(at, now));
        }
        if let Some(hold) = hold {
            list.field(
                "hold",
                format!("by {} since {}: {}", hold.by, instant(hold.at, now), hold.reason.escape_debug()),
            );
        }
        if *downloads > 0 {
            list.field("downloads", format!("{downloads} open"));
        }
    } else if let Some(receipt) = receipt(entries) {
        list.field("state", state(StateName::Erased));
        list.field("client", format!("{}/{}", receipt.tenant, receipt.owner));
    }
    if let Some(receipt) = receipt(entries) {
        let Receipt { files, bytes, reason, .. } = receipt;
        let by = receipt.by.as_ref().map_or_else(String::new, |by| format!(", asked for by {by}"));
        let sizes = format!("{}, {}", counted(*files, "file"), size(*bytes));
        list.field("receipt", format!("{} ({sizes} unlinked){by}", reason.as_str()));
        if let Some(error) = &receipt.last_error {
            list.field(
                "trouble",
                format!("{} failed before: {error}", counted(receipt.failed_sweeps.into(), "sweep")),
            );
        }
    }
    list
}

/// Returns what happened when, in the order of time.
fn life(detail: Option<&JobDetail>, entries: &[ReceiptEntry]) -> FieldList {
    let mut events: Vec<(Timestamp, String)> = Vec::new();
    let mut add = |at: Timestamp, what: String| events.push((at, what));
    if let Some(detail) = detail {
        add(detail.overview.submitted_at, "kicked off".into());
        match &detail.details {
            JobState::Queued | JobState::Erased(_) => {}
            JobState::Running { transaction_time } | JobState::Finishing { transaction_time } => {
                add(*transaction_time, "planned: the data as of now is exported".into());
            }
            JobState::Failed(failure) => add(failure.at, "failed".into()),
            JobState::Complete(completion) => {
                add(completion.transaction_time, "planned: the data as of now is exported".into());
                let (resources, files) =
                    (counted(completion.resources, "resource"), counted(completion.files, "file"));
                add(
                    completion.completed_at,
                    format!("complete: {resources} in {files}, {}", size(completion.bytes)),
                );
            }
            JobState::Marked(mark) => add(mark.at, marked(mark)),
        }
    }
    for entry in entries {
        match entry {
            ReceiptEntry::Erasure(receipt) => erased(receipt, detail.is_none(), &mut add),
            ReceiptEntry::Hold(hold) => add(hold.at, format!("put under a hold by {}", hold.by)),
            ReceiptEntry::Release { at, by, .. } => add(*at, format!("released by {by}")),
            _ => {}
        }
    }
    events.sort_by_key(|(at, _)| *at);
    let mut list = FieldList::new();
    for (at, what) in events {
        list.field(&format!("{at:.3}"), what);
    }
    list
}

fn marked(mark: &Mark) -> String {
    let by = mark.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    format!("marked for erasure: {}{by} while it was {}", mark.reason.as_str(), mark.was.as_str())
}

fn erased(receipt: &Receipt, is_forgotten: bool, add: &mut impl FnMut(Timestamp, String)) {
    if is_forgotten {
        add(receipt.submitted_at, "kicked off".into());
    }
    let (by, reason, was) = (receipt.by.as_ref(), receipt.reason.as_str(), receipt.was.as_str());
    let by = by.map_or_else(String::new, |by| format!(" by {by}"));
    add(receipt.marked_at, format!("marked for erasure: {reason}{by} while it was {was}"));
    if let Some(at) = receipt.hidden_at {
        add(at, "hidden: its URLs answer 404".into());
    }
    if let Some(at) = receipt.last_byte_at {
        add(at, "last byte written".into());
    }
    let sizes = format!("{}, {}", counted(receipt.files, "file"), size(receipt.bytes));
    add(receipt.gone_at, format!("gone: {sizes} unlinked"));
}

/// Returns what the job waits for, and why. `reaper` is the server's status.
fn waits(detail: &JobDetail, reaper: &Value, now: Timestamp) -> Vec<String> {
    match &detail.details {
        JobState::Queued => vec!["a worker: jobs before it, or its own plan, are not done".into()],
        JobState::Marked(mark) => marked_waits(detail, mark, reaper, now),
        JobState::Complete(_) | JobState::Failed(_) if detail.overview.held => {
            vec!["its release: it does not expire under a hold".into()]
        }
        _ => Vec::new(),
    }
}

fn marked_waits(detail: &JobDetail, mark: &Mark, reaper: &Value, now: Timestamp) -> Vec<String> {
    let mut waits = Vec::new();
    if let Some(hold) = &detail.hold {
        waits.push(format!("its release: it is held by {}, and hidden meanwhile", hold.by));
    }
    if let Some(by) = reaper["pause"]["by"].as_str() {
        waits.push(format!(
            "the end of a pause: {by} has paused the reaper; `evanesce reaper resume` ends it"
        ));
    }
    if detail.downloads > 0 {
        waits.push(format!("the end of {}, or its deadline", counted(detail.downloads.into(), "download")));
    }
    if let Some(SweepFailure { attempts, at, error }) = &mark.failure {
        let (failed, at) = (counted((*attempts).into(), "sweep"), instant(*at, now));
        let failing = reaper["failing"].as_array().into_iter().flatten();
        let next = failing.filter(|one| one["job"] == json!(detail.overview.job));
        let next = next.filter_map(|one| one["next_try"].as_str()?.parse().ok()).next();
        let next = next.map_or_else(String::new, |next| format!(" at {}", instant(next, now)));
        waits.push(format!("another sweep{next}: {failed} failed, the last one at {at}: {error}"));
    }
    if waits.is_empty() {
        waits.push("its writers, and then its sweep: seconds, as a rule".into());
    }
    waits
}
