//! A DELETE that is sent again to a process that knows of the mark from its record only.

use std::sync::Arc;

use evanesce::hooks::Hooks;
use evanesce::job::{ClientId, JobState};
use evanesce::{CancelError, Evanesce, Kickoff};

use super::director::Director;
use super::exporter::{Directed, Plans};
use super::witness::Witness;

use crate::support::InstanceDir;

async fn start(data_dir: &std::path::Path, faults: &[&str]) -> Evanesce {
    let director = Arc::new(Director::default());
    director.let_all_go();
    let witness = Witness::new(data_dir.into());
    let hooks = Hooks::new(Vec::new(), faults.iter().map(|fault| fault.parse().unwrap()).collect());
    let exporter = Directed { director, plans: Plans::default(), witness };
    Evanesce::builder().data_dir(data_dir).exporter(exporter).hooks(hooks).start().await.unwrap()
}

/// The model found it: `Flaw::TrustRecalledMark`.
#[tokio::test]
async fn a_delete_sent_again_after_a_restart_is_confirmed_only_when_the_disk_witnesses_the_mark() {
    let folder = InstanceDir::new();
    let client = || "host".parse::<ClientId>().unwrap();
    let evanesce = start(folder.path(), &[]).await;
    let job = evanesce.submit(Kickoff::system(), client()).await.unwrap();
    assert!(matches!(evanesce.wait_finished(job).await, Some(JobState::Complete(_))));
    drop(evanesce);

    // Neither the directory nor an empty one of its name can get into `trash/`.
    let no_witness =
        [["mark-committed>rename:5:ever", "mark-committed>open:5:ever"], ["rename:5:ever", "open:5:ever"]];
    for (start_number, faults) in (1..).zip(no_witness) {
        let evanesce = start(folder.path(), &faults).await;
        let answer = evanesce.cancel_as(job, client(), "a".into()).await;
        assert_eq!(answer, Err(CancelError::HalfDurable), "start {start_number}");
    }

    let evanesce = start(folder.path(), &[]).await;
    let answer = evanesce.cancel_as(job, client(), "a".into()).await;
    // The files may be gone by now.
    assert!(matches!(answer, Ok(_) | Err(CancelError::AlreadyDeleted)), "{answer:?}");
    assert!(evanesce.wait_erased(job).await.unwrap().is_some());
}
