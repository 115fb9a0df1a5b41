//! All jobs: filtered, sorted and in pages, by the query alone, and live.

use std::cmp::Ordering;

use actix_web::web::{self, ServiceConfig};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::visit::Visit;
use super::{ConsolePage, PageResult, job, job_orders, live, parts};
use crate::evanesce::JobSheet;
use crate::job::StateName;

/// The page.
pub static PAGE: ConsolePage = ConsolePage { path: "/jobs", label: "Jobs", mount };

/// Jobs on a page.
const PAGE_ROWS: usize = 50;

fn mount(config: &mut ServiceConfig) {
    config.service(web::resource("/jobs").get(show));
    // Before the job, whose path has a placeholder in its place.
    config.service(web::resource("/jobs/live").get(follow));
    job::mount(config);
    job_orders::mount(config);
}

/// What the query asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct JobsQuery {
    /// Which states; empty for all.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "choice")]
    state: Option<StateChoice>,
    /// What the id, the tenant or the client contains.
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    sort: SortKey,
    #[serde(skip_serializing_if = "is_false")]
    ascending: bool,
    /// The page, from 1.
    #[serde(skip_serializing_if = "is_first")]
    page: usize,
}

/// Reads a choice. The form sends an empty text for all.
fn choice<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<StateChoice>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(StateChoice::ALL.into_iter().find(|choice| choice.name() == text))
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_first(page: &usize) -> bool {
    *page <= 1
}

/// States that are looked for together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum StateChoice {
    Active,
    Complete,
    Failed,
    Marked,
    Erased,
    Held,
}

impl StateChoice {
    const ALL: [Self; 6] =
        [Self::Active, Self::Complete, Self::Failed, Self::Marked, Self::Erased, Self::Held];

    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Marked => "marked",
            Self::Erased => "erased",
            Self::Held => "held",
        }
    }

    fn has(self, sheet: &JobSheet) -> bool {
        let state = sheet.record.state.name();
        match self {
            Self::Active => state.is_active(),
            Self::Complete => state == StateName::Complete,
            Self::Failed => state == StateName::Failed,
            Self::Marked => state == StateName::Marked,
            Self::Erased => state == StateName::Erased,
            Self::Held => sheet.hold.is_some(),
        }
    }
}

/// What jobs are sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SortKey {
    #[default]
    Submitted,
    State,
    Client,
    Progress,
    Size,
    Expires,
}

impl SortKey {
    fn compare(self, a: &JobSheet, b: &JobSheet) -> Ordering {
        // What has no expiry stands behind what has one.
        let expiry = |sheet: &JobSheet| sheet.expires_at.unwrap_or(Timestamp::MAX);
        match self {
            Self::Submitted => a.record.submitted_at.cmp(&b.record.submitted_at),
            Self::State => a.record.state.name().cmp(&b.record.state.name()),
            Self::Client => (&a.record.tenant, &a.record.owner).cmp(&(&b.record.tenant, &b.record.owner)),
            Self::Progress => a.percent.unwrap_or(-1.0).total_cmp(&b.percent.unwrap_or(-1.0)),
            Self::Size => a.bytes.cmp(&b.bytes),
            Self::Expires => expiry(a).cmp(&expiry(b)),
        }
    }
}

impl JobsQuery {
    /// Returns the URL of the page with this query.
    fn url(&self, path: &str) -> String {
        format!("{path}?{}", serde_urlencoded::to_string(self).unwrap_or_default())
    }

    /// Returns the query that sorts by a column: the other way round if it does so already.
    fn sorted_by(&self, sort: SortKey) -> Self {
        let ascending = self.sort == sort && !self.ascending;
        Self { sort, ascending, page: 0, ..self.clone() }
    }

    fn has(&self, sheet: &JobSheet) -> bool {
        let text = self.text.trim().to_ascii_lowercase();
        let contains = |name: &str| name.to_ascii_lowercase().contains(&text);
        let record = &sheet.record;
        self.state.is_none_or(|state| state.has(sheet))
            && (text.is_empty()
                || contains(&record.id.to_string())
                || contains(record.tenant.as_str())
                || contains(record.owner.as_str()))
    }
}

/// The jobs of one page.
struct JobsData {
    query: JobsQuery,
    now: Timestamp,
    rows: Vec<JobSheet>,
    /// The page that is shown, from 1, and how many there are.
    page: usize,
    pages: usize,
    /// Jobs that the query is for.
    found: usize,
}

impl JobsData {
    fn of(query: JobsQuery, now: Timestamp, sheets: Vec<JobSheet>) -> Self {
        let mut rows: Vec<_> = sheets.into_iter().filter(|sheet| query.has(sheet)).collect();
        rows.sort_by(|a, b| {
            let order = query.sort.compare(a, b);
            let order = if query.ascending { order } else { order.reverse() };
            order.then_with(|| a.record.id.cmp(&b.record.id))
        });
        let found = rows.len();
        let pages = found.div_ceil(PAGE_ROWS).max(1);
        let page = query.page.clamp(1, pages);
        let rows = rows.into_iter().skip((page - 1) * PAGE_ROWS).take(PAGE_ROWS).collect();
        Self { query, now, rows, page, pages, found }
    }
}

async fn show(visit: Visit) -> PageResult {
    let evanesce = visit.evanesce();
    let data = JobsData::of(visit.query(), evanesce.now(), evanesce.job_sheets().await);
    Ok(visit.page("Jobs", page(&data)))
}

async fn follow(visit: Visit) -> PageResult {
    let (evanesce, query) = (visit.evanesce().clone(), visit.query::<JobsQuery>());
    live::stream(&visit, move || {
        let (evanesce, query) = (evanesce.clone(), query.clone());
        async move { part(&JobsData::of(query, evanesce.now(), evanesce.job_sheets().await)) }
    })
}

fn page(data: &JobsData) -> Markup {
    let live = data.query.url("/console/jobs/live");
    html! {
        h1 { "Jobs" }
        (filter(&data.query))
        (live::part("jobs", &live, part(data)))
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
        (parts::table(&caption, &columns, html! { @for sheet in &data.rows { (row(sheet, data.now)) } }))
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

fn row(sheet: &JobSheet, now: Timestamp) -> Markup {
    let record = &sheet.record;
    let (id, state) = (record.id.to_string(), record.state.name());
    html! {
        tr id={ "job-" (id) } {
            th scope="row" class="nowrap" {
                a class="id" href={ "/console/jobs/" (id) } title=(id) { (id.get(..8).unwrap_or_default()) }
            }
            td class="nowrap" {
                (parts::state(state))
                @if sheet.hold.is_some() { " " (parts::badge(parts::Tone::Warn, "held")) }
            }
            td {
                @if let (Some(percent), true) = (sheet.percent, state.is_active()) {
                    (parts::bar(percent, "Progress"))
                    @if let Some(left) = sheet.time_left { " " span class="quiet nowrap" { (parts::duration(left)) " left" } }
                }
            }
            td class="number" { @if let Some(files) = sheet.files { (parts::count(files)) } }
            td class="number" { @if let Some(bytes) = sheet.bytes { (parts::bytes(bytes)) } }
            td { (record.tenant.as_str()) "/" (record.owner.as_str()) }
            td class="nowrap" { (parts::ago(record.submitted_at, now)) }
            td class="nowrap" { @if let Some(at) = sheet.expires_at { (parts::until(at, now)) } }
            td class="nowrap" {
                @if !state.is_deleted() {
                    a href={ "/console/jobs/" (id) "/cancel" } aria-label={ (job::ending_word(state)) " job " (id) } {
                        (job::ending_word(state)) "…"
                    }
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
    use std::time::Duration;

    use super::*;
    use crate::job::{Completion, JobId, JobRecord, JobState};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sheet(second: i64, owner: &str, state: JobState) -> JobSheet {
        let record = JobRecord {
            id: JobId::random(),
            tenant: "t".parse().unwrap(),
            owner: owner.parse().unwrap(),
            revision: 1,
            submitted_at: at(second),
            state,
        };
        let (percent, time_left) = (Some(50.0), Some(Duration::from_secs(60)));
        JobSheet { record, percent, time_left, files: None, bytes: Some(1), expires_at: None, hold: None }
    }

    fn complete() -> JobState {
        JobState::Complete(Completion::of(&[], at(1), at(2)))
    }

    fn query(text: &str) -> JobsQuery {
        serde_urlencoded::from_str(text).unwrap()
    }

    fn submitted(data: &JobsData) -> Vec<i64> {
        data.rows.iter().map(|row| row.record.submitted_at.as_second()).collect()
    }

    #[test]
    fn the_query_filters_sorts_and_pages() {
        let sheets =
            || vec![sheet(1, "yb", JobState::Queued), sheet(3, "ya", complete()), sheet(2, "yc", complete())];
        let of = |text: &str| submitted(&JobsData::of(query(text), at(9), sheets()));
        assert_eq!(of(""), [3, 2, 1]);
        assert_eq!(of("ascending=true&state="), [1, 2, 3]);
        assert_eq!(of("state=active"), [1]);
        assert_eq!(of("state=complete&sort=client&ascending=true"), [3, 2]);
        assert_eq!(of("text=YC"), [2]);
        assert_eq!(of("state=erased"), [0; 0]);
        assert_eq!(of("page=7"), [3, 2, 1], "the last page there is");
        let one = sheets().remove(0);
        let id = one.record.id.to_string();
        assert_eq!(JobsData::of(query(&format!("text={}", &id[..8])), at(9), vec![one]).found, 1);
        let asked = query("state=held&text=a%26b&sort=size&ascending=true&page=3");
        assert_eq!(query(asked.url("").strip_prefix('?').unwrap()), asked);
        assert_eq!(asked.sorted_by(SortKey::Size), query("state=held&text=a%26b&sort=size"));
    }

    #[test]
    fn p13_of_ten_thousand_jobs_a_page_shows_fifty_and_of_none_it_says_so() {
        let sheets: Vec<_> = (0..10_000).map(|n| sheet(n, "somebody", complete())).collect();
        let data = JobsData::of(query("page=2"), at(20_000), sheets);
        assert_eq!((submitted(&data)[0], data.pages, data.rows.len()), (9949, 200, PAGE_ROWS));
        let shown = page(&data).into_string();
        assert!(shown.contains("Jobs 51 to 100 of 10000") && shown.contains("Page 2 of 200"));
        assert!(shown.len() < 100_000, "{}", shown.len());
        let none = page(&JobsData::of(query(""), at(0), Vec::new())).into_string();
        assert!(none.contains("There are no jobs"));
        let filtered = page(&JobsData::of(query("text=x"), at(0), Vec::new())).into_string();
        assert!(filtered.contains("No job is like that"));
    }

    #[test]
    fn what_somebody_types_is_shown_as_text() {
        let data = JobsData::of(query("text=%22%3E%3Cscript%3E"), at(0), Vec::new());
        let shown = page(&data).into_string();
        assert!(shown.contains("&quot;&gt;&lt;script&gt;") && !shown.contains("<script"), "{shown}");
    }
}
