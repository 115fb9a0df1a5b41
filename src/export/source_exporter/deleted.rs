//! What a client is told of resources that are gone (MF-6), in Bundles of the manifest's
//! `deleted`, if it asks with `_since` for what has changed.
//!
//! - The source says it in Bundles of `type: transaction`, by entries of `request.method` DELETE
//!   and `request.url` `Type/id`. All else in them is left out.
//! - A resource and its deletion take turns: the last one in the order of the source counts. So
//!   what is gone is in no export, and what is there again is not told.
//! - Told is what was deleted within `_since` and `_until`, by the Bundle's `meta.lastUpdated` or
//!   else its `timestamp`; if it has neither, always.
//! - Told is what the export would have had: types of its level and of `_type`. A system export
//!   and one of all patients tell of all of these, since whose a resource was is often not known
//!   any more; one of all patients tells of reference types too, unless it goes without them.
//! - Of a type of which an export may hold a part only it tells nothing: whether what is gone was
//!   in that part cannot be known any more.
//! - An export that is about some patients only tells of these patients themselves, and of what
//!   still stands in the source and names one of them; of reference types only if it has all of
//!   them. Ids of other people's resources are not for this client (G-4).

use jiff::Timestamp;
use serde_json::Value;

use super::selection::Selection;
use crate::export::{CancelToken, ExportError, PartWriter};
use crate::fhir::ResourceType;
use crate::fhir::reference::BaseUrls;
use crate::index::{GoneResource, IndexView, LineParser, SpanPlace, TOLD_ENTRIES, UNKNOWN_AGE};

/// What is told of one Bundle of the source.
pub struct ToldBundle {
    /// The Bundle.
    pub bundle: SpanPlace,
    /// The numbers of its entries among those that delete something.
    pub entries: Vec<u32>,
    /// Bytes of all that is written about it, at the most.
    pub bytes: u64,
}

/// Returns what the selection tells of resources that are gone, in the order of the source.
///
/// # Errors
/// [`ExportError::Cancelled`].
pub fn told(
    look: &IndexView<'_>,
    selection: &Selection,
    cancel: &CancelToken,
) -> Result<Vec<ToldBundle>, ExportError> {
    if !selection.tells_of_changes() {
        return Ok(Vec::new());
    }
    let is_told = |gone: &&GoneResource| {
        let (s, c, n) = gone.bundle;
        let updated = look.segments[s as usize].chunks[c as usize].updated()[n as usize];
        selection.has_age(updated) && selection.tells_of(gone)
    };
    let gone = look.overlay.gone().iter().take_while(|_| !cancel.is_cancelled());
    let gone: Vec<_> = gone.filter(is_told).collect();
    cancel.check()?;
    let of_bundles = gone.chunk_by(|a, b| a.bundle == b.bundle).map(|gone| ToldBundle {
        bundle: gone[0].bundle,
        entries: gone.iter().map(|gone| gone.entry).collect(),
        bytes: bytes(
            gone.len().div_ceil(TOLD_ENTRIES) as u64,
            gone.len() as u64,
            gone.iter().map(|gone| u64::from(gone.bytes)).sum(),
        ),
    });
    Ok(of_bundles.collect())
}

/// Returns the bytes of so many Bundles with so many entries in all, whose names are `names` bytes
/// long, at the most.
pub fn bytes(bundles: u64, entries: u64, names: u64) -> u64 {
    // With a line feed, and a comma: no age is longer than the last one.
    let (frame, request) = (bundle(i64::MAX, "").len() as u64 + 1, entry("").len() as u64 - 2 + 1);
    bundles * frame + entries * request + names
}

/// Writes some of the entries of a Bundle of the source that delete something.
///
/// # Errors
/// Those of the writer; [`ExportError::Other`] if the line has not these entries.
pub fn write(
    line: &[u8],
    entries: &[u32],
    bases: &BaseUrls,
    cancel: &CancelToken,
    out: &mut PartWriter,
) -> Result<(), ExportError> {
    let damaged = || ExportError::Other("the plan is damaged".into());
    let mut reader = LineParser::new(bases, cancel);
    let read = reader.read(line);
    cancel.check()?;
    read.map_err(|_| damaged())?;
    for batch in entries.chunks(TOLD_ENTRIES) {
        let named = |n: &u32| reader.deletions.get(*n as usize).map(|deletion| entry(&deletion.name));
        let batch: Option<Vec<_>> = batch.iter().map(named).collect();
        let bundle = bundle(reader.updated, &batch.ok_or_else(damaged)?.join(","));
        out.resource(ResourceType::BUNDLE, bundle.as_bytes())?;
    }
    Ok(())
}

/// Returns an entry, given the name of what it deletes.
fn entry(name: &str) -> String {
    format!(r#"{{"request":{{"method":"DELETE","url":{}}}}}"#, Value::from(name))
}

/// Returns a Bundle of entries, of an age in nanoseconds.
fn bundle(updated: i64, entries: &str) -> String {
    let updated = Some(updated).filter(|updated| *updated != UNKNOWN_AGE);
    let updated = updated.and_then(|updated| Timestamp::from_nanosecond(updated.into()).ok());
    let meta = updated.map_or(String::new(), |updated| format!(r#""meta":{{"lastUpdated":"{updated}"}},"#));
    format!(r#"{{"resourceType":"Bundle",{meta}"type":"transaction","entry":[{entries}]}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mf_6_a_bundle_of_deletions_is_a_transaction() {
        let entries = [entry("Patient/p"), entry("Patient/\"q\"")].join(",");
        let json: Value = serde_json::from_str(&bundle(1_500_000_000, &entries)).unwrap();
        let request = |name| serde_json::json!({"request": {"method": "DELETE", "url": name}});
        let expected = serde_json::json!({
            "resourceType": "Bundle", "type": "transaction",
            "meta": {"lastUpdated": "1970-01-01T00:00:01.5Z"},
            "entry": [request("Patient/p"), request("Patient/\"q\"")],
        });
        assert_eq!(json, expected);
        assert!(!bundle(UNKNOWN_AGE, &entries).contains("meta"));
        assert!(bundle(0, "").len() <= bundle(i64::MAX, "").len());
    }
}
