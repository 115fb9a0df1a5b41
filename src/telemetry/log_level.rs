//! What this process logs, and how that changes while it runs. Whoever sets up the log says here how its
//! filter is changed; in a host that is nobody.
#![cfg_attr(not(feature = "cli"), allow(dead_code, reason = "a host has a log of its own"))]

use parking_lot::Mutex;
use serde::Serialize;

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLevel {
    /// The filter in force.
    pub filter: String,
    /// The filter of the start: `RUST_LOG`, or `info`.
    pub at_start: String,
}

/// Why a filter is not taken. The one before it stays.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// It cannot be understood.
    #[error(
        "{0:?} is no filter of log lines ({1}); give a level such as debug, or targets with levels such as \
         info,evanesce::erase=debug"
    )]
    Invalid(String, String),
    /// It is too long.
    #[error("the filter is longer than {0} bytes; give a shorter one")]
    TooLong(usize),
    /// The process is one that has a log of its own, such as a host's.
    #[error("this process has its own log; change the level there")]
    NotOurs,
}

/// Changes the filter.
pub type ChangeFilter = Box<dyn Fn(&str) -> Result<(), LogFilterError> + Send>;

/// What is logged in this process, once its log is set up.
static CURRENT: Mutex<Option<(LogLevel, ChangeFilter)>> = Mutex::new(None);

/// Says what is logged at the start, and how it is changed.
#[cfg(feature = "cli")]
pub fn set_up(at_start: String, change: ChangeFilter) {
    let level = LogLevel { filter: at_start.clone(), at_start };
    *CURRENT.lock() = Some((level, change));
}

/// Returns what is logged; `None` in a process that has its own log.
pub fn log_level() -> Option<LogLevel> {
    CURRENT.lock().as_ref().map(|(level, _)| level.clone())
}

/// Changes what is logged. `None` brings back what was logged at the start.
///
/// # Errors
/// Fails if the text is no filter. Then nothing changes.
pub fn set_log_level(filter: Option<&str>) -> Result<LogLevel, LogFilterError> {
    let mut current = CURRENT.lock();
    let (level, change) = current.as_mut().ok_or(LogFilterError::NotOurs)?;
    let filter = filter.unwrap_or(&level.at_start).to_owned();
    change(&filter)?;
    level.filter = filter;
    Ok(level.clone())
}
