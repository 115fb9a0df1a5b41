//! The end of the log: the file that is appended to, and the rules for beginning another.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::AuditedEvent;
use super::file::{file_name, files};
use super::line::line;
use crate::chain::{AppendFile, ChainHead};
use crate::telemetry;

/// Seconds of a day, in UTC.
const DAY: i64 = 86_400;

/// A file of the log.
pub struct LogFile {
    /// The count of its first line.
    pub count: u64,
    /// The chain before it; `None` if its first line does not state it.
    pub behind: Option<ChainHead>,
    /// The instant of its first event.
    pub began: Option<Timestamp>,
}

/// The file that is appended to.
pub struct OpenLogFile {
    pub file: AppendFile,
    /// The day of its first event, counted from 1970; `None` if the file is empty.
    pub day: Option<i64>,
}

/// The end of the log, used under one lock.
pub struct LogWriter {
    pub dir: PathBuf,
    pub max_file_bytes: u64,
    /// The end of the chain.
    pub head: ChainHead,
    pub current: Option<OpenLogFile>,
    /// All files, the oldest first.
    pub files: VecDeque<LogFile>,
    /// Files with unsynced lines.
    pub unsynced: Vec<Arc<File>>,
    /// Whether the name of a new file is unsynced.
    pub folder_unsynced: bool,
    /// Events lost since the last one that could be written.
    pub lost: u64,
    /// Whether a sync failed, so that it is unknown what is on disk.
    pub sync_failed: bool,
    /// Whether the last check found files of the log removed or changed.
    pub is_disturbed: bool,
}

impl LogWriter {
    /// Returns whether events are being written and synced.
    pub fn is_healthy(&self) -> bool {
        self.lost == 0 && !self.sync_failed && !self.is_disturbed
    }

    /// Returns the end of the chain.
    #[cfg(test)]
    pub fn head(&self) -> ChainHead {
        self.head
    }

    /// Writes the line of an event. Lines about lost events and about a new file come first.
    pub fn record(&mut self, event: &AuditedEvent, now: Timestamp) -> io::Result<()> {
        self.make_current(now)?;
        if self.lost > 0 {
            self.write(&AuditedEvent::Lost { events: self.lost }, now)?;
            self.lost = 0;
        }
        self.write(event, now)
    }

    /// Returns whether all files are where and as long as this process left them. If not, notes what is
    /// left and begins another file with an event about it.
    pub fn attend(&mut self, now: Timestamp) -> io::Result<bool> {
        let there = files(&self.dir)?;
        let missing = self.files.iter().filter(|known| !there.contains(&known.count)).count();
        if missing == 0 && self.current.as_ref().is_none_or(|current| self.stands(current)) {
            self.is_disturbed = false;
            return Ok(true);
        }
        let end = self.head;
        if !self.is_disturbed {
            telemetry::audit_broken();
            tracing::error!(
                missing,
                ?end,
                "files of the audit log were removed or changed: another one is begun"
            );
        }
        self.is_disturbed = true;
        // If there is no place for it, nothing changes: its folder may come back.
        super::open::make_folder(&self.dir)?;
        self.files.retain(|known| there.contains(&known.count));
        self.current = None;
        self.begin()?;
        self.write(&AuditedEvent::Missing { files: missing, end }, now)?;
        Ok(false)
    }

    fn stands(&self, current: &OpenLogFile) -> bool {
        let last = self.files.back().map(|known| self.dir.join(file_name(known.count)));
        last.is_some_and(|path| current.file.stands_at(&path))
    }

    /// Begins a file unless there is one of today that is not full.
    fn make_current(&mut self, now: Timestamp) -> io::Result<()> {
        let is_over = |current: &OpenLogFile| {
            current.file.bytes() >= self.max_file_bytes || current.day.is_some_and(|day| day != day_of(now))
        };
        if self.current.as_ref().is_some_and(is_over) {
            self.current = None;
        }
        if self.current.is_none() {
            self.begin()?;
        }
        let is_empty = self.current.as_ref().is_some_and(|current| current.file.bytes() == 0);
        if let Some(before) = self.files.iter().rev().nth(1).filter(|_| is_empty) {
            let before = file_name(before.count);
            self.write(&AuditedEvent::Rotated { before, end: self.head }, now)?;
        }
        Ok(())
    }

    /// Begins a file. If its name is taken, it gets a later one.
    fn begin(&mut self) -> io::Result<()> {
        let mut count = self.head.count + 1;
        let file = loop {
            match AppendFile::create(&self.dir.join(file_name(count))) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => count += 1,
                made => break made?,
            }
        };
        self.head.count = count - 1;
        self.current = Some(OpenLogFile { file, day: None });
        self.files.push_back(LogFile { count, behind: Some(self.head), began: None });
        self.folder_unsynced = true;
        Ok(())
    }

    /// Writes a whole line at once. What an error leaves of it is cut off before the next.
    fn write(&mut self, event: &AuditedEvent, now: Timestamp) -> io::Result<()> {
        let (text, head) = line(self.head, event, now);
        let closed = || io::Error::other("no file is open");
        let current = self.current.as_mut().ok_or_else(closed)?;
        current.file.append(text.as_bytes())?;
        self.head = head;
        if current.day.is_none() {
            current.day = Some(day_of(now));
            if let Some(known) = self.files.back_mut() {
                known.began = Some(now);
            }
        }
        let file = current.file.handle();
        if !self.unsynced.iter().any(|unsynced| Arc::ptr_eq(unsynced, file)) {
            self.unsynced.push(file.clone());
        }
        Ok(())
    }
}

/// Returns the day of an instant in UTC, counted from 1970.
pub fn day_of(instant: Timestamp) -> i64 {
    instant.as_second().div_euclid(DAY)
}
