//! What the page of jobs is asked for: which jobs, and in which order. It is all in the query of its URL.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evanesce::ListedJob;
use crate::job::StateName;

/// What the query asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobsQuery {
    /// Which states; empty for all.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "choice")]
    pub state: Option<StateChoice>,
    /// What the id, the tenant or the client contains.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    pub sort: SortKey,
    #[serde(skip_serializing_if = "is_false")]
    pub ascending: bool,
    /// The page, from 1.
    #[serde(skip_serializing_if = "is_first")]
    pub page: usize,
}

/// Reads a choice. The form sends an empty text for all.
fn choice<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<StateChoice>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(StateChoice::ALL.into_iter().find(|choice| choice.name() == text))
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_first(page: &usize) -> bool {
    *page <= 1
}

/// States that are looked for together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StateChoice {
    Active,
    Complete,
    Failed,
    Marked,
    Erased,
    Held,
}

impl StateChoice {
    pub const ALL: [Self; 6] =
        [Self::Active, Self::Complete, Self::Failed, Self::Marked, Self::Erased, Self::Held];

    /// Returns the word for it in the query.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Marked => "marked",
            Self::Erased => "erased",
            Self::Held => "held",
        }
    }

    fn has(self, job: ListedJob<'_>) -> bool {
        let state = job.record().state.name();
        match self {
            Self::Active => state.is_active(),
            Self::Complete => state == StateName::Complete,
            Self::Failed => state == StateName::Failed,
            Self::Marked => state == StateName::Marked,
            Self::Erased => state == StateName::Erased,
            Self::Held => job.is_held,
        }
    }
}

/// What jobs are sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SortKey {
    #[default]
    Submitted,
    State,
    Client,
    Progress,
    Size,
    Expires,
}

impl SortKey {
    fn compare(self, a: ListedJob<'_>, b: ListedJob<'_>) -> Ordering {
        // What has no expiry stands behind what has one.
        let expiry = |job: ListedJob<'_>| job.expires_at().unwrap_or(Timestamp::MAX);
        let (one, other) = (a.record(), b.record());
        match self {
            Self::Submitted => one.submitted_at.cmp(&other.submitted_at),
            Self::State => one.state.name().cmp(&other.state.name()),
            Self::Client => (&one.tenant, &one.owner).cmp(&(&other.tenant, &other.owner)),
            Self::Progress => a.percent().unwrap_or(-1.0).total_cmp(&b.percent().unwrap_or(-1.0)),
            Self::Size => a.sizes().1.cmp(&b.sizes().1),
            Self::Expires => expiry(a).cmp(&expiry(b)),
        }
    }
}

impl JobsQuery {
    /// Returns the URL of the page with this query.
    pub fn url(&self, path: &str) -> String {
        format!("{path}?{}", serde_urlencoded::to_string(self).unwrap_or_default())
    }

    /// Returns the query that sorts by a column: the other way round if it does so already.
    pub fn sorted_by(&self, sort: SortKey) -> Self {
        let ascending = self.sort == sort && !self.ascending;
        Self { sort, ascending, page: 0, ..self.clone() }
    }

    /// Returns whether a job is asked for.
    pub fn has(&self, job: ListedJob<'_>) -> bool {
        let text = self.text.trim().to_ascii_lowercase();
        let contains = |name: &str| name.to_ascii_lowercase().contains(&text);
        let record = job.record();
        self.state.is_none_or(|state| state.has(job))
            && (text.is_empty()
                || contains(&record.id.to_string())
                || contains(record.tenant.as_str())
                || contains(record.owner.as_str()))
    }

    /// Returns which of two jobs comes first. No two are equal.
    pub fn compare(&self, a: ListedJob<'_>, b: ListedJob<'_>) -> Ordering {
        let order = self.sort.compare(a, b);
        let order = if self.ascending { order } else { order.reverse() };
        order.then_with(|| a.record().id.cmp(&b.record().id))
    }
}
