//! How `evanesce export` shows what happens: bars on a terminal, a line a step elsewhere, both on
//! standard error.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use crate::cli::table::counted;
use crate::client::{ExportEvent, ExportProgress, ExportSummary};
use crate::telemetry;

/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(100);

/// Shows what happens.
pub enum ProgressDisplay {
    /// Bars.
    Bars(ProgressBars),
    /// Lines.
    Lines(ProgressLines),
}

impl ProgressDisplay {
    /// Creates the display that standard error is fit for.
    pub fn new() -> Self {
        if io::stderr().is_terminal() {
            Self::Bars(ProgressBars::new())
        } else {
            Self::Lines(ProgressLines::default())
        }
    }
}

impl ExportProgress for ProgressDisplay {
    fn on_event(&self, event: ExportEvent<'_>) {
        match self {
            Self::Bars(bars) => bars.show(event),
            Self::Lines(lines) => lines.show(event),
        }
    }
}

/// A line a step.
#[derive(Default)]
pub struct ProgressLines {
    /// The last line about waiting: it is not said twice.
    waiting: Mutex<String>,
}

impl ProgressLines {
    fn show(&self, event: ExportEvent<'_>) {
        if let ExportEvent::Waiting { progress, .. } = event {
            let mut waiting = self.waiting.lock();
            if *waiting == progress && !waiting.is_empty() {
                return;
            }
            progress.clone_into(&mut waiting);
        }
        if let Some(line) = line(event) {
            telemetry::say(&line);
        }
    }
}

/// Returns what is said of an event, if anything is.
fn line(event: ExportEvent<'_>) -> Option<String> {
    Some(match event {
        ExportEvent::KickedOff { status_url } => format!("kicked off: {status_url}"),
        ExportEvent::Resumed { status_url } => format!("going on with {status_url}"),
        ExportEvent::Waiting { progress: "", delay } => format!("waiting; next look in {}", seconds(delay)),
        ExportEvent::Waiting { progress, delay } => {
            format!("waiting: {progress}; next look in {}", seconds(delay))
        }
        ExportEvent::Retrying { reason, delay } => format!("{reason}; again in {}", seconds(delay)),
        ExportEvent::Manifest { files, bytes: Some(bytes) } => {
            format!("complete: {files} files, {}", HumanBytes(bytes))
        }
        ExportEvent::Manifest { files, bytes: None } => format!("complete: {files} files"),
        ExportEvent::FileDone { name, bytes, count } => {
            format!("loaded {name}: {} resources, {}", HumanCount(count), HumanBytes(bytes))
        }
        ExportEvent::LinkRefused { reason } => format!("{reason}; asking for the manifest again"),
        ExportEvent::Deleted { answer } => format!("deleted: {answer}"),
        _ => return None,
    })
}

/// Bars: one for all files, and one for each that is on its way.
pub struct ProgressBars {
    all: MultiProgress,
    total: ProgressBar,
    files: Mutex<FileBars>,
}

#[derive(Default)]
struct FileBars {
    bars: HashMap<String, ProgressBar>,
    /// Whether the bar of all counts bytes, not files.
    counts_bytes: bool,
}

impl ProgressBars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let total = all.add(ProgressBar::new_spinner());
        total.enable_steady_tick(TICK);
        Self { all, total, files: Mutex::default() }
    }

    fn show(&self, event: ExportEvent<'_>) {
        let mut files = self.files.lock();
        match event {
            ExportEvent::Waiting { progress, .. } => self.total.set_message(format!("waiting {progress}")),
            ExportEvent::Manifest { files: number, bytes } => {
                files.counts_bytes = bytes.is_some();
                self.total.set_style(style(if files.counts_bytes {
                    "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} {msg}"
                } else {
                    "{bar:30} {pos}/{len} files {msg}"
                }));
                self.total.set_message("");
                // The rate is that of the files, not of the wait before.
                self.total.reset();
                self.total.set_length(bytes.unwrap_or(number as u64));
            }
            ExportEvent::FileStarted { name, bytes, have } => {
                let bar = bytes.map_or_else(ProgressBar::no_length, ProgressBar::new);
                let bar = self.all.add(bar.with_style(style("{bar:30} {binary_bytes} {msg}")));
                bar.set_message(name.to_owned());
                bar.set_position(have);
                if files.counts_bytes {
                    self.total.inc(have);
                }
                files.bars.insert(name.into(), bar);
            }
            ExportEvent::FileBytes { name, bytes } => files.advance(&self.total, name, bytes),
            ExportEvent::FileDone { name, bytes, .. } => {
                files.advance(&self.total, name, bytes);
                if !files.counts_bytes {
                    self.total.inc(1);
                }
                if let Some(bar) = files.bars.remove(name) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
            }
            event => {
                if let Some(line) = line(event) {
                    // Nobody need see it.
                    let _ = self.all.println(line);
                }
            }
        }
    }
}

impl FileBars {
    fn advance(&self, total: &ProgressBar, name: &str, bytes: u64) {
        let Some(bar) = self.bars.get(name) else { return };
        let before = bar.position();
        bar.set_position(bytes);
        if self.counts_bytes {
            total.set_position((total.position() + bytes).saturating_sub(before));
        }
    }
}

impl Drop for ProgressBars {
    fn drop(&mut self) {
        self.total.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Returns the summary for people.
pub fn summary(summary: &ExportSummary) -> String {
    let mut text = String::new();
    let out = summary.out.display();
    if summary.was_complete {
        // Writing to a string does not fail.
        let _ = write!(text, "{out} has the whole export already; nothing was loaded");
    } else {
        let _ = write!(
            text,
            "{} resources in {} files, {}, in {} ({}/s)\nin {out}; transactionTime {}",
            HumanCount(summary.resources),
            summary.files,
            HumanBytes(summary.bytes),
            seconds(Duration::from_secs_f64(summary.seconds)),
            HumanBytes(summary.bytes_per_second() as u64),
            summary.transaction_time
        );
    }
    if summary.deletions > 0 {
        let _ = write!(text, "\n{} bundles of deletions in deleted.*.ndjson", HumanCount(summary.deletions));
    }
    if summary.outcomes > 0 {
        let _ = write!(text, "\nthe server has {} remarks in errors.*.ndjson", HumanCount(summary.outcomes));
    }
    if summary.error_files_left > 0 {
        let left = counted(summary.error_files_left as u64, "file");
        let _ = write!(text, "\n{left} of the server's remarks not loaded (--no-errors)");
    }
    if let Some(answer) = &summary.deleted {
        let _ = write!(text, "\ndeleted: {answer}");
    }
    if let Some(receipt) = &summary.receipt {
        let _ = write!(text, "\nreceipt: {receipt}");
    }
    text
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
