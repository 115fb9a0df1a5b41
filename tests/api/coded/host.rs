//! Hosts whose exporters write what no source of FHIR resources has, or do not listen.

use std::sync::Arc;

use evanesce::config::{Config, StoredForm};
use evanesce::export::Plan;
use evanesce::fhir::ResourceType;
use evanesce::hooks::Hooks;
use evanesce::job::{FailureReason, JobState};
use evanesce::{Evanesce, Kickoff};
use parking_lot::Mutex;

use super::*;

const TINY: &[u8] = b"{\"resourceType\":\"Patient\"}";

/// Writes bytes that nothing can compress, which no source of FHIR resources has, and one line in
/// a file of its own; says before that it is going to write as much as that.
fn writes_noise(noise: Vec<u8>) -> FakeExporter {
    let bytes = Some((noise.len() + 1 + TINY.len() + 1) as u64);
    let exporter = FakeExporter::writes_nothing().plan(move |_| Ok(Plan { bytes, ..plan_of([Value::Null]) }));
    exporter.run(move |_, out, _| {
        out.resource(ResourceType::of("Binary").unwrap(), &noise)?;
        out.resource(ResourceType::PATIENT, TINY)
    })
}

#[tokio::test]
async fn what_cannot_be_compressed_is_stored_plain_and_takes_no_more_than_was_planned() {
    let mut random = Pcg64Mcg::seed_from_u64(5);
    let noise: Vec<u8> = (0..3_000_000).map(|_| random.random()).collect();
    for stored in [StoredForm::Gzip, StoredForm::Zstd] {
        let folder = InstanceDir::new();
        let mut config = Config::default();
        config.export.stored = stored;
        let exporter = writes_noise(noise.clone());
        let builder = Evanesce::builder().config(config).data_dir(folder.path()).exporter(exporter);
        let evanesce = builder.start().await.unwrap();
        let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
        let Some(JobState::Complete(completion)) = evanesce.wait_finished(job).await else { panic!() };
        assert_eq!((completion.files, completion.stored), (2, None), "{stored:?}");
        let ready = folder.path().join("ready").join(job.to_string());
        let names = std::fs::read_dir(ready).unwrap().map(|file| file.unwrap().path());
        let plain: Vec<_> = names.filter(|path| path.extension() == Some("ndjson".as_ref())).collect();
        assert_eq!(plain.len(), 2);
        let largest =
            plain.iter().map(|path| crate::support::read_stored(path).unwrap()).max_by_key(Vec::len).unwrap();
        assert!(largest.strip_suffix(b"\n").unwrap() == noise);
    }
}

#[tokio::test]
async fn after_a_write_that_failed_no_line_is_taken_and_the_job_fails() {
    for stored in [StoredForm::Plain, StoredForm::Gzip, StoredForm::Zstd] {
        let folder = InstanceDir::new();
        let mut config = Config::default();
        config.export.stored = stored;
        // The second write of the first lines, on a disk that is full for that moment.
        let hooks = Hooks::new(Vec::new(), vec!["plan-written>write:28:1:1".parse().unwrap()]);
        let written = Arc::new(Mutex::new(Vec::new()));
        // It does not care whether its lines were written.
        let exporter = FakeExporter::writes_nothing().run({
            let (written, line) = (written.clone(), noise(40));
            move |_, out, _| {
                for _ in 0..3 {
                    let result = out.lines(ResourceType::of("Media").unwrap(), &line);
                    written.lock().push(result.is_ok());
                }
                Ok(())
            }
        });
        let builder = Evanesce::builder().config(config).data_dir(folder.path()).hooks(hooks);
        let evanesce = builder.exporter(exporter).start().await.unwrap();
        let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
        let Some(JobState::Failed(failure)) = evanesce.wait_finished(job).await else { panic!("{stored:?}") };
        assert_eq!(failure.reason, FailureReason::ExporterFailed);
        assert_eq!(*written.lock(), [false, false, false], "{stored:?}");
    }
}
