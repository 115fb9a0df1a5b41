//! The life of a job in the log: each step is one line at `info`, in the order of life, and nothing else
//! is said of it.

use serde_json::Value;

use crate::support::*;

/// All lines since the server was ready but those of requests, by their messages.
fn steps(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.skip_while(|line| line["message"] != "ready").skip(1);
    let is_step =
        |line: &Value| line["message"] != "answered" && line["message"] != "the index is up to date";
    lines.filter(is_step).collect()
}

fn messages(steps: &[Value]) -> Vec<&str> {
    steps.iter().map(|line| line["message"].as_str().unwrap()).collect()
}

/// Waits until the log has a step, and returns all up to now.
fn steps_until(setup: &Setup, server: &Server, last: &str) -> Vec<Value> {
    setup.wait_logged(last);
    steps(&setup.settled_log(server))
}

#[test]
fn a_whole_life_is_these_lines_in_this_order_and_no_others() {
    let setup = Setup::new();
    let server = setup.start();
    let polling = server.kickoff("$export?_type=Patient");
    let job = job_id(&polling);
    let manifest = server.wait_complete(&polling);
    download_all(&manifest);
    // It may be deleted before its completion is logged.
    setup.wait_logged("job completed");
    let request_id = {
        let answer = delete(&polling);
        assert_eq!(answer.status, 202);
        answer.header("x-request-id").to_string()
    };
    let receipt = setup.receipt(job);
    let steps = steps_until(&setup, &server, "job erased");
    assert_eq!(
        messages(&steps),
        [
            "job kicked off",
            "job started",
            "job planned",
            "job completed",
            "job marked",
            "job hidden",
            "tree head signed",
            "receipt appended",
            "job erased"
        ]
    );
    for step in steps.iter().filter(|step| step["message"] != "tree head signed") {
        assert_eq!((&step["level"], &step["job"]), (&"INFO".into(), &job.into()), "{step}");
        if step["message"] != "receipt appended" {
            assert_eq!((&step["tenant"], &step["client"]), (&"default".into(), &receipt["owner"]), "{step}");
        }
    }
    let [kicked_off, started, planned, completed, marked, hidden, head, appended, erased] = &steps[..] else {
        panic!()
    };
    assert_eq!(kicked_off["span"]["method"], "GET", "it names the request: {kicked_off}");
    assert!(kicked_off["span"]["request_id"].is_string(), "{kicked_off}");
    assert!(started["waited_milliseconds"].is_u64() && planned["milliseconds"].is_u64(), "{steps:?}");
    assert!(planned["parts"].as_u64().unwrap() > 0, "{planned}");
    assert_eq!(completed["files"], manifest["output"].as_array().unwrap().len());
    assert!(completed["bytes"].as_u64().unwrap() > 0 && completed["milliseconds"].is_u64(), "{completed}");
    assert_eq!((&marked["reason"], &marked["was"]), (&"deleted".into(), &"complete".into()));
    assert_eq!((&marked["by"], &marked["request_id"]), (&receipt["owner"], &request_id.into()));
    assert!(hidden["milliseconds"].is_u64(), "{hidden}");
    assert!(head["tree_size"] == 1 && head["signature"].is_string(), "{head}");
    assert_eq!((&appended["kind"], &appended["count"]), (&"erasure".into(), &1.into()));
    for count in ["files", "bytes", "failed_sweeps"] {
        assert_eq!(erased[count], receipt[count], "{erased}");
    }
}

#[test]
fn a_job_that_goes_on_after_a_restart_and_is_cancelled_says_so() {
    let setup = Setup::new().set("export.part_bytes=4096").braked(200_000);
    let server = setup.start();
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    server.kill();
    let before = setup.log().lines().count();
    let server = setup.start();
    setup.wait_logged("job resumed");
    assert_eq!(delete(&polling_url(&server, job_id(&polling))).status, 202);
    setup.receipt(job_id(&polling));
    setup.wait_logged("job erased");
    let log = setup.settled_log(&server);
    let log: Vec<_> = log.lines().skip(before).collect();
    // A resumed job may speak before the server is ready.
    let all = log.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_job = all.filter(|line| line["job"] == job_id(&polling));
    // The start joins what store and disk say of it, before its life goes on.
    let of_job: Vec<_> = of_job.skip_while(|line| line["message"] != "job resumed").collect();
    assert_eq!(
        messages(&of_job),
        ["job resumed", "job marked", "job hidden", "receipt appended", "job erased"]
    );
    assert!(of_job[0]["sealed_parts"].as_u64().unwrap() > 0, "{}", of_job[0]);
    assert_eq!(of_job[1]["reason"], "cancelled");
}

#[test]
fn a_job_that_fails_says_why_with_a_reason_of_a_closed_list() {
    let setup = Setup::new().set("export.max_files=1");
    let server = setup.start();
    let polling = server.kickoff("$export?_type=Patient,Encounter");
    eventually("the failure", || (get(&polling).status == 500).then_some(()));
    let steps = steps_until(&setup, &server, "job failed");
    assert_eq!(messages(&steps), ["job kicked off", "job started", "job planned", "job failed"]);
    assert_eq!((&steps[3]["job"], &steps[3]["reason"]), (&job_id(&polling).into(), &"TooLarge".into()));
}
