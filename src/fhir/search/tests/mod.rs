//! Every kind, prefix, modifier and refusal, a row a case.

mod coded;
mod measured;
mod refused;

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

static BASES: LazyLock<BaseUrls> = LazyLock::new(|| BaseUrls::new(["https://h/fhir"]));

fn check(resource: &Value, matching: &[&str], others: &[&str]) {
    let line = resource.to_string();
    let name = resource["resourceType"].as_str().unwrap();
    let matches = |search: &str| {
        let filter =
            TypeFilter::parse(&format!("{name}?{search}")).unwrap_or_else(|e| panic!("{search}: {e}"));
        filter.matches(line.as_bytes(), &BASES)
    };
    for search in matching {
        assert!(matches(search), "{search} should match {line}");
    }
    for search in others {
        assert!(!matches(search), "{search} should not match {line}");
    }
}

#[test]
fn a_comma_is_a_border_only_before_a_type() {
    for (value, filters) in [
        ("", &[""][..]),
        ("Observation?code=a", &["Observation?code=a"]),
        ("Observation?code=a,b,Condition?x=y", &["Observation?code=a,b", "Condition?x=y"]),
        ("Observation?code=a,Condition", &["Observation?code=a,Condition"]),
        (r"Observation?code=a\,Condition?x=y", &[r"Observation?code=a\,Condition?x=y"]),
        (r"Observation?code=a\\,Condition?x=y", &[r"Observation?code=a\\", "Condition?x=y"]),
        ("A?b=c,,D?e=f", &["A?b=c,", "D?e=f"]),
        ("A?b=c,d?e=f", &["A?b=c,d?e=f"]),
        ("A?b=c,Conditoin?e=f", &["A?b=c", "Conditoin?e=f"]),
        (",A?", &["", "A?"]),
    ] {
        assert_eq!(split(value), filters, "{value}");
    }
}

#[test]
fn filters_of_one_type_are_alternatives_and_other_types_are_not_filtered() {
    let filters = ["Observation?status=final", "Observation?status=amended", "Condition?code=x"]
        .map(|text| TypeFilter::parse(text).unwrap());
    let filters = TypeFilters::new([Vec::from(filters)]);
    let named = |name| ResourceType::of(name).unwrap();
    let cancel = CancelToken::new();
    let matches =
        |name, line: &str| filters.matches(named(name), line.as_bytes(), &BaseUrls::NONE, &cancel).unwrap();
    assert!(filters.filters(named("Observation")) && !filters.filters(named("Patient")));
    assert!(
        matches("Observation", r#"{"status":"final"}"#) && matches("Observation", r#"{"status":"amended"}"#)
    );
    assert!(!matches("Observation", r#"{"status":"draft"}"#) && !matches("Condition", "{}"));
    assert!(matches("Patient", "anything"));
}

fn observations(searches: impl IntoIterator<Item = String>) -> TypeFilters {
    let parse = |search| TypeFilter::parse(&format!("Observation?{search}")).unwrap();
    TypeFilters::new([searches.into_iter().map(parse).collect()])
}

/// How often the token is looked at for a line that matches nothing, and how often until the answer
/// is that it has fired, which it does half-way.
fn looks(filters: &TypeFilters, line: &str) -> (u64, u64) {
    let observation = ResourceType::of("Observation").unwrap();
    let cancel = CancelToken::new();
    assert_eq!(filters.matches(observation, line.as_bytes(), &BaseUrls::NONE, &cancel), Ok(false));
    let fires = CancelToken::at_look(cancel.looks() / 2);
    assert_eq!(filters.matches(observation, line.as_bytes(), &BaseUrls::NONE, &fires), Err(TokenFired));
    (cancel.looks(), fires.looks())
}

#[test]
fn p13_between_two_looks_at_the_token_there_is_one_comparison_whatever_is_asked_for_and_of_what() {
    let codings = |count: usize| format!(r#"{{"code":{{"coding":[{}]}}}}"#, vec!["{}"; count].join(","));
    let names =
        |count: usize| format!(r#"{{"component":[{}]}}"#, vec![r#"{"valueString":"n"}"#; count].join(","));
    let list = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let each = |count: usize| observations((0..count).map(|n| format!("status=x{n}")));
    let one = |search: &str| observations([search.to_owned()]);
    for (filters, line, comparisons) in [
        (each(10_000), r#"{"status":"final"}"#.to_owned(), 10_000),
        (one(&format!("code={}", list(1000))), codings(100), 100_000),
        (one("code=x"), codings(10_000), 10_000),
        (one("code:text=x"), codings(10_000), 10_000),
        (one("code:text=x"), format!(r#"{{"code":{{"text":"{}"}}}}"#, "y".repeat(10_000)), 10_000),
        (one("code:not=x"), r#"{"code":[{"coding":[{"code":"x"}]}]}"#.to_owned(), 1),
        (one(&format!("component-code={}", list(100))), names(1000), 1000),
    ] {
        let (all, until_it_fired) = looks(&filters, &line);
        assert!(all > comparisons, "{all} looks at {comparisons} comparisons");
        // Each of the loops that it is in ends at its next item.
        assert!(until_it_fired < all / 2 + 10, "{until_it_fired} looks, it fired at {}", all / 2);
    }
}

#[test]
fn p13_a_line_is_read_once_for_all_filters_and_a_long_one_with_looks() {
    let line = format!(r#"{{"note":[{}],"status":"final"}}"#, " ".repeat(2 << 20));
    let of = |filters: usize| looks(&observations((0..filters).map(|n| format!("status=x{n}"))), &line).0;
    let reading = (2 << 20) / crate::cancel::STRIDE as u64;
    let (one, many) = (of(1), of(1001));
    assert!(one > reading, "{one}");
    assert!(many - one < 1000 * 10, "{many} looks for a thousand filters more than {one}");
}

#[test]
fn a_filter_answers_for_what_it_looks_at_even_if_another_looks_at_what_cannot_be_read() {
    let filters = observations(["status=final".into(), "value-quantity=1".into()]);
    let line = r#"{"status":"final","valueQuantity":{"value":1e999}}"#;
    let observation = ResourceType::of("Observation").unwrap();
    assert_eq!(filters.matches(observation, line.as_bytes(), &BaseUrls::NONE, &CancelToken::new()), Ok(true));
    let filters = observations(["status=draft".into(), "value-quantity=1".into()]);
    assert_eq!(
        filters.matches(observation, line.as_bytes(), &BaseUrls::NONE, &CancelToken::new()),
        Ok(false)
    );
}

#[test]
fn of_two_sets_of_filters_both_must_be_met_as_far_as_they_are_of_the_type() {
    let parse = |text: &str| TypeFilter::parse(text).unwrap();
    let filters = TypeFilters::new([
        vec![parse("Observation?status=final"), parse("Condition?code=x")],
        vec![parse("Observation?code=a"), parse("Observation?code=b")],
    ]);
    let matches = |name, line: &str| {
        filters
            .matches(ResourceType::of(name).unwrap(), line.as_bytes(), &BaseUrls::NONE, &CancelToken::new())
            .unwrap()
    };
    let coded = |status: &str, code: &str| {
        json!({"status": status, "code": {"coding": [{"code": code}]}}).to_string()
    };
    assert!(matches("Observation", &coded("final", "b")) && !matches("Observation", &coded("final", "c")));
    assert!(!matches("Observation", &coded("draft", "a")));
    assert!(matches("Condition", &coded("", "x")) && !matches("Condition", &coded("final", "a")));
}

#[test]
fn all_parameters_of_all_types_are_accepted() {
    for resource_type in ResourceType::all() {
        for (code, _) in parameters(resource_type) {
            let text = format!("{}?{code}:missing=true", resource_type.as_str());
            let filter = TypeFilter::parse(&text).unwrap();
            assert_eq!(filter.matches(b"{}", &BaseUrls::NONE), code != "deceased", "{text}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,60}|[A-Z][a-z]{3,10}\\?[a-z:,|=&%._-]{0,40}") {
        let _ = TypeFilter::parse(&text);
        let parts = split(&text);
        prop_assert_eq!(parts.join(","), text.as_str());
    }

    #[test]
    fn p13_a_line_that_is_read_once_for_all_filters_matches_if_it_matches_one_of_them_alone(
        searches in prop::collection::vec(
            "(status=(final|draft)|code=[ab]|code:not=a|value-quantity=(gt)?[0-9]|code:text=x|date:missing=(true|false)|subject=Patient/[0-9]|_id=[ab])(&status=final)?",
            1..6,
        ),
        line in prop_oneof![
            ("(final|draft)", "[ab]", -5i64..15, "[xy]").prop_map(|(status, code, number, text)| json!({
                "id": code, "status": status, "code": {"coding": [{"code": code}, {}], "text": text},
                "valueQuantity": {"value": number}, "subject": {"reference": format!("Patient/{number}")}}).to_string()),
            Just(r#"{"status":"final","valueQuantity":{"value":1e999},"code":{"text":"x"}}"#.to_owned()),
            Just(r#"{"status":"final","code":"#.to_owned()),
        ],
    ) {
        let parse = |search: &String| TypeFilter::parse(&format!("Observation?{search}")).unwrap();
        let alone = searches.iter().any(|search| parse(search).matches(line.as_bytes(), &BASES));
        let observation = ResourceType::of("Observation").unwrap();
        let once = observations(searches).matches(observation, line.as_bytes(), &BASES, &CancelToken::new());
        prop_assert_eq!(once, Ok(alone));
    }

    #[test]
    fn no_value_and_no_line_panics(
        name in "(Observation\\?(code|date|subject|value-quantity|value-string|status|patient|derived-from|_profile)|Patient\\?(name|deceased|active|phone|birthdate|address))(:(not|text|missing|exact|Patient|identifier|below))?",
        value in "(ge|ap)?([-+0-9eTZ:.|,$\\\\a-zA-Z ]{0,30}|.{0,10}|true|Patient/[0-9]|[0-9]{4}(-[0-9]{2}){0,2})",
        line in prop_oneof![
            Just(r#"{"status":"#.to_owned()),
            ".{0,60}",
            any::<f64>().prop_map(|n| json!({"valueQuantity": {"value": n}, "birthDate": "2020"}).to_string()),
            ".{0,30}".prop_map(|text| json!({"code": {"coding": [{"code": text, "system": text}], "text": text},
                "effectivePeriod": {"start": text}, "subject": {"reference": text, "type": text}, "status": text,
                "valueString": text, "name": [{"family": text}], "deceasedDateTime": text, "meta": {"profile": [text]}}).to_string()),
        ],
    ) {
        if let Ok(filter) = TypeFilter::parse(&format!("{name}={value}")) {
            filter.matches(line.as_bytes(), &BASES);
            filter.matches(line.as_bytes(), &BaseUrls::NONE);
        }
    }
}
