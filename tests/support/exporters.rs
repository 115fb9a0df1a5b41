//! Exporters of hosts that do as a test says.

use evanesce::export::{CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan};
use evanesce::fhir::ResourceType;
use evanesce::job::ExportRequest;
use jiff::Timestamp;
use serde_json::Value;

type CheckStep = dyn Fn(&ExportRequest) -> Result<Option<u64>, ExportError> + Send + Sync;
type PlanStep = dyn Fn(&ExportRequest) -> Result<Plan, ExportError> + Send + Sync;
type RunStep = dyn Fn(&Part, &mut PartWriter, &CancelToken) -> Result<(), ExportError> + Send + Sync;

/// An exporter whose steps are closures. Unless they are given, it accepts every request, plans one
/// part and writes nothing.
pub struct FakeExporter {
    check: Box<CheckStep>,
    plan: Box<PlanStep>,
    run: Box<RunStep>,
}

impl FakeExporter {
    /// Plans one part and writes nothing.
    pub fn writes_nothing() -> Self {
        Self {
            check: Box::new(|_| Ok(None)),
            plan: Box::new(|_| Ok(plan_of([Value::Null]))),
            run: Box::new(|_, _, _| Ok(())),
        }
    }

    /// Writes one patient of this id.
    pub fn writes_patient(id: &'static str) -> Self {
        Self::writes_nothing().run(move |_, out, _| write_patient(out, id))
    }

    /// Looks at a request with this before it is accepted.
    pub fn check(
        self,
        check: impl Fn(&ExportRequest) -> Result<Option<u64>, ExportError> + Send + Sync + 'static,
    ) -> Self {
        Self { check: Box::new(check), ..self }
    }

    /// Plans with this.
    pub fn plan(
        self,
        plan: impl Fn(&ExportRequest) -> Result<Plan, ExportError> + Send + Sync + 'static,
    ) -> Self {
        Self { plan: Box::new(plan), ..self }
    }

    /// Runs each part with this.
    pub fn run(
        self,
        run: impl Fn(&Part, &mut PartWriter, &CancelToken) -> Result<(), ExportError> + Send + Sync + 'static,
    ) -> Self {
        Self { run: Box::new(run), ..self }
    }
}

impl Exporter for FakeExporter {
    fn check(&self, request: &ExportRequest, _: &CancelToken) -> Result<Option<u64>, ExportError> {
        (self.check)(request)
    }

    fn plan(&self, request: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        (self.plan)(request)
    }

    fn run(
        &self,
        part: &Part,
        out: &mut PartWriter,
        cancel: &CancelToken,
    ) -> Result<PartSummary, ExportError> {
        (self.run)(part, out, cancel).map(|()| PartSummary::default())
    }
}

/// A plan of now, with a part of weight 1 for each of these contents.
pub fn plan_of(contents: impl IntoIterator<Item = Value>) -> Plan {
    let parts = contents.into_iter().map(|content| Part { weight: 1, content });
    Plan::new(Timestamp::now(), parts.collect())
}

/// Writes one patient.
pub fn write_patient(out: &mut PartWriter, id: &str) -> Result<(), ExportError> {
    let patient = format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}");
    out.resource(ResourceType::PATIENT, patient.as_bytes())
}
