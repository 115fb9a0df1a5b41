// What the examples in the documentation share: a host whose exporter makes up three patients.

use evanesce::*;

pub type Done = Result<(), Box<dyn std::error::Error>>;

/// Makes up three patients, who are in the Group `g`.
pub struct Patients;

impl Exporter for Patients {
    fn groups(&self) -> Result<std::sync::Arc<Vec<GroupName>>, ExportError> {
        let name = Some("The three".into());
        Ok(std::sync::Arc::new(vec![GroupName { id: "g".into(), name, ..GroupName::default() }]))
    }

    fn read(&self, resource_type: ResourceType, id: &str) -> Result<Option<Vec<u8>>, ExportError> {
        let group = br#"{"resourceType":"Group","id":"g"}"#;
        Ok((resource_type.as_str() == "Group" && id == "g").then(|| group.to_vec()))
    }

    fn plan(&self, request: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        Ok(Plan::new(request.submitted_at, vec![Part { weight: 3, content: serde_json::Value::Null }]))
    }

    fn run(&self, _: &Part, out: &mut PartWriter, cancel: &CancelToken) -> Result<PartSummary, ExportError> {
        let patient = ResourceType::of("Patient").expect("a type of FHIR");
        for id in ["a", "b", "c"] {
            cancel.check()?;
            out.resource(patient, format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#).as_bytes())?;
            out.progress(1)?;
        }
        Ok(PartSummary::default())
    }
}

/// Writes one part.
pub struct OnePart(fn(&mut PartWriter) -> Result<(), ExportError>);

impl Exporter for OnePart {
    fn plan(&self, request: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        Ok(Plan::new(request.submitted_at, vec![Part { weight: 1, content: serde_json::Value::Null }]))
    }

    fn run(&self, _: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        (self.0)(out).map(|()| PartSummary::default())
    }
}

/// The files of an export whose only part is written so.
pub async fn exported(
    write: fn(&mut PartWriter) -> Result<(), ExportError>,
) -> Result<Vec<OutputFile>, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(OnePart(write)).start().await?;
    let owner: ClientId = "me".parse()?;
    let job = evanesce.submit(Kickoff::system(), owner.clone()).await?;
    evanesce.wait_finished(job).await;
    Ok(evanesce.job(&owner.into(), job).await?.manifest(0)?.files)
}

/// A running instance. Its data directory goes with the first value.
pub async fn host() -> Result<(tempfile::TempDir, Evanesce), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(Patients).start().await?;
    Ok((folder, evanesce))
}

/// The same, with a job that is complete.
pub async fn complete() -> Result<(tempfile::TempDir, Evanesce, JobId), Box<dyn std::error::Error>> {
    let (folder, evanesce) = host().await?;
    let job = evanesce.submit(Kickoff::system(), "me".parse()?).await?;
    evanesce.wait_finished(job).await;
    Ok((folder, evanesce, job))
}
