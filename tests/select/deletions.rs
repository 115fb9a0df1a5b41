//! Resources that are gone: what deletes them, who is told, and when (MF-6).

use super::*;

const BEFORE: &str = "2024-01-01T00:00:00Z";
const DAY: &str = "2024-05-05T12:00:00Z";
const AFTER: &str = "2025-01-01T00:00:00Z";

/// A transaction of that age that deletes these.
fn deletes_at(updated: &str, names: &[&str]) -> String {
    let entry = |name| serde_json::json!({"request": {"method": "DELETE", "url": name}});
    let entries: Vec<_> = names.iter().map(entry).collect();
    serde_json::json!({
        "resourceType": "Bundle", "type": "transaction", "meta": {"lastUpdated": updated}, "entry": entries,
    })
    .to_string()
}

fn deletes(names: &[&str]) -> String {
    deletes_at(DAY, names)
}

fn patient(id: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)
}

fn observation(id: &str, patient: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","subject":{{"reference":"Patient/{patient}"}},"performer":[{{"reference":"Organization/{id}"}}]}}"#
    )
}

fn organization(id: &str) -> String {
    format!(r#"{{"resourceType":"Organization","id":"{id}"}}"#)
}

async fn with(lines: &[String]) -> Instance {
    Instance::of(&[("a", &lines.iter().map(String::as_str).collect::<Vec<_>>())]).await
}

fn since(kickoff: Kickoff) -> Kickoff {
    aged(kickoff, instant(BEFORE), None)
}

#[tokio::test]
async fn mf_6_what_is_deleted_is_in_no_export_and_is_told_to_those_who_ask_for_changes() {
    let lines = [patient("p"), observation("1", "p"), observation("2", "p"), deletes(&["Observation/1"])];
    let instance = with(&lines).await;
    for kickoff in [Kickoff::system(), patient_level()] {
        instance.expect(&kickoff, &["Observation/2", "Patient/p"]).await;
        let until = aged(kickoff.clone(), None, instant(AFTER));
        instance.expect(&until, &["Observation/2", "Patient/p"]).await;
        let expected = ["-Observation/1", "Observation/2", "Patient/p"];
        instance.expect(&since(kickoff), &expected).await;
    }
}

#[tokio::test]
async fn mf_6_a_resource_and_its_deletion_take_turns_and_the_last_line_counts() {
    // Of each letter a patient with such a history: + is the resource, - its deletion.
    let histories =
        [("a", "+-"), ("b", "-+"), ("c", "+-+"), ("d", "-+-"), ("e", "--"), ("f", "+--+"), ("g", "+-+-")];
    let line = |id, sign| if sign == '+' { patient(id) } else { deletes(&[&format!("Patient/{id}")]) };
    let mut lines: Vec<_> =
        histories.iter().flat_map(|(id, signs)| signs.chars().map(|sign| line(id, sign))).collect();
    let expected =
        ["-Patient/a", "-Patient/d", "-Patient/e", "-Patient/g", "Patient/b", "Patient/c", "Patient/f"];
    with(&lines).await.expect(&since(Kickoff::system()), &expected).await;
    // The files are in the order of their names, whatever is deleted in which.
    let (first, last): (Vec<_>, Vec<_>) = (lines.drain(..2).collect(), lines);
    let first: Vec<_> = first.iter().map(String::as_str).collect();
    let last: Vec<_> = last.iter().map(String::as_str).collect();
    let instance = Instance::of(&[("b", &first), ("a", &last), ("c", &[&patient("a")])]).await;
    let expected =
        ["-Patient/d", "-Patient/e", "-Patient/g", "Patient/a", "Patient/b", "Patient/c", "Patient/f"];
    instance.expect(&since(Kickoff::system()), &expected).await;
}

#[tokio::test]
async fn mf_6_a_deletion_at_the_bound_itself_is_not_told_and_one_of_unknown_age_always() {
    let bundle = |age: &str, id: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"transaction"{age},"entry":[{{"request":{{"method":"DELETE","url":"Patient/{id}"}}}}]}}"#
        )
    };
    let (old, new) = ("2024-05-05T11:59:59.999999999Z", "2024-05-05T12:00:00.000000001Z");
    let updated = |at: &str| format!(r#","meta":{{"lastUpdated":"{at}"}}"#);
    let timestamp = |at: &str| format!(r#","timestamp":"{at}""#);
    let lines = [
        bundle(&updated(old), "old"),
        bundle(&updated(DAY), "at"),
        bundle(&updated(new), "new"),
        bundle(&timestamp(old), "old-timestamp"),
        bundle(&timestamp(new), "new-timestamp"),
        bundle(&(timestamp(old) + &updated(new)), "new-of-both"),
        bundle(&(timestamp(new) + &updated("soon")), "new-of-one"),
        bundle("", "unknown"),
        bundle(&timestamp("2024"), "unknown-timestamp"),
    ];
    let instance = with(&lines).await;
    let unknown = ["-Patient/unknown", "-Patient/unknown-timestamp"];
    let (at, old) = (["-Patient/at"], ["-Patient/old", "-Patient/old-timestamp"]);
    let new = ["-Patient/new", "-Patient/new-of-both", "-Patient/new-of-one", "-Patient/new-timestamp"];
    let between = |since, until| aged(Kickoff::system(), instant(since), until);
    instance.expect(&between(DAY, None), &[&new[..], &unknown].concat()).await;
    instance.expect(&between(BEFORE, instant(DAY)), &[&old[..], &unknown].concat()).await;
    instance.expect(&between(BEFORE, instant(AFTER)), &[&new[..], &at, &old, &unknown].concat()).await;
    instance.expect(&between(AFTER, None), &unknown).await;
    instance.expect(&aged(Kickoff::system(), None, instant(AFTER)), &[]).await;
}

#[tokio::test]
async fn mf_6_only_types_that_the_export_has_are_told() {
    let names = ["Observation/1", "Organization/1", "ValueSet/1", "Binary/1", "Bundle/1", "Elephant/1"];
    let instance = with(&[deletes(&names)]).await;
    let all = ["-Observation/1", "-Organization/1", "-ValueSet/1"];
    instance.expect(&since(Kickoff::system()), &all).await;
    instance.expect(&since(patient_level()), &all[..2]).await;
    instance.expect(&since(only(patient_level(), &["Organization"])), &all[1..2]).await;
    instance.expect(&since(only(Kickoff::system(), &["ValueSet", "Patient"])), &all[2..]).await;
    let none = Settings::references(References::None);
    let instance = Instance::start(&content(&[("a", &[&deletes(&names)])]), none).await;
    instance.expect(&since(patient_level()), &all[..1]).await;
    instance.expect(&since(Kickoff::system()), &all).await;
}

#[tokio::test]
async fn mf_6_g_4_an_export_about_some_patients_tells_of_nobody_else() {
    let provenance = r#"{"resourceType":"Provenance","id":"1","target":[{"reference":"Observation/there"}]}"#;
    let lines = [
        group("g", &["p", "gone"]),
        patient("p"),
        patient("q"),
        observation("of-p", "p"),
        observation("moved", "p"),
        observation("moved", "q"),
        observation("of-q", "q"),
        observation("there", "p"),
        provenance.into(),
        organization("of-p"),
        deletes(&["Patient/gone", "Patient/q", "Patient/stranger", "Observation/of-p", "Observation/of-q"]),
        deletes(&["Observation/moved", "Observation/unknown", "Organization/of-p", "Provenance/1"]),
    ];
    let instance = with(&lines).await;
    let ours = ["-Observation/of-p", "-Patient/gone"];
    let there = ["Group/g", "Observation/there", "Patient/p"];
    instance.expect(&since(group_level("g")), &[&ours[..], &there].concat()).await;
    let of_p = Kickoff {
        parameters: Parameters { patients: vec!["p".into()], ..Parameters::default() },
        ..patient_level()
    };
    instance.expect(&since(of_p), &[&ours[..1], &there[1..]].concat()).await;
    let everybody = [
        &ours[..],
        &there,
        &["-Observation/moved", "-Observation/of-q", "-Observation/unknown", "-Organization/of-p"],
        &["-Patient/q", "-Patient/stranger", "-Provenance/1"],
    ];
    instance.expect(&since(patient_level()), &everybody.concat()).await;
    // Who gets all organizations anyway is told of theirs.
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let all = Settings::references(References::All);
    let instance = Instance::start(&content(&[("a", &lines)]), all).await;
    instance.expect(&since(group_level("g")), &[&ours[..], &there, &["-Organization/of-p"]].concat()).await;
}

#[tokio::test]
async fn a_deleted_resource_leads_nowhere_and_a_deleted_group_is_none() {
    let provenance = r#"{"resourceType":"Provenance","id":"1","target":[{"reference":"Observation/1"}]}"#;
    let lines = [
        observation("1", "p"),
        organization("1"),
        provenance.into(),
        group("g", &["p"]),
        deletes(&["Observation/1", "Group/g"]),
    ];
    let instance = with(&lines).await;
    instance.expect(&patient_level(), &[]).await;
    instance.expect(&Kickoff::system(), &["Organization/1", "Provenance/1"]).await;
    instance.expect_refusal(&group_level("g"), FailureReason::GroupNotFound).await;
    let again = [&lines[..], &[group("g", &["p"])]].concat();
    with(&again).await.expect(&group_level("g"), &["Group/g"]).await;
}

#[tokio::test]
async fn a_transaction_counts_whatever_its_id_and_whatever_else_is_in_it() {
    let entries = r#"{"resource":{"resourceType":"Patient","id":"x"},"request":{"method":"PUT","url":"Patient/x"}},{"request":{"method":"DELETE","url":"Patient/ID"}}"#;
    let bundle = |id: &str| {
        let entries = entries.replace("ID", id);
        format!(r#"{{"resourceType":"Bundle","id":"same","type":"transaction","entry":[{entries}]}}"#)
    };
    let lines = [patient("p"), patient("q"), bundle("p"), bundle("q")];
    with(&lines).await.expect(&since(Kickoff::system()), &["-Patient/p", "-Patient/q"]).await;
}

#[tokio::test]
async fn mf_6_each_bundle_is_told_for_itself_whichever_file_is_read_first() {
    let last = [patient("p"), deletes(&["Patient/back", "Patient/2"]), patient("back")];
    let last: Vec<_> = last.iter().map(String::as_str).collect();
    let instance = Instance::of(&[("a", &[&deletes(&["Patient/1", "Patient/3"])]), ("b", &last)]).await;
    let expected = ["-Patient/1", "-Patient/2", "-Patient/3", "Patient/back", "Patient/p"];
    instance.expect(&since(Kickoff::system()), &expected).await;
}

#[tokio::test]
async fn mf_6_many_deletions_come_in_bundles_of_at_most_a_thousand_in_parts_and_files_of_any_size() {
    let names: Vec<_> = (0..2500).map(|n| format!("Patient/{n}")).collect();
    let mut lines: Vec<_> = (0..2500).map(|n| patient(&n.to_string())).collect();
    lines.push(deletes(&names[..2100].iter().map(String::as_str).collect::<Vec<_>>()));
    lines.extend(names[2100..2400].iter().map(|name| deletes(&[name])));
    let expected =
        (0..2400).map(|n| format!("-Patient/{n}")).chain((2400..2500).map(|n| format!("Patient/{n}")));
    let expected: Vec<_> = expected.collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    for small in [false, true] {
        let files = content(&[
            ("a", &lines[..2600]),
            ("b", &lines[2600..]),
            ("c", &[r#"{"resourceType":"Basic","id":"1"}"#]),
        ]);
        let instance = Instance::start(&files, Settings { small, ..Settings::default() }).await;
        instance.expect(&since(Kickoff::system()), &[&expected[..], &["Basic/1"]].concat()).await;
    }
}
