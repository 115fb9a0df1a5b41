//! Wraps every exporter. What a lenient kick-off ignored (`Prefer: handling=lenient`) becomes one
//! more part, which writes it to an `error` file (K-5, ST-8). The exporter does not notice.

use std::sync::Arc;

use serde_json::json;

use super::{CancelToken, ExportError, Exporter, GroupName, Part, PartSummary, PartWriter, Plan};
use crate::fhir::{IssueCode, OperationOutcome, ResourceType, Severity};
use crate::job::ExportRequest;

/// An exporter that reports what the kick-off ignored.
pub struct WithNotices(Arc<dyn Exporter>);

/// The only key of the part's content, which no host's own part has. Its value does not matter:
/// earlier versions stored the notices in it.
const KEY: &str = "evanesce:notices";

fn is_of_notices(part: &Part) -> bool {
    part.content.as_object().is_some_and(|content| content.len() == 1 && content.contains_key(KEY))
}

impl WithNotices {
    /// Wraps an exporter.
    pub fn new(exporter: Arc<dyn Exporter>) -> Self {
        Self(exporter)
    }
}

fn outcome(notice: &str) -> OperationOutcome {
    OperationOutcome::new(Severity::Warning, IssueCode::NotSupported, notice)
}

/// Returns the size of the `error` file in bytes.
fn bytes(notices: &[String]) -> u64 {
    notices.iter().map(|notice| outcome(notice).to_json().len() as u64 + 1).sum()
}

impl Exporter for WithNotices {
    fn check(&self, request: &ExportRequest, cancel: &CancelToken) -> Result<Option<u64>, ExportError> {
        let estimate = self.0.check(request, cancel)?;
        Ok(estimate.map(|estimate| estimate + bytes(&request.parameters().ignored)))
    }

    fn read(&self, resource_type: ResourceType, id: &str) -> Result<Option<Vec<u8>>, ExportError> {
        self.0.read(resource_type, id)
    }

    fn groups(&self) -> Result<Arc<Vec<GroupName>>, ExportError> {
        self.0.groups()
    }

    fn plan(&self, request: &ExportRequest, cancel: &CancelToken) -> Result<Plan, ExportError> {
        let mut plan = self.0.plan(request, cancel)?;
        let notices = &request.parameters().ignored;
        if !notices.is_empty() {
            plan.bytes = plan.bytes.map(|planned| planned + bytes(notices));
            plan.parts.push(Part { weight: 0, content: json!({ KEY: null }) });
        }
        Ok(plan)
    }

    fn stop(&self) {
        self.0.stop();
    }

    fn run(
        &self,
        part: &Part,
        out: &mut PartWriter,
        cancel: &CancelToken,
    ) -> Result<PartSummary, ExportError> {
        if !is_of_notices(part) {
            return self.0.run(part, out, cancel);
        }
        for notice in &out.request()?.parameters().ignored {
            out.outcome(&outcome(notice))?;
        }
        Ok(PartSummary::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p11_the_part_is_known_as_this_and_as_earlier_versions_wrote_it() {
        let is = |content| is_of_notices(&Part { weight: 0, content });
        assert!(is(json!({ KEY: null })) && is(json!({ KEY: ["Ignored: x"] })));
        assert!(!is(json!({ KEY: null, "more": 1 })) && !is(json!({"copy": {}})) && !is(json!(null)));
    }
}
