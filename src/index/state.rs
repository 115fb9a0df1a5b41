//! What an index knows at one instant, and the logs and metrics about it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::RwLockReadGuard;

use super::build::{BuildError, IndexTask};
use super::overlay::IndexOverlay;
use super::segment::Segment;
use super::totals::SourceTotals;
use crate::source::{LeftOut, LeftOutReason, SourceError};
use crate::telemetry;

/// What is indexed now.
#[derive(Default)]
pub struct IndexState {
    /// The files, in the order of their names.
    pub segments: Vec<Arc<Segment>>,
    /// What only all of them determine.
    pub overlay: IndexOverlay,
    /// The sums over them.
    pub totals: SourceTotals,
    /// Whether index files were looked for.
    pub(super) is_loaded: bool,
}

/// The index at one instant. It does not change while this exists.
pub struct IndexView<'a> {
    /// All that was in the source at this instant is in the index.
    pub taken_at: Timestamp,
    /// What the source held that is left out.
    pub left_out: LeftOut,
    pub(super) state: RwLockReadGuard<'a, IndexState>,
}

impl std::ops::Deref for IndexView<'_> {
    type Target = IndexState;

    fn deref(&self) -> &IndexState {
        &self.state
    }
}

/// Checks all index files, because where one is damaged others may be.
pub fn check_all(segments: &[Arc<Segment>]) {
    let damaged = segments.iter().filter(|segment| segment.check().is_err()).count();
    tracing::warn!(damaged, "index files were checked");
}

/// Fails if nothing could be read. Such a source is away, and an export of it would look complete.
pub fn check_readable(state: &IndexState, left_out: &LeftOut) -> Result<(), BuildError> {
    if left_out.count(LeftOutReason::Unreadable) == 0 || state.has_resources() {
        return Ok(());
    }
    let error = io::Error::other("the files that may have resources cannot be read; the log has the reason");
    Err(SourceError::Unreadable { name: String::new(), error }.into())
}

/// Logs that older versions win by the order of files and lines, if that is new.
pub fn tell_outdated(segments: &[Arc<Segment>], overlay: &IndexOverlay, before: &IndexOverlay) {
    let Some(outdated) = overlay.outdated().filter(|outdated| before.outdated() != Some(outdated)) else {
        return;
    };
    let name = |segment: u32| segments.get(segment as usize).map(|segment| &*segment.file.name);
    tracing::warn!(
        resources = outdated.count,
        file = name(outdated.older),
        newer_in = name(outdated.newer),
        "older versions take the place of newer ones, because they come later in the order of files and \
         lines; the first of them is in this file"
    );
}

/// Logs the lines of new chunks, from number `kept` on, that are not resources, without their
/// content (P12).
pub fn tell_broken(segment: &Segment, kept: usize) {
    let name = &segment.file.name;
    if segment.is_barren() {
        tracing::warn!(file = name, lines = segment.broken_count(0), "a file of the source has no resource");
        return;
    }
    for (line, broken) in segment.broken_lines(kept) {
        tracing::warn!(file = name, line, reason = broken.text(), "a line of the source is not a resource");
    }
    let rest = segment.broken_count(kept) - segment.broken_lines(kept).count() as u64;
    if rest > 0 {
        tracing::warn!(file = name, lines = rest, "more lines of the source are not resources");
    }
}

impl IndexState {
    /// Resources and gaps.
    pub fn spans(&self) -> u64 {
        self.segments.iter().map(|segment| segment.spans()).sum()
    }

    /// Returns the bytes in memory.
    pub fn resident_bytes(&self) -> u64 {
        let chunks = self.segments.iter().flat_map(|segment| &segment.chunks);
        chunks.map(|chunk| chunk.resident_bytes()).sum::<u64>() + self.totals.resident_bytes()
    }

    /// Returns whether there is a resource in the source.
    pub fn has_resources(&self) -> bool {
        self.segments.iter().any(|segment| segment.contents().resources > 0)
    }
}

/// The metrics of an index.
#[derive(Default)]
pub struct ShownMetrics {
    size: telemetry::IndexSize,
    left_out: telemetry::LeftOutFiles,
}

impl ShownMetrics {
    /// Counts what is left out, and files without a resource.
    pub fn show_left_out(&mut self, state: &IndexState, left_out: &LeftOut) {
        let barren = state.segments.iter().filter(|segment| segment.is_barren()).count();
        let counts = left_out.counts().iter().map(|(reason, count)| (reason.label(), *count));
        self.left_out.set(counts.chain([("no-resource", barren as u64)]).collect());
    }

    /// Counts and logs what was indexed and how large the index is.
    pub fn show(&mut self, state: &IndexState, tasks: &[IndexTask], took: Duration) {
        let indexed: u64 = tasks.iter().map(|task| task.file.size.saturating_sub(task.from())).sum();
        let (resources, bytes) = (state.spans(), state.resident_bytes());
        let superseded = state.overlay.superseded_count();
        tracing::info!(
            files = state.segments.len(),
            resources,
            superseded,
            resident_bytes = bytes,
            indexed_files = tasks.len(),
            indexed_bytes = indexed,
            ?took,
            "the index is up to date"
        );
        let outdated = state.overlay.outdated().map_or(0, |outdated| outdated.count);
        self.size.set(resources, superseded as u64, outdated, bytes);
        telemetry::indexed(indexed, took);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fhir::ResourceType;
    use crate::fhir::reference::BaseUrls;
    use crate::index::{Index, IndexCipher, IndexOptions, key};
    use crate::source::NdjsonFolder;

    /// An index of a folder with one Patient and one Group.
    fn index(folder: &std::path::Path) -> Index {
        let source = folder.join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("a.ndjson"), "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n").unwrap();
        fs::write(source.join("b.ndjson"), "{\"resourceType\":\"Group\",\"id\":\"g\"}\n").unwrap();
        let source = Arc::new(NdjsonFolder::open(&source).unwrap());
        Index::open(
            source,
            IndexOptions {
                folder: folder.join("index"),
                bases: BaseUrls::NONE,
                cipher: IndexCipher::none().into(),
            },
        )
        .unwrap()
    }

    #[test]
    fn many_look_at_once_and_who_finds_a_change_waits_until_nobody_does() {
        let folder = tempfile::tempdir().unwrap();
        let index = index(folder.path());
        let planned = index.look().unwrap();
        let at_once = || index.look_within(Duration::ZERO);
        drop(at_once().expect("a look waits for another one").unwrap());
        fs::write(folder.path().join("source/c.ndjson"), "{\"resourceType\":\"Patient\",\"id\":\"q\"}\n")
            .unwrap();
        assert!(at_once().is_none(), "the index was changed under a look");
        assert_eq!(planned.totals.count(ResourceType::PATIENT), 1);
        drop(planned);
        assert_eq!(index.look().unwrap().totals.count(ResourceType::PATIENT), 2);
    }

    #[test]
    fn the_totals_know_who_is_there_and_where_the_groups_are() {
        let folder = tempfile::tempdir().unwrap();
        let index = index(folder.path());
        let look = index.look().unwrap();
        let [p, q, g] = ["Patient/p", "Patient/q", "Group/g"].map(key);
        let bytes = fs::metadata(folder.path().join("source/a.ndjson")).unwrap().len();
        assert_eq!(look.totals.patient(&p).unwrap().certain, bytes);
        assert_eq!(
            (look.totals.patient(&q), look.totals.group(&g), look.totals.group(&p)),
            (None, Some((1, 0, 0)), None)
        );
    }
}
