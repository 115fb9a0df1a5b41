//! `_since` and `_until`: strict, to the nanosecond, and fair to what is of unknown age.

use super::*;

/// A patient for each of these values of `meta`, numbered from 0.
async fn patients(metas: &[String]) -> Instance {
    let line = |(n, meta)| format!(r#"{{"resourceType":"Patient","id":"{n}","meta":{meta}}}"#);
    let lines: Vec<_> = metas.iter().enumerate().map(line).collect();
    Instance::of(&[("a", &lines.iter().map(String::as_str).collect::<Vec<_>>())]).await
}

fn updated(instant: &str) -> String {
    format!(r#"{{"lastUpdated":"{instant}"}}"#)
}

fn between(since: &str, until: &str) -> Kickoff {
    let bound = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    aged(Kickoff::system(), bound(since), bound(until))
}

#[tokio::test]
async fn what_was_changed_at_the_bound_itself_is_on_neither_side_of_it() {
    let at = "2024-05-05T12:00:00.123456789Z";
    let instance = patients(&[
        updated("2024-05-05T12:00:00.123456788Z"),
        updated(at),
        updated("2024-05-05T14:00:00.123456789+02:00"),
        updated("2024-05-05T12:00:00.1234567899999Z"),
        updated("2024-05-04T22:00:00.123456790-14:00"),
        updated("2024-05-05T12:00:00.12345679Z"),
    ])
    .await;
    instance.expect(&between(at, ""), &["Patient/4", "Patient/5"]).await;
    instance.expect(&between("", at), &["Patient/0"]).await;
    instance.expect(&between(at, at), &[]).await;
    let (before, after) = ("2024-05-05T12:00:00.123456788Z", "2024-05-05T12:00:00.12345679Z");
    instance.expect(&between(before, after), &["Patient/1", "Patient/2", "Patient/3"]).await;
}

#[tokio::test]
async fn what_is_of_unknown_age_is_always_exported() {
    let mut unknown: Vec<_> = ["{}", "null", "[]", "7", r#"{"lastUpdated":null}"#, r#"{"lastUpdated":2024}"#]
        .map(str::to_string)
        .into();
    let texts = [
        "",
        "2010",
        "2010-05-05",
        "2010-05-05T12:00Z",
        "2010-05-05T12:00:00",
        "2010-05-05t12:00:00Z",
        "2010-05-05T12:00:00z",
        "2010-05-05 12:00:00Z",
        " 2010-05-05T12:00:00Z",
        "2010-05-05T12:00:00Z ",
        "2010-05-05T12:00:00.Z",
        "2010-05-05T12:00:00,5Z",
        "2010-05-05T12:00:00+0200",
        "2010-05-05T12:00:00+02",
        "2010-05-05T12:00:00+14:01",
        "2010-05-05T12:00:00Z[UTC]",
        "2010-05-05T24:00:00Z",
        "2010-02-29T12:00:00Z",
        "2010-00-05T12:00:00Z",
        "20100505T120000Z",
        "+002010-05-05T12:00:00Z",
        "1600-05-05T12:00:00Z",
        "2300-05-05T12:00:00Z",
    ];
    unknown.extend(texts.map(updated));
    unknown.push(r#"{"extension":[{"lastUpdated":"2010-05-05T12:00:00Z"}]}"#.into());
    let known = unknown.len();
    unknown.push(updated("2010-05-05T12:00:00Z"));
    let instance = patients(&unknown).await;
    let expected: Vec<_> = (0..known).map(|n| format!("Patient/{n}")).collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    instance.expect(&between("2024-01-01T00:00:00Z", ""), &expected).await;
    instance.expect(&between("", "2001-01-01T00:00:00Z"), &expected).await;
}

#[tokio::test]
async fn a_meta_that_is_not_the_resource_s_own_says_nothing_of_its_age() {
    let own = r#""meta":{"lastUpdated":"2024-01-01T00:00:00Z"}"#;
    let old = r#""meta":{"lastUpdated":"2010-01-01T00:00:00Z"}"#;
    let lines = [
        format!(r#"{{"resourceType":"Patient","id":"0","contained":[{{{old}}}],{own}}}"#),
        format!(
            r#"{{"resourceType":"Patient","id":"1",{own},"x":{{{old}}},"lastUpdated":"2010-01-01T00:00:00Z"}}"#
        ),
        format!(r#"{{"resourceType":"Patient","id":"2",{old},"contained":[{{{own}}}]}}"#),
        format!(
            r#"{{"{}":{{"l\u0061stUpdated":"2\u003010-01-01T00:00:00Z"}},"resourceType":"Patient","id":"3"}}"#,
            "m\\u0065ta"
        ),
    ];
    let instance = Instance::of(&[("a", &lines.each_ref().map(String::as_str))]).await;
    instance.expect(&between("2020-01-01T00:00:00Z", ""), &["Patient/0", "Patient/1"]).await;
    instance.expect(&between("", "2020-01-01T00:00:00Z"), &["Patient/2", "Patient/3"]).await;
}

#[tokio::test]
async fn the_last_version_alone_says_how_old_a_resource_is() {
    let line = |id: &str, year: u32| {
        format!(
            r#"{{"resourceType":"Patient","id":"{id}","meta":{{"lastUpdated":"{year}-01-01T00:00:00Z"}}}}"#
        )
    };
    // The order of the source counts, not that of the instants.
    let lines = [line("0", 2024), line("1", 2010), line("0", 2010), line("1", 2024)];
    let instance = Instance::of(&[("a", &lines.each_ref().map(String::as_str))]).await;
    instance.expect(&between("2020-01-01T00:00:00Z", ""), &["Patient/1"]).await;
    instance.expect(&between("", "2020-01-01T00:00:00Z"), &["Patient/0"]).await;
}
