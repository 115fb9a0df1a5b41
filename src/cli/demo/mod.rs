//! `evanesce demo`: drives the real server over HTTP on a free port, as a client would. It checks
//! each step, and fails if a check fails.

mod client;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Deserialize;

use self::client::{DemoClient, ManifestBody};
use super::CliError;
use super::output::print;
use crate::files::DirPlace;
use crate::generate::{GenerateOptions, generate};
use crate::job::Receipt;
use crate::receipts;

/// The duration of an export of the whole source, throttled so that it can be watched.
const EXPORT_SECONDS: u64 = 3;

/// The longest that any step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The arguments of `evanesce demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// A folder of FHIR NDJSON files; made on the spot if it is not there.
    #[arg(long, default_value = "data/sample")]
    source: PathBuf,
}

/// Runs the demo.
pub fn run(args: &DemoArgs) -> Result<(), CliError> {
    let folder = tempfile::tempdir().map_err(CliError::usage)?;
    let source = source(&args.source, folder.path())?;
    let data_dir = folder.path().join("data");
    let expected = count_source(&source).map_err(CliError::usage)?;
    let bytes = expected.values().map(|(_, bytes)| bytes).sum::<u64>();
    print(format_args!(
        "Source: {}, {} resources, {}",
        source.display(),
        resources(&expected),
        HumanBytes(bytes)
    ))?;

    let mut client = DemoClient::start(&source, &data_dir, bytes / EXPORT_SECONDS)?;
    print(format_args!("Server: {}\n", client.base()))?;
    let polling = export_all(&client, &expected)?;
    cancel_halfway(&client, &data_dir)?;
    delete_completed(&client, &polling, &data_dir)?;
    client.stop()?;
    print(format_args!(
        "\nEvery step was checked. The server has stopped, the temporary directory goes now."
    ))?;
    Ok(())
}

/// Returns the given folder, or generated data if it does not exist.
fn source(asked: &Path, folder: &Path) -> Result<PathBuf, CliError> {
    if asked.is_dir() {
        return Ok(asked.to_owned());
    }
    let out = folder.join("source");
    let options = GenerateOptions::new(100, 1, &out);
    generate(&options, &mut |_| {}).map_err(CliError::usage)?;
    Ok(out)
}

#[derive(Deserialize)]
struct ResourceHead {
    #[serde(rename = "resourceType")]
    resource_type: String,
}

/// Resources and bytes by type.
type TypeCounts = BTreeMap<String, (u64, u64)>;

fn resources(counts: &TypeCounts) -> u64 {
    counts.values().map(|(count, _)| count).sum()
}

fn count_lines(text: &[u8], counts: &mut TypeCounts) -> io::Result<()> {
    for line in text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let head: ResourceHead = serde_json::from_slice(line)?;
        let (count, bytes) = counts.entry(head.resource_type).or_default();
        *count += 1;
        *bytes += line.len() as u64 + 1;
    }
    Ok(())
}

fn count_source(source: &Path) -> io::Result<TypeCounts> {
    let mut counts = TypeCounts::new();
    for entry in fs::read_dir(source)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            count_lines(&fs::read(path)?, &mut counts)?;
        }
    }
    Ok(counts)
}

/// Returns the files in the three places of the data directory.
fn files_on_disk(data_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for place in DirPlace::ALL {
        for job in fs::read_dir(data_dir.join(place.name()))? {
            for file in fs::read_dir(job?.path()).into_iter().flatten() {
                files.push(file?.path());
            }
        }
    }
    Ok(files)
}

fn check(good: bool, what: &str) -> Result<(), CliError> {
    if good {
        print(format_args!("  ok  {what}"))?;
        return Ok(());
    }
    Err(CliError::failed(format!("demo: not so: {what}")))
}

fn bar(title: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("  {msg} [{bar:40}] {pos}%")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(100).with_style(style).with_message(title)
}

/// Polls until the manifest comes, or until `enough` percent are done.
fn poll(
    client: &DemoClient,
    polling: &str,
    title: &'static str,
    enough: f64,
) -> Result<Option<ManifestBody>, CliError> {
    let bar = bar(title);
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match client.status(polling)? {
            client::PollStatus::Complete(manifest) => {
                bar.finish_and_clear();
                return Ok(Some(manifest));
            }
            client::PollStatus::Running(percent) => {
                bar.set_position(percent as u64);
                if percent >= enough {
                    bar.abandon();
                    return Ok(None);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(CliError::failed("demo: the export took too long"))
}

/// (a) Exports everything, downloads it and counts it.
fn export_all(client: &DemoClient, expected: &TypeCounts) -> Result<String, CliError> {
    print(format_args!("(a) Export everything"))?;
    let polling = client.kickoff()?;
    let began = Instant::now();
    let Some(manifest) = poll(client, &polling, "exporting", f64::INFINITY)? else {
        return Err(CliError::failed("demo: the export did not complete"));
    };
    print(format_args!("  complete after {:.1} s", began.elapsed().as_secs_f64()))?;
    let mut counts = TypeCounts::new();
    for file in &manifest.output {
        let text = client.download(&file.url)?;
        count_lines(&text, &mut counts).map_err(CliError::failed)?;
    }
    for (resource_type, (count, bytes)) in &counts {
        print(format_args!("  {count:>8}  {:>12}  {resource_type}", HumanBytes(*bytes).to_string()))?;
    }
    check(counts == *expected, "as many resources and bytes of each type as the source has")?;
    let listed: u64 = manifest.output.iter().map(|file| file.count).sum();
    check(listed == resources(&counts), "the manifest's counts are those of the files")?;
    Ok(polling)
}

/// (b) Cancels an export half-way.
fn cancel_halfway(client: &DemoClient, data_dir: &Path) -> Result<(), CliError> {
    print(format_args!("\n(b) Start an export and DELETE it half-way"))?;
    let before = files_on_disk(data_dir).map_err(CliError::failed)?.len();
    let polling = client.kickoff()?;
    poll(client, &polling, "exporting", 50.0)?;
    let began = Instant::now();
    let text = client.delete(&polling)?;
    let accepted = began.elapsed();
    let receipt = wait_receipt(&polling, data_dir)?;
    let erased = began.elapsed();
    for line in text.lines() {
        print(format_args!("  {}", line.trim_start()))?;
    }
    let last_byte = receipt.last_byte_at.unwrap_or(receipt.submitted_at);
    print(format_args!("  DELETE to 202:            {:>8.2} ms", millis(accepted)))?;
    print(format_args!(
        "  DELETE to last byte:      {:>8.2} ms  (negative: before the request came)",
        since(receipt.marked_at, last_byte)
    ))?;
    print(format_args!(
        "  DELETE to receipt:        {:>8.2} ms  ({} files, {})",
        millis(erased),
        receipt.files,
        HumanBytes(receipt.bytes)
    ))?;
    check(client.is_deleted(&polling)?, "the polling URL answers 404 deleted")?;
    let after = files_on_disk(data_dir).map_err(CliError::failed)?.len();
    check(after == before, "nothing of it is left on disk")
}

/// (c) Deletes the completed export.
fn delete_completed(client: &DemoClient, polling: &str, data_dir: &Path) -> Result<(), CliError> {
    print(format_args!("\n(c) DELETE the completed export"))?;
    let client::PollStatus::Complete(manifest) = client.status(polling)? else {
        return Err(CliError::failed("demo: the export is not complete any more"));
    };
    let before = files_on_disk(data_dir).map_err(CliError::failed)?;
    print(format_args!("  files on disk before: {}", before.len()))?;
    let began = Instant::now();
    client.delete(polling)?;
    let accepted = began.elapsed();
    check(client.is_deleted(polling)?, "the polling URL answers 404 deleted")?;
    for file in &manifest.output {
        if !client.is_deleted(&file.url)? {
            return check(false, "every file URL answers 404 deleted");
        }
    }
    check(true, "every file URL answers 404 deleted")?;
    let receipt = wait_receipt(polling, data_dir)?;
    print(format_args!("  DELETE to 202:            {:>8.2} ms", millis(accepted)))?;
    print(format_args!("  DELETE to the files gone: {:>8.2} ms", since(receipt.marked_at, receipt.gone_at)))?;
    let after = files_on_disk(data_dir).map_err(CliError::failed)?;
    print(format_args!("  files on disk after:  {}", after.len()))?;
    check(!before.is_empty() && after.is_empty(), "the reaper left nothing behind")?;
    print(format_args!("\nReceipts"))?;
    let path = data_dir.join(receipts::FILE_NAME);
    let chain = receipts::verify(&path).map_err(CliError::failed)?;
    for line in fs::read_to_string(path).map_err(CliError::failed)?.lines() {
        print(format_args!("  {line}"))?;
    }
    check(chain.head.count == 2, "the chain of receipts is whole: two erasures, each bound to the one before")
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn since(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

/// Waits for the receipt of a job.
fn wait_receipt(polling: &str, data_dir: &Path) -> Result<Receipt, CliError> {
    let job = polling.rsplit('/').next().and_then(|id| id.parse().ok());
    let job = job.ok_or_else(|| CliError::failed("demo: the polling URL has no job id"))?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let found = receipts::read(&data_dir.join(receipts::FILE_NAME), job).map_err(CliError::failed)?;
        if let Some(receipt) = found {
            return Ok(receipt);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(CliError::failed("demo: there is no receipt"))
}
