//! All jobs: filtered, sorted and in pages, by the query alone, and live.

use actix_web::web::{self, ServiceConfig};
use jiff::Timestamp;
use maud::{Markup, html};

use super::jobs_query::{JobsQuery, SortKey, StateChoice};
use super::visit::Visit;
use super::{ConsolePage, PageResult, job, job_orders, live, parts};
use crate::evanesce::ListedJob;
use crate::{Evanesce, JobOverview};

/// The page.
pub static PAGE: ConsolePage = ConsolePage { path: "/jobs", label: "Jobs", mount };

/// What the page follows, with the query.
const LIVE: &str = "/console/jobs/live";

/// Jobs on a page.
const PAGE_ROWS: usize = 50;

fn mount(config: &mut ServiceConfig) {
    config.service(web::resource("/jobs").get(show));
    // Before the job, whose path has a placeholder in its place.
    config.service(web::resource("/jobs/live").get(follow));
    job::mount(config);
    job_orders::mount(config);
}

/// The jobs of one page.
struct JobsData {
    query: JobsQuery,
    now: Timestamp,
    rows: Vec<JobOverview>,
    /// The page that is shown, from 1, and how many there are.
    page: usize,
    pages: usize,
    /// Jobs that the query is for.
    found: usize,
}

impl JobsData {
    async fn gather(evanesce: &Evanesce, query: JobsQuery) -> Self {
        Self::of(query, evanesce.now(), evanesce.job_list().await.iter())
    }

    /// Takes the page out of all jobs. Only its own rows are put in order and copied.
    fn of<'a>(query: JobsQuery, now: Timestamp, jobs: impl Iterator<Item = ListedJob<'a>>) -> Self {
        let mut jobs: Vec<_> = jobs.filter(|job| query.has(*job)).collect();
        let found = jobs.len();
        let pages = found.div_ceil(PAGE_ROWS).max(1);
        let page = query.page.clamp(1, pages);
        let first = (page - 1) * PAGE_ROWS;
        let mut rows = &mut jobs[..];
        for (place, is_first) in [(first, true), (PAGE_ROWS, false)] {
            if (1..rows.len()).contains(&place) {
                rows.select_nth_unstable_by(place, |a, b| query.compare(*a, *b));
                let (before, from) = rows.split_at_mut(place);
                rows = if is_first { from } else { before };
            }
        }
        rows.sort_unstable_by(|a, b| query.compare(*a, *b));
        let rows = rows.iter().map(|job| job.overview()).collect();
        Self { query, now, rows, page, pages, found }
    }
}

async fn show(visit: Visit) -> PageResult {
    let data = JobsData::gather(visit.evanesce(), visit.query()).await;
    Ok(visit.page("Jobs", page(&data)))
}

async fn follow(visit: Visit) -> PageResult {
    let (evanesce, query) = (visit.evanesce().clone(), visit.query::<JobsQuery>());
    let url = query.url(LIVE);
    live::stream(&visit, &url, move || {
        let (evanesce, query) = (evanesce.clone(), query.clone());
        async move { part(&JobsData::gather(&evanesce, query).await) }
    })
}

fn page(data: &JobsData) -> Markup {
    html! {
        h1 { "Jobs" }
        (filter(&data.query))
        (live::part("jobs", &data.query.url(LIVE), part(data)))
    }
}

fn filter(query: &JobsQuery) -> Markup {
    let sort = serde_json::to_value(query.sort).ok();
    html! {
        form class="row card" method="get" action="/console/jobs" role="search" aria-label="Filter the jobs" {
            div class="field" {
                label for="state" { "State" }
                select id="state" name="state" {
                    option value="" { "all" }
                    @for choice in StateChoice::ALL {
                        option value=(choice.name()) selected[query.state == Some(choice)] { (choice.name()) }
                    }
                }
            }
            div class="field" {
                label for="text" { "Job, tenant or client" }
                input id="text" name="text" value=(query.text) maxlength="100" spellcheck="false";
            }
            @if let Some(sort) = sort.as_ref().and_then(|sort| sort.as_str()) {
                input type="hidden" name="sort" value=(sort);
            }
            @if query.ascending { input type="hidden" name="ascending" value="true"; }
            button type="submit" { "Filter" }
            @if query.state.is_some() || !query.text.is_empty() { a class="button" href="/console/jobs" { "Show all" } }
        }
    }
}

/// Returns what changes by itself.
fn part(data: &JobsData) -> Markup {
    if data.rows.is_empty() {
        let is_filtered = data.query.state.is_some() || !data.query.text.is_empty();
        return if is_filtered {
            parts::empty("No job is like that.", "Choose another state, or another text.")
        } else {
            parts::empty(
                "There are no jobs.",
                "A kick-off makes one: GET …/$export with Prefer: respond-async.",
            )
        };
    }
    let columns = [
        parts::column("Job"),
        sort_column(data, "State", SortKey::State),
        sort_column(data, "Progress", SortKey::Progress),
        parts::number_column("Files"),
        sort_column(data, "Size", SortKey::Size),
        sort_column(data, "Client", SortKey::Client),
        sort_column(data, "Kicked off", SortKey::Submitted),
        sort_column(data, "Expires", SortKey::Expires),
        parts::column("Action"),
    ];
    let first = (data.page - 1) * PAGE_ROWS + 1;
    let caption = format!("Jobs {first} to {} of {}", first + data.rows.len() - 1, data.found);
    html! {
        (parts::table(&caption, &columns, html! { @for job in &data.rows { (row(job, data.now)) } }))
        @if data.pages > 1 { (pager(data)) }
    }
}

fn sort_column(data: &JobsData, name: &str, sort: SortKey) -> Markup {
    let order =
        (data.query.sort == sort).then_some(if data.query.ascending { "ascending" } else { "descending" });
    let class = (sort == SortKey::Size).then_some("number");
    html! {
        th scope="col" class=[class] aria-sort=[order] {
            a href=(data.query.sorted_by(sort).url("/console/jobs")) { (name) }
            @match order { Some("ascending") => " ↑", Some(_) => " ↓", None => "" }
        }
    }
}

fn row(job: &JobOverview, now: Timestamp) -> Markup {
    let (id, state) = (job.job.to_string(), job.state);
    let word = job::ending_word(state);
    html! {
        tr id={ "job-" (id) } {
            th scope="row" class="nowrap" {
                a class="id" href={ "/console/jobs/" (id) } title=(id) { (id.get(..8).unwrap_or_default()) }
            }
            td class="nowrap" data-label="State" {
                (parts::state(state))
                @if job.held { " " (parts::badge(parts::Tone::Warn, "held")) }
            }
            td data-label="Progress" {
                @if let (Some(percent), true) = (job.percent, state.is_active()) {
                    (parts::bar(percent, "Progress"))
                    @if let Some(left) = job.seconds_left { div class="quiet nowrap" { (parts::seconds(left)) " left" } }
                }
            }
            td class="number" data-label="Files" { @if let Some(files) = job.files { (parts::count(files)) } }
            td class="number" data-label="Size" { @if let Some(bytes) = job.bytes { (parts::bytes(bytes)) } }
            td class="nowrap" data-label="Client" { (job.tenant.as_str()) "/" (job.owner.as_str()) }
            td class="nowrap" data-label="Kicked off" { (parts::ago(job.submitted_at, now)) }
            td class="nowrap" data-label="Expires" { @if let Some(at) = job.expires_at { (parts::until(at, now)) } }
            td class="nowrap" data-label="Action" {
                @if !state.is_deleted() {
                    a href={ "/console/jobs/" (id) "/cancel" } aria-label={ (word) " job " (id) } { (word) "…" }
                }
            }
        }
    }
}

fn pager(data: &JobsData) -> Markup {
    let to = |page: usize| JobsQuery { page, ..data.query.clone() }.url("/console/jobs");
    html! {
        nav class="pages" aria-label="Pages of jobs" {
            @if data.page > 1 { a rel="prev" href=(to(data.page - 1)) { "Previous" } }
            span { "Page " (data.page) " of " (data.pages) }
            @if data.page < data.pages { a rel="next" href=(to(data.page + 1)) { "Next" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::job::{Completion, JobId, JobRecord, JobState};
    use crate::view::PublishedJob;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn job(second: i64, owner: &str, state: JobState) -> PublishedJob {
        let record = JobRecord {
            id: JobId::random(),
            tenant: "t".parse().unwrap(),
            owner: owner.parse().unwrap(),
            revision: 1,
            submitted_at: at(second),
            state,
        };
        PublishedJob::new(record, None, Arc::new([]))
    }

    fn complete() -> JobState {
        JobState::Complete(Completion::of(&[], at(1), at(2)))
    }

    fn query(text: &str) -> JobsQuery {
        serde_urlencoded::from_str(text).unwrap()
    }

    fn data(text: &str, jobs: &[PublishedJob]) -> JobsData {
        let lifetime = Duration::from_secs(60);
        let listed = jobs.iter().map(|job| ListedJob { job, is_held: false, lifetime });
        JobsData::of(query(text), at(9), listed)
    }

    fn submitted(data: &JobsData) -> Vec<i64> {
        data.rows.iter().map(|row| row.submitted_at.as_second()).collect()
    }

    #[test]
    fn the_query_filters_sorts_and_pages() {
        let jobs = [job(1, "yb", JobState::Queued), job(3, "ya", complete()), job(2, "yc", complete())];
        let of = |text: &str| submitted(&data(text, &jobs));
        assert_eq!(of(""), [3, 2, 1]);
        assert_eq!(of("ascending=true&state="), [1, 2, 3]);
        assert_eq!(of("state=active"), [1]);
        assert_eq!(of("state=complete&sort=client&ascending=true"), [3, 2]);
        assert_eq!(of("sort=expires")[0], 1, "what has no expiry is behind what has one");
        assert_eq!(of("text=YC"), [2]);
        assert_eq!(of("state=erased"), [0; 0]);
        assert_eq!(of("state=held"), [0; 0]);
        assert_eq!(of("page=7"), [3, 2, 1], "the last page there is");
        let id = jobs[0].record.id.to_string();
        assert_eq!(of(&format!("text={id}")), [1]);
        let asked = query("state=held&text=a%26b&sort=size&ascending=true&page=3");
        assert_eq!(query(asked.url("").strip_prefix('?').unwrap()), asked);
        assert_eq!(asked.sorted_by(SortKey::Size), query("state=held&text=a%26b&sort=size"));
    }

    #[test]
    fn each_page_has_the_jobs_that_come_after_those_of_the_page_before() {
        // In no order: 61 and 127 have no common divisor.
        let jobs: Vec<_> = (0..127).map(|n| job(n * 61 % 127, "somebody", JobState::Queued)).collect();
        let pages = [1, 2, 3].map(|page| submitted(&data(&format!("ascending=true&page={page}"), &jobs)));
        assert_eq!(pages.each_ref().map(Vec::len), [50, 50, 27]);
        assert_eq!(pages.concat(), (0..127).collect::<Vec<_>>());
    }

    #[test]
    fn p13_of_ten_thousand_jobs_a_page_shows_fifty_and_of_none_it_says_so() {
        let jobs: Vec<_> = (0..10_000).map(|n| job(n, "somebody", complete())).collect();
        let shown = data("page=2", &jobs);
        assert_eq!((submitted(&shown)[0], shown.pages, shown.rows.len()), (9949, 200, PAGE_ROWS));
        let shown = page(&shown).into_string();
        assert!(shown.contains("Jobs 51 to 100 of 10000") && shown.contains("Page 2 of 200"));
        assert!(shown.len() < 100_000, "{}", shown.len());
        let none = page(&data("", &[])).into_string();
        assert!(none.contains("There are no jobs"));
        let filtered = page(&data("text=x", &[])).into_string();
        assert!(filtered.contains("No job is like that"));
    }

    #[test]
    fn what_somebody_types_is_shown_as_text() {
        let shown = page(&data("text=%22%3E%3Cscript%3E", &[])).into_string();
        assert!(shown.contains("&quot;&gt;&lt;script&gt;") && !shown.contains("<script"), "{shown}");
    }
}
