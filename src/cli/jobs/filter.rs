//! Which jobs a command is about, and in which order they are listed.

use std::cmp::Reverse;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;

use crate::JobOverview;
use crate::job::{ClientId, StateName, TenantId};

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct JobFilter {
    /// Only jobs of this client.
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    /// Only jobs of this tenant.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// Only jobs in these states.
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = states())]
    states: Vec<StateName>,
}

/// The names of all states, in the order of life.
const STATES: [&str; 7] = ["queued", "running", "finishing", "failed", "complete", "marked", "erased"];

fn states() -> impl TypedValueParser<Value = StateName> {
    PossibleValuesParser::new(STATES).try_map(|name| {
        let name: &str = &name;
        StateName::deserialize(IntoDeserializer::<Error>::into_deserializer(name))
    })
}

impl JobFilter {
    /// Returns whether the filter lets everything through.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether states are chosen.
    pub fn has_states(&self) -> bool {
        !self.states.is_empty()
    }

    /// Returns whether a job is among those that are asked for.
    pub fn wants(&self, job: &JobOverview) -> bool {
        self.client.as_ref().is_none_or(|client| *client == job.owner)
            && self.tenant.as_ref().is_none_or(|tenant| *tenant == job.tenant)
            && (self.states.is_empty() || self.states.contains(&job.state))
    }
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum JobOrder {
    /// The oldest first.
    #[default]
    Age,
    /// The largest first.
    Size,
    /// In the order of life.
    State,
    /// By tenant and client.
    Client,
}

impl JobOrder {
    /// Sorts jobs. Those that are alike stay in their order.
    pub fn sort(self, jobs: &mut [JobOverview]) {
        match self {
            Self::Age => jobs.sort_by_key(|job| job.submitted_at),
            Self::Size => jobs.sort_by_key(|job| Reverse(job.bytes)),
            Self::State => jobs.sort_by_key(|job| job.state),
            Self::Client => jobs.sort_by(|a, b| (&a.tenant, &a.owner).cmp(&(&b.tenant, &b.owner))),
        }
    }
}
