use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

static NONE: BaseUrls = BaseUrls::NONE;

/// A token that does not fire.
fn never() -> &'static CancelToken {
    static NEVER: LazyLock<CancelToken> = LazyLock::new(CancelToken::new);
    &NEVER
}

fn read(line: &str) -> Result<(&'static str, Vec<ResourceKey>), LineFault> {
    let mut reader = LineParser::new(&NONE, never());
    reader.read(line.as_bytes()).map(|()| (reader.resource_type.as_str(), reader.patients))
}

fn patient(id: &str) -> ResourceKey {
    key(&format!("Patient/{id}"))
}

#[test]
fn a_line_is_a_resource_or_says_why_not() {
    let name = |line: &str| read(line).map(|(name, _)| name);
    assert_eq!(name(r#"{"id":"p","resourceType":"Patient","x":{"resourceType":"Group"}}"#), Ok("Patient"));
    assert_eq!(name(r#"{"resourceType":"Pat\u0069ent"}"#), Ok("Patient"));
    assert_eq!(name(r#"{"resource\u0054ype":"Patient"}"#), Ok("Patient"));
    assert_eq!(name(r#"{"resourceType":"Patient","n":1e999}"#), Ok("Patient"));
    assert_eq!(name(r#"{"resourceType":"Patient""#), Err(LineFault::NotJson));
    assert_eq!(name(r#"{"resourceType":"Patient"}{}"#), Err(LineFault::NotJson));
    assert_eq!(name(r#"[{"resourceType":"Patient"}]"#), Err(LineFault::NotAnObject));
    assert_eq!(name(r#"{"id":"p"}"#), Err(LineFault::NoType));
    assert_eq!(name(r#"{"resourceType":"Patient","resourceType":"Group"}"#), Err(LineFault::NoType));
    assert_eq!(name(r#"{"resourceType":7}"#), Err(LineFault::NoType));
    assert_eq!(name(r#"{"x":1,"resourceType":7}"#), Err(LineFault::NoType));
    assert_eq!(name(r#"{"resourceType":"Elephant"}"#), Err(LineFault::UnknownType));
    assert_eq!(name(r#"{"resourceType":"Patient","id":7}"#), Err(LineFault::BadId));
    assert_eq!(name(r#"{"resourceType":"Patient","id":"a","id":"a"}"#), Err(LineFault::BadId));
    assert_eq!(name(r#"{"resourceType":"Patient","meta":{},"meta":{}}"#), Err(LineFault::Ambiguous));
    assert_eq!(
        name(r#"{"resourceType":"Patient","meta":{"lastUpdated":"x","lastUpdated":"x"}}"#),
        Err(LineFault::Ambiguous)
    );
    assert_eq!(
        LineParser::new(&NONE, never()).read(b"{\"resourceType\":\"Patient\",\"x\":\"\xff\"}"),
        Err(LineFault::NotUtf8)
    );
    let deep = format!("{{\"resourceType\":\"Patient\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(name(&deep), Ok("Patient"));
}

proptest! {
    /// Whatever stands in a line: no panic, and what is taken for a resource is JSON.
    #[test]
    fn only_json_is_a_resource(
        changes in prop::collection::vec((0usize..400, "[{}\\[\\]\",:\\\\ 0-9fu+.\u{1}\u{e9}-]{0,2}"), 0..4),
    ) {
        let mut line = concat!(
            r#"{"resourceType":"Observation","id":"a\u0062c","meta":{"lastUpdated":"2024-01-02T03:04:05.5Z"},"#,
            r#""value":[1,-2.5,true,null,"\u00e9\n"],"subject":{"reference":"Patient/p"},"#,
            r#""performer":[{"reference":"Patient\/q"},{"reference":7},null],"contained":[{"id":"z"}]}"#
        )
        .to_string();
        for (at, text) in changes {
            let at = line.floor_char_boundary(at.min(line.len()));
            let end = line.ceil_char_boundary((at + text.len()).min(line.len()));
            line.replace_range(at..end, &text);
        }
        if read(&line).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{}", line);
        }
    }
}

#[test]
fn whose_a_resource_is_follows_from_the_elements_of_its_type_alone() {
    let patients = |line: &str| read(line).map(|(_, patients)| patients);
    let one = |id| Ok(vec![patient(id)]);
    assert_eq!(patients(r#"{"resourceType":"Patient","id":"p"}"#), one("p"));
    assert_eq!(patients(r#"{"resourceType":"Observation","subject":{"reference":"Patient/p"}}"#), one("p"));
    assert_eq!(patients(r#"{"subject":{"reference":"Patient\/p"},"resourceType":"Observation"}"#), one("p"));
    assert_eq!(
        patients(
            r#"{"resourceType":"CarePlan","activity":[{"detail":{"performer":[{"reference":"Patient/p"}]}}]}"#
        ),
        one("p")
    );
    for other in [
        r#"{"resourceType":"Observation","encounter":{"reference":"Patient/p"}}"#,
        r#"{"resourceType":"Observation","contained":[{"resourceType":"Observation","subject":{"reference":"Patient/p"}}]}"#,
        r#"{"resourceType":"Observation","note":[{"text":"\"subject\":{\"reference\":\"Patient/p\"}"}]}"#,
        r#"{"resourceType":"Observation","subject":{"display":"Patient/p"}}"#,
        r#"{"resourceType":"Observation","subject":"Patient/p"}"#,
        r#"{"resourceType":"Observation","subject":{"x":{"reference":"Patient/p"}}}"#,
        r#"{"resourceType":"Observation","x":{"subject":{"reference":"Patient/p"}}}"#,
        r#"{"resourceType":"Organization","subject":{"reference":"Patient/p"}}"#,
    ] {
        assert_eq!(patients(other), Ok(vec![]), "{other}");
    }
    let twice =
        r#"{"resourceType":"Observation","subject":{"reference":"Patient/p","reference":"Patient/q"}}"#;
    assert_eq!(patients(twice), Err(LineFault::Ambiguous));
}

#[test]
fn a_provenance_has_its_targets_and_when_it_was_recorded() {
    let mut reader = LineParser::new(&NONE, never());
    let line = |target| format!(r#"{{"resourceType":"Provenance","target":[{target}]}}"#);
    reader.read(line(r#"{"reference":"Observation/o"},{"reference":"Organization/x"}"#).as_bytes()).unwrap();
    let targets = [key("Observation/o"), key("Organization/x")];
    assert_eq!((reader.patients.len(), reader.targets.as_slice()), (0, targets.as_slice()));
    assert_eq!(reader.recorded, UNKNOWN_AGE);
    reader.read(line(r#"{"reference":"Observation/o"},{"reference":"Patient/p"}"#).as_bytes()).unwrap();
    assert_eq!((reader.patients.as_slice(), reader.targets.len()), ([patient("p")].as_slice(), 2));
    let mut recorded = |members: &str| {
        reader.read(format!(r#"{{"resourceType":"Provenance",{members}}}"#).as_bytes()).unwrap();
        reader.recorded
    };
    let (recorded_at, updated) =
        (r#""recorded":"1970-01-01T00:00:03Z""#, r#""meta":{"lastUpdated":"1970-01-01T00:00:05Z"}"#);
    assert_eq!(recorded(recorded_at), 3_000_000_000);
    assert_eq!(recorded(&format!("{updated},{recorded_at}")), 3_000_000_000);
    assert_eq!(recorded(updated), 5_000_000_000);
    assert_eq!(recorded(r#""recorded":"1970""#), UNKNOWN_AGE);
}

#[test]
fn mf_6_the_delete_entries_of_a_transaction_are_deletions() {
    let bases = BaseUrls::new(["https://h/r4"]);
    let mut reader = LineParser::new(&bases, never());
    let mut deleted = |bundle: &str, request: &str| -> Vec<String> {
        let line = format!(r#"{{"resourceType":"Bundle",{bundle},"entry":[{{"request":{request}}}]}}"#);
        reader.read(line.as_bytes()).unwrap();
        reader.deletions.iter().map(|deletion| deletion.name.clone()).collect()
    };
    let transaction = r#""type":"transaction""#;
    for request in [
        r#"{"method":"DELETE","url":"Observation/o"}"#,
        r#"{"url":"Observation\/o","x":{"method":"PUT"},"m\u0065thod":"DELETE"}"#,
        r#"{"method":"DELETE","url":"https://h/r4/Observation/o"}"#,
    ] {
        assert_eq!(deleted(transaction, request), ["Observation/o"], "{request}");
        for other in ["history", "batch", "collection", "Transaction"] {
            assert_eq!(deleted(&format!(r#""type":"{other}""#), request), [""; 0], "{other}");
        }
        assert_eq!(deleted(r#""x":1"#, request), [""; 0]);
    }
    for request in [
        r#"{"method":"PUT","url":"Observation/o"}"#,
        r#"{"method":"delete","url":"Observation/o"}"#,
        r#"{"method":"DELETE"}"#,
        r#"{"url":"Observation/o"}"#,
        r#"{"method":"DELETE","url":"Observation/o/_history/1"}"#,
        r#"{"method":"DELETE","url":"Observation?subject=Patient/p"}"#,
        r#"{"method":"DELETE","url":"https://elsewhere/Observation/o"}"#,
        r#"[{"method":"DELETE","url":"Observation/o"}]"#,
        r#"{"method":"DELETE","url":["Observation/o"]}"#,
        "null",
        "7",
    ] {
        assert_eq!(deleted(transaction, request), [""; 0], "{request}");
    }
    let twice = r#"{"resourceType":"Bundle","type":"transaction","entry":[],"entry":[]}"#;
    assert_eq!(LineParser::new(&NONE, never()).read(twice.as_bytes()), Err(LineFault::Ambiguous));
}

#[test]
fn mf_6_a_bundle_without_last_updated_is_as_old_as_its_timestamp() {
    let mut reader = LineParser::new(&NONE, never());
    let mut updated = |members: &str| {
        reader.read(format!(r#"{{"resourceType":"Bundle",{members}}}"#).as_bytes()).unwrap();
        reader.updated
    };
    let timestamp = r#""timestamp":"1970-01-01T00:00:03Z""#;
    assert_eq!(updated(timestamp), 3_000_000_000);
    let both = format!(r#"{timestamp},"meta":{{"lastUpdated":"1970-01-01T00:00:05Z"}}"#);
    assert_eq!(updated(&both), 5_000_000_000);
    assert_eq!(updated(&format!(r#"{timestamp},"meta":{{"lastUpdated":"1970"}}"#)), 3_000_000_000);
    assert_eq!(updated(r#""type":"transaction""#), UNKNOWN_AGE);
}
