//! Hosts whose exporters write what no source of FHIR resources has, or do not listen.

use std::sync::Arc;

use evanesce::config::{Config, Stored};
use evanesce::export::{CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan};
use evanesce::fhir::ResourceType;
use evanesce::hooks::Hooks;
use evanesce::job::{ExportRequest, FailureReason, JobState};
use evanesce::{Evanesce, Kickoff};
use parking_lot::Mutex;

use super::*;

/// Writes bytes that nothing can compress, which no source of FHIR resources has, and one line in
/// a file of its own; says before that it is going to write as much as that.
struct Noise(Vec<u8>);

const TINY: &[u8] = b"{\"resourceType\":\"Patient\"}";

impl Exporter for Noise {
    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        let part = Part { weight: 1, content: Value::Null };
        let bytes = Some((self.0.len() + 1 + TINY.len() + 1) as u64);
        Ok(Plan { bytes, ..Plan::new(jiff::Timestamp::now(), vec![part]) })
    }

    fn run(&self, _: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        out.resource(ResourceType::of("Binary").unwrap(), &self.0)?;
        out.resource(ResourceType::of("Patient").unwrap(), TINY)?;
        Ok(PartSummary::default())
    }
}

#[tokio::test]
async fn what_cannot_be_compressed_is_stored_plain_and_takes_no_more_than_was_planned() {
    let mut random = Pcg64Mcg::seed_from_u64(5);
    let noise: Vec<u8> = (0..3_000_000).map(|_| random.random()).collect();
    for stored in [Stored::Gzip, Stored::Zstd] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.export.stored = stored;
        let exporter = Noise(noise.clone());
        let builder = Evanesce::builder().config(config).data_dir(folder.path()).exporter(exporter);
        let evanesce = builder.start().await.unwrap();
        let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
        let Some(JobState::Complete(completion)) = evanesce.wait_finished(job).await else { panic!() };
        assert_eq!((completion.files, completion.stored), (2, None), "{stored:?}");
        let ready = folder.path().join("ready").join(job.to_string());
        let names = std::fs::read_dir(ready).unwrap().map(|file| file.unwrap().path());
        let plain: Vec<_> = names.filter(|path| path.extension() == Some("ndjson".as_ref())).collect();
        assert_eq!(plain.len(), 2);
        let largest = plain.iter().map(|path| std::fs::read(path).unwrap()).max_by_key(Vec::len).unwrap();
        assert!(largest.strip_suffix(b"\n").unwrap() == noise);
    }
}

/// Does not care whether its lines were written.
struct Careless(Arc<Mutex<Vec<bool>>>);

impl Exporter for Careless {
    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        Ok(Plan::new(jiff::Timestamp::now(), vec![Part { weight: 1, content: Value::Null }]))
    }

    fn run(&self, _: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        let line = noise(40);
        for _ in 0..3 {
            let written = out.lines(ResourceType::of("Media").unwrap(), &line);
            self.0.lock().push(written.is_ok());
        }
        Ok(PartSummary::default())
    }
}

#[tokio::test]
async fn after_a_write_that_failed_no_line_is_taken_and_the_job_fails() {
    for stored in [Stored::Plain, Stored::Gzip, Stored::Zstd] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.export.stored = stored;
        // The second write of the first lines, on a disk that is full for that moment.
        let hooks = Hooks::new(Vec::new(), vec!["plan-written>write:28:1:1".parse().unwrap()]);
        let written = Arc::new(Mutex::new(Vec::new()));
        let exporter = Careless(written.clone());
        let builder = Evanesce::builder().config(config).data_dir(folder.path()).hooks(hooks);
        let evanesce = builder.exporter(exporter).start().await.unwrap();
        let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
        let Some(JobState::Failed(failure)) = evanesce.wait_finished(job).await else { panic!("{stored:?}") };
        assert_eq!(failure.reason, FailureReason::ExporterFailed);
        assert_eq!(*written.lock(), [false, false, false], "{stored:?}");
    }
}
