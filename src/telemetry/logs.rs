//! The set-up of logs: lines go to standard error through a [`LogBuffer`], panics among them. A host
//! that embeds the library brings a subscriber of its own, and none of this is there.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::log_buffer::{LogBuffer, ROOM};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged by default: not each malformed request that the HTTP library turns away.
const DEFAULT_FILTER: &str = "info,actix_http=off,actix_server=warn";

/// How long the end of the process waits for its last lines, when nobody reads them.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// The lines of this process, once [`init_logs`] has been called.
static BUFFER: OnceLock<LogBuffer> = OnceLock::new();

/// Sends log lines to standard error; `RUST_LOG` chooses what (default `info`). What is logged never
/// waits for whoever reads it. When the guard is dropped the last lines are written, if somebody
/// reads them.
///
/// # Errors
/// There is no descriptor or no thread for it.
pub fn init_logs(format: LogFormat) -> io::Result<LogGuard> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // Not by the standard library's handle: its lock would be held as long as a write waits.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let is_terminal = stderr.is_terminal();
    let buffer = BUFFER.get_or_init(|| LogBuffer::new(format, ROOM));
    std::thread::Builder::new().name("log".into()).spawn(move || buffer.run(stderr))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        // It would tell of them on standard error.
        .log_internal_errors(false)
        .with_writer(move || buffer);
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(LogGuard(()))
}

/// See [`init_logs`].
#[must_use]
pub struct LogGuard(());

impl Drop for LogGuard {
    fn drop(&mut self) {
        flush_logs();
    }
}

/// Waits until the lines that were logged are written, a moment at the most.
pub fn flush_logs() {
    if let Some(buffer) = BUFFER.get() {
        buffer.flush(LAST_WORDS);
    }
}

/// Says something on standard error that is no log line, such as why a command fails. In a process
/// with logs it waits for its reader a moment at the most. Nobody is told if it cannot be said.
pub fn say(text: &str) {
    let line = format!("{text}\n");
    if let Some(buffer) = BUFFER.get() {
        buffer.push(line.as_bytes());
        flush_logs();
    } else {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// What the standard library's hook says, as a line of the log: that one would wait for a reader.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("a payload that is no text");
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(panic = text, location, thread = thread.name(), backtrace, "a thread panicked");
}
