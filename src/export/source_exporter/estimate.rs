//! How many bytes an export is going to write, told at its kick-off from the sums that the index
//! keeps: no resource is looked at, so the time that it takes does not grow with the source. What the
//! sums cannot tell lies between two bounds. If these are close, the upper one is the estimate and
//! room is reserved for it. If they are not, there is no estimate, so that nobody is refused for want
//! of room that is never used: the plan knows, and reserves the room before a byte is written.

use super::context::PlanContext;
use super::deleted;
use super::line_writer::{LineOptions, LineWriter};
use super::notes::{self, SelectionTally};
use super::remarks::SourceRemarks;
use super::selected_chunks::line_feeds;
use super::selection::{Selection, TypeRule};
use crate::export::ExportError;
use crate::fhir::ResourceType;
use crate::index::{IndexView, ResourceSum};
use crate::job::OrganizeBy;

/// The share of what is certainly written by which an estimate may be too high.
const UNCERTAIN_SHARE: u64 = 8;

/// Bytes by which it may be too high in any case.
const UNCERTAIN_BYTES: u64 = 64 << 10;

/// Bounds of the bytes that a plan is going to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ByteRange {
    least: u64,
    most: u64,
}

impl ByteRange {
    fn add(&mut self, least: u64, most: u64) {
        self.least = self.least.saturating_add(least);
        self.most = self.most.saturating_add(most);
    }

    /// Returns the upper bound, if it is close to the lower one.
    fn estimate(self) -> Option<u64> {
        let uncertain = self.most - self.least;
        (uncertain <= UNCERTAIN_BYTES.max(self.least / UNCERTAIN_SHARE)).then_some(self.most)
    }
}

/// Returns the bytes that an export of the request writes, at the most, or `None` if only its plan can
/// tell. In output that is organized by patient, resources stand in as many blocks as refer to them, so
/// there only the plan can.
///
/// # Errors
/// Those of [`patients::asked_for`](super::patients::asked_for).
pub fn estimate(context: &PlanContext<'_>) -> Result<Option<u64>, ExportError> {
    let PlanContext { index, look, request, cancel, .. } = *context;
    let selection = context.selection()?;
    if request.parameters().organize_by == Some(OrganizeBy::Patient) {
        return Ok(None);
    }
    let lines = LineOptions::of(request, index.bases());
    let url_growth = lines.url_growth();
    let estimator =
        ExportEstimator { look, selection: &selection, url_growth, rules: LineWriter::new(lines, cancel) };
    let (mut range, is_something) = estimator.resources();
    let deletions = estimator.deletions();
    range.add(deletions.least, deletions.most);
    let around = line_feeds(look.segments.len()) + SourceRemarks::of(look).bytes();
    range.add(around, around);
    if !is_something || selection.patients().is_some() {
        let tally = SelectionTally { left_out: u64::MAX, ..SelectionTally::default() };
        range.add(0, notes::bytes(&notes::of(&selection, &tally, true)));
    }
    Ok(range.estimate())
}

struct ExportEstimator<'e> {
    look: &'e IndexView<'e>,
    selection: &'e Selection,
    /// Bytes that a URL of a Binary may get longer.
    url_growth: u64,
    rules: LineWriter,
}

impl ExportEstimator<'_> {
    /// Returns the bytes of these resources on their way out.
    fn bytes(&self, of_type: Option<ResourceType>, sum: ResourceSum) -> u64 {
        let growth = of_type.map_or(0, |of_type| self.rules.growth(of_type));
        sum.bytes + sum.urls * self.url_growth + sum.resources * growth
    }

    /// Returns the bytes of all resources; and whether some are selected for certain, whatever their
    /// age.
    fn resources(&self) -> (ByteRange, bool) {
        let (after, before) = self.selection.ages();
        let (mut beside, mut of_patients) = (ByteRange::default(), ByteRange::default());
        let (mut is_something, mut has_all_types) = (false, true);
        for (kind, sums) in self.look.totals.resources() {
            let of_type = ResourceType::at(kind.type_index);
            let rule = self.selection.rule(kind.type_index, kind.is_owned);
            let may_be_withheld =
                self.selection.has_some_groups_only() || self.selection.patients().is_some();
            let is_certain = !(kind.is_listing && may_be_withheld);
            let between = sums.between(after, before);
            let (least, most) = (self.bytes(of_type, between.least), self.bytes(of_type, between.most));
            match rule {
                TypeRule::Always => {
                    beside.add(if is_certain { least } else { 0 }, most);
                    is_something |= is_certain;
                }
                TypeRule::OfPatients if kind.is_owned => {
                    of_patients.add(if is_certain { least } else { 0 }, most);
                    is_something |= is_certain && self.selection.patients().is_none();
                }
                TypeRule::ReferredTo => beside.add(0, most),
                // Their own age does not matter.
                TypeRule::Associated => beside.add(0, self.bytes(of_type, sums.all())),
                TypeRule::OfPatients | TypeRule::Never => {}
            }
            has_all_types &= !kind.is_owned || rule == TypeRule::OfPatients || goes_by_more(kind.type_index);
        }
        if let Some(these) = self.these_patients() {
            let is_certain = has_all_types && (after, before) == (i64::MIN, i64::MAX);
            let least = if is_certain { these.least } else { 0 };
            of_patients = ByteRange { least, most: these.most.min(of_patients.most) };
        }
        beside.add(of_patients.least, of_patients.most);
        (beside, is_something)
    }

    /// Returns the bytes of the compartments of the patients that are asked for, if these are not all.
    fn these_patients(&self) -> Option<ByteRange> {
        let growth = ResourceType::all().map(|of_type| self.rules.growth(of_type)).max().unwrap_or(0);
        let mut range = ByteRange::default();
        for sum in self.selection.each_patient()?.filter_map(|patient| self.look.totals.patient(patient)) {
            let grown = u64::from(sum.urls) * self.url_growth + u64::from(sum.resources) * growth;
            range.add(sum.certain, sum.certain + sum.uncertain + grown);
        }
        Some(range)
    }

    /// Returns the bytes of what is told of resources that are gone.
    fn deletions(&self) -> ByteRange {
        let mut range = ByteRange::default();
        if !self.selection.tells_of_changes() {
            return range;
        }
        let (after, before) = self.selection.ages();
        for (type_index, sums) in self.look.totals.deletions() {
            if self.selection.may_tell_of_deletions(type_index) {
                let most = sums.between(after, before).most;
                range.add(0, deleted::bytes(most.urls, most.resources, most.bytes));
            }
        }
        range
    }
}

/// Returns whether resources of that type are exported by more than their patients: see
/// [`PatientSum`](crate::index::PatientSum).
fn goes_by_more(type_index: u8) -> bool {
    type_index == ResourceType::DEVICE.index() || type_index == ResourceType::PROVENANCE.index()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upper_bound_is_an_estimate_only_if_it_is_near_the_truth() {
        let estimate = |least, most| ByteRange { least, most }.estimate();
        assert_eq!(estimate(0, UNCERTAIN_BYTES), Some(UNCERTAIN_BYTES));
        assert_eq!(estimate(0, UNCERTAIN_BYTES + 1), None);
        assert_eq!(estimate(8 << 30, 9 << 30), Some(9 << 30));
        assert_eq!(estimate(8 << 30, (9 << 30) + 1), None);
    }
}
