//! What a line is, which of several is the resource, and lines of unusual shape.

use super::*;

async fn of_content(files: &[(&str, &[u8])]) -> Instance {
    let files: Vec<_> = files.iter().map(|(name, content)| (name.to_string(), content.to_vec())).collect();
    Instance::start(&files, Settings::default()).await
}

/// The lines of one type in a system export.
async fn lines_of(instance: &Instance, resource_type: &str) -> Vec<String> {
    let mut selection = instance.export(&Kickoff::system()).await.unwrap();
    let lines = selection.lines.remove(resource_type).unwrap_or_default();
    lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
}

#[tokio::test]
async fn the_later_line_wins_and_then_the_later_file_in_the_order_of_the_names_bytes() {
    let patient = |id: &str, file: &str| {
        format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\",\"file\":\"{file}\"}}\n")
    };
    // Each file has a version of the patients of all files before it in the order of bytes.
    let names = ["10", "9", "B", "a", "a b", "a-b", "a.b", "aa", "b", "z", "é", "\u{10000}"];
    let content = |n: usize| {
        let of = |id: &&str| patient(id, names[n]);
        patient(names[n], "superseded by a later line") + &names[..=n].iter().map(of).collect::<String>()
    };
    let files: Vec<_> = (0..names.len()).map(|n| (names[n].to_string(), content(n).into_bytes())).collect();
    let instance = Instance::start(&files, Settings::default()).await;
    let mut expected: Vec<_> =
        names.iter().map(|id| patient(id, "\u{10000}").trim_end().to_string()).collect();
    expected.sort();
    assert_eq!(lines_of(&instance, "Patient").await, expected);
    // Without the last file the one before it wins.
    std::fs::remove_file(instance.path("\u{10000}")).unwrap();
    let mut expected: Vec<_> = names[..11].iter().map(|id| patient(id, "é").trim_end().to_string()).collect();
    expected.sort();
    assert_eq!(lines_of(&instance, "Patient").await, expected);
}

#[tokio::test]
async fn only_resources_of_one_type_and_id_are_versions_of_each_other() {
    let lines = [
        r#"{"resourceType":"Patient","id":"a","n":1}"#,
        r#"{"resourceType":"Organization","id":"a","n":2}"#,
        r#"{"resourceType":"Patient","id":"A","n":3}"#,
        r#"{"resourceType":"Patient","n":4}"#,
        r#"{"resourceType":"Organization","n":5}"#,
        r#"{"resourceType":"Organization","n":5}"#,
        r#"{"id":"\u0061","n":6,"resourceType":"\u0050atient"}"#,
        r#"{"resourceType":"Patient","id":"a ","n":7}"#,
        r#"{"resourceType":"Patient","id":"a","n":8"#,
    ];
    let instance = Instance::of(&[("a", &lines)]).await;
    assert_eq!(lines_of(&instance, "Patient").await, [lines[6], lines[2], lines[7], lines[3]]);
    assert_eq!(lines_of(&instance, "Organization").await, [lines[1], lines[4], lines[5]]);
}

#[tokio::test]
async fn what_is_exported_is_the_line_byte_for_byte_without_the_white_space_around_it() {
    let odd = "{ \"resourceType\" :\"Patient\",\r\t\"id\":\"\\u0061\",\"x\": [1.0, 1e400,\"\\ud800\", \"\u{2028}\"]  }";
    let content = format!("\u{feff}\r\n \t{odd}\x0c \r\n\n\r\n");
    let instance = of_content(&[("a", content.as_bytes())]).await;
    assert_eq!(lines_of(&instance, "Patient").await, [odd]);
    instance.expect(&patient_level(), &["Patient/a"]).await;
    assert_eq!(instance.export(&Kickoff::system()).await.unwrap().broken, 0);
}

#[tokio::test]
async fn a_byte_order_mark_is_dropped_once_and_only_at_the_beginning_of_a_file() {
    let line = |id: &str| format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}");
    let bom = "\u{feff}";
    let one = format!("{bom}{}\n{bom}{}\n{}", line("1"), line("2"), line("3"));
    let two = format!("{bom}{bom}{}\n{}\n{bom}", line("4"), line("5"));
    let instance = of_content(&[("a", one.as_bytes()), ("b", two.as_bytes())]).await;
    instance.expect(&Kickoff::system(), &["Patient/1", "Patient/3", "Patient/5"]).await;
    assert_eq!(instance.export(&Kickoff::system()).await.unwrap().broken, 3);
}

#[tokio::test]
async fn a_key_that_stands_twice_breaks_a_line_exactly_where_it_is_read() {
    let broken = [
        r#"{"resourceType":"Patient","id":"0","id":"0"}"#,
        r#"{"resourceType":"Patient","id":"1","\u0069d":"1"}"#,
        r#"{"resourceType":"Patient","resourceType":"Patient","id":"2"}"#,
        r#"{"resourceType":"Patient","id":"3","meta":{},"meta":{}}"#,
        r#"{"resourceType":"Patient","id":"4","meta":{"lastUpdated":"2024-01-01T00:00:00Z","lastUpdated":null}}"#,
        r#"{"resourceType":"Observation","id":"5","subject":{"reference":"Patient/p"},"subject":{"reference":"Patient/p"}}"#,
        r#"{"resourceType":"Observation","id":"6","subject":{"reference":"Patient/p","reference":"Patient/p"}}"#,
        r#"{"resourceType":"Observation","id":"7","performer":[{"reference":"Patient/p"},{"reference":"Patient/p","reference":7}]}"#,
        r#"{"resourceType":"Appointment","id":"8","participant":[],"participant":[]}"#,
        r#"{"resourceType":"Appointment","id":"9","participant":[{},{"actor":{},"actor":{}}]}"#,
        r#"{"resourceType":"CarePlan","id":"10","activity":[{"detail":{"performer":[],"performer":[]}}]}"#,
        r#"{"resourceType":"CarePlan","id":"11","activity":[{"detail":{},"detail":{}}]}"#,
        r#"{"resourceType":"Provenance","id":"12","target":[],"target":[]}"#,
        r#"{"resourceType":"Group","id":"13","member":[{"entity":{},"entity":{}}]}"#,
    ];
    let whole = [
        r#"{"resourceType":"Patient","id":"0","name":[],"name":[]}"#,
        r#"{"resourceType":"Patient","id":"1","x":{"id":"1","id":"1","meta":1,"meta":2}}"#,
        r#"{"resourceType":"Patient","id":"2","meta":{"versionId":"1","versionId":"2"}}"#,
        r#"{"resourceType":"Patient","id":"3","subject":[],"subject":[],"lastUpdated":1,"lastUpdated":2}"#,
        r#"{"resourceType":"Observation","id":"4","x":{"subject":1,"subject":2},"subject":{"display":"a","display":"b"}}"#,
        r#"{"resourceType":"Observation","id":"5","participant":1,"participant":2,"target":1,"target":2}"#,
        r#"{"resourceType":"Appointment","id":"6","participant":[{"actor":{}},{"actor":{}}],"actor":1,"actor":2}"#,
        r#"{"resourceType":"CarePlan","id":"7","performer":1,"performer":2,"activity":[{"performer":1,"performer":2}]}"#,
        r#"{"resourceType":"Organization","id":"8","subject":1,"subject":2}"#,
        r#"{"resourceType":"Basic","id":"9","contained":[{"id":"1","id":"2","resourceType":"X","resourceType":"Y"}]}"#,
    ];
    let instance = Instance::of(&[("a", &broken), ("b", &whole)]).await;
    let expected = [
        &["Appointment/6", "Basic/9", "CarePlan/7", "Observation/4", "Observation/5", "Organization/8"][..],
        &["Patient/0", "Patient/1", "Patient/2", "Patient/3"],
    ];
    instance.expect(&Kickoff::system(), &expected.concat()).await;
    assert_eq!(instance.export(&Kickoff::system()).await.unwrap().broken, broken.len() as u64);
}

#[tokio::test]
async fn an_id_that_is_no_string_breaks_a_line() {
    let ids = ["7", "null", "true", "[]", "[\"a\"]", "{\"id\":\"a\"}"];
    let line = |id: &str| format!(r#"{{"resourceType":"Patient","id":{id}}}"#);
    let mut lines: Vec<_> = ids.iter().map(|id| line(id)).collect();
    lines.push(line("\"a\""));
    let instance = Instance::of(&[("a", &lines.iter().map(String::as_str).collect::<Vec<_>>())]).await;
    instance.expect(&Kickoff::system(), &["Patient/a"]).await;
    assert_eq!(instance.export(&Kickoff::system()).await.unwrap().broken, ids.len() as u64);
}

#[tokio::test]
async fn a_broken_line_supersedes_nothing_and_is_reported_by_every_export() {
    let lines = [
        r#"{"resourceType":"Patient","id":"p"}"#,
        r#"{"resourceType":"Patient","id":"p","meta":{},"meta":{}}"#,
        r#"{"resourceType":"Patient","id":"p""#,
        &group("g", &["p"]),
    ];
    let instance = Instance::of(&[("a", &lines)]).await;
    instance.expect(&Kickoff::system(), &["Group/g", "Patient/p"]).await;
    instance.expect(&group_level("g"), &["Group/g", "Patient/p"]).await;
    instance.expect(&only(patient_level(), &["Observation"]), &[]).await;
    assert_eq!(instance.export(&only(patient_level(), &["Observation"])).await.unwrap().broken, 2);
}

#[tokio::test]
async fn deep_nesting_is_no_fault_and_hides_no_reference() {
    let deep =
        |open: &str, close: &str, inner: &str| format!("{}{inner}{}", open.repeat(500), close.repeat(500));
    let reference = |id: &str| format!(r#"{{"reference":"Organization/{id}"}}"#);
    let arrays = deep("[", "]", &reference("a"));
    let objects = deep("{\"x\":", "}", &reference("b"));
    let subject = r#""subject":{"reference":"Patient/p"}"#;
    let lines = [
        format!(r#"{{"x":{arrays},"y":{objects},{subject},"resourceType":"Observation","id":"1"}}"#),
        // As deep, but not below the root.
        format!(
            r#"{{"x":{},"resourceType":"Observation","id":"2"}}"#,
            deep("{\"x\":", "}", &format!("{{{subject}}}"))
        ),
        r#"{"resourceType":"Organization","id":"a"}"#.into(),
        r#"{"resourceType":"Organization","id":"b"}"#.into(),
        r#"{"resourceType":"Organization","id":"c"}"#.into(),
        group("g", &["p"]),
    ];
    let instance = Instance::of(&[("a", &lines.each_ref().map(String::as_str))]).await;
    let expected = ["Group/g", "Observation/1", "Organization/a", "Organization/b"];
    instance.expect(&group_level("g"), &expected).await;
    assert_eq!(instance.export(&group_level("g")).await.unwrap().broken, 0);
}

#[tokio::test]
async fn a_line_of_twenty_megabytes_is_one_resource() {
    let data = "x\\u00e9".repeat(3 << 20);
    assert!(data.len() > 20 << 20);
    let line =
        format!(r#"{{"x":"{data}","subject":{{"reference":"Patient/p"}},"id":"1","resourceType":"Media"}}"#);
    let patient = r#"{"resourceType":"Patient","id":"p"}"#;
    let files = content(&[("a", &[patient, &line, &group("g", &["p"])])]);
    for small in [false, true] {
        let instance = Instance::start(&files, Settings { small, ..Settings::default() }).await;
        instance.expect(&group_level("g"), &["Group/g", "Media/1", "Patient/p"]).await;
    }
}

#[tokio::test]
async fn an_id_may_be_any_text_and_is_compared_as_it_is() {
    let long = "x".repeat(100_000);
    let ids = [
        "a b",
        " a",
        "ü",
        "u\u{308}",
        "\"quoted\"",
        "back\\slash",
        "%41",
        "A",
        "日本",
        "😀",
        "tab\t",
        "\0",
        &long,
    ];
    let json = |value: serde_json::Value| value.to_string();
    let patient = |id: &&str| json(serde_json::json!({"resourceType": "Patient", "id": id}));
    let observation = |id: &&str| {
        let subject = serde_json::json!({"reference": format!("Patient/{id}")});
        json(serde_json::json!({"resourceType": "Observation", "id": id, "subject": subject}))
    };
    let groups = ids.iter().map(|id| group(id, &[id]));
    let lines: Vec<_> = ids.iter().map(patient).chain(ids.iter().map(observation)).chain(groups).collect();
    let instance = Instance::of(&[("a", &lines.iter().map(String::as_str).collect::<Vec<_>>())]).await;
    for id in ids {
        let name = clipped(id, 100);
        let expected = [format!("Group/{name}"), format!("Observation/{name}"), format!("Patient/{name}")];
        instance.expect(&group_level(id), &expected.each_ref().map(String::as_str)).await;
    }
    assert_eq!(lines_of(&instance, "Patient").await.len(), ids.len());
}

#[tokio::test]
async fn an_id_that_no_reference_can_name_is_exported_all_the_same() {
    let ids = ["a/b", "a#b", "a?b", "p/_history/1"];
    let patient = |id: &&str| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#);
    let observation = |id: &&str| {
        format!(r#"{{"resourceType":"Observation","id":"{id}","subject":{{"reference":"Patient/{id}"}}}}"#)
    };
    let lines: Vec<_> = ids.iter().map(patient).chain(ids.iter().map(observation)).collect();
    let instance = Instance::of(&[("a", &lines.iter().map(String::as_str).collect::<Vec<_>>())]).await;
    // The last observation names a version of a patient `p`, who is not there.
    let expected =
        ["Observation/p/_history/1", "Patient/a#b", "Patient/a/b", "Patient/a?b", "Patient/p/_history/1"];
    instance.expect(&patient_level(), &expected).await;
}
