//! What to generate. All options but the first three are off by default. Each draws from streams of
//! its own, so one option never changes what another one adds.

use std::path::PathBuf;
use std::str::FromStr;

/// What to generate.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// How many patients. With none, only the practices and their staff are written.
    pub patients: u32,
    /// Which set: the same seed gives the same bytes, another seed other people.
    pub seed: u64,
    /// The folder for the files. It is created if it is missing.
    pub out: PathBuf,
    /// How many cohorts are written besides the other Groups: `Group/cohort-1` and so on, each with one
    /// patient in ten, drawn for each cohort anew. A cohort that nobody is in is left out.
    pub groups: u16,
    /// How many Observations each patient has besides those of the record (about 29): half of them
    /// vital signs, half laboratory results.
    pub observations: u16,
    /// The share of all resources that have no `meta`, and so no `meta.lastUpdated`.
    pub undated: ResourceShare,
    /// The share of the dated resources that were last updated after 2026-01-01T00:00:00Z, and before
    /// 2026-06-30. All others were before 2026.
    pub recent: ResourceShare,
    /// The mean length in bytes of the text of a narrative (`text.div`) that each resource gets; 0 = no
    /// narratives. Half of the lengths lie below two thirds of the mean, half of the rest within the
    /// next two thirds, and so on: an exponential distribution in straight pieces, which ends at 44
    /// times the mean. The lines of one patient (about 58) are held in memory at once.
    pub notes: u32,
    /// Whether the files are a mess: see [`super::generate`].
    pub mess: bool,
}

impl GenerateOptions {
    /// A plain set: `patients` of the set `seed`, written to the folder `out`.
    pub fn new(patients: u32, seed: u64, out: impl Into<PathBuf>) -> Self {
        Self {
            patients,
            seed,
            out: out.into(),
            groups: 0,
            observations: 0,
            undated: ResourceShare::default(),
            recent: ResourceShare::default(),
            notes: 0,
            mess: false,
        }
    }
}

/// A share of a whole, from none (the default) to all, in millionths. It is parsed from a decimal
/// number from 0 to 1, and stored as an integer so that every machine draws the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceShare(u32);

impl ResourceShare {
    /// The whole, in millionths.
    pub(super) const WHOLE: u64 = 1_000_000;

    /// The share in millionths of the whole.
    pub(super) fn millionths(self) -> u64 {
        self.0.into()
    }
}

/// The text is not a number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a share is a number from 0 to 1, such as 0.1")]
pub struct NotAShare;

impl FromStr for ResourceShare {
    type Err = NotAShare;

    fn from_str(text: &str) -> Result<Self, NotAShare> {
        let share: f64 = text.parse().map_err(|_| NotAShare)?;
        if !(0.0..=1.0).contains(&share) {
            return Err(NotAShare);
        }
        Ok(Self((share * Self::WHOLE as f64).round() as u32))
    }
}
