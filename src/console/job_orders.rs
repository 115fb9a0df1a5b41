//! The orders for one job: cancel, hold and release. Each has a page that says what will happen before it
//! is carried out.

use actix_web::web::{self, ServiceConfig};
use maud::{Markup, html};

use super::error::ConsoleError;
use super::visit::{DoneOrder, Visit};
use super::{PageResult, parts};
use crate::control::OperatorRequest;
use crate::evanesce::JobSheet;

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
    question: impl FnOnce(&JobSheet) -> Markup,
    fields: Markup,
) -> PageResult {
    let job = visit.job()?;
    let dossier = visit.evanesce().job_dossier(job).await.ok_or(ConsoleError::NoJob)?;
    let Some(sheet) = dossier.sheet else { return Err(ConsoleError::NoJob) };
    let here = format!("/console/jobs/{job}");
    let content = html! {
        h1 { (title) }
        div class="card" {
            p { "Job " span class="id" { (job) } " of " (sheet.record.tenant.as_str()) "/" (sheet.record.owner.as_str()) ", " (parts::state(sheet.record.state.name())) }
            (question(&sheet))
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
fn cancel_question(sheet: &JobSheet) -> Markup {
    html! {
        @if sheet.record.state.name().is_deleted() {
            p class="alert warn" { "It is deleted already." }
        }
        ul {
            li { "Clients get 404 at once, for its status and for every file. Open downloads are cut after their grace." }
            li {
                @match (sheet.files, sheet.bytes) {
                    (Some(files), Some(bytes)) => { strong { (parts::count(files)) @if files == 1 { " file with " } @else { " files with " } (parts::bytes(bytes)) } " are erased." }
                    (None, Some(bytes)) => { "The export stops. " strong { "The " (parts::bytes(bytes)) " written so far" } " are erased, and what is still being written." }
                    _ => "What is left of its files is erased.",
                }
            }
            @if sheet.hold.is_some() { li { strong { "It is under a hold" } ": its files stay until it is released." } }
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
    let question = |_: &JobSheet| {
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
    let question = |sheet: &JobSheet| {
        html! {
            @if let Some(hold) = &sheet.hold { p { "Held by " (hold.by) " since " (parts::instant(hold.at)) ": " (hold.reason) } }
            @if sheet.record.state.name().is_deleted() {
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
    use jiff::Timestamp;

    use super::*;
    use crate::job::{Completion, JobId, JobRecord, JobState};

    #[test]
    fn a_question_says_how_much_will_be_gone_and_that_it_is_for_good() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let record = JobRecord {
            id: JobId::random(),
            tenant: "t".parse().unwrap(),
            owner: "o".parse().unwrap(),
            revision: 1,
            submitted_at: at(0),
            state: JobState::Complete(Completion::of(&[], at(1), at(2))),
        };
        let (percent, time_left, expires_at, hold) = (None, None, None, None);
        let sheet =
            JobSheet { record, percent, time_left, files: Some(3), bytes: Some(4096), expires_at, hold };
        let asked = cancel_question(&sheet).into_string();
        assert!(asked.contains("4.00 KiB") && asked.contains(">3</data>"), "{asked}");
        assert!(asked.contains("404 at once") && asked.contains("cannot be undone"));
    }
}
