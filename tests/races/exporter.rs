//! An exporter whose every write waits for the schedule, and which tells what an export should
//! have come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evanesce::export::{CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan};
use evanesce::fhir::ResourceType;
use evanesce::job::ExportRequest;
use serde_json::json;

use super::director::Director;
use super::witness::Witness;

/// The types of the two parts, and how many lines each has.
pub const PARTS: [(&str, usize); 2] = [("Patient", 3), ("Goal", 1)];

/// Three lines are more than one chunk of a download.
const LINE: usize = 400_000;

/// Plans made by all instances of a schedule: each has a number, which its lines show.
pub type Plans = Arc<AtomicU64>;

pub struct Directed {
    pub director: Arc<Director>,
    pub plans: Plans,
    pub witness: Witness,
}

/// One line of a file.
fn line(resource_type: &str, plan: u64, n: usize) -> String {
    let filler = "x".repeat(LINE);
    json!({"resourceType": resource_type, "id": format!("{n}"), "plan": plan, "text": filler}).to_string()
}

/// Whether these bytes are a whole file of that type, all of one plan; which one.
pub fn plan_of(resource_type: &str, content: &[u8]) -> Option<u64> {
    let lines = PARTS.iter().find(|(name, _)| *name == resource_type)?.1;
    let first: serde_json::Value =
        serde_json::from_slice(content.split(|byte| *byte == b'\n').next()?).ok()?;
    let plan = first["plan"].as_u64()?;
    let whole: String = (0..lines).map(|n| line(resource_type, plan, n) + "\n").collect();
    (content == whole.as_bytes()).then_some(plan)
}

impl Exporter for Directed {
    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        self.director.park("the exporter plans");
        let plan = self.plans.fetch_add(1, Ordering::SeqCst);
        let part = |n: usize| Part { weight: 1, content: json!({"part": n, "plan": plan}) };
        Ok(Plan::new(jiff::Timestamp::UNIX_EPOCH, (0..PARTS.len()).map(part).collect()))
    }

    fn run(&self, part: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        let number = |name: &str| part.content[name].as_u64().unwrap();
        let (name, lines) = PARTS[number("part") as usize];
        let job = self.witness.job_of_plan(number("plan"));
        let at_work = || self.witness.at_work("a writer", job.as_deref());
        for n in 0..lines {
            self.director.park(&format!("the exporter writes {name} {n}"));
            at_work();
            out.resource(ResourceType::of(name).unwrap(), line(name, number("plan"), n).as_bytes())?;
        }
        self.director.park(&format!("the exporter returns from {name}"));
        at_work();
        Ok(PartSummary::default())
    }
}
