//! One job's receipt with its proof: the entries that the chain has of the job, their hashes, and how anybody
//! can check them without believing this page.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use maud::{Markup, html};

use super::walks;
use crate::clock::between;
use crate::console::error::ConsoleError;
use crate::console::parts::{self, Tone};
use crate::console::visit::Visit;
use crate::console::{PageResult, ROOT};
use crate::job::{JobId, Receipt};
use crate::receipts::{self, ChainHead, ReceiptEntry, ReceiptKey, ReceiptsError};

/// The most entries of one job that are shown; holds and releases may be many.
const MOST_ENTRIES: usize = 20;

/// An entry in the chain.
struct ProvenEntry {
    entry: ReceiptEntry,
    text: String,
    before: ChainHead,
    head: ChainHead,
}

/// What the chain has of a job.
struct JobProof {
    entries: Vec<ProvenEntry>,
    left_out: usize,
    /// The end of the chain.
    head: ChainHead,
}

/// Answers with the page of a job's receipt.
pub async fn show(visit: Visit) -> PageResult {
    let job = visit.job()?;
    // The whole chain is not read for an id that nobody knows (P13).
    if visit.evanesce().job_dossier(job).await.is_none() {
        return Ok(not_found(&visit, job));
    }
    let path = walks::file(&visit);
    let walked = walks::run(move |end| {
        let (mut entries, mut left_out, mut before) = (Vec::new(), 0, None);
        let chain = receipts::walk(&path, |line| {
            end.check()?;
            if line.entry.job() == Some(job) {
                if entries.len() < MOST_ENTRIES {
                    let (entry, text) = (line.entry.clone(), line.text.to_owned());
                    entries.push(ProvenEntry {
                        entry,
                        text,
                        before: before.unwrap_or(ChainHead::EMPTY),
                        head: line.head,
                    });
                } else {
                    left_out += 1;
                }
            }
            before = Some(line.head);
            Ok::<_, ReceiptsError>(())
        })?;
        chain.confirm()?;
        // The first entry of a pruned chain follows from its checkpoint.
        for entry in entries.iter_mut().filter(|entry| entry.before == ChainHead::EMPTY) {
            entry.before = chain.checkpoint.unwrap_or(ChainHead::EMPTY);
        }
        Ok(JobProof { entries, left_out, head: chain.head })
    });
    let walked: Result<JobProof, ReceiptsError> = walked.await?;
    Ok(match walked {
        Ok(proof) if proof.entries.is_empty() => not_found(&visit, job),
        Ok(proof) => visit.page("Receipt", page(&proof, job, visit.evanesce().receipt_key())),
        Err(error) => visit.page("Receipt", html! {
            h1 { "Receipt" }
            p class="alert bad" role="alert" { "The chain is broken, so it proves nothing: " (error.to_string()) "." }
            p { a href={ (ROOT) "/receipts/verify" } { "Verify the chain" } }
        }),
    })
}

/// Answers with the proof of a job's erasure, as a file.
pub async fn download(visit: Visit) -> PageResult {
    let job = visit.job()?;
    let proof = visit.evanesce().prove_any_erasure(job).await.map_err(|_| ConsoleError::Internal)?;
    let Some(proof) = proof else { return Ok(not_found(&visit, job)) };
    let text = serde_json::to_string_pretty(&proof).map_err(|_| ConsoleError::Internal)?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CONTENT_TYPE, "application/json"));
    let disposition = format!("attachment; filename=\"receipt-{job}.json\"");
    answer.insert_header((header::CONTENT_DISPOSITION, disposition));
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(answer.body(text))
}

fn not_found(visit: &Visit, job: JobId) -> HttpResponse {
    let mut answer = visit.page("No receipt", html! {
        h1 { "No receipt" }
        p { "The receipts say nothing of the job " code { (job) } "." }
        ul {
            li { "If it was deleted a moment ago, its receipt comes when its files are gone: see the " a href={ (ROOT) "/erasures" } { "erasures" } "." }
            li { "If it was never deleted, it has no receipt: see the " a href={ (ROOT) "/jobs/" (job) } { "job" } "." }
            li { "Receipts older than " code { "retention.receipts" } " are pruned." }
        }
        p { a href={ (ROOT) "/receipts" } { "Back to the receipts" } }
    });
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

fn page(proof: &JobProof, job: JobId, key: Option<ReceiptKey>) -> Markup {
    let erased = proof.entries.iter().any(|one| matches!(one.entry, ReceiptEntry::Erasure(_)));
    html! {
        h1 { "Receipt of " span class="id" { (job) } }
        @if erased {
            p class="alert good" role="status" { "Its files are gone. The whole chain was checked for this page, from its beginning to its end: this entry is part of it." }
        } @else {
            p class="alert plain" role="status" { "The job is not erased. The chain has the orders of operators for it." }
        }
        @for one in &proof.entries {
            section class="card" {
                @match &one.entry {
                    ReceiptEntry::Erasure(receipt) => (erasure(receipt)),
                    entry => (order(entry)),
                }
                (links(one))
            }
        }
        @if proof.left_out > 0 { p class="quiet" { (proof.left_out) " later entries are left out." } }
        @if erased && let Some(key) = key { (for_strangers(job, key)) }
        (how_to_check(proof, job))
        p { a href={ (ROOT) "/jobs/" (job) } { "The life of the job" } " · " a href={ (ROOT) "/receipts" } { "All receipts" } }
    }
}

fn erasure(receipt: &Receipt) -> Markup {
    let or_none = |text: Option<String>| html! { @match text { Some(text) => (text), None => "–" } };
    let took = |from, to| html! { (parts::duration(between(from, to))) " later" };
    html! {
        h2 { "Erased" }
        (parts::facts(&[
            ("Why", parts::badge(Tone::Plain, receipt.reason.as_str())),
            ("It was", parts::state(receipt.was)),
            ("Client", html! { (receipt.owner) }),
            ("Tenant", html! { (receipt.tenant) }),
            ("Asked by", or_none(receipt.by.as_ref().map(ToString::to_string))),
            ("Request id", html! { code { (or_none(receipt.request_id.clone())) } }),
            ("Kicked off", parts::instant(receipt.submitted_at)),
            ("Marked", parts::instant(receipt.marked_at)),
            ("Hidden from clients", match receipt.hidden_at {
                Some(at) => took(receipt.marked_at, at),
                None => html! { "before a restart" },
            }),
            ("Gone", html! { (parts::instant(receipt.gone_at)) ", " (took(receipt.marked_at, receipt.gone_at)) }),
            ("Files", parts::count(receipt.files)),
            ("Bytes", parts::bytes(receipt.bytes)),
        ]))
        @let trouble = trouble(receipt);
        @if !trouble.is_empty() {
            h3 { "On the way" }
            ul { @for line in &trouble { li { (line) } } }
        }
    }
}

/// Returns what did not go straight.
fn trouble(receipt: &Receipt) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |count: u64, one: &str, many: &str| match count {
        0 => {}
        1 => lines.push(format!("1 {one}")),
        count => lines.push(format!("{count} {many}")),
    };
    add(
        receipt.failed_sweeps.into(),
        "sweep failed and was tried again",
        "sweeps failed and were tried again",
    );
    add(
        receipt.fenced_writers.into(),
        "writer did not stop in time, and its file was taken away",
        "writers did not stop in time, and their files were taken away",
    );
    add(receipt.cut_downloads.into(), "download was cut", "downloads were cut");
    add(
        receipt.drained_downloads.into(),
        "open download ended by itself",
        "open downloads ended by themselves",
    );
    add(
        receipt.planted_links,
        "file had a second name elsewhere: somebody planted a hard link",
        "files had a second name elsewhere: somebody planted hard links",
    );
    lines.extend(receipt.last_error.as_ref().map(|error| format!("The last error was: {error}")));
    if receipt.resumed {
        lines.push("The mark was found at a start; the counts are of what was left by then".into());
    }
    lines
}

fn order(entry: &ReceiptEntry) -> Markup {
    let (title, by, reason) = match entry {
        ReceiptEntry::Hold(hold) => ("Put under a hold", &*hold.by, &*hold.reason),
        ReceiptEntry::Release { by, .. } => ("Released", &**by, ""),
        _ => (entry.kind(), "–", ""),
    };
    html! {
        h2 { (title) }
        (parts::facts(&[
            ("When", parts::instant(entry.at())),
            ("By", html! { (by) }),
            ("Reason", html! { @if reason.is_empty() { "–" } @else { (reason) } }),
        ]))
    }
}

fn links(one: &ProvenEntry) -> Markup {
    html! {
        h3 { "In the chain" }
        (parts::facts(&[
            ("Entry", parts::count(one.head.count)),
            ("Its hash", html! { code class="hash" { (one.head.hash) } }),
            ("Hash of the entry before", html! { code class="hash" { (one.before.hash) } }),
        ]))
        details {
            summary { "The entry as it stands in the file" }
            pre class="log" { (one.text) }
        }
    }
}

fn for_strangers(job: JobId, key: ReceiptKey) -> Markup {
    html! {
        h2 { "For somebody who does not trust this server" }
        p { "A small file has the receipt, its place in the tree of all receipts, and a head of the tree that the server has signed. Whoever has it and the public key can check it anywhere:" }
        p { a class="button" href={ (ROOT) "/receipts/" (job) "/proof" } download { "Download the proof" } }
        pre class="log" { "evanesce receipts check receipt-" (job) ".json --key " (key) }
    }
}

fn how_to_check(proof: &JobProof, job: JobId) -> Markup {
    let head = proof.head;
    html! {
        h2 { "Check it yourself" }
        p { "With the program, on the server or on a downloaded " code { "receipts.ndjson" } " in a folder of its own. The first command shows the entry, the second checks every link of the chain and that it goes through the head below:" }
        pre class="log" {
            "evanesce receipts show " (job) " --data-dir DIR\n"
            "evanesce receipts verify --data-dir DIR --head " (head.hash) " --count " (head.count)
        }
        p { "By hand: the hash of an entry is the SHA-256 of the 64 digits of the hash before it and the bytes of the entry, without anything between them. The log of the server has told each head when it was appended." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_has_the_hashes_and_the_commands() {
        let job = JobId::random();
        let entry = ReceiptEntry::Release { job, at: jiff::Timestamp::UNIX_EPOCH, by: "<ops>".into() };
        let head = ChainHead { count: 7, hash: "ab".repeat(32).parse().unwrap() };
        let before = ChainHead { count: 6, hash: "cd".repeat(32).parse().unwrap() };
        let text = serde_json::to_string(&entry).unwrap();
        let proof = JobProof { entries: vec![ProvenEntry { entry, text, before, head }], left_out: 1, head };
        let shown = page(&proof, job, None).into_string();
        for text in [
            &*"ab".repeat(32),
            &*"cd".repeat(32),
            "--count 7",
            "not erased",
            "&lt;ops&gt;",
            "1 later entries",
        ] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
    }
}
