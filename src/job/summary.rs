//! What is remembered of a request once it is in the job's directory: what its answers need, and no
//! list that a client may make long (P13). The request itself is read from the directory by who
//! exports.

use jiff::Timestamp;
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3Default;

use super::{AccessSummary, AssociatedData, ExportAccess, ExportRequest, Level, OrganizeBy, ProofSigner};
use crate::fhir::ResourceType;
use crate::fhir::search::TypeFilter;

/// What is remembered of a request. It may name a population, as the request does (P12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSummary {
    /// The operation.
    pub level: Level,
    /// The types that are asked for; empty for all of the level.
    pub types: Vec<ResourceType>,
    /// Which Provenances go with the exported resources.
    pub provenances: Option<AssociatedData>,
    /// What the output is organized by (O-3).
    pub organize_by: Option<OrganizeBy>,
    /// Whether files are shown before all are written (ST-9).
    pub partial_manifests: bool,
    /// Whether the status of the export is told apart from that of its polls (K-4).
    pub separate_status: bool,
    /// The kick-off URL (MF-2).
    pub url: String,
    /// How much of each type it may hold.
    pub access: AccessSummary,
    /// What URLs of Binaries in its files are proved with.
    pub handout: Option<ProofSigner>,
    /// Bytes that it was expected to write at the most when it was accepted.
    pub estimate: Option<u64>,
    /// Equal for requests of the same export, as [`RequestSummary::same`] returns it.
    pub same: u128,
}

impl RequestSummary {
    /// Returns what is remembered of a request.
    pub fn of(request: &ExportRequest) -> Self {
        let asked = request.parameters();
        Self {
            level: request.level().clone(),
            types: asked.types.clone(),
            provenances: asked.provenances,
            organize_by: asked.organize_by,
            partial_manifests: asked.partial_manifests,
            separate_status: asked.separate_status,
            url: request.kickoff.url.clone(),
            access: request.access.summary(),
            handout: request.handout.clone(),
            estimate: request.estimate,
            same: Self::same(request),
        }
    }

    /// Returns the type of the resource with which the export handed out the URL of a Binary with this
    /// proof (O-4).
    pub fn handed_out(&self, id: &str, proof: &str) -> Option<ResourceType> {
        let handout = self.handout.as_ref()?;
        ResourceType::all().find(|it| handout.proves(it.as_str(), id, proof))
    }

    /// Returns a hash that two requests have in common if they ask for the same (C10): who, the level, all
    /// parameters whatever the order of their values, and what the export may hold.
    pub fn same(request: &ExportRequest) -> u128 {
        /// All but the lists.
        #[derive(Serialize)]
        struct ScalarParameters<'a> {
            who: (&'a super::TenantId, &'a super::ClientId),
            level: &'a Level,
            age: (Option<Timestamp>, Option<Timestamp>),
            form: (Option<AssociatedData>, Option<OrganizeBy>, bool, bool),
            access: &'a ExportAccess,
        }
        let asked = request.parameters();
        let rest = ScalarParameters {
            who: (&request.tenant, &request.owner),
            level: request.level(),
            age: (asked.since, asked.until),
            form: (asked.provenances, asked.organize_by, asked.partial_manifests, asked.separate_status),
            access: &request.access,
        };
        let mut hash = Xxh3Default::new();
        hash.update(&serde_json::to_vec(&rest).expect("names and texts are JSON"));
        let lists = [
            asked.types.iter().map(|it| it.as_str()).collect::<Vec<_>>(),
            asked.type_filters.iter().map(TypeFilter::as_str).collect(),
            asked.elements.items().iter().map(String::as_str).collect(),
            asked.patients.iter().map(String::as_str).collect(),
        ];
        for mut sorted in lists {
            sorted.sort_unstable();
            hash.update(&sorted.len().to_le_bytes());
            for text in sorted {
                hash.update(&text.len().to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
        hash.digest128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Kickoff, Parameters};

    fn request(parameters: Parameters) -> ExportRequest {
        let kickoff = Kickoff { parameters, ..Kickoff::new(Level::Patient) };
        ExportRequest::new("t".parse().unwrap(), "o".parse().unwrap(), kickoff, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn c10_the_same_export_is_known_whatever_the_order_and_no_other_is() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let same = |parameters| RequestSummary::same(&request(parameters));
        let of = |types: &[&str], elements: &[&str]| {
            let parameters = Parameters { patients: texts(types), ..Parameters::default() };
            same(parameters.with_elements(elements).unwrap())
        };
        assert_eq!(of(&["a", "b"], &["id"]), of(&["b", "a"], &["id"]));
        let others =
            [of(&["a", "b"], &["id"]), of(&["a"], &["id", "name"]), of(&["ab"], &["id"]), of(&[], &[])];
        let by_type = |types: &[&str]| same(Parameters::default().with_types(types).unwrap());
        assert_eq!(by_type(&["Patient", "Group"]), by_type(&["Group", "Patient"]));
        assert_ne!(by_type(&["Patient", "Group"]), by_type(&["Patient"]));
        let since = Parameters { since: Some(Timestamp::UNIX_EPOCH), ..Parameters::default() };
        let until = Parameters { until: Some(Timestamp::UNIX_EPOCH), ..Parameters::default() };
        let mut all = [&others[..], &[same(since), same(until)]].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
        // What was ignored makes no other export.
        let ignored = Parameters { ignored: texts(&["x"]), ..Parameters::default() };
        assert_eq!(same(ignored), of(&[], &[]));
    }
}
