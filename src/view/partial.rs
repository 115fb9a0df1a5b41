//! The sealed parts of an incomplete job, for clients that accept partial manifests
//! (`allowPartialManifests`, ST-9). A part appears when it is sealed and durably recorded, so that what
//! was shown is taken back only by a deletion.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::job::{OutputFile, SealedPart};

/// The most manifests of one export.
const MANIFESTS: usize = 100;

/// The sealed parts of one job, for its partial manifests.
#[derive(Debug, Default)]
pub struct PartialManifests(RwLock<SealedParts>);

#[derive(Debug, Default)]
struct SealedParts {
    /// The number of parts in the plan, once there is one.
    planned: Option<usize>,
    parts: BTreeMap<u32, Arc<SealedPart>>,
}

impl PartialManifests {
    /// Creates the manifests of the parts that were sealed before a start.
    pub fn of(parts: &[SealedPart]) -> Self {
        let partial = Self::default();
        parts.iter().for_each(|part| partial.add(part));
        partial
    }

    /// Sets the number of parts in the plan.
    pub fn plan(&self, parts: usize) {
        self.0.write().planned = Some(parts);
    }

    /// Adds a sealed and recorded part.
    pub fn add(&self, part: &SealedPart) {
        self.0.write().parts.insert(part.index, Arc::new(part.clone()));
    }

    /// Returns the file of that name.
    pub fn file(&self, name: &str) -> Option<OutputFile> {
        let sealed = self.0.read();
        sealed.parts.values().flat_map(|part| &part.files).find(|file| file.name == name).cloned()
    }

    /// Returns the files of all sealed parts, in the order of the plan.
    pub fn files(&self) -> Vec<OutputFile> {
        self.0.read().parts.values().flat_map(|part| &part.files).cloned().collect()
    }

    /// Returns the files of manifest `n`, from 0, if all its parts are sealed.
    pub fn manifest(&self, n: usize) -> Option<Vec<OutputFile>> {
        let sealed = self.0.read();
        let wanted = parts_of(n, sealed.planned?)?;
        let parts = wanted.map(|index| sealed.parts.get(&u32::try_from(index).ok()?));
        let parts = parts.collect::<Option<Vec<_>>>()?;
        Some(parts.into_iter().flat_map(|part| &part.files).cloned().collect())
    }
}

/// Returns the parts of manifest `n` of a plan with `planned` parts, or `None` if there is no such
/// manifest. It follows from the plan alone, so a manifest never changes.
pub fn parts_of(n: usize, planned: usize) -> Option<Range<usize>> {
    let each = planned.div_ceil(MANIFESTS).max(1);
    let start = n.checked_mul(each)?;
    // A plan without parts has one manifest, without files.
    (start < planned || n == 0).then(|| start..planned.min(start + each))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(index: u32) -> SealedPart {
        let name = format!("{index}_Patient.ndjson");
        let file = OutputFile { count: 1, bytes: 10, ..OutputFile::new(name, "Patient") };
        SealedPart { index, files: vec![file], broken_lines: 0 }
    }

    #[test]
    fn every_part_belongs_to_one_manifest_and_there_are_not_too_many() {
        for planned in [0, 1, 2, 99, 100, 101, 199, 200, 201, 16_000, 1_000_003] {
            let ranges: Vec<_> = (0..).map_while(|n| parts_of(n, planned)).collect();
            assert!(ranges.len() <= MANIFESTS, "{planned}: {}", ranges.len());
            assert_eq!(ranges[0].start, 0);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{planned}");
            assert_eq!(ranges.last().unwrap().end, planned);
        }
        assert_eq!(parts_of(usize::MAX, 1000), None);
    }

    #[test]
    fn a_manifest_is_there_when_all_its_parts_are_sealed() {
        let partial = PartialManifests::of(&[part(0)]);
        assert_eq!(partial.manifest(0), None, "there is no plan yet");
        partial.plan(300);
        assert_eq!(partial.manifest(0), None);
        partial.add(&part(2));
        partial.add(&part(1));
        let names = |files: Vec<OutputFile>| files.into_iter().map(|file| file.name).collect::<Vec<_>>();
        assert_eq!(
            names(partial.manifest(0).unwrap()),
            ["0_Patient.ndjson", "1_Patient.ndjson", "2_Patient.ndjson"]
        );
        assert_eq!(partial.manifest(1), None);
        assert!(partial.file("2_Patient.ndjson").is_some() && partial.file("3_Patient.ndjson").is_none());
    }
}
