//! Values of single members: references right and wrong, ages around the bounds, strings in
//! each of JSON's spellings.

use proptest::prelude::*;
use proptest::sample::select;

/// What `source.base_url` is set to, where it is set.
pub const BASE_URL: &str = "https://fhir.example.org/r4";

/// Few, so that they meet: ids are shared by resources of different types too.
pub const IDS: [&str; 4] = ["a", "b", "c", "ü 1"];

/// Those that reference resources and provenances point to.
const REFERENCE_TYPES: [&str; 9] = [
    "Device",
    "Endpoint",
    "HealthcareService",
    "Location",
    "Medication",
    "Organization",
    "Practitioner",
    "PractitionerRole",
    "Substance",
];

/// A JSON string for `text`: plain, or spelled with escapes.
pub fn quoted(text: &str, spelling: u8) -> String {
    let units = |text: &str| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let plain = serde_json::to_string(text).unwrap();
    match spelling {
        0 => plain.replace('/', "\\/"),
        1 if text.starts_with(|c: char| c.is_ascii()) && !text.is_empty() => {
            let rest = serde_json::to_string(&text[1..]).unwrap();
            format!("\"{}{}", units(&text[..1]), &rest[1..])
        }
        2 => format!("\"{}\"", units(text)),
        _ => plain,
    }
}

fn spelled(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (text, 0u8..12).prop_map(|(text, spelling)| quoted(&text, spelling))
}

/// What a resource points to: mostly one that may be there.
fn target(types: Vec<&'static str>) -> impl Strategy<Value = String> {
    let name = (select(types), select(IDS.to_vec())).prop_map(|(name, id)| format!("{name}/{id}"));
    (name, 0u8..90).prop_map(|(name, way)| match way {
        0 => format!("{name}/_history/2"),
        1 | 2 => format!("{BASE_URL}/{name}"),
        3 => format!("{BASE_URL}/{name}/_history/1"),
        4 => format!("{BASE_URL}//{name}"),
        5 => format!("https://elsewhere.example.org/r4/{name}"),
        6 => format!("{BASE_URL}5/{name}"),
        7 => format!("{name}#part"),
        8 => name.replace('/', "?identifier="),
        9 => format!("{name}?x"),
        10 => format!("#{name}"),
        11 => format!("urn:uuid:{name}"),
        12 => format!("/{name}"),
        13 => format!("{name}/"),
        14 => name.to_lowercase(),
        15 => format!("{name} "),
        16 => name.split('/').next().unwrap().to_string() + "/",
        17 => name.replace('/', "%2F"),
        _ => name,
    })
}

/// The text of a reference at a compartment path, as a JSON string.
pub fn patient_text() -> impl Strategy<Value = String> {
    let others = vec!["Practitioner", "Organization", "Device", "Group", "RelatedPerson"];
    prop_oneof![5 => spelled(target(vec!["Patient"])), 1 => spelled(target(others))]
}

/// The text of a reference to what goes with a compartment.
pub fn reference_text() -> impl Strategy<Value = String> {
    spelled(target(REFERENCE_TYPES.to_vec()))
}

/// The text of a reference to what a Provenance may be about.
pub fn target_text() -> impl Strategy<Value = String> {
    let types = vec!["Appointment", "Provenance", "Organization", "Coverage", "ValueSet"];
    prop_oneof![
        3 => spelled(target(types)),
        3 => spelled(target(vec!["Observation", "Basic", "Group"])),
        1 => patient_text(),
    ]
}

/// The text of the URL of an attachment.
pub fn binary_text() -> impl Strategy<Value = String> {
    prop_oneof![6 => spelled(target(vec!["Binary"])), 1 => patient_text()]
}

/// The text of an instant, or of none.
pub fn when() -> impl Strategy<Value = String> {
    let age = prop_oneof![3 => select(AGES[..20].to_vec()), 1 => select(AGES.to_vec())];
    (age, 0u8..12).prop_map(|(age, spelling)| quoted(age, spelling))
}

/// A Reference: right, or in one of the shapes that are none.
pub fn reference(text: BoxedStrategy<String>, may_repeat: bool) -> impl Strategy<Value = String> {
    (text.clone(), text, 0u8..70).prop_map(move |(text, other, shape)| match shape {
        0 => format!(r#"{{"display":{text}}}"#),
        1 => text,
        2 => format!(r#"{{"reference":[{text}]}}"#),
        3 => r#"{"reference":7}"#.into(),
        4 => "null".into(),
        5 => format!(r#"{{"extension":[{{"url":"x","valueReference":{{"reference":{text}}}}}]}}"#),
        6 => format!(r#"{{"identifier":{{"value":{text}}},"_reference":{{"reference":{other}}}}}"#),
        7 if may_repeat => format!(r#"{{"reference":{text},"reference":{other}}}"#),
        8 => format!(r#"{{"display":{other},"reference":{text},"type":"Patient"}}"#),
        9 => format!(r#"{{ "r\u0065ference" : {text} }}"#),
        _ => format!(r#"{{"reference":{text}}}"#),
    })
}

/// Instants on, and a nanosecond beside, each of the bounds; far from them; and none.
const AGES: [&str; 34] = [
    "2024-05-05T12:00:00.5Z",
    "2024-05-05T12:00:00.500Z",
    "2024-05-05T14:00:00.500000000+02:00",
    "2024-05-04T22:00:00.5-14:00",
    "2024-05-05T12:00:00.500000000999Z",
    "2024-05-05T12:00:00.500000001Z",
    "2024-05-05T12:00:00.499999999Z",
    "2024-05-05T11:59:59.9999999999-00:00",
    "2024-05-05T07:00:00.500000001-05:00",
    "2024-05-05T12:00:00+00:00",
    "2024-07-01T00:00:00Z",
    "2024-07-01T00:00:00.0000000009Z",
    "2024-07-01T14:00:00+14:00",
    "2024-06-30T23:59:59.999999999Z",
    "2024-06-30T17:29:59.999999999-06:30",
    "2024-07-01T00:00:00.000000001Z",
    "2024-06-01T00:00:00Z",
    "1999-12-31T23:59:59Z",
    "1969-12-31T23:59:59.999999999Z",
    "1700-01-01T00:00:00Z",
    "2260-01-01T00:00:00Z",
    "1600-01-01T00:00:00Z",
    "2300-01-01T00:00:00Z",
    "1999-05-05",
    "1999-05-05T12:00Z",
    "1999-05-05T12:00:00",
    "1999-05-05t12:00:00z",
    "1999-05-05 12:00:00Z",
    "1999-02-29T12:00:00Z",
    "1999-05-05T24:00:00Z",
    "1999-05-05T12:00:00+14:01",
    "1999-05-05T12:00:00+0200",
    "1999-05-05T12:00:00.Z",
    "yesterday",
];

/// The value of `meta`, if there is one.
pub fn meta(may_repeat: bool) -> impl Strategy<Value = Option<String>> {
    let age = prop_oneof![3 => select(AGES[..20].to_vec()), 1 => select(AGES.to_vec())];
    (age, 0u8..20, 0u8..12).prop_map(move |(age, shape, spelling)| {
        let text = quoted(age, spelling);
        match shape {
            0..=2 => None,
            3 => Some(r#"{"versionId":"1999-01-01T00:00:00Z"}"#.into()),
            4 => Some(format!("[{{\"lastUpdated\":{text}}}]")),
            5 => Some(r#"{"lastUpdated":20240505}"#.into()),
            6 if may_repeat => Some(format!(r#"{{"lastUpdated":{text},"lastUpdated":{text}}}"#)),
            7 => Some(format!(
                r#"{{"extension":[{{"lastUpdated":"1999-01-01T00:00:00Z"}}],"lastUpdated":{text}}}"#
            )),
            8 => Some("null".into()),
            _ => Some(format!(r#"{{"versionId":"3","lastUpdated":{text}}}"#)),
        }
    })
}
