//! The members of a Group, as its line lists them: who of them counts depends on the instant. A line
//! is read once: the plan of an export finds here what its kick-off has read. What is kept for that
//! is bounded (P13); a Group with more members is read again.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::export::ExportError;
use crate::index::ResourceKey;

/// Members of all Groups together that are remembered; 56 bytes each.
const KEPT_MEMBERS: usize = 100_000;

/// Groups that are remembered.
const KEPT_GROUPS: usize = 64;

/// Whom a member is, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberIdentity {
    /// The patient of that name.
    Patient(ResourceKey),
    /// A Group.
    Group,
    /// A resource of another type.
    Other,
    /// It is named in no way that means a resource here.
    Elsewhere,
}

/// When a member counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// From the first instant to the last one, both included; `None` is no bound.
    Within(Option<Timestamp>, Option<Timestamp>),
    /// Never: it is inactive.
    Inactive,
    /// Something that decides cannot be read.
    Unreadable,
}

/// How many members a Group has, by what becomes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberCounts {
    /// Patients who are members now.
    pub counted: u64,
    /// Those that are inactive, or whose period does not hold now.
    pub inactive: u64,
    /// Those of which something that decides cannot be read.
    pub unreadable: u64,
    /// Those that are named in no way that means a resource here.
    pub elsewhere: u64,
    /// Those of other types.
    pub others: u64,
}

impl MemberCounts {
    /// Returns the number of all listed members.
    pub fn listed(&self) -> u64 {
        self.counted + self.inactive + self.unreadable + self.elsewhere + self.others
    }

    /// Returns whether some may be meant that do not count.
    pub fn are_odd(&self) -> bool {
        self.unreadable + self.elsewhere > 0
    }
}

/// The members of a Group, whenever they count.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GroupRoster {
    /// In the order of the Group.
    pub members: Vec<(MemberIdentity, Membership)>,
}

impl GroupRoster {
    /// Returns the patients who are members at that instant. All others are passed over, and
    /// counted.
    ///
    /// # Errors
    /// [`ExportError::GroupNested`] if a Group is a member then.
    pub fn at(&self, now: Timestamp) -> Result<(HashSet<ResourceKey>, MemberCounts), ExportError> {
        let (mut patients, mut counts) = (HashSet::new(), MemberCounts::default());
        for (identity, membership) in &self.members {
            let is_now = match membership {
                Membership::Unreadable => {
                    counts.unreadable += 1;
                    continue;
                }
                Membership::Inactive => false,
                Membership::Within(first, last) => {
                    first.is_none_or(|first| first <= now) && last.is_none_or(|last| now <= last)
                }
            };
            match identity {
                _ if !is_now => counts.inactive += 1,
                MemberIdentity::Patient(patient) => {
                    patients.insert(*patient);
                    counts.counted += 1;
                }
                MemberIdentity::Group => return Err(ExportError::GroupNested),
                MemberIdentity::Other => counts.others += 1,
                MemberIdentity::Elsewhere => counts.elsewhere += 1,
            }
        }
        Ok((patients, counts))
    }
}

/// Which line of which version of a file it is: its fingerprint, the chunk and the place in it.
pub type LineIdentity = (String, u32, u32);

/// Rosters that were read lately, the last one behind.
#[derive(Default)]
pub struct RosterCache(Mutex<VecDeque<(LineIdentity, Arc<GroupRoster>)>>);

impl RosterCache {
    /// Returns the roster that stands in that line: the one that is remembered, or what `read` gives.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn get(
        &self,
        line: LineIdentity,
        read: impl FnOnce() -> Result<GroupRoster, ExportError>,
    ) -> Result<Arc<GroupRoster>, ExportError> {
        if let Some((_, roster)) = self.0.lock().iter().find(|(kept, _)| *kept == line) {
            return Ok(roster.clone());
        }
        // Others are not kept waiting meanwhile; if two read the same one, either is as good.
        let roster = Arc::new(read()?);
        if roster.members.len() <= KEPT_MEMBERS {
            let mut kept = self.0.lock();
            kept.push_back((line, roster.clone()));
            let members = |kept: &VecDeque<(_, Arc<GroupRoster>)>| {
                kept.iter().map(|(_, roster)| roster.members.len()).sum::<usize>()
            };
            while kept.len() > KEPT_GROUPS || members(&kept) > KEPT_MEMBERS {
                kept.pop_front();
            }
        }
        Ok(roster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(members: usize) -> Result<GroupRoster, ExportError> {
        let member = (MemberIdentity::Other, Membership::Inactive);
        Ok(GroupRoster { members: vec![member; members] })
    }

    fn line(n: u32) -> LineIdentity {
        ("a version".into(), 0, n)
    }

    #[test]
    fn a_group_is_read_once_as_long_as_its_file_stays_as_it_is() {
        let (cache, mut reads) = (RosterCache::default(), 0);
        for at in [line(1), line(1), line(2), ("another".into(), 0, 1), line(1), line(2)] {
            cache
                .get(at, || {
                    reads += 1;
                    roster(2)
                })
                .unwrap();
        }
        assert_eq!(reads, 3);
        let failed = cache.get(line(3), || Err(ExportError::GroupNotFound));
        assert!(failed.is_err() && cache.get(line(3), || roster(1)).is_ok(), "an error is not remembered");
    }

    #[test]
    fn p13_what_is_remembered_of_groups_is_bounded() {
        let cache = RosterCache::default();
        let kept = || cache.0.lock().iter().map(|(_, roster)| roster.members.len()).collect::<Vec<_>>();
        cache.get(line(0), || roster(KEPT_MEMBERS + 1)).unwrap();
        assert_eq!(kept(), [0usize; 0], "one that is too large is not kept");
        cache.get(line(1), || roster(KEPT_MEMBERS)).unwrap();
        assert_eq!(kept(), [KEPT_MEMBERS]);
        cache.get(line(2), || roster(1)).unwrap();
        assert_eq!(kept(), [1], "the eldest one makes room");
        (10..200).for_each(|n| drop(cache.get(line(n), || roster(1)).unwrap()));
        assert_eq!(kept().len(), KEPT_GROUPS);
    }

    #[test]
    fn who_is_a_member_goes_by_the_instant_that_is_asked_about() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let of = |first: Option<i64>, last: Option<i64>| {
            (MemberIdentity::Patient([1, 2]), Membership::Within(first.map(at), last.map(at)))
        };
        let counted =
            |member, second| GroupRoster { members: vec![member] }.at(at(second)).unwrap().1.counted == 1;
        assert!(
            counted(of(Some(5), Some(7)), 5)
                && counted(of(Some(5), Some(7)), 7)
                && counted(of(None, None), 0)
        );
        assert!(!counted(of(Some(5), None), 4) && !counted(of(None, Some(7)), 8));
        let nested = (MemberIdentity::Group, Membership::Within(Some(at(5)), None));
        let nested = GroupRoster { members: vec![nested] };
        assert!(nested.at(at(4)).is_ok() && matches!(nested.at(at(5)), Err(ExportError::GroupNested)));
    }
}
