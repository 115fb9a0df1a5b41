//! The orders for one job: cancel, hold and release. Each has a page that says what will happen before it
//! is carried out.

use actix_web::web::{self, ServiceConfig};
use maud::{Markup, html};

use super::error::ConsoleError;
use super::visit::{DoneOrder, Visit};
use super::{PageResult, parts};
use crate::JobOverview;
use crate::control::OperatorRequest;
use crate::evanesce::JobDetail;
use crate::job::StateName;

/// Adds the routes.
pub fn mount(config: &mut ServiceConfig) {
    config.service(web::resource("/jobs/{job}/cancel").get(ask_cancel).post(cancel));
    config.service(web::resource("/jobs/{job}/hold").get(ask_hold).post(hold));
    config.service(web::resource("/jobs/{job}/release").get(ask_release).post(release));
}

/// Returns a page that asks before an order is carried out.
async fn ask(
    visit: &Visit,
    title: &str,
    order: &str,
    question: impl FnOnce(&JobDetail) -> Markup,
    fields: Markup,
) -> PageResult {
    let job = visit.job()?;
    let dossier = visit.evanesce().job_dossier(job).await.ok_or(ConsoleError::NoJob)?;
    let Some(detail) = dossier.detail else { return Err(ConsoleError::NoJob) };
    let here = format!("/console/jobs/{job}");
    let content = html! {
        h1 { (title) }
        div class="card" {
            @let JobOverview { tenant, owner, state, .. } = &detail.overview;
            p { "Job " span class="id" { (job) } " of " (tenant.as_str()) "/" (owner.as_str()) ", " (parts::state(*state)) }
            (question(&detail))
            (visit.form(&format!("{here}/{order}"), fields))
            p { a href=(here) { "Back, and do nothing" } }
        }
    };
    Ok(visit.page(title, content))
}

async fn ask_cancel(visit: Visit) -> PageResult {
    let button = html! { button class="danger" type="submit" { "End this job and erase its files" } };
    ask(&visit, "End this job?", "cancel", cancel_question, button).await
}

/// Says what will happen, and how much will be gone.
fn cancel_question(detail: &JobDetail) -> Markup {
    let JobOverview { state, files, bytes, held, .. } = detail.overview;
    let amount = match (state, files, bytes) {
        (StateName::Complete, Some(files), Some(bytes)) => {
            html! { strong { (parts::count(files)) @if files == 1 { " file with " } @else { " files with " } (parts::bytes(bytes)) } " are erased." }
        }
        (state, _, Some(bytes)) if state.is_active() => {
            html! { "The export stops. " strong { "The " (parts::bytes(bytes)) " written so far" } " are erased, and what is still being written." }
        }
        _ => html! { "What is left of its files is erased." },
    };
    html! {
        @if state.is_deleted() {
            p class="alert warn" { "It is deleted already." }
        }
        ul {
            li { "Clients get 404 at once, for its status and for every file. Open downloads are cut after their grace." }
            li { (amount) }
            @if held { li { strong { "It is under a hold" } ": its files stay until it is released." } }
            li { strong { "It cannot be undone." } " A receipt says what was erased, when, and at whose word." }
        }
    }
}

async fn cancel(visit: Visit) -> PageResult {
    let job = visit.job()?;
    visit
        .carry_out(OperatorRequest::Cancel { job }, &format!("/console/jobs/{job}"), DoneOrder::Cancelled)
        .await
}

async fn ask_hold(visit: Visit) -> PageResult {
    let question = |_: &JobDetail| {
        html! { p { "A legal hold: the job does not expire, and none of its files is removed until it is released. A DELETE hides it all the same." } }
    };
    ask(&visit, "Put this job under a hold?", "hold", question, parts::reason_field("Hold this job")).await
}

async fn hold(visit: Visit) -> PageResult {
    let (job, reason) = (visit.job()?, visit.reason()?);
    visit
        .carry_out(OperatorRequest::Hold { job, reason }, &format!("/console/jobs/{job}"), DoneOrder::Held)
        .await
}

async fn ask_release(visit: Visit) -> PageResult {
    let question = |detail: &JobDetail| {
        html! {
            @if let Some(hold) = &detail.hold { p { "Held by " (hold.by) " since " (parts::instant(hold.at)) ": " (hold.reason) } }
            @if detail.overview.state.is_deleted() {
                p class="alert warn" { "It is deleted: its files are erased as soon as it is released. That cannot be undone." }
            } @else {
                p { "Its time to live counts from its end: if that is over, it expires at once, and its files are erased." }
            }
        }
    };
    let button = html! { button class="danger" type="submit" { "Release this job" } };
    ask(&visit, "Release this job?", "release", question, button).await
}

async fn release(visit: Visit) -> PageResult {
    let job = visit.job()?;
    visit
        .carry_out(OperatorRequest::Release { job }, &format!("/console/jobs/{job}"), DoneOrder::Released)
        .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::evanesce::ListedJob;
    use crate::job::{Completion, JobId, JobRecord, JobState, OutputFile, SealedPart};
    use crate::view::PublishedJob;

    fn asked(state: JobState) -> String {
        let record = JobRecord {
            id: JobId::random(),
            tenant: "t".parse().unwrap(),
            owner: "o".parse().unwrap(),
            revision: 1,
            submitted_at: Timestamp::UNIX_EPOCH,
            state,
        };
        let job = PublishedJob::new(record, None, Arc::new([]));
        job.progress.wrote(2048);
        let overview = ListedJob { job: &job, is_held: false, lifetime: Duration::ZERO }.overview();
        let details = job.record.state.clone();
        cancel_question(&JobDetail { overview, details, hold: None, downloads: 0 }).into_string()
    }

    #[test]
    fn a_question_says_how_much_will_be_gone_and_that_it_is_for_good() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let file = OutputFile { bytes: 4096, ..OutputFile::new("x".into(), "Patient") };
        let part = SealedPart { index: 0, files: vec![file], broken_lines: 0 };
        let complete = asked(JobState::Complete(Completion::of(&[part], at(1), at(2))));
        assert!(complete.contains("4.00 KiB") && complete.contains(">1</data> file with"), "{complete}");
        assert!(complete.contains("404 at once") && complete.contains("cannot be undone"));
        let running = asked(JobState::Running { transaction_time: at(1) });
        assert!(running.contains("The export stops") && running.contains("2.00 KiB"), "{running}");
    }
}
