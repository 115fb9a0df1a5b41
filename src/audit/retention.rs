//! Removes the first files when they are too old. An event that announces it, and how the chain goes on
//! after them, is durable before the first file is removed. So a crash leaves a whole chain, or one
//! that records itself where it begins.

use std::fs::File;

use jiff::Timestamp;

use super::file::file_name;
use super::sync::SharedLog;
use super::writer::LogWriter;
use super::{AuditError, AuditedEvent};
use crate::chain::ChainHead;
use crate::plain_file;
use crate::telemetry;

/// Removes files that end before `before`, and returns their number.
pub fn prune(shared: &SharedLog, before: Timestamp) -> Result<usize, AuditError> {
    let (dir, due, current) = {
        let mut writer = shared.writer();
        let Some((due, cut)) = due(&writer, before) else { return Ok(0) };
        let dir = writer.dir.clone();
        let event = AuditedEvent::Removed { files: due.len(), cut };
        writer.record(&event, shared.now()).map_err(AuditError::at("announce a removal in", &dir))?;
        telemetry::audited(event.kind());
        (dir, due, writer.current.as_ref().map(|current| current.file.handle().clone()))
    };
    let sync_folder = || File::open(&dir)?.sync_all();
    current
        .map_or(Ok(()), |file| file.sync_data())
        .and_then(|()| sync_folder())
        .map_err(AuditError::at("sync", &dir))?;
    for count in &due {
        let path = dir.join(file_name(*count));
        // Before it is removed, so that a check of the files does not miss it.
        let first = shared.writer().files.pop_front_if(|known| known.count == *count);
        if let Err(error) = plain_file::remove(&path) {
            let mut writer = shared.writer();
            first.into_iter().for_each(|known| writer.files.push_front(known));
            return Err(AuditError::at("remove", &path)(error));
        }
    }
    sync_folder().map_err(AuditError::at("sync", &dir))?;
    tracing::info!(files = due.len(), %before, "old files of the audit log were removed");
    Ok(due.len())
}

/// Returns the files that are due, the oldest first, and the head after them. A file ends where the
/// next one begins. The last file is never due.
fn due(writer: &LogWriter, before: Timestamp) -> Option<(Vec<u64>, ChainHead)> {
    let next = writer.files.iter().skip(1);
    let is_over = |next: &&super::writer::LogFile| next.began.is_some_and(|began| began < before);
    let kept: Vec<_> = next.take_while(is_over).collect();
    let cut = kept.last()?.behind?;
    let due = writer.files.iter().take(kept.len()).map(|known| known.count).collect();
    Some((due, cut))
}
