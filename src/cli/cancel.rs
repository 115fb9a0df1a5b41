//! `evanesce cancel`: ends jobs, whosever they are. It shows what it is going to do and asks first,
//! because what is erased does not come back.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::time::Duration;

use dialoguer::Confirm;
use jiff::Timestamp;

use super::CliError;
use super::data_dir::DataDirArgs;
use super::jobs::table;
use super::operate::{ask, order_each, report_each};
use super::output::{OutputArgs, tell};
use super::table::{counted, size};
use crate::JobOverview;
use crate::clock::before;
use crate::control::OperatorRequest;
use crate::job::{ClientId, JobId, TenantId};

/// The arguments of `evanesce cancel`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["jobs", "client", "older_than"]), after_help = "\
Examples:
  evanesce cancel 0b7c8f0e-5b0a-4f3e-9d52-8f3c5a1b2c3d
  evanesce cancel --client acme --older-than 36h
  evanesce cancel --client acme --yes --output json")]
pub struct CancelArgs {
    #[command(flatten)]
    server: DataDirArgs,
    /// The jobs that are to end, whosever they are.
    #[arg(value_name = "JOB", conflicts_with_all = ["client", "tenant", "older_than"])]
    jobs: Vec<JobId>,
    /// All jobs of this client.
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    /// Of those, only jobs of this tenant.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// All jobs that were kicked off longer ago than this, such as 36h or 7days; with --client, those
    /// of this client.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Do not ask. Without a terminal nothing is done without it.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Ends the jobs and has their files erased.
pub fn run(args: &CancelArgs) -> Result<(), CliError> {
    let now = Timestamp::now();
    let known: Vec<JobOverview> = ask(&args.server, &OperatorRequest::Jobs)?;
    let chosen: Vec<JobOverview> = known.into_iter().filter(|job| args.wants(job, now)).collect();
    let jobs =
        if args.jobs.is_empty() { chosen.iter().map(|job| job.job).collect() } else { distinct(&args.jobs) };
    if jobs.is_empty() {
        tell("no such job: nothing is cancelled");
        return report_each(&[], &args.output, "");
    }
    if !chosen.is_empty() {
        confirm(args, &chosen, now)?;
    }
    let outcomes = order_each(&args.server, &jobs, |job| OperatorRequest::Cancel { job })?;
    let done = "is deleted: it answers 404 from now on, and its receipt comes when its files are gone";
    report_each(&outcomes, &args.output, done)
}

/// Returns the jobs in their order, each once.
fn distinct(jobs: &[JobId]) -> Vec<JobId> {
    let mut seen = BTreeSet::new();
    jobs.iter().copied().filter(|job| seen.insert(*job)).collect()
}

impl CancelArgs {
    /// Returns whether this job, which is not deleted yet, is to end.
    fn wants(&self, job: &JobOverview, now: Timestamp) -> bool {
        if job.state.is_deleted() {
            return false;
        }
        if !self.jobs.is_empty() {
            return self.jobs.contains(&job.job);
        }
        self.client.as_ref().is_none_or(|client| *client == job.owner)
            && self.tenant.as_ref().is_none_or(|tenant| *tenant == job.tenant)
            && self.older_than.is_none_or(|age| job.submitted_at < before(now, age))
    }
}

/// Shows the jobs and asks.
fn confirm(args: &CancelArgs, chosen: &[JobOverview], now: Timestamp) -> Result<(), CliError> {
    let question = question(chosen);
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    if args.yes {
        return Ok(());
    }
    if !asks {
        return Err(CliError::usage(format!("this would {question}; nothing is done without --yes")));
    }
    tell(table(chosen, now));
    let answer =
        Confirm::new().with_prompt(format!("This will {question}. Go on?")).default(false).interact_opt();
    match answer.map_err(CliError::failed)? {
        Some(true) => Ok(()),
        Some(false) | None => Err(CliError::failed("nothing is cancelled")),
    }
}

/// Returns how many jobs would end, whose and how large they are.
fn question(chosen: &[JobOverview]) -> String {
    let clients: BTreeSet<_> = chosen.iter().map(|job| (&job.tenant, &job.owner)).collect();
    let whose = match clients.first() {
        Some((tenant, owner)) if clients.len() == 1 => format!("{tenant}/{owner}"),
        _ => counted(clients.len() as u64, "client"),
    };
    let bytes = chosen.iter().filter_map(|job| job.bytes).sum();
    format!(
        "end {} of {whose} and erase {} of files for good",
        counted(chosen.len() as u64, "job"),
        size(bytes)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(owner: &str, state: &str, submitted_at: &str, bytes: Value) -> JobOverview {
        let job = json!({
            "job": JobId::random(), "state": state, "tenant": "t", "owner": owner, "submitted_at": submitted_at,
            "percent": null, "held": false, "files": 1, "bytes": bytes, "seconds_left": null, "finished_at": null,
            "expires_at": null, "reason": null, "failure": null,
        });
        serde_json::from_value(job).unwrap()
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        cancel: CancelArgs,
    }

    fn args(arguments: &[&str]) -> Result<CancelArgs, clap::Error> {
        let line = <Line as clap::Parser>::try_parse_from([&["cancel"], arguments].concat());
        line.map(|line| line.cancel)
    }

    #[test]
    fn the_jobs_of_a_client_or_of_an_age_are_chosen_and_none_that_is_deleted() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let jobs = [
            job("a", "complete", "2026-01-01T00:00:00Z", json!(5)),
            job("a", "running", "2026-01-01T23:00:00Z", json!(7)),
            job("b", "failed", "2026-01-01T00:00:00Z", Value::Null),
            job("a", "marked", "2026-01-01T00:00:00Z", json!(9)),
        ];
        let chosen = |arguments: &[&str]| -> Vec<usize> {
            let args = args(arguments).unwrap();
            (0..4).filter(|n| args.wants(&jobs[*n], now)).collect()
        };
        assert_eq!(chosen(&["--client", "a"]), [0, 1]);
        assert_eq!(chosen(&["--client", "a", "--tenant", "u"]), [0; 0]);
        assert_eq!(chosen(&["--older-than", "2h"]), [0, 2]);
        assert_eq!(chosen(&["--older-than", "24h"]), [0; 0], "longer ago, not as long");
        assert_eq!(chosen(&["--older-than", "2h", "--client", "a"]), [0]);
        assert_eq!(chosen(&[&jobs[2].job.to_string(), &jobs[3].job.to_string()]), [2]);
        assert_eq!(question(&jobs[..2]), "end 2 jobs of t/a and erase 12 B of files for good");
        assert_eq!(question(&jobs[..3]), "end 3 jobs of 2 clients and erase 12 B of files for good");
    }

    #[test]
    fn nobody_cancels_everything_by_saying_nothing() {
        let job = JobId::random().to_string();
        for arguments in
            [&[][..], &["--tenant", "t"], &["--yes"], &[&job, "--client", "a"], &["--older-than", "soon"]]
        {
            assert!(args(arguments).is_err(), "{arguments:?}");
        }
        assert!(args(&[&job, &job, "--yes"]).is_ok());
    }
}
