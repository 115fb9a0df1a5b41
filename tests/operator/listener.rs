//! The operators' listener: only with the token, and nothing of it on the clients' listener.

use serde_json::json;

use super::order;
use crate::support::*;

/// Every operation of operators but `/healthz`.
const OPERATIONS: [(&str, &str); 14] = [
    ("GET", "readyz"),
    ("GET", "metrics"),
    ("GET", "admin/status"),
    ("GET", "admin/jobs"),
    ("DELETE", "admin/jobs/JOB"),
    ("PUT", "admin/jobs/JOB/hold"),
    ("DELETE", "admin/jobs/JOB/hold"),
    ("PUT", "admin/reaper/pause"),
    ("DELETE", "admin/reaper/pause"),
    ("POST", "admin/clock/confirm"),
    ("GET", "admin/log-level"),
    ("PUT", "admin/log-level"),
    ("DELETE", "admin/log-level"),
    ("GET", "admin/jobs?x=1"),
];

#[test]
fn nothing_is_told_or_done_without_the_operators_token() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let token = server.operator_token();
    let wrong = [
        vec![],
        vec![("Authorization", "Bearer ".to_string())],
        vec![("Authorization", format!("{token}0"))],
        vec![("Authorization", token[..token.len() - 1].to_string())],
        vec![("Authorization", token.replace("Bearer", "Basic"))],
        vec![("Authorization", token.replace("Bearer ", ""))],
        vec![("X-Authorization", token.clone())],
    ];
    for (method, name) in OPERATIONS {
        let url = format!("{}/{}", server.operators, name.replace("JOB", job_id(&polling)));
        for fields in &wrong {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = send(method, &url, &fields);
            assert_eq!(answer.outcome(), (401, "login".into()), "{method} {url} {fields:?}");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"operators\"");
        }
    }
    assert_eq!(get(&polling).status, 200, "nothing was done");
    assert_eq!(get(&format!("{}/healthz", server.operators)).json(), json!({"status": "ok"}));
}

#[test]
fn the_clients_listener_has_nothing_for_operators() {
    let setup = Setup::new();
    let server = setup.start();
    let root = server.base.strip_suffix("/r4/default").unwrap();
    let token = server.operator_token();
    for (method, name) in OPERATIONS.into_iter().filter(|(_, name)| *name != "readyz") {
        let answer = send(method, &format!("{root}/{name}"), &[("Authorization", &token)]);
        assert_eq!(answer.outcome(), (404, "not-found".into()), "{method} {name}");
    }
    let answer = get(&format!("{}/r4/default/metadata", server.operators));
    assert_eq!(answer.outcome(), (404, "not-found".into()), "nor the other way round");
}

#[test]
fn orders_over_http_do_what_the_commands_do() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let id = job_id(&polling);
    let token = server.operator_token();
    let ask = |method: &str, name: &str, body: &str| {
        let url = format!("{}/{name}", server.operators);
        match method {
            "PUT" => put(&url, &[("Authorization", &token)], body),
            _ => send(method, &url, &[("Authorization", &token)]),
        }
    };
    let (job, hold) = (format!("admin/jobs/{id}"), format!("admin/jobs/{id}/hold"));
    assert_eq!(ask("GET", "admin/jobs", "").json()[0]["job"], id);
    assert_eq!(ask("PUT", &hold, "").outcome(), (400, "structure".into()), "no reason");
    assert_eq!(ask("PUT", &hold, r#"{"reason": "inquiry"}"#).status, 200);
    assert_eq!(ask("PUT", &hold, r#"{"reason": "inquiry"}"#).outcome(), (409, "conflict".into()));
    assert_eq!(ask("GET", "admin/jobs", "").json()[0]["held"], true);
    assert_eq!(ask("DELETE", &hold, "").status, 200);
    assert_eq!(ask("PUT", "admin/reaper/pause", r#"{"reason": "backup"}"#).status, 200);
    assert_eq!(ask("DELETE", "admin/reaper/pause", "").status, 200);
    assert_eq!(ask("POST", "admin/clock/confirm", "").outcome(), (409, "conflict".into()), "it is believed");
    assert_eq!(ask("DELETE", &job, "").status, 200);
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    assert_eq!(setup.receipt(id)["by"], "operator-token");
    assert_eq!(ask("DELETE", &job, "").outcome(), (409, "conflict".into()), "it is deleted");
}

#[test]
fn an_operator_ends_any_job_by_a_command() {
    let setup = Setup::new().braked(0);
    let server = setup.start();
    let polling = server.kickoff("$export");
    let said = order(&setup, &["cancel", job_id(&polling), "--yes"]);
    assert!(said.contains("is deleted"), "{said}");
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    setup.disk().wait_gone(job_id(&polling));
    assert_eq!(setup.receipt(job_id(&polling))["reason"], "cancelled");
}
