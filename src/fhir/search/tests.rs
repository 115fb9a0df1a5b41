//! Every kind, prefix, modifier and refusal, a row a case.

mod coded;
mod measured;
mod refused;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const BASE: Option<&str> = Some("https://h/fhir");

fn check(resource: &Value, matching: &[&str], others: &[&str]) {
    let line = resource.to_string();
    let name = resource["resourceType"].as_str().unwrap();
    let matches = |search: &str| {
        let filter =
            TypeFilter::parse(&format!("{name}?{search}")).unwrap_or_else(|e| panic!("{search}: {e}"));
        filter.matches(line.as_bytes(), BASE)
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
    let filters = TypeFilters::new(filters);
    let named = |name| ResourceType::of(name).unwrap();
    let matches = |name, line: &str| filters.matches(named(name), line.as_bytes(), None);
    assert!(!filters.is_empty() && TypeFilters::default().is_empty());
    assert!(filters.filters(named("Observation")) && !filters.filters(named("Patient")));
    assert!(
        matches("Observation", r#"{"status":"final"}"#) && matches("Observation", r#"{"status":"amended"}"#)
    );
    assert!(!matches("Observation", r#"{"status":"draft"}"#) && !matches("Condition", "{}"));
    assert!(matches("Patient", "anything"));
}

#[test]
fn all_parameters_of_all_types_are_accepted() {
    for resource_type in ResourceType::all() {
        for (code, _) in parameters(resource_type) {
            let text = format!("{}?{code}:missing=true", resource_type.as_str());
            let filter = TypeFilter::parse(&text).unwrap();
            assert_eq!(filter.matches(b"{}", None), code != "deceased", "{text}");
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
            filter.matches(line.as_bytes(), BASE);
            filter.matches(line.as_bytes(), None);
        }
    }
}
