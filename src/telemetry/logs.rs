//! Sets up logs: lines and panics go to standard error through a [`LogBuffer`]. A host that embeds
//! the library brings its own subscriber and uses none of this.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::log_buffer::{LogBuffer, ROOM};
use super::log_filter;
use super::log_level::set_log_level;
#[cfg(feature = "console")]
use super::log_ring::recent_lines;
use super::otlp::{self, OtlpError, SpanSender};
use super::spans;
use crate::config::TelemetryConfig;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How long the end of the process waits for its last lines when nobody reads them.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// The buffer of this process, once its log is open.
static BUFFER: OnceLock<LogBuffer> = OnceLock::new();

/// The log of this process. Dropping it writes the last lines, if somebody reads them.
#[must_use]
pub struct ProcessLog {
    format: LogFormat,
    buffer: &'static LogBuffer,
    is_terminal: bool,
    spans: Option<SpanSender>,
}

impl ProcessLog {
    /// Opens the log: what is said goes to standard error from now on, and nobody waits for a reader.
    ///
    /// # Errors
    /// Fails if no descriptor or no thread can be had.
    pub fn open(format: LogFormat) -> io::Result<Self> {
        // The standard library's handle would hold its lock as long as a write waits.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let is_terminal = stderr.is_terminal();
        let buffer = BUFFER.get_or_init(|| LogBuffer::new(format, ROOM));
        std::thread::Builder::new().name("log".into()).spawn(move || buffer.run(stderr))?;
        Ok(Self { format, buffer, is_terminal, spans: None })
    }

    /// Begins to log lines and panics, and to send spans if the settings or the environment say where to. `RUST_LOG`
    /// filters the lines (default `info`).
    ///
    /// # Errors
    /// Fails if spans cannot be sent.
    pub fn begin(&mut self, telemetry: &TelemetryConfig) -> Result<(), OtlpError> {
        let buffer = self.buffer;
        let lines = fmt::layer()
            .with_ansi(self.is_terminal)
            // The default hook would print to standard error.
            .log_internal_errors(false)
            .with_writer(move || buffer);
        let lines = match self.format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        #[cfg(feature = "console")]
        let lines = lines.and_then(recent_lines());
        let (filter, wrong) = log_filter::first_filter();
        let (spans, sender) = otlp::layer(telemetry.otlp_endpoint.as_deref())?.unzip();
        self.spans = sender;
        tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).init();
        std::panic::set_hook(Box::new(log_panic));
        if let Err(error) = set_log_level(None) {
            tracing::warn!(%error, "everything is logged");
        }
        if let Some(error) = wrong {
            tracing::warn!(%error, "RUST_LOG is not used");
        }
        if let Some(variable) = spans::unused_endpoint(cfg!(feature = "otlp"), |name| std::env::var_os(name))
        {
            tracing::warn!(
                variable,
                "no spans are sent: this program was built without them; build it with `cargo build --features otlp`, \
                 or unset the variable"
            );
        }
        Ok(())
    }
}

impl Drop for ProcessLog {
    fn drop(&mut self) {
        self.spans = None;
        flush_logs();
    }
}

/// Blocks until all logged lines are written, but only for a moment.
pub fn flush_logs() {
    if let Some(buffer) = BUFFER.get() {
        buffer.flush(LAST_WORDS);
    }
}

/// Prints a text to standard error that is not a log line, such as why a command fails. In a
/// process with logs it waits for a reader only for a moment. Failures are ignored.
pub fn say(text: &str) {
    let line = format!("{text}\n");
    if let Some(buffer) = BUFFER.get() {
        buffer.push(line.as_bytes());
        flush_logs();
    } else {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// Logs a panic. The standard library's hook would wait for a reader.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("a payload that is not text");
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(panic = text, location, thread = thread.name(), backtrace, "a thread panicked");
}
