//! Around every exporter: what was ignored of a kick-off (`Prefer: handling=lenient`) becomes
//! one more part, which writes it to an `error` file (K-5, ST-8). An exporter need not know.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CancelToken, ExportError, Exporter, GroupName, Part, PartSummary, PartWriter, Plan};
use crate::fhir::{IssueCode, OperationOutcome, ResourceType, Severity};
use crate::job::ExportRequest;

/// An exporter that tells its clients what was ignored.
pub struct WithNotices(Arc<dyn Exporter>);

/// The content of the part; a host's own has another key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notices {
    #[serde(rename = "evanesce:notices")]
    notices: Vec<String>,
}

impl WithNotices {
    /// See the module.
    pub fn new(exporter: Arc<dyn Exporter>) -> Self {
        Self(exporter)
    }
}

fn outcome(notice: &str) -> OperationOutcome {
    OperationOutcome::new(Severity::Warning, IssueCode::NotSupported, notice)
}

/// Bytes of the `error` file.
fn bytes(notices: &[String]) -> u64 {
    notices.iter().map(|notice| outcome(notice).to_json().len() as u64 + 1).sum()
}

impl Exporter for WithNotices {
    fn check(&self, request: &ExportRequest) -> Result<Option<u64>, ExportError> {
        let estimate = self.0.check(request)?;
        Ok(estimate.map(|estimate| estimate + bytes(&request.parameters().ignored)))
    }

    fn read(&self, resource_type: ResourceType, id: &str) -> Result<Option<Vec<u8>>, ExportError> {
        self.0.read(resource_type, id)
    }

    fn groups(&self) -> Result<Arc<Vec<GroupName>>, ExportError> {
        self.0.groups()
    }

    fn plan(&self, request: &ExportRequest) -> Result<Plan, ExportError> {
        let mut plan = self.0.plan(request)?;
        let notices = request.parameters().ignored.clone();
        if !notices.is_empty() {
            plan.bytes = plan.bytes.map(|planned| planned + bytes(&notices));
            let content = serde_json::to_value(Notices { notices }).expect("a list of texts is JSON");
            plan.parts.push(Part { weight: 0, content });
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
        let Ok(Notices { notices }) = Notices::deserialize(&part.content) else {
            return self.0.run(part, out, cancel);
        };
        for notice in &notices {
            out.outcome(&outcome(notice))?;
        }
        Ok(PartSummary::default())
    }
}
