//! What a client is told of an export that would else say nothing: that nothing was found, which
//! members of a Group do not count and why, how much is left out because it tells of others (P15).
//! There are counts only; nobody is named, and of Groups that are left out not even the number is told.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::roster::MemberCounts;
use super::selection::Selection;
use crate::export::{CancelToken, ExportError};
use crate::fhir::{IssueCode, OperationOutcome, ResourceType, Severity};
use crate::index::{ChunkLinks, IndexView, ResourceKey};

/// What was counted while an export was selected.
#[derive(Debug, Default)]
pub struct SelectionTally {
    /// Resources of any age that are selected by themselves.
    pub selected: u64,
    /// Of these the ones outside of compartments, such as Organizations.
    pub beside: u64,
    /// Resources that are left out only because others are in them too.
    pub left_out: u64,
}

impl SelectionTally {
    /// Adds what was chosen of a chunk, and what others alone keep out of it (P15): of types that the
    /// export may hold whole, but for Groups and what tells of Groups that it does not hold. `(s, c)`
    /// are the numbers of the segment and of the chunk in it.
    pub fn add(
        &mut self,
        (look, s, c): (&IndexView<'_>, usize, usize),
        selection: &Selection,
        links: Option<&ChunkLinks>,
        chosen: &[bool],
        cancel: &CancelToken,
    ) -> Result<(), ExportError> {
        let chunk = &look.segments[s].chunks[c];
        let is_beside = |index: u8| ResourceType::at(index).is_some_and(ResourceType::is_referred_to);
        for (index, _) in chunk.types().iter().zip(chosen).filter(|(_, is_chosen)| **is_chosen) {
            self.selected += 1;
            self.beside += u64::from(is_beside(*index));
        }
        let Some(links) = links.filter(|_| selection.patients().is_some()) else { return Ok(()) };
        let listing = || links.listing();
        let about_groups = listing().filter(|it| !selection.has_groups(it)).map(|it| it.place);
        let gone: HashSet<usize> = look.overlay.superseded(s, c).chain(about_groups).collect();
        let lists: HashSet<usize> =
            listing().filter(|it| !it.members.is_empty()).map(|it| it.place).collect();
        let adopted: HashMap<usize, &[ResourceKey]> = look.overlay.adopted(s, c).collect();
        let is_left_out = |n: usize, index: u8, entry: &u32| {
            let own = || links.patients(entry).filter_map(|place| links.everybody().get(place));
            let adopted = adopted.get(&n).copied().unwrap_or_default();
            (own().nth(1).is_some() || lists.contains(&n) || !adopted.is_empty())
                && index != ResourceType::GROUP.index()
                && selection.may_tell_of(index)
                && selection.has_age(chunk.updated()[n])
                && !gone.contains(&n)
                && own().chain(adopted).any(|patient| selection.is_about(patient))
        };
        let rows = chunk.types().iter().zip(chunk.patients()).zip(chosen).enumerate();
        for (n, ((index, entry), is_chosen)) in rows {
            cancel.check()?;
            self.left_out += u64::from(!is_chosen && is_left_out(n, *index, entry));
        }
        Ok(())
    }
}

/// A sentence for the `error` file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportNote {
    /// Whether something seems to be wrong with the source.
    is_warning: bool,
    text: String,
}

impl ExportNote {
    fn information(text: String) -> Self {
        Self { is_warning: false, text }
    }

    /// Returns the note as an outcome.
    pub fn outcome(&self) -> OperationOutcome {
        let severity = if self.is_warning { Severity::Warning } else { Severity::Information };
        OperationOutcome::new(severity, IssueCode::Processing, self.text.as_str())
    }
}

/// Returns the bytes of the notes in an `error` file.
pub fn bytes(notes: &[ExportNote]) -> u64 {
    notes.iter().map(|note| note.outcome().to_json().len() as u64 + 1).sum()
}

/// Returns what is told of an export; `is_empty` says whether nothing is in it, whatever its age.
pub fn of(selection: &Selection, tally: &SelectionTally, is_empty: bool) -> Vec<ExportNote> {
    let members = selection.members().filter(|members| is_empty || members.are_odd()).map(of_members);
    let left_out = (tally.left_out > 0).then(|| {
        let resources = tally.left_out;
        ExportNote::information(format!(
            "{resources} resources of these patients are left out, since they tell of others too, who are \
             not asked for."
        ))
    });
    let empty = is_empty.then(|| {
        let whose = match selection.patients() {
            Some(patients) => format!("is in the compartments of the {patients} patients that it is about"),
            None => "is in the source".into(),
        };
        ExportNote::information(format!(
            "The export is empty, whatever the times that are asked for: nothing that it may hold {whose}."
        ))
    });
    members.into_iter().chain(left_out).chain(empty).collect()
}

fn of_members(members: &MemberCounts) -> ExportNote {
    let reasons = [
        (members.inactive, "are inactive, or not members now"),
        (members.unreadable, "cannot be read, such as by a period that is none"),
        (members.elsewhere, "are named in no way that means a resource here, such as by an identifier alone"),
        (members.others, "are not patients"),
    ];
    let reasons = reasons.iter().filter(|(count, _)| *count > 0);
    let reasons: Vec<_> = reasons.map(|(count, reason)| format!("{count} {reason}")).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    let (listed, counted) = (members.listed(), members.counted);
    let text = format!("Of the {listed} members of the Group {counted} count as patients now{reasons}.");
    ExportNote { is_warning: members.are_odd(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_do_not_count_are_told_by_their_reasons() {
        let text = |members: MemberCounts| {
            let note = of_members(&members);
            (note.is_warning, note.text)
        };
        let only = MemberCounts { counted: 2, inactive: 1, ..MemberCounts::default() };
        let expected =
            "Of the 3 members of the Group 2 count as patients now: 1 are inactive, or not members now.";
        assert_eq!(text(only), (false, expected.into()));
        let none = "Of the 0 members of the Group 0 count as patients now.";
        assert_eq!(text(MemberCounts::default()), (false, none.into()));
        let (odd, all) =
            text(MemberCounts { counted: 1, inactive: 2, unreadable: 3, elsewhere: 4, others: 5 });
        assert!(odd && all.starts_with("Of the 15 members"), "{all}");
        assert!(
            ["3 cannot", "4 are named", "5 are not patients"].iter().all(|part| all.contains(part)),
            "{all}"
        );
    }
}
