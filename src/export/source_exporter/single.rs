//! Single resources of the source: the Groups and Binaries that clients read outside of an
//! export (K-14, O-4). The index is held only for as long as it takes to find them.

use std::sync::Arc;

use serde_json::json;
use xxhash_rust::xxh3::Xxh3Default;

use super::copy::{SourceWindow, TouchedSums};
use super::group;
use super::{PATIENCE, SourceExporter};
use crate::export::{CHECK_PATIENCE, CancelToken, ExportError, GroupName};
use crate::fhir::ResourceType;
use crate::index::{Index, IndexView, Segment, SpanPlace, key, keys, text_of};
use crate::job::ALL_PATIENTS;

/// The Groups of one version of the source, by their ids.
#[derive(Default)]
pub struct KnownGroups {
    /// Which version.
    of: u128,
    groups: Arc<Vec<GroupName>>,
}

impl SourceExporter {
    /// Returns the newest version of a resource. The Group of all patients is always there, whatever
    /// the source has under its id.
    pub(super) fn read_one(
        &self,
        resource_type: ResourceType,
        id: &str,
    ) -> Result<Option<Vec<u8>>, ExportError> {
        let look = self.look_soon()?;
        if resource_type == ResourceType::GROUP && id == ALL_PATIENTS {
            return Ok(Some(all_patients(&look)));
        }
        let Some((s, c, n)) = find(&look, resource_type, id)? else { return Ok(None) };
        let segment = look.segments[s as usize].clone();
        drop(look);
        read(&self.index, &segment, (c, n), &CancelToken::new()).map(Some)
    }

    /// All Groups that have an id, by their ids. They are read once a version of the source.
    pub(super) fn read_groups(&self) -> Result<Arc<Vec<GroupName>>, ExportError> {
        let look = self.look_soon()?;
        let of = version(&look);
        {
            let known = self.groups.lock();
            if known.of == of {
                return Ok(known.groups.clone());
            }
        }
        let spots: Vec<_> =
            look.totals.groups().map(|(s, c, n)| (look.segments[s as usize].clone(), c, n)).collect();
        drop(look);
        let all_patients =
            GroupName { id: ALL_PATIENTS.into(), name: Some(ALL_PATIENTS_NAME.into()), identifier: None };
        let mut groups = vec![all_patients];
        for (segment, c, n) in spots {
            let found = group::name_of(&read(&self.index, &segment, (c, n), &CancelToken::new())?);
            groups.extend(found.filter(|group| group.id != ALL_PATIENTS));
        }
        groups.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let groups = Arc::new(groups);
        *self.groups.lock() = KnownGroups { of, groups: groups.clone() };
        Ok(groups)
    }

    /// A read waits for others at the index as long as a kick-off does; it can be tried again.
    fn look_soon(&self) -> Result<IndexView<'_>, ExportError> {
        Ok(self.look_within(CHECK_PATIENCE).ok_or(ExportError::Busy)??)
    }
}

/// Tries again what failed because the source, or the index, was not as it should be: the next
/// look indexes that anew.
pub fn patiently<T>(mut attempt: impl FnMut() -> Result<T, ExportError>) -> Result<T, ExportError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match attempt() {
            Err(ExportError::SourceChanged(_) | ExportError::Index(_)) if attempts < PATIENCE => {}
            done => return done,
        }
    }
}

/// Returns where the resource of that type and id is.
pub fn find(
    look: &IndexView<'_>,
    resource_type: ResourceType,
    id: &str,
) -> Result<Option<SpanPlace>, ExportError> {
    let wanted = key(&format!("{}/{id}", resource_type.as_str()));
    if resource_type == ResourceType::GROUP {
        return Ok(look.totals.group(&wanted));
    }
    let index = resource_type.index();
    for (s, segment) in look.segments.iter().enumerate().rev() {
        let chunks = segment.chunks.iter().enumerate().rev();
        for (c, chunk) in chunks.filter(|(_, chunk)| chunk.types().contains(&index)) {
            let table = segment.open()?.keys(chunk)?;
            // The last one is the one that counts.
            if let Some(n) = keys(&table).iter().rposition(|key| *key == wanted) {
                let is_deleted = look.overlay.superseded(s, c).any(|gone| gone == n);
                return Ok((!is_deleted).then_some((s as u32, c as u32, n as u32)));
            }
        }
    }
    Ok(None)
}

/// Returns the text of a resource: the span of that number in that chunk.
pub fn read(
    index: &Index,
    segment: &Segment,
    (c, n): (u32, u32),
    cancel: &CancelToken,
) -> Result<Vec<u8>, ExportError> {
    let chunk = &segment.chunks[c as usize];
    let before = chunk.spans().take(n as usize).map(|span| u64::from(span.length)).sum::<u64>();
    let start = chunk.entry.start + before;
    let end = start + chunk.spans().nth(n as usize).map_or(0, |span| u64::from(span.length));
    let opened = index.source().open(&segment.file.name)?;
    let (name, mut buffer) = (&segment.file.name, Vec::new());
    let stretch = (chunk.entry.start, chunk.entry.end);
    let mut window = SourceWindow::new(&*opened.content, name, stretch, &mut buffer, cancel);
    let mut sums = TouchedSums::new(chunk.entry.start, chunk.sums());
    sums.touch(start, end);
    let line = window.all(start, end).map(|line| text_of(line, start == 0).to_vec());
    let checked = line.and_then(|line| window.check(sums.sum()).map(|()| line));
    checked.inspect_err(|error| {
        if !matches!(error, ExportError::Cancelled) {
            index.doubt(&segment.file.name);
        }
    })
}

/// What the Group of all patients is called.
const ALL_PATIENTS_NAME: &str = "All patients";

/// The Group that is always there: it names no members, which are everybody, but counts them.
fn all_patients(look: &IndexView<'_>) -> Vec<u8> {
    let group = json!({
        "resourceType": "Group",
        "id": ALL_PATIENTS,
        "active": true,
        "type": "person",
        "actual": true,
        "name": ALL_PATIENTS_NAME,
        "quantity": look.totals.count(ResourceType::PATIENT),
    });
    group.to_string().into_bytes()
}

/// Tells versions of the files with Groups, and of what counts of them, apart.
fn version(look: &IndexView<'_>) -> u128 {
    let mut hash = Xxh3Default::new();
    for (s, c, n) in look.totals.groups() {
        hash.update(look.segments[s as usize].file.fingerprint.as_bytes());
        [s, c, n].into_iter().for_each(|number| hash.update(&number.to_le_bytes()));
    }
    hash.digest128()
}
