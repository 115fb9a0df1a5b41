//! One job: its life from the kick-off to the receipt, its files and its log lines.

use actix_web::web::{self, ServiceConfig};
use jiff::Timestamp;
use maud::{Markup, html};

use super::error::ConsoleError;
use super::parts::Tone;
use super::visit::Visit;
use super::{PageResult, live, parts};
use crate::Evanesce;
use crate::evanesce::{JobDetail, JobDossier};
use crate::job::{JobId, JobState, OutputFile, Receipt, StateName};
use crate::telemetry::RECENT_LINES;

/// The most files in the table. The manifest has them all.
const MOST_FILES: usize = 500;

/// Adds the routes.
pub fn mount(config: &mut ServiceConfig) {
    config.service(web::resource("/jobs/{job}").get(show));
    config.service(web::resource("/jobs/{job}/live").get(follow));
}

/// Returns what ends a job in this state.
pub fn ending_word(state: StateName) -> &'static str {
    if state.is_active() { "Cancel" } else { "Delete" }
}

/// What the page shows.
struct JobData {
    job: JobId,
    now: Timestamp,
    dossier: JobDossier,
    lines: Vec<String>,
}

impl JobData {
    async fn gather(evanesce: &Evanesce, job: JobId) -> Option<Self> {
        let dossier = evanesce.job_dossier(job).await?;
        Some(Self { job, now: evanesce.now(), dossier, lines: RECENT_LINES.about(&job.to_string()) })
    }
}

async fn show(visit: Visit) -> PageResult {
    let job = visit.job()?;
    let data = JobData::gather(visit.evanesce(), job).await.ok_or(ConsoleError::NoJob)?;
    Ok(visit.page(&format!("Job {job}"), page(&data)))
}

async fn follow(visit: Visit) -> PageResult {
    let (job, evanesce) = (visit.job()?, visit.evanesce().clone());
    live::stream(&visit, &live_url(job), move || {
        let evanesce = evanesce.clone();
        async move {
            let data = JobData::gather(&evanesce, job).await;
            data.map_or_else(|| html! { p { "The job's tombstone has ended." } }, |data| part(&data))
        }
    })
}

/// Returns what the page follows.
fn live_url(job: JobId) -> String {
    format!("/console/jobs/{job}/live")
}

fn page(data: &JobData) -> Markup {
    html! {
        p { a href="/console/jobs" { "All jobs" } }
        h1 { "Job " span class="id" { (data.job) } }
        (live::part("job", &live_url(data.job), part(data)))
    }
}

/// Returns what changes by itself.
fn part(data: &JobData) -> Markup {
    let receipt = data.dossier.receipt.as_ref();
    html! {
        @if let Some(detail) = &data.dossier.detail {
            (facts(detail, data))
            (orders(data.job, detail))
        } @else {
            p class="alert plain" { "The job's tombstone has ended. Its receipt is what is left of it." }
        }
        h2 { "Its life" }
        (timeline(data))
        @if !data.dossier.files.is_empty() { (files(&data.dossier.files)) }
        @if let Some(receipt) = receipt { (receipt_facts(receipt)) }
        (log(&data.lines))
    }
}

fn facts(detail: &JobDetail, data: &JobData) -> Markup {
    let overview = &detail.overview;
    let mut facts = vec![
        (
            "State",
            html! {
                (parts::state(overview.state))
                @if overview.held { " " (parts::badge(Tone::Warn, "held")) }
            },
        ),
        ("Tenant", html! { (overview.tenant.as_str()) }),
        ("Client", html! { (overview.owner.as_str()) }),
        ("Kicked off", parts::instant(overview.submitted_at)),
    ];
    if let (Some(percent), true) = (overview.percent, overview.state.is_active()) {
        facts.push(("Progress", parts::bar(percent, "Progress")));
        let left = overview.seconds_left.map_or_else(|| "not known yet".into(), parts::seconds);
        facts.push(("Time left", html! { (left) }));
    }
    let files = if overview.state.is_active() { "Files so far" } else { "Files" };
    facts.extend(overview.files.map(|count| (files, parts::count(count))));
    facts.extend(overview.bytes.map(|bytes| ("On disk", parts::bytes(bytes))));
    facts.extend(overview.expires_at.map(|at| ("Expires", parts::until(at, data.now))));
    if detail.downloads > 0 {
        facts.push(("Open downloads", html! { (detail.downloads) }));
    }
    facts.extend(overview.failure.map(|failure| ("Failed because", html! { (failure.text()) })));
    if let Some(hold) = &detail.hold {
        facts
            .push(("Held", html! { "by " (hold.by) " since " (parts::instant(hold.at)) ": " (hold.reason) }));
    }
    parts::facts(&facts)
}

fn orders(job: JobId, detail: &JobDetail) -> Markup {
    let state = detail.overview.state;
    html! {
        p class="row" {
            @if !state.is_deleted() {
                a class="button" href={ "/console/jobs/" (job) "/cancel" } { (ending_word(state)) "…" }
            }
            @if detail.hold.is_some() {
                a class="button" href={ "/console/jobs/" (job) "/release" } { "Release…" }
            } @else if state != StateName::Erased {
                a class="button" href={ "/console/jobs/" (job) "/hold" } { "Hold…" }
            }
        }
    }
}

/// One step of a job's life.
struct LifeStep {
    at: Option<Timestamp>,
    what: Markup,
    class: &'static str,
}

fn steps(data: &JobData) -> Vec<LifeStep> {
    let done = |at, what| LifeStep { at: Some(at), what, class: "" };
    let receipt = data.dossier.receipt.as_ref();
    let mut steps = Vec::new();
    if let Some(detail) = &data.dossier.detail {
        steps.push(done(detail.overview.submitted_at, html! { "Kicked off" }));
        match &detail.details {
            JobState::Running { transaction_time } | JobState::Finishing { transaction_time } => {
                steps.push(done(*transaction_time, html! { "The source was looked at (transactionTime)" }));
            }
            JobState::Complete(done_at) => {
                steps.push(done(
                    done_at.transaction_time,
                    html! { "The source was looked at (transactionTime)" },
                ));
                let resources = parts::count(done_at.resources);
                steps.push(done(done_at.completed_at, html! { "Complete, with " (resources) " resources" }));
            }
            JobState::Failed(failure) => {
                steps.push(LifeStep {
                    class: "bad",
                    ..done(failure.at, html! { "Failed: " (failure.reason.text()) })
                });
            }
            JobState::Marked(mark) => {
                let by = mark.by.as_ref().map(|by| format!(", by {}", by.as_str())).unwrap_or_default();
                steps.push(done(
                    mark.at,
                    html! { "Marked: " (mark.reason.as_str()) (by) ". Hidden from then on" },
                ));
                if let Some(failure) = &mark.failure {
                    let what = html! { "Sweeps that failed: " (failure.attempts) ", the last with: " (failure.error) };
                    steps.push(LifeStep { class: "bad", ..done(failure.at, what) });
                }
                steps.push(LifeStep { at: None, what: html! { "Its files are gone" }, class: "ahead" });
            }
            JobState::Erased(erased) if receipt.is_none() => {
                steps.push(done(erased.marked_at, html! { "Marked: " (erased.reason.as_str()) }));
                steps.push(done(erased.gone_at, html! { "Its files are gone; the receipt was pruned" }));
            }
            JobState::Queued | JobState::Erased(_) => {}
        }
        if let Some(at) = detail.overview.expires_at {
            steps.push(LifeStep { class: "ahead", ..done(at, html! { "Expires" }) });
        }
    }
    if let Some(receipt) = receipt {
        if data.dossier.detail.is_none() {
            steps.push(done(receipt.submitted_at, html! { "Kicked off" }));
        }
        steps.extend(ending_steps(receipt));
    }
    steps
}

fn ending_steps(receipt: &Receipt) -> Vec<LifeStep> {
    let by = receipt.by.as_ref().map(|by| format!(", by {}", by.as_str())).unwrap_or_default();
    let step = |at, what| LifeStep { at: Some(at), what, class: "" };
    let marked = html! { "Marked while " (receipt.was) ": " (receipt.reason.as_str()) (by) };
    let hidden = receipt.hidden_at.map(|at| step(at, html! { "Hidden: clients get 404" }));
    let last_byte = receipt.last_byte_at.map(|at| step(at, html! { "The last byte was written or sent" }));
    let gone = html! { "Gone: " (parts::count(receipt.files)) " files, " (parts::bytes(receipt.bytes)) ". The receipt is written" };
    let steps = [Some(step(receipt.marked_at, marked)), hidden, last_byte, Some(step(receipt.gone_at, gone))];
    let mut steps: Vec<_> = steps.into_iter().flatten().collect();
    steps.sort_by_key(|step| step.at);
    steps
}

fn timeline(data: &JobData) -> Markup {
    html! {
        ol class="timeline" {
            @for step in steps(data) {
                li class=(step.class) {
                    (step.what)
                    div class="when" {
                        @match step.at { Some(at) => (parts::instant(at)), None => "not yet" }
                    }
                }
            }
        }
    }
}

fn files(files: &[OutputFile]) -> Markup {
    let columns = [
        parts::column("File"),
        parts::column("Type"),
        parts::number_column("Resources"),
        parts::number_column("Text"),
        parts::number_column("On disk"),
    ];
    let shown = files.len().min(MOST_FILES);
    let caption = format!("Files 1 to {shown} of {}", files.len());
    html! {
        h2 { "Its files" }
        (parts::table(&caption, &columns, html! {
            @for file in &files[..shown] {
                tr id={ "file-" (file.name) } {
                    th scope="row" class="id" { (file.name) }
                    td data-label="Type" { (file.resource_type) }
                    td class="number" data-label="Resources" { (parts::count(file.count)) }
                    td class="number" data-label="Text" { (parts::bytes(file.bytes)) }
                    td class="number" data-label="On disk" { (parts::bytes(file.stored_bytes())) }
                }
            }
        }))
    }
}

fn receipt_facts(receipt: &Receipt) -> Markup {
    let took = crate::clock::between(receipt.marked_at, receipt.gone_at);
    let mut facts = vec![
        ("Reason", html! { (receipt.reason.as_str()) }),
        ("Files", parts::count(receipt.files)),
        ("Bytes", parts::bytes(receipt.bytes)),
        ("From mark to gone", html! { (parts::duration(took)) }),
        ("Failed sweeps", html! { (receipt.failed_sweeps) }),
        ("Writers fenced", html! { (receipt.fenced_writers) }),
        ("Downloads", html! { (receipt.cut_downloads) " cut, " (receipt.drained_downloads) " drained" }),
    ];
    if receipt.planted_links > 0 {
        facts.push((
            "Planted links",
            html! { (parts::badge(Tone::Warn, &receipt.planted_links.to_string())) },
        ));
    }
    if let Some(error) = &receipt.last_error {
        facts.push(("Last error", html! { (error) }));
    }
    if let Some(id) = &receipt.request_id {
        facts.push(("Request", html! { span class="id" { (id) } }));
    }
    html! {
        h2 { "Its receipt" }
        (parts::facts(&facts))
        p { a href={ "/console/receipts/" (receipt.job) } { "Prove it" } }
    }
}

fn log(lines: &[String]) -> Markup {
    html! {
        h2 { "Its log lines" }
        @if lines.is_empty() {
            p class="quiet" { "No line of the last 4 MiB of this process's log is about this job." }
        } @else {
            pre class="log" tabindex="0" aria-label="Log lines of this job" { @for line in lines { (line) "\n" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::evanesce::ListedJob;
    use crate::job::{Completion, JobRecord, Mark, MarkReason, SweepFailure};
    use crate::view::PublishedJob;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn data(state: JobState) -> JobData {
        let record = JobRecord {
            id: JobId::random(),
            tenant: "t".parse().unwrap(),
            owner: "o".parse().unwrap(),
            revision: 1,
            submitted_at: at(0),
            state,
        };
        let job = PublishedJob::new(record, None, Arc::new([]));
        let lifetime = Duration::from_secs(98);
        let overview = ListedJob { job: &job, is_held: false, lifetime }.overview();
        let detail = JobDetail { overview, details: job.record.state.clone(), hold: None, downloads: 0 };
        let dossier = JobDossier { detail: Some(detail), ..JobDossier::default() };
        JobData { job: job.record.id, now: at(50), dossier, lines: Vec::new() }
    }

    fn marked(failure: Option<SweepFailure>) -> JobState {
        let (reason, was) = (MarkReason::Deleted, StateName::Complete);
        JobState::Marked(Mark { reason, by: None, at: at(9), request_id: None, was, failure })
    }

    #[test]
    fn the_timeline_goes_from_the_kick_off_to_what_is_ahead() {
        let complete = JobState::Complete(Completion::of(&[], at(1), at(2)));
        let times = |data: &JobData| steps(data).iter().map(|step| step.at).collect::<Vec<_>>();
        assert_eq!(times(&data(complete)), [0, 1, 2, 100].map(|second| Some(at(second))));
        let failure = SweepFailure { attempts: 2, at: at(10), error: "EIO".into() };
        let gone = data(marked(Some(failure)));
        let overview = &gone.dossier.detail.as_ref().unwrap().overview;
        assert_eq!((overview.files, overview.bytes), (None, None), "nobody has looked at its files");
        assert_eq!(times(&gone), [Some(at(0)), Some(at(9)), Some(at(10)), None]);
        let shown = page(&gone).into_string();
        assert!(shown.contains("Sweeps that failed: 2, the last with: EIO") && shown.contains("not yet"));
        assert!(!shown.contains("/cancel"), "it is deleted already");
    }

    #[test]
    fn log_lines_are_shown_as_text() {
        let mut data = data(JobState::Queued);
        data.lines = vec!["<script>alert(1)</script>".into()];
        assert!(page(&data).into_string().contains("&lt;script&gt;alert(1)&lt;/script&gt;\n"));
    }
}
