//! The promises while the index is being built, which may take minutes: a DELETE is answered at
//! once, a kill costs nothing but time, a stop does not wait.

use std::time::{Duration, Instant};

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
    let began = Instant::now();
    let answer = delete(&polling);
    let took = began.elapsed();
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(indexed(&setup) < Some(20), "the index was ready too soon");
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
    let folder = times_big(40);
    let (setup, mut server, _) = indexing(folder.path(), 40);
    let began = Instant::now();
    server.signal(Signal::TERM);
    let status = server.wait_exit();
    let took = began.elapsed();
    assert!(status.success(), "{status:?}");
    let indexed =
        index_files(&setup).iter().filter(|file| file.extension() == Some("segment".as_ref())).count();
    assert!(indexed < 30, "{indexed} of 40 files were indexed before the end, {took:?} later");
    assert!(took < Duration::from_secs(3), "{took:?} for a stop: {}", setup.log());
}
