//! The promises while the index is being built, which may take minutes: a DELETE is answered at
//! once, a kill costs nothing but time, a stop does not wait. And while an export is written that
//! costs as much as one can: its worker ends with it (P13).

use std::sync::Arc;
use std::time::Duration;

use evanesce::config::{Config, ConfigDuration, DevicePolicy, ReferencePolicy};
use evanesce::export::{SourceExporter, SourceOptions};
use evanesce::fhir::ResourceType;
use evanesce::index::{Index, IndexCipher, IndexOptions};
use evanesce::job::bounds::{MAX_FILTERS, MAX_VALUES};
use evanesce::job::{Kickoff, OrganizeBy};
use evanesce::source::NdjsonFolder;
use evanesce::{Evanesce, StartError};
use rustix::process::Signal;

use super::*;

/// A source of the big file under that many names.
fn times_big(count: u32) -> TempDir {
    let folder = tempfile::tempdir_in(big().parent().unwrap()).unwrap();
    for n in 0..count {
        std::fs::hard_link(big().join("a.ndjson"), folder.path().join(format!("{n:03}"))).unwrap();
    }
    folder
}

/// How many files of the source are indexed to their end; `None` if none was begun.
fn indexed(setup: &Setup) -> Option<usize> {
    let files = std::fs::read_dir(setup.data_dir().join("index/default")).ok()?;
    let paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    let with = |extension: &str| paths.iter().filter(|it| it.extension() == Some(extension.as_ref())).count();
    (with("new") + with("segment") > 0).then(|| with("segment"))
}

/// A server that is building its index of `count` files, and a kick-off that waits for it.
fn indexing(folder: &Path, count: usize) -> (Setup, Server, String) {
    let setup = Setup::new().source(folder);
    let server = setup.start();
    eventually("an index file", || indexed(&setup));
    let polling = server.kickoff("$export");
    assert!(indexed(&setup) < Some(count), "the index was ready too soon");
    (setup, server, polling)
}

#[test]
fn a_delete_is_answered_while_the_index_is_built_and_later_exports_work() {
    let folder = times_big(20);
    let (setup, server, polling) = indexing(folder.path(), 20);
    let answer = delete(&polling);
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(indexed(&setup) < Some(20), "it waited for the index");
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    assert_exports(&server, &lines_in(big()));
    setup.disk().wait_gone(job_id(&polling));
    assert_eq!(setup.receipt(job_id(&polling))["reason"], "cancelled");
}

#[test]
fn a_kill_while_the_index_is_built_costs_nothing_but_time() {
    let folder = times_big(30);
    let (setup, server, polling) = indexing(folder.path(), 30);
    server.kill();
    let server = setup.start();
    let polling = format!("{}/bulk-api/request/{}", server.base, job_id(&polling));
    assert_same(&exported(&server.wait_complete(&polling)), &lines_in(big()));
    assert_eq!(indexed(&setup), Some(30));
    assert_eq!(index_files(&setup).len(), 31, "the segments and what follows from them");
}

#[test]
fn a_stop_does_not_wait_for_the_index() {
    let folder = times_big(80);
    let (setup, mut server, _) = indexing(folder.path(), 80);
    server.signal(Signal::TERM);
    let status = server.wait_exit();
    assert!(status.success(), "{status:?}");
    assert!(indexed(&setup) < Some(80), "it waited for the index: {}", setup.log());
}

/// An instance with one worker, and no other in its place, over a folder. A worker that does
/// not leave by itself is fenced, which the receipt tells.
async fn with_one_worker(data: &Path, folder: &Path) -> Result<Evanesce, StartError> {
    let options = IndexOptions {
        folder: data.join("host"),
        bases: Default::default(),
        cipher: IndexCipher::none().into(),
    };
    let index = Index::open(Arc::new(NdjsonFolder::open(folder).unwrap()), options).unwrap();
    let options = SourceOptions {
        part_bytes: 64 << 20,
        max_file_bytes: 1 << 30,
        references: ReferencePolicy::Referenced,
        devices: DevicePolicy::ByPatient,
        drop_pages: false,
    };
    let exporter = SourceExporter::new(index, options, false).unwrap();
    let mut config = Config::default();
    config.export.workers = 1;
    config.export.max_burst_workers = 0;
    config.export.max_replacements = 0;
    config.export.cancel_deadline = ConfigDuration(Duration::from_secs(20));
    Evanesce::builder().config(config).data_dir(data).exporter(exporter).start().await
}

/// As many filters, with as many values, as one export may have; none matches an Observation here.
fn worst_filters() -> Vec<String> {
    let filter = |n| {
        let values: Vec<_> = (0..MAX_VALUES / MAX_FILTERS).map(|value| format!("x{value}")).collect();
        format!("Observation?code=x{n},{}", values[1..].join(","))
    };
    (0..MAX_FILTERS).map(filter).collect()
}

#[tokio::test]
async fn p13_a_cancelled_export_with_as_many_filters_as_it_may_have_leaves_its_worker_to_others() {
    let (folder, data) = (scratch(), InstanceDir::in_memory());
    // More Patients than a writer gathers, and then the last one's Observations.
    let patients = (0..4000).map(|n| resource("Patient", n, &"x".repeat(100)));
    let observation = |n| {
        let subject = r#""subject":{"reference":"Patient/3999"}"#;
        let codings = vec![r#"{"code":"y"}"#; 20].join(",");
        let code = format!(r#""code":{{"coding":[{codings}]}}"#);
        format!("{{\"resourceType\":\"Observation\",\"id\":\"{n}\",{subject},{code}}}\n")
    };
    let text: String = patients.chain((0..10_000).map(observation)).collect();
    std::fs::write(folder.path().join("a.ndjson"), text).unwrap();
    let evanesce = with_one_worker(data.path(), folder.path()).await.unwrap();
    let client = || "host".parse().unwrap();
    for organize_by in [None, Some(OrganizeBy::Patient)] {
        let mut kickoff = Kickoff::system();
        kickoff.parameters.organize_by = organize_by;
        kickoff.parameters = kickoff.parameters.with_type_filters(&worst_filters()).unwrap();
        let job = evanesce.submit(kickoff, client()).await.unwrap();
        let building = data.path().join(format!("building/{job}"));
        eventually("the Patients", || {
            let names = std::fs::read_dir(&building).ok()?.map(|entry| entry.unwrap().file_name());
            names.into_iter().any(|name| name.to_str().unwrap().ends_with(".ndjson")).then_some(())
        });
        evanesce.cancel(job, client()).await.unwrap();
        let erased = tokio::time::timeout(PATIENCE, evanesce.wait_erased(job)).await;
        let receipt = erased.expect("its worker goes on").unwrap().unwrap();
        assert_eq!((receipt.fenced_writers, receipt.reason.as_str()), (0, "cancelled"));
    }
    let mut kickoff = Kickoff::system();
    kickoff.parameters.types = vec![ResourceType::PATIENT];
    let next = evanesce.submit(kickoff, client()).await.unwrap();
    let done = tokio::time::timeout(PATIENCE, evanesce.wait_finished(next)).await;
    assert!(matches!(done, Ok(Some(evanesce::job::JobState::Complete(_)))), "{done:?}");
}

#[test]
fn p13_an_index_that_is_closed_does_not_wait_for_the_end_of_a_line_of_a_terabyte() {
    use evanesce::index::BuildError;

    let (folder, kept) = (folder_of(""), scratch());
    writable(&folder.path().join("a.ndjson")).set_len(1 << 40).unwrap();
    let options = IndexOptions {
        folder: kept.path().into(),
        bases: Default::default(),
        cipher: IndexCipher::none().into(),
    };
    let source = Arc::new(NdjsonFolder::open(folder.path()).unwrap());
    let index = Arc::new(Index::open(source, options).unwrap());
    let (done, end) = std::sync::mpsc::channel();
    let looking = index.clone();
    std::thread::spawn(move || {
        let closed = matches!(looking.look(), Err(BuildError::Closed));
        done.send(closed).unwrap();
    });
    eventually("an index file", || (std::fs::read_dir(kept.path()).unwrap().count() > 0).then_some(()));
    index.close();
    assert_eq!(end.recv_timeout(PATIENCE), Ok(true), "it was read on, or ended otherwise");
}
