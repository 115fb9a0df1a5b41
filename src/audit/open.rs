//! Opens the log at a start: finds the end of its chain, and whether the last file can be appended to.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use super::file::{WalkedFile, file_name, files, walk_file};
use super::line::{LineFacts, MAX_BYTES};
use super::writer::{LogFile, LogWriter, OpenLogFile, day_of};
use super::{AuditError, AuditedEvent};
use crate::chain::{AppendFile, ChainHead, ChainLineReader};
use crate::config::AuditConfig;
use crate::telemetry;

/// Opens the log in `dir`. Also returns events for what was found wrong, which are to be recorded
/// first.
pub fn open(dir: &Path, settings: &AuditConfig) -> Result<(LogWriter, Vec<AuditedEvent>), AuditError> {
    make_folder(dir).map_err(AuditError::at("make", dir))?;
    let mut known = VecDeque::new();
    for count in files(dir).map_err(AuditError::at("list", dir))? {
        known.push_back(look_at(dir, count)?);
    }
    let mut writer = LogWriter {
        dir: dir.into(),
        max_file_bytes: settings.max_file_bytes,
        head: ChainHead::EMPTY,
        current: None,
        files: known,
        unsynced: Vec::new(),
        folder_unsynced: false,
        lost: 0,
        sync_failed: false,
        is_disturbed: false,
    };
    let mut found = Vec::new();
    while let Some(last) = writer.files.back() {
        let (count, began) = (last.count, last.began);
        let path = dir.join(file_name(count));
        let walked = walk_file(&path, None, |_, _, _| Ok::<_, AuditError>(()))?;
        found.extend(what_is_wrong(count, &walked));
        if walked.lines == 0 {
            // Left by a crash before the first line was whole.
            std::fs::remove_file(&path).map_err(AuditError::at("remove", &path))?;
            writer.files.pop_back();
            continue;
        }
        writer.head = walked.head;
        if walked.broken.is_some() {
            telemetry::audit_broken();
            // Two files must not have the same name, and the later file must have the later one.
            writer.head.count = walked.head.count.max(count + walked.lines);
        } else {
            let opened = AppendFile::open(&path, walked.bytes);
            let (file, _) = opened.map_err(AuditError::at("open", &path))?;
            writer.unsynced.push(file.handle().clone());
            writer.current = Some(OpenLogFile { file, day: began.map(day_of) });
        }
        break;
    }
    // The oldest finding comes first.
    found.reverse();
    Ok((writer, found))
}

fn what_is_wrong(count: u64, walked: &WalkedFile) -> Option<AuditedEvent> {
    let file = file_name(count);
    if let Some((line, reason)) = &walked.broken {
        tracing::error!(
            file,
            line,
            reason,
            "the audit log was changed: its last file is left as it is, and a new one begun"
        );
        return Some(AuditedEvent::Broken { file, line: *line });
    }
    (walked.torn > 0).then(|| {
        tracing::warn!(file, bytes = walked.torn, "a torn line of the audit log was cut off");
        AuditedEvent::Torn { file, bytes: walked.torn }
    })
}

pub(super) fn make_folder(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        Err(_) => std::fs::set_permissions(dir, Permissions::from_mode(0o700))?,
        Ok(()) => {}
    }
    File::open(dir.parent().unwrap_or(dir))?.sync_all()
}

/// Reads what the first line of a file says.
fn look_at(dir: &Path, count: u64) -> Result<LogFile, AuditError> {
    let path = dir.join(file_name(count));
    let first = ChainLineReader::open(&path, MAX_BYTES).and_then(|mut lines| {
        let line = lines.next()?;
        Ok(line.and_then(|line| LineFacts::read(std::str::from_utf8(line.text).ok()?)))
    });
    let facts = first.map_err(AuditError::at("read", &path))?;
    let (behind, began) = (facts.as_ref().and_then(LineFacts::behind), facts.map(|facts| facts.recorded()));
    Ok(LogFile { count, behind, began })
}
