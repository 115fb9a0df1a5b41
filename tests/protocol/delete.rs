//! Section 5: the delete.

use super::*;

/// A server, and the polling URL of a complete export.
fn complete() -> (Setup, Server, String, Value) {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    (setup, server, polling, manifest)
}

/// Also C11.
#[test]
fn d_1_success_is_a_202_with_an_outcome() {
    let (_setup, _server, polling, _) = complete();
    let answer = delete(&polling);
    assert_eq!((answer.status, answer.issue()), (202, ("information".into(), "processing".into())));
}

#[test]
fn d_2_running_queued_and_finished_exports_are_deleted_with_their_files() {
    let setup = Setup::new().braked(200_000);
    let server = setup.start();
    let running = server.kickoff("$export");
    server.wait_braked(&running);
    let (finished, _) = server.export("$export?_type=Slot");
    for polling in [&running, &server.kickoff("$export"), &finished] {
        assert_eq!(delete(polling).status, 202);
        setup.disk().wait_gone(job_id(polling));
    }
    assert!(setup.disk().files().is_empty());
}

#[test]
fn d_3_every_later_request_is_a_404() {
    let (_setup, _server, polling, _) = complete();
    assert_eq!(delete(&polling).status, 202);
    for method in ["GET", "DELETE", "GET", "DELETE"] {
        assert_eq!(send(method, &polling, &[]).outcome(), outcome(404, "deleted"), "{method}");
    }
    assert_eq!(send("HEAD", &polling, &[]).status, 404);
}

#[test]
fn d_4_files_of_a_deleted_export_are_not_found() {
    let (_setup, _server, polling, manifest) = complete();
    let file = manifest["output"][0]["url"].as_str().unwrap();
    assert_eq!(get(file).status, 200);
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(get(file).outcome(), outcome(404, "deleted"));
}

#[test]
fn d_5_the_text_is_the_models_to_the_letter() {
    let (_setup, _server, polling, _) = complete();
    let answer = delete(&polling).json();
    let text = answer["issue"][0]["details"]["text"].as_str().unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    assert_eq!(first, format!("Cancellation of Bulkdata request <{}> has been accepted.", job_id(&polling)));
    let at = second.strip_prefix("\t\t\t\t\tCancellation requested at : ").unwrap();
    assert_eq!((at.len(), at.parse::<jiff::Timestamp>().is_ok()), ("YYYY-MM-DDThh:mm:ssZ".len(), true));
    assert!(uuid::Uuid::parse_str(answer["id"].as_str().unwrap()).is_ok());
}

#[test]
fn d_6_a_failure_is_an_error_with_an_outcome() {
    let (_setup, _server, polling, _) = complete();
    assert_eq!(send("DELETE", &format!("{polling}x"), &[]).outcome(), outcome(404, "not-found"));
    assert_eq!(send("DELETE", &polling, &[("Accept", "text/html")]).outcome(), outcome(406, "structure"));
}

#[test]
fn d_7_a_deleted_export_stands_against_nothing() {
    let setup = Setup::new().set("protocol.refuse_duplicates=true");
    let server = setup.start();
    let (polling, _) = server.export("$export");
    assert_eq!(server.try_kickoff("$export").outcome(), outcome(409, "duplicate"));
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(server.try_kickoff("$export").status, 202);
}

#[test]
fn d_8_of_many_deletes_at_once_one_is_accepted() {
    let (_setup, _server, polling, _) = complete();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| delete(&polling).status)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 7, "{statuses:?}");
}

#[test]
fn d_9_other_urls_take_no_delete_and_head_follows_get() {
    let (_setup, server, polling, manifest) = complete();
    let file = manifest["output"][0]["url"].as_str().unwrap();
    let refused = delete(file);
    assert_eq!((refused.outcome(), refused.header("allow")), (outcome(405, "not-supported"), "GET, HEAD"));
    let folder = delete(&format!("{}/bulk-api/request", server.base));
    assert_eq!(folder.outcome(), outcome(405, "not-supported"));
    assert!(folder.headers.contains_key("allow"));
    let (head, get) = (send("HEAD", &polling, &[]), get(&polling));
    assert_eq!((head.status, head.body.len()), (get.status, 0));
    assert_eq!(head.header("content-type"), get.header("content-type"));
}

#[test]
fn c1_the_models_own_name_of_the_operation_cannot_be_triggered_by_a_link() {
    let (_setup, server, polling, _) = complete();
    let url = format!("{}/Export/DeleteRequest?request={polling}", server.base);
    assert_eq!(get(&url).outcome(), outcome(406, "structure"));
    assert_eq!(send("GET", &url, &KICKOFF).status, 202);
    assert_eq!(get(&polling).outcome(), outcome(404, "deleted"));
}
