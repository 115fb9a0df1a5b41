//! Which groups can be exported, and who is a member of one.

use super::*;

/// A Group `g` with these members of its own, after a patient `p` and two others.
fn source(group: &str) -> Files {
    let patients = ["p", "q", "r"].map(|id| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#));
    let group = format!(r#"{{"resourceType":"Group","id":"g"{group}}}"#);
    content(&[("a", &[&patients[0], &patients[1], &patients[2], &group])])
}

/// A group of `p`, as far as it is said that `p` is one of it.
fn member(rest: &str) -> Files {
    source(&format!(r#","actual":true,"member":[{{"entity":{{"reference":"Patient/p"}}{rest}}}]"#))
}

async fn refused(files: &Files, reason: FailureReason) {
    Instance::start(files, Settings::default()).await.expect_refusal(&group_level("g"), reason).await;
}

/// The members of the group `g` that are in the source.
async fn exported(files: &Files) -> Vec<String> {
    let instance = Instance::start(files, Settings::default()).await;
    let kickoff = only(group_level("g"), &["Patient"]);
    instance.compare(std::slice::from_ref(&kickoff)).await.unwrap_or_else(|wrong| panic!("{wrong}"));
    names(&instance.export(&kickoff).await.unwrap())
}

#[tokio::test]
async fn a_group_that_is_missing_not_actual_or_not_active_is_refused_at_the_kick_off() {
    let not_found = FailureReason::GroupNotFound;
    let member = r#""member":[{"entity":{"reference":"Patient/p"}}]"#;
    refused(&content(&[("a", &[r#"{"resourceType":"Patient","id":"g"}"#])]), not_found).await;
    for flags in ["", r#","actual":false"#, r#","actual":"true""#, r#","actual":true,"active":false"#] {
        refused(&source(&format!("{flags},{member}")), not_found).await;
    }
    for flags in [r#","actual":true"#, r#","actual":true,"active":true"#] {
        assert_eq!(exported(&source(&format!("{flags},{member}"))).await, ["Patient/p"], "{flags}");
    }
}

#[tokio::test]
async fn a_group_without_a_patient_in_it_is_exported_and_empty() {
    for members in ["", r#","member":[]"#, r#","member":[{"entity":{"reference":"Device/p"}}]"#] {
        let files = source(&format!(r#","actual":true{members}"#));
        let instance = Instance::start(&files, Settings::default()).await;
        instance.expect(&group_level("g"), &[]).await;
    }
}

#[tokio::test]
async fn the_last_version_of_a_group_says_who_is_in_it() {
    let (old, new) = (group("g", &["p", "q"]), group("g", &["r"]));
    let patients = ["p", "q", "r"].map(|id| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#));
    let inactive = r#"{"resourceType":"Group","id":"h","actual":true,"active":false}"#;
    let lines = [&patients[0], &patients[1], &patients[2], &old, &group("h", &["p"]), &new, inactive];
    let instance = Instance::of(&[("a", &lines)]).await;
    instance.expect(&group_level("g"), &["Group/g", "Patient/r"]).await;
    instance.expect_refusal(&group_level("h"), FailureReason::GroupNotFound).await;
}

#[tokio::test]
async fn a_member_that_is_inactive_does_not_count() {
    assert_eq!(exported(&member("")).await, ["Patient/p"]);
    assert_eq!(exported(&member(r#","inactive":false"#)).await, ["Patient/p"]);
    assert_eq!(exported(&member(r#","inactive":true"#)).await, [""; 0]);
    // It counts once more where it is listed once more.
    let member = r#"{"entity":{"reference":"Patient/p"}"#;
    let twice = format!(r#","actual":true,"member":[{member},"inactive":true}},{member}}}]"#);
    assert_eq!(exported(&source(&twice)).await, ["Patient/p"]);
}

#[tokio::test]
async fn a_member_counts_only_while_its_period_holds() {
    let day = || jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let today = day();
    let cases = [
        ("{}".to_string(), true),
        (r#"{"start":"2001"}"#.into(), true),
        (r#"{"start":"2001-02"}"#.into(), true),
        (r#"{"start":"2001-02-03"}"#.into(), true),
        (r#"{"start":"2001-02-03T04:05:06.789+01:00"}"#.into(), true),
        (r#"{"start":"0001-01-01","end":"9999-12-31"}"#.into(), true),
        (r#"{"end":"2190-01-01T00:00:00Z"}"#.into(), true),
        (r#"{"start":"2190"}"#.into(), false),
        (r#"{"start":"2190-01-01T00:00:00Z"}"#.into(), false),
        (r#"{"end":"2001-12"}"#.into(), false),
        (r#"{"start":"2001","end":"2002-01-01T00:00:00Z"}"#.into(), false),
        (r#"{"start":"yesterday"}"#.into(), false),
        (r#"{"start":"2001","end":"never"}"#.into(), false),
        (r#"{"start":"2001-02-30"}"#.into(), false),
        // A partial date lasts from its first instant to its last.
        (format!(r#"{{"start":"{today}","end":"{today}"}}"#), true),
        (format!(r#"{{"start":"{0}","end":"{0}"}}"#, &today[..7]), true),
        (format!(r#"{{"start":"{0}","end":"{0}"}}"#, &today[..4]), true),
    ];
    for (period, holds) in &cases {
        let found = exported(&member(&format!(r#","period":{period}"#))).await;
        // Nothing is said when a day ends in the middle of it.
        assert!(today != day() || (found == ["Patient/p"]) == *holds, "{period}: {found:?}");
    }
}

#[tokio::test]
async fn members_that_are_no_patients_are_passed_over() {
    let members = [
        r#"{"entity":{"reference":"Practitioner/q"}}"#,
        r#"{"entity":{"reference":"urn:uuid:q"}}"#,
        r#"{"entity":{"display":"Patient/q"}}"#,
        r#"{"entity":{"reference":"https://elsewhere.example.org/Patient/q"}}"#,
        r#"{"period":{"start":"2001"}}"#,
        r#"{"entity":{"reference":"Patient\/p\/_history\/3"}}"#,
        r#"{"entity":{"reference":"Patient/r"}}"#,
    ];
    let files = source(&format!(r#","actual":true,"member":[{}]"#, members.join(",")));
    assert_eq!(exported(&files).await, ["Patient/p", "Patient/r"]);
}

#[tokio::test]
async fn a_group_of_groups_is_refused_at_the_kick_off_unless_the_groups_in_it_do_not_count() {
    let members = |nested: &str| {
        let patient = r#"{"entity":{"reference":"Patient/p"}}"#;
        source(&format!(r#","actual":true,"member":[{patient},{nested}]"#))
    };
    for reference in ["Group/h", "Group/g", "Group\\/h\\/_history\\/1"] {
        let nested = format!(r#"{{"entity":{{"reference":"{reference}"}}}}"#);
        refused(&members(&nested), FailureReason::GroupNested).await;
    }
    for rest in [r#""inactive":true"#, r#""period":{"end":"2001"}"#] {
        let nested = format!(r#"{{"entity":{{"reference":"Group/h"}},{rest}}}"#);
        assert_eq!(exported(&members(&nested)).await, ["Patient/p"], "{rest}");
    }
}

#[tokio::test]
async fn the_group_of_all_patients_is_always_there_and_is_no_resource() {
    let lines = [
        r#"{"resourceType":"Patient","id":"p"}"#,
        r#"{"resourceType":"Patient","id":"q"}"#,
        r#"{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/nobody"}}"#,
        r#"{"resourceType":"Observation","id":"2"}"#,
    ];
    let expected = ["Observation/1", "Patient/p", "Patient/q"];
    let all = evanesce::job::ALL_PATIENTS;
    Instance::of(&[("a", &lines)]).await.expect(&group_level(all), &expected).await;
    let nested = r#"{"entity":{"reference":"Group/x"}}"#;
    let resource = format!(
        r#"{{"resourceType":"Group","id":"{all}","actual":false,"member":[{{"entity":{{"reference":"Patient/p"}}}},{nested}]}}"#
    );
    let instance = Instance::of(&[("a", &lines), ("b", &[&resource])]).await;
    let expected = [&["Group/All_Patients"], &expected[..]].concat();
    instance.expect(&group_level(all), &expected).await;
    instance.expect(&patient_level(), &expected).await;
}

#[tokio::test]
async fn a_group_is_refused_whatever_types_and_times_are_asked_for() {
    let instance = Instance::of(&[("a", &[r#"{"resourceType":"Patient","id":"p"}"#])]).await;
    let kickoff = only(group_level("g"), &["Organization"]);
    let kickoff = aged(kickoff, instant("2024-01-01T00:00:00Z"), None);
    instance.expect_refusal(&kickoff, FailureReason::GroupNotFound).await;
}
