//! What is recorded: downloads, refusals, and an event of every kind.

use jiff::Timestamp;
use serde_json::Value;

use super::{TestLog, caller, detail};
use crate::audit::{AuditedCaller, AuditedDownload, AuditedEvent, DownloadEnding, RequestEvent};
use crate::chain::ChainHead;
use crate::job::{ClientId, FailureReason, JobId, MarkReason, TenantId};

#[test]
fn a_download_is_recorded_when_it_begins_and_when_it_ends() {
    let room = TestLog::new(1 << 20);
    let job = JobId::random();
    let file = "0E6C1A30-5D7B-4B6E-8B49-3B9D6A2F7C11_Patient.ndjson";
    let begin = |length| room.log.download(caller(), job, file, length);
    let ends = |download: AuditedDownload| {
        drop(download);
        let event = room.events().pop().unwrap();
        let [bytes, ending] = ["bytes", "ending"].map(|name| detail(&event, name).unwrap().to_string());
        (bytes, ending, event["outcome"].as_str().unwrap().to_string())
    };
    let end = |bytes: &str, ending: &str, outcome: &str| (bytes.into(), ending.into(), outcome.into());

    let mut whole = begin(Some(300));
    assert_eq!(room.kinds(), ["download-start"]);
    let event = &room.events()[0];
    assert_eq!((detail(event, "file"), detail(event, "bytes")), (Some(file), None));
    assert_eq!(event["entity"][0]["what"]["identifier"]["value"], format!("urn:uuid:{job}"));
    assert_eq!(event["agent"][0]["network"]["address"], "192.0.2.7");
    whole.sent(100);
    whole.sent(200);
    assert_eq!(room.kinds().len(), 1, "nothing is recorded for a chunk");
    assert_eq!(ends(whole), end("300", "whole", "0"));

    let mut short = begin(Some(300));
    short.sent(299);
    assert_eq!(ends(short), end("299", "broken-off", "4"));
    let mut lying = begin(Some(300));
    lying.sent(1);
    lying.finished();
    assert_eq!(ends(lying), end("1", "broken-off", "4"));
    let mut cut = begin(Some(300));
    cut.sent(50);
    cut.cut();
    assert_eq!(ends(cut), end("50", "cut", "4"));
    let mut too_late_to_cut = begin(Some(300));
    too_late_to_cut.sent(300);
    too_late_to_cut.cut();
    assert_eq!(ends(too_late_to_cut), end("300", "whole", "0"));
    let mut unknown = begin(None);
    unknown.sent(70);
    unknown.finished();
    assert_eq!(ends(unknown), end("70", "whole", "0"));
    let mut unknown = begin(None);
    unknown.sent(70);
    assert_eq!(ends(unknown), end("70", "broken-off", "4"));
    assert_eq!(ends(begin(Some(0))), end("0", "whole", "0"));
}

#[test]
fn strangers_cannot_fill_the_disk_with_refusals() {
    let room = TestLog::new(1 << 20);
    let refuse = |count| {
        for _ in 0..count {
            room.log.record(RequestEvent::AuthenticationRefused {
                caller: AuditedCaller::default(),
                reason: "no-token",
            });
        }
    };
    let count = |kind: &str| room.kinds().iter().filter(|other| *other == kind).count();
    refuse(60);
    assert_eq!(count("authentication-refused"), 60);
    refuse(1000);
    room.log
        .record(RequestEvent::TokenRefused { caller: AuditedCaller::default(), reason: "invalid_client" });
    room.record();
    assert_eq!((count("authentication-refused"), count("token-refused"), count("manifest")), (60, 0, 1));
    room.set_time(60);
    refuse(61);
    assert_eq!((count("authentication-refused"), count("audit-withheld")), (120, 1));
    let told = |n: usize| {
        let events = room.events();
        let withheld: Vec<_> =
            events.iter().filter(|event| detail(event, "kind") == Some("audit-withheld")).collect();
        detail(withheld[n], "events").unwrap().to_string()
    };
    assert_eq!(told(0), "1001");
    room.log.record(AuditedEvent::Stopped);
    assert_eq!((told(1), room.breaks()), ("1".into(), vec![]));
}

/// An event of every kind.
fn every_kind() -> Vec<AuditedEvent> {
    let (job, tenant): (_, TenantId) = (JobId::random(), "default".parse().unwrap());
    let (owner, head): (ClientId, _) =
        ("owner-1".parse().unwrap(), ChainHead { count: 7, ..ChainHead::EMPTY });
    let receipt = r#"{"job":"6b1f0e3c-5d0a-4b8e-9a57-0f6f1c2d3e4f","tenant":"t1","owner":"o1",
        "reason":"deleted","was":"complete","by":"c1","request_id":"r1","submitted_at":"2025-12-31T00:00:00Z",
        "marked_at":"2025-12-31T23:59:59.5Z","hidden_at":null,"last_byte_at":null,
        "gone_at":"2026-01-01T00:00:00Z","files":7,"bytes":123456,"planted_links":0,"failed_sweeps":2,
        "last_error":"unlink: EBUSY",
        "fenced_writers":0,"cut_downloads":1,"drained_downloads":3,"resumed":false}"#;
    let (at, by) = (Timestamp::UNIX_EPOCH, "ops".to_string());
    use crate::receipts::{JobHold, ReaperPause, ReceiptEntry};
    let orders = [
        ReceiptEntry::Hold(JobHold { job, at, by: by.clone(), reason: "of Mr Wintergreen".into() }),
        ReceiptEntry::Release { job, at, by: by.clone() },
        ReceiptEntry::Pause(ReaperPause { at, by: by.clone(), reason: "of Mr Wintergreen".into() }),
        ReceiptEntry::Resume { at, by: by.clone() },
        ReceiptEntry::Prune { at, cut: head },
        ReceiptEntry::Epoch { at, epoch: 3 },
        ReceiptEntry::Gap { at, expected: head, found: head },
        ReceiptEntry::Erasure(serde_json::from_str(receipt).unwrap()),
    ];
    let (file, bytes, reason) = ("X_Patient.ndjson".to_string(), 5, "because");
    let mut events: Vec<_> = orders.iter().map(|entry| AuditedEvent::of_receipt(entry, head)).collect();
    let mark = |reason, by: Option<ClientId>| {
        let request_id = by.as_ref().map(|_| "r1".into());
        AuditedEvent::Marked { job, tenant: tenant.clone(), owner: owner.clone(), reason, by, request_id }
    };
    events.extend([
        AuditedEvent::Started,
        AuditedEvent::Stopped,
        RequestEvent::KickOff { caller: caller(), job, level: "group" }.into(),
        RequestEvent::KickOffRefused { caller: caller(), status: 429, reason }.into(),
        RequestEvent::Manifest { caller: caller(), job }.into(),
        AuditedEvent::Completed {
            job,
            tenant: tenant.clone(),
            owner: owner.clone(),
            files: 1,
            resources: 2,
            bytes,
        },
        AuditedEvent::Failed {
            job,
            tenant: tenant.clone(),
            owner: owner.clone(),
            reason: FailureReason::SourceChanged,
        },
        RequestEvent::DownloadBegan { caller: caller(), job, file: file.clone() }.into(),
        RequestEvent::DownloadEnded {
            caller: caller(),
            job,
            file: file.clone(),
            bytes,
            ending: DownloadEnding::Cut,
        }
        .into(),
        RequestEvent::Deleted { caller: caller(), job }.into(),
        mark(MarkReason::Expired, None),
        mark(MarkReason::Deleted, Some("c1".parse().unwrap())),
        RequestEvent::TokenIssued { caller: caller(), scopes: 2, expires_in: 300 }.into(),
        RequestEvent::TokenRefused { caller: AuditedCaller::default(), reason }.into(),
        RequestEvent::AuthenticationRefused { caller: AuditedCaller::default(), reason }.into(),
        RequestEvent::ScopeRefused { caller: caller(), job: None, reason }.into(),
        RequestEvent::ScopeRefused { caller: caller(), job: Some(job), reason }.into(),
        RequestEvent::Admin { action: "client-register", by, job: None, client: Some("c2".parse().unwrap()) }
            .into(),
        AuditedEvent::Rotated { before: file.clone(), end: head },
        AuditedEvent::Removed { files: 1, cut: head },
        AuditedEvent::Torn { file: file.clone(), bytes },
        AuditedEvent::Broken { file, line: 3 },
        AuditedEvent::Withheld { events: 3 },
        AuditedEvent::Lost { events: 3 },
    ]);
    events
}

fn has_no_nulls_or_empty(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty() && items.iter().all(has_no_nulls_or_empty),
        Value::Object(fields) => !fields.is_empty() && fields.values().all(has_no_nulls_or_empty),
        _ => true,
    }
}

#[test]
fn every_kind_is_an_audit_event_with_all_that_r4_demands() {
    let room = TestLog::new(1 << 20);
    let events = every_kind();
    for event in &events {
        room.log.record(event.clone());
    }
    let written = room.events();
    assert_eq!(written.len(), events.len());
    // For a validator: see scripts/conformance/r4-schema.
    if let Some(path) = std::env::var_os("AUDIT_EVENTS_TO") {
        std::fs::copy(&room.files()[0], path).unwrap();
    }
    for (event, json) in events.iter().zip(&written) {
        let kind = event.kind();
        assert_eq!((&json["resourceType"], detail(json, "kind")), (&"AuditEvent".into(), Some(kind)));
        assert!(uuid::Uuid::try_parse(json["id"].as_str().unwrap()).is_ok());
        assert!(["system", "code", "display"].iter().all(|key| json["type"][key].is_string()), "{json}");
        assert_eq!(json["recorded"], room.at(0).to_string());
        assert!(json["source"]["observer"].is_object() && has_no_nulls_or_empty(json), "{json}");
        let agents = json["agent"].as_array().unwrap();
        assert_eq!(agents.iter().filter(|agent| agent["requestor"] == true).count(), 1, "{json}");
        assert!(["R", "U", "D", "E"].contains(&json["action"].as_str().unwrap()));
        let failed = ["refused", "withheld", "failed", "torn", "broken", "lost"]
            .iter()
            .any(|word| kind.contains(word))
            || detail(json, "ending") == Some("cut")
            || detail(json, "action") == Some("gap");
        assert_eq!(json["outcome"] != "0", failed, "{json}");
        assert!(!json.to_string().contains("Wintergreen"), "an operator's words stay in the receipts");
    }
    let erase = written.iter().find(|event| detail(event, "kind") == Some("erase")).unwrap();
    for (name, value) in [("files", "7"), ("bytes", "123456"), ("reason", "deleted"), ("receipt-count", "7")]
    {
        assert_eq!(detail(erase, name), Some(value), "{name}");
    }
    assert_eq!(erase["agent"][0]["who"]["identifier"]["value"], "c1");
}
