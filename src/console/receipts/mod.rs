//! The receipts: the latest ones, searched and paged from the end of the chain; whether the chain is whole;
//! one of them with its proof; and the file itself to take away.

mod prove;
mod walks;

use std::fs::File;
use std::ops::ControlFlow;
use std::time::Instant;

use actix_web::body::SizedStream;
use actix_web::http::header;
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{Error, HttpResponse};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::ConsoleError;
use super::parts::{self, Tone};
use super::visit::{Visit, redirect};
use super::{ConsolePage, PageResult, ROOT};
use crate::job::{JobId, MarkReason};
use crate::plain_file::{self, LinkPolicy};
use crate::receipts::{
    self, ChainHead, ReceiptEntry, ReceiptSummary, ReceiptsError, walk_back, whole_length,
};

/// The page.
pub static PAGE: ConsolePage = ConsolePage { path: "/receipts", label: "Receipts", mount };

/// Entries on a page.
const PAGE_ENTRIES: usize = 50;

/// The most bytes of the chain that are read for a page, about 100,000 entries. A search that finds less than
/// a page in them offers to go on.
const PAGE_BYTES: u64 = 64 << 20;

/// Bytes of a download that are read at once.
const BLOCK: u64 = 256 << 10;

/// The reasons that can be searched for.
const REASONS: [MarkReason; 7] = [
    MarkReason::Cancelled,
    MarkReason::Deleted,
    MarkReason::Expired,
    MarkReason::Revoked,
    MarkReason::Orphan,
    MarkReason::Lost,
    MarkReason::Recovered,
];

fn mount(config: &mut ServiceConfig) {
    config.service(web::resource("/receipts").get(show));
    config.service(web::resource("/receipts/verify").get(verify));
    config.service(web::resource("/receipts/download").get(download));
    config.service(web::resource("/receipts/{job}").get(prove::show));
    config.service(web::resource("/receipts/{job}/proof").get(prove::download));
}

/// What is searched for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct ReceiptSearch {
    job: String,
    client: String,
    /// A reason of an erasure, `orders` for what is none, or nothing.
    reason: String,
    /// Days in UTC.
    from: String,
    to: String,
    /// Where to go on, as a page before told.
    before: Option<u64>,
}

impl ReceiptSearch {
    fn is_match(&self, entry: &ReceiptEntry) -> bool {
        let receipt = match entry {
            ReceiptEntry::Erasure(receipt) => Some(receipt),
            _ => None,
        };
        let client = self.client.trim().to_lowercase();
        let of_client = |owner: &str| owner.to_lowercase().contains(&client);
        let day = |text: &str| text.parse::<Date>().ok();
        let begins = |day: Date| TimeZone::UTC.to_timestamp(day.to_datetime(Time::midnight())).ok();
        let (from, to) = (
            day(&self.from).and_then(begins),
            day(&self.to).and_then(|day| begins(day.checked_add(1.day()).ok()?)),
        );
        (client.is_empty() || receipt.is_some_and(|receipt| of_client(receipt.owner.as_str())))
            && match &*self.reason {
                "" => true,
                "orders" => receipt.is_none(),
                reason => receipt.is_some_and(|receipt| receipt.reason.as_str() == reason),
            }
            && from.is_none_or(|from| entry.at() >= from)
            && to.is_none_or(|to| entry.at() < to)
    }

    fn is_empty(&self) -> bool {
        *self == Self { before: self.before, ..Self::default() }
    }

    /// Returns the URL of the page that goes on at `before`.
    fn url(&self, before: u64) -> String {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let fields =
            [("client", &self.client), ("reason", &self.reason), ("from", &self.from), ("to", &self.to)];
        let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let fields: String = fields.map(|(name, value)| format!("{name}={}&", encode(value))).collect();
        format!("{ROOT}/receipts?{fields}before={before}")
    }
}

/// What the page shows.
struct ReceiptsData {
    search: ReceiptSearch,
    head: ChainHead,
    found: Result<(Vec<ReceiptEntry>, Option<u64>), ReceiptsError>,
}

async fn show(visit: Visit) -> PageResult {
    let search: ReceiptSearch = visit.query();
    let wrong_id = match search.job.trim() {
        "" => false,
        job => match job.parse::<JobId>() {
            Ok(job) => return Ok(redirect(&format!("{ROOT}/receipts/{job}"))),
            Err(_) => true,
        },
    };
    let (path, wanted) = (walks::file(&visit), search.clone());
    let found = walks::run(move |end| {
        let mut entries = Vec::new();
        let next = walk_back(&path, wanted.before, PAGE_BYTES, |entry| {
            if wanted.is_match(&entry) {
                entries.push(entry);
            }
            let is_over = entries.len() >= PAGE_ENTRIES || end.check().is_err();
            if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        next.map(|next| (entries, next))
    });
    let data = ReceiptsData { found: found.await?, head: visit.evanesce().receipts_head(), search };
    Ok(visit.page("Receipts", page(&data, wrong_id)))
}

fn page(data: &ReceiptsData, wrong_id: bool) -> Markup {
    html! {
        h1 { "Receipts" }
        p {
            "Each erasure left one, in a chain of hashes that shows whether a line was changed or removed. The chain has "
            strong { (parts::count(data.head.count)) } " entries; its head is " code class="hash" { (data.head.hash) } "."
        }
        p class="row" {
            a class="button" href={ (ROOT) "/receipts/verify" } { "Verify the whole chain" }
            a class="button" href={ (ROOT) "/receipts/download" } download { "Download receipts.ndjson" }
        }
        (form(&data.search))
        @if wrong_id { p class="alert warn" role="status" { "This is no id of a job. It is the last part of the polling URL, such as 0b7c8f0e-5b0a-4f3e-9d52-8f3c5a1b2c3d." } }
        @match &data.found {
            Err(error) => p class="alert bad" role="alert" { "The receipts cannot be read: " (error.to_string()) ". " a href={ (ROOT) "/receipts/verify" } { "Verify the chain" } " to see where it breaks." },
            Ok((entries, next)) => (list(data, entries, *next)),
        }
    }
}

fn form(search: &ReceiptSearch) -> Markup {
    let field = |name: &str, label: &str, kind: &str, value: &str| {
        html! { div class="field" { label for=(name) { (label) } input id=(name) name=(name) type=(kind) value=(value) autocomplete="off"; } }
    };
    html! {
        form class="card row" method="get" action={ (ROOT) "/receipts" } role="search" aria-label="Search the receipts" {
            (field("job", "Job id", "search", search.job.trim()))
            (field("client", "Client", "search", search.client.trim()))
            div class="field" {
                label for="reason" { "Why" }
                select id="reason" name="reason" {
                    option value="" { "Anything" }
                    @for reason in REASONS.map(MarkReason::as_str) {
                        option value=(reason) selected[search.reason == reason] { (reason) }
                    }
                    option value="orders" selected[search.reason == "orders"] { "holds and pauses" }
                }
            }
            (field("from", "From (UTC day)", "date", &search.from))
            (field("to", "To (UTC day)", "date", &search.to))
            button class="primary" type="submit" { "Search" }
        }
    }
}

fn list(data: &ReceiptsData, entries: &[ReceiptEntry], next: Option<u64>) -> Markup {
    let is_all = data.search.is_empty();
    let columns = [
        parts::column("When"),
        parts::column("What"),
        parts::column("Job"),
        parts::column("Client"),
        parts::number_column("Files"),
        parts::number_column("Size"),
        parts::column("Asked by"),
    ];
    html! {
        @if entries.is_empty() && next.is_none() {
            @if is_all { (parts::empty("There are no receipts yet.", "The first one comes when a job is deleted or expires.")) }
            @else { (parts::empty("Nothing matches.", "Search for less: an empty field matches everything.")) }
        } @else {
            (parts::table("Receipts, the latest first", &columns, html! { @for entry in entries { (row(entry)) } }))
        }
        nav class="pages" aria-label="Pages of receipts" {
            @if data.search.before.is_some() { a href={ (ROOT) "/receipts" } { "Latest" } }
            @if let Some(next) = next {
                a href=(data.search.url(next)) rel="next" {
                    @if entries.len() < PAGE_ENTRIES { "Search older receipts" } @else { "Older" }
                }
            }
        }
    }
}

fn row(entry: &ReceiptEntry) -> Markup {
    let when = html! { td class="nowrap" data-label="When" { (parts::instant(entry.at())) } };
    let job = |job: JobId| html! { a class="id" href={ (ROOT) "/receipts/" (job) } { (job) } };
    let order = |what: &str, of: Option<JobId>, by: &str, reason: &str| {
        html! {
            tr {
                (when)
                td data-label="What" { (parts::badge(Tone::Warn, what)) }
                td data-label="Job" { @if let Some(of) = of { (job(of)) } @else { "–" } }
                td colspan="3" data-label="Why" { (reason) }
                td data-label="Asked by" { (by) }
            }
        }
    };
    match entry {
        ReceiptEntry::Erasure(receipt) => html! {
            tr {
                (when)
                td data-label="What" { (parts::badge(Tone::Plain, receipt.reason.as_str())) @if receipt.failed_sweeps > 0 { " " (parts::badge(Tone::Warn, "after failures")) } }
                td data-label="Job" { (job(receipt.job)) }
                td data-label="Client" { (receipt.owner) }
                td class="number" data-label="Files" { (parts::count(receipt.files)) }
                td class="number" data-label="Size" { (parts::bytes(receipt.bytes)) }
                td data-label="Asked by" { @match &receipt.by { Some(by) => (by), None => "–" } }
            }
        },
        ReceiptEntry::Hold(hold) => order("hold", Some(hold.job), &hold.by, &hold.reason),
        ReceiptEntry::Release { job, by, .. } => order("release", Some(*job), by, ""),
        ReceiptEntry::Pause(pause) => order("pause", None, &pause.by, &pause.reason),
        ReceiptEntry::Resume { by, .. } => order("resume", None, by, ""),
        ReceiptEntry::Prune { cut, .. } => order(
            "prune",
            None,
            "–",
            &format!("the first {} entries were too old and were cut off", cut.count),
        ),
        ReceiptEntry::Epoch { epoch, .. } => {
            order("epoch", None, "–", &format!("the key of epoch {epoch} was destroyed"))
        }
        ReceiptEntry::Gap { expected, found, .. } => {
            let missing = format!("{} entries were expected, {} were found", expected.count, found.count);
            order("gap", None, "–", &missing)
        }
    }
}

async fn verify(visit: Visit) -> PageResult {
    let path = walks::file(&visit);
    let began = Instant::now();
    let walked = walks::run(move |end| {
        let summary = receipts::walk(&path, |_| end.check())?;
        summary.confirm()?;
        Ok::<_, ReceiptsError>(summary)
    });
    let walked = walked.await?;
    let took = parts::duration(began.elapsed());
    let content = html! {
        h1 { "Is the chain whole?" }
        @match &walked {
            Ok(summary) => (whole(summary, &took)),
            Err(error) => {
                p class="alert bad" role="alert" { "No: " (error.to_string()) "." }
                p { "Somebody has changed the file, or the disk has. Keep a copy of it and of the log, which has each head since the start; a backup shows what stood there. " code { "evanesce fsck" } " on the stopped server says more." }
            }
        }
        p { a href={ (ROOT) "/receipts" } { "Back to the receipts" } }
    };
    Ok(visit.page("Verify the receipts", content))
}

fn whole(summary: &ReceiptSummary, took: &str) -> Markup {
    let instant =
        |at: Option<Timestamp>| html! { @match at { Some(at) => (parts::instant(at)), None => "–" } };
    let checkpoint = match summary.checkpoint {
        None => html! { "The chain begins with its first entry." },
        Some(cut) => {
            html! { "The first " (parts::count(cut.count)) " entries were pruned, up to " code class="hash" { (cut.hash) } "." }
        }
    };
    html! {
        p class="alert good" role="status" { "Yes: each of its links was checked, in " (took) "." }
        @if summary.gaps > 0 { p class="alert warn" { "The end of the chain was found missing " (parts::count(summary.gaps)) " times; entries of the kind gap say when." } }
        (parts::facts(&[
            ("Entries", parts::count(summary.head.count)),
            ("Erasures in the file", parts::count(summary.erasures)),
            ("First entry", instant(summary.first)),
            ("Last entry", instant(summary.last)),
            ("Head", html! { code class="hash" { (summary.head.hash) } }),
            ("Beginning", checkpoint),
        ]))
        p { "Write the number of entries and the head down somewhere else. Later, this shows that nothing before it was changed:" }
        pre class="log" { "evanesce receipts verify --data-dir DIR --head " (summary.head.hash) " --count " (summary.head.count) }
    }
}

/// Answers with the file as it is, without a last line that is being appended.
async fn download(visit: Visit) -> PageResult {
    let path = walks::file(&visit);
    let opened = web::block(move || match plain_file::open(&path, LinkPolicy::Refuse) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => opened.and_then(|file| Ok(Some((whole_length(&file)?, file)))),
    });
    let opened = opened.await.map_err(|_| ConsoleError::Internal)?.map_err(|_| ConsoleError::Internal)?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CONTENT_TYPE, "application/x-ndjson"));
    answer.insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"receipts.ndjson\""));
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    let Some((length, file)) = opened else { return Ok(answer.body(Bytes::new())) };
    let blocks = futures_util::stream::try_unfold((file, 0_u64), move |(file, offset)| async move {
        if offset >= length {
            return Ok::<_, Error>(None);
        }
        let (file, block) =
            web::block(move || read_block(file, offset, length.min(offset + BLOCK))).await??;
        let next = offset + block.len() as u64;
        Ok(Some((block, (file, next))))
    });
    Ok(answer.body(SizedStream::new(length, Box::pin(blocks))))
}

fn read_block(file: File, start: u64, end: u64) -> std::io::Result<(File, Bytes)> {
    use std::os::unix::fs::FileExt;
    let mut block = vec![0; usize::try_from(end - start).map_err(std::io::Error::other)?];
    file.read_exact_at(&mut block, start)?;
    Ok((file, block.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipts::{JobHold, ReaperPause};

    fn receipt() -> ReceiptEntry {
        let text = r#"{"kind":"erasure","job":"cf118213-4375-4428-b1bb-b5ef689c2dc5","tenant":"default",
            "owner":"Acme-1","reason":"deleted","was":"complete","by":"Acme-1","request_id":null,
            "submitted_at":"2026-11-29T13:00:00Z","marked_at":"2026-11-30T13:00:00Z","hidden_at":null,
            "last_byte_at":null,"gone_at":"2026-11-30T13:00:01Z","files":4,"bytes":101225,"planted_links":0,
            "failed_sweeps":0,"last_error":null,"fenced_writers":0,"cut_downloads":0,"drained_downloads":0,
            "resumed":false}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_search_finds_by_client_reason_and_day() {
        let search = |query: &str| web::Query::<ReceiptSearch>::from_query(query).unwrap().into_inner();
        let at = "2026-11-30T23:59:59Z".parse().unwrap();
        let pause = ReceiptEntry::Pause(ReaperPause { at, by: "ops".into(), reason: "backup".into() });
        let finds = |query: &str| [receipt(), pause.clone()].map(|entry| search(query).is_match(&entry));
        assert_eq!(finds(""), [true, true]);
        assert_eq!(finds("client=acme"), [true, false]);
        assert_eq!(finds("client=+acme-2"), [false, false]);
        assert_eq!(finds("reason=deleted"), [true, false]);
        assert_eq!(finds("reason=expired"), [false, false]);
        assert_eq!(finds("reason=orders"), [false, true]);
        assert_eq!(finds("from=2026-11-30&to=2026-11-30"), [true, true]);
        assert_eq!(finds("from=2026-12-01"), [false, false]);
        assert_eq!(finds("to=2026-11-29"), [false, false]);
        assert_eq!(finds("from=nonsense"), [true, true], "what is no day is none");
    }

    #[test]
    fn the_next_page_searches_for_the_same() {
        let search =
            ReceiptSearch { client: "a&b".into(), reason: "deleted".into(), ..ReceiptSearch::default() };
        assert_eq!(search.url(42), "/console/receipts?client=a%26b&reason=deleted&before=42");
    }

    #[test]
    fn reasons_of_operators_are_shown_as_text() {
        let hold = JobHold {
            job: JobId::random(),
            at: Timestamp::UNIX_EPOCH,
            by: "o".into(),
            reason: "<script>".into(),
        };
        assert!(row(&ReceiptEntry::Hold(hold)).into_string().contains("&lt;script&gt;"));
    }
}
