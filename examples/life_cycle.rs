//! The life cycle without HTTP. A tokio service submits an export, watches it, reads its files, has it
//! erased, and keeps the receipt. A second export is cancelled while it is being written.
//!
//! Run it with `cargo run --example life_cycle`. A host needs no feature:
//! `evanesce = { version = "0.1", default-features = false }`.

use std::error::Error;
use std::time::Duration;

use evanesce::{
    CancelToken, ClientId, CompletionError, Evanesce, ExportError, ExportRequest, Exporter, JobAbsent,
    Kickoff, MarkReason, Parameters, Part, PartSummary, PartWriter, Plan, ResourceType, StateName,
};
use jiff::Timestamp;

/// What the laboratory measured: 40,000 values in four parts; without end for whoever asks for
/// everything.
struct Laboratory;

const PARTS: u64 = 4;
const ROWS: u64 = 10_000;

impl Exporter for Laboratory {
    fn plan(&self, request: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        let is_endless = request.parameters().types.is_empty();
        let part =
            |n| Part { weight: ROWS, content: serde_json::json!({"number": n, "endless": is_endless}) };
        Ok(Plan::new(Timestamp::now(), (0..PARTS).map(part).collect()))
    }

    fn run(&self, part: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        let observation: ResourceType = "Observation".parse().expect("a type of FHIR");
        let rows = if part.content["endless"] == true { u64::MAX } else { ROWS };
        for row in 0..rows {
            let json = format!(
                r#"{{"resourceType":"Observation","id":"{}-{row}","status":"final"}}"#,
                part.content["number"]
            );
            // Either says `Cancelled` as soon as the job is over. Nothing else is needed to stop.
            out.resource(observation, json.as_bytes())?;
            out.progress(1)?;
        }
        Ok(PartSummary::default())
    }
}

/// Prints how far a job is until it has ended.
async fn follow(evanesce: &Evanesce, owner: &ClientId, job: evanesce::JobId) -> Result<(), JobAbsent> {
    let mut watch = evanesce.watch(owner.clone().into(), job).await?;
    while let Some(shown) = watch.next().await {
        let (state, progress) = (shown.state().name(), shown.progress());
        println!(
            "{job} {state}: {:.0} %, {} of {} parts, {} bytes",
            progress.percent, progress.sealed_parts, progress.parts, progress.bytes
        );
        if !state.is_active() {
            break;
        }
    }
    Ok(())
}

/// Shows it all. Fails if anything is not as it is said here.
pub async fn run() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let exports = folder.path().join("exports");
    let evanesce = Evanesce::builder().data_dir(&exports).exporter(Laboratory).start().await?;
    let owner: ClientId = "integration-engine".parse()?;

    // Submit, and watch beside whatever else the service does.
    let parameters = Parameters::default().with_types(&["Observation"])?;
    let job = evanesce.submit(Kickoff { parameters, ..Kickoff::system() }, owner.clone()).await?;
    let watching = tokio::spawn({
        let (evanesce, owner) = (evanesce.clone(), owner.clone());
        async move { follow(&evanesce, &owner, job).await }
    });
    let completion = evanesce.wait_complete(job).await?;
    watching.await??;
    assert_eq!(completion.resources, PARTS * ROWS);

    // Read. A file that is open counts as a download: it holds back the end of the erasure.
    let mut lines = 0;
    for file in evanesce.job(&owner.clone().into(), job).await?.files() {
        let open = evanesce.open_file(&owner.clone().into(), job, &file.name).await?;
        let mut offset = 0;
        while offset < file.bytes {
            let text = open.read_at(offset, 256 << 10).await?;
            offset += text.len() as u64;
            lines += text.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
    }
    assert_eq!(lines, completion.resources);

    // Cancel: durable when it returns, and nobody sees the job any more. Then wait for the receipt.
    evanesce.cancel(job, owner.clone()).await?;
    let gone = evanesce.job(&owner.clone().into(), job).await;
    assert_eq!(gone.err(), Some(JobAbsent::Deleted));
    let receipt = evanesce.wait_erased(job).await?.ok_or("there is no receipt")?;
    println!("{}", serde_json::to_string_pretty(&receipt)?);
    assert_eq!((receipt.reason, receipt.was), (MarkReason::Deleted, StateName::Complete));
    assert!(receipt.bytes >= completion.bytes);

    // One that would never end, cancelled as soon as it writes.
    let endless = evanesce.submit(Kickoff::system(), owner.clone()).await?;
    let mut watch = evanesce.watch(owner.clone().into(), endless).await?;
    while watch.next().await.ok_or("it is gone")?.progress().done == 0 {}
    evanesce.cancel(endless, owner).await?;
    assert_eq!(evanesce.wait_complete(endless).await, Err(CompletionError::Deleted));
    let receipt = evanesce.wait_erased(endless).await?.ok_or("there is no receipt")?;
    assert_eq!((receipt.reason, receipt.was), (MarkReason::Cancelled, StateName::Running));

    for place in ["building", "ready", "trash"] {
        assert_eq!(exports.join(place).read_dir()?.count(), 0, "{place}");
    }
    evanesce.stop(Duration::from_secs(10)).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    run().await
}
