//! Single lines: resources of many types, and lines that are none.

use proptest::prelude::*;
use proptest::sample::select;

use super::texts::{
    IDS, binary_text, meta, patient_text, quoted, reference, reference_text, target_text, when,
};
use crate::select::oracle::facts;

/// The types of a random source. Many have compartment paths through arrays and deeper elements.
pub const TYPES: [&str; 34] = [
    "Patient",
    "Observation",
    "Appointment",
    "CarePlan",
    "RequestGroup",
    "AuditEvent",
    "Coverage",
    "Claim",
    "Composition",
    "MedicationAdministration",
    "Person",
    "RelatedPerson",
    "SupplyRequest",
    "Task",
    "EnrollmentRequest",
    "Basic",
    "List",
    "Provenance",
    "Group",
    "Device",
    "Endpoint",
    "HealthcareService",
    "Location",
    "Medication",
    "Organization",
    "Practitioner",
    "PractitionerRole",
    "Substance",
    "ValueSet",
    "Slot",
    "DeviceMetric",
    "Binary",
    "Bundle",
    "Parameters",
];

/// The members of a resource, each a key and a JSON value, in the order in which they stand.
type Members = Vec<(String, String)>;

/// A line of a file: mostly a resource.
#[derive(Debug, Clone)]
pub struct Line {
    pub text: Vec<u8>,
    /// The type and the id of a resource.
    pub name: Option<(&'static str, &'static str)>,
}

pub fn line(versions: bool) -> BoxedStrategy<Line> {
    let compartment = select(TYPES[1..17].to_vec()).prop_flat_map(move |name| resource(name, versions));
    let others = select(TYPES[28..].to_vec()).prop_flat_map(move |name| resource(name, versions));
    let any_compartment = facts::COMPARTMENT.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let any_compartment = select(any_compartment).prop_flat_map(move |name| resource(name, versions));
    let references = select(TYPES[19..28].to_vec()).prop_flat_map(move |name| resource(name, versions));
    prop_oneof![
        4 => resource("Patient", versions),
        8 => compartment,
        2 => any_compartment,
        6 => resource("Provenance", versions),
        4 => resource("Group", versions),
        6 => references,
        2 => others,
        1 => broken(versions),
        if versions { 3 } else { 0 } => transaction(),
    ]
    .boxed()
}

/// A Bundle of deletions, or one that nearly is.
fn transaction() -> BoxedStrategy<Line> {
    let bundle_type = prop_oneof![
        12 => Just(r#","type":"transaction""#),
        1 => select(vec!["", r#","type":"history""#, r#","type":"batch""#, r#","type":["transaction"]"#]),
    ];
    let entries = prop::collection::vec(deletion(), 0..6);
    let timestamp = prop::option::of(when());
    let id = prop::option::weighted(0.3, select(IDS.to_vec()));
    (bundle_type, entries, timestamp, meta(false), id, 0u8..4, 0u8..60)
        .prop_map(|(bundle_type, entries, timestamp, meta, id, shape, twice)| {
            let entries = match (shape, entries.as_slice()) {
                (0, [one]) => one.clone(),
                _ => format!("[{}]", entries.join(",")),
            };
            let timestamp = timestamp.map_or(String::new(), |when| format!(r#","timestamp":{when}"#));
            let meta = meta.map_or(String::new(), |meta| format!(r#","meta":{meta}"#));
            let id = id.map_or(String::new(), |id| format!(r#","id":"{id}""#));
            let twice = if twice == 0 { r#","entry":[]"# } else { "" };
            let members = match shape {
                1 => format!(r#""entry":{entries}{timestamp}{bundle_type}{meta}{id}{twice}"#),
                _ => format!(r#""x":1{meta}{id}{bundle_type}{timestamp},"entry":{entries}{twice}"#),
            };
            let text = format!(r#"{{"resourceType":"Bundle",{members}}}"#).into_bytes();
            Line { text, name: None }
        })
        .boxed()
}

/// An entry that deletes something, or nearly.
fn deletion() -> impl Strategy<Value = String> {
    let url = prop_oneof![2 => patient_text(), 4 => target_text(), 2 => reference_text(), 1 => binary_text()];
    (url, 0u8..40).prop_map(|(url, shape)| match shape {
        0 => format!(r#"{{"request":{{"method":"PUT","url":{url}}}}}"#),
        1 => format!(r#"{{"request":{{"method":"delete","url":{url}}}}}"#),
        2 => format!(r#"{{"request":{{"url":{url}}}}}"#),
        3 => format!(r#"{{"method":"DELETE","url":{url}}}"#),
        4 => format!(r#"{{"request":[{{"method":"DELETE","url":{url}}}]}}"#),
        5 => format!(r#"{{"resource":{{"request":{{"method":"DELETE","url":{url}}}}}}}"#),
        6 => r#"{"request":{"method":"DELETE"}}"#.into(),
        7 => "null".into(),
        8 => format!(r#"[{{"request":{{"method":"DELETE","url":{url}}}}}]"#),
        9 => format!(r#"{{"request":{{"x":{{"method":"PUT"}},"url":{url},"m\u0065thod":"DELETE"}}}}"#),
        _ => format!(r#"{{"fullUrl":"x","request":{{"method":"DELETE","url":{url}}}}}"#),
    })
}

fn resource(name: &'static str, versions: bool) -> BoxedStrategy<Line> {
    let id = match name {
        // Whether a patient without an id is in a compartment of its own is left open.
        "Patient" => select(IDS.to_vec()).prop_map(Some).boxed(),
        _ => prop::option::weighted(0.9, select(IDS.to_vec())).boxed(),
    };
    let mut parts = Vec::new();
    let age = meta(versions).prop_map(|meta| meta.map(|meta| ("meta".into(), meta)).into_iter().collect());
    parts.push(age.boxed());
    if name == "Provenance" {
        let recorded = prop::option::weighted(0.7, when());
        parts.push(
            recorded
                .prop_map(|when| when.map(|when| ("recorded".into(), when)).into_iter().collect())
                .boxed(),
        );
    }
    if name == "Group" {
        parts.push(group(versions));
    } else {
        let members = (name == "List").then_some(facts::LIST_MEMBERS);
        for path in facts::owner_paths(name).iter().copied().chain(members) {
            let text = match name {
                "Provenance" | "List" => target_text().boxed(),
                "AuditEvent" => prop_oneof![3 => patient_text(), 1 => target_text()].boxed(),
                _ => patient_text().boxed(),
            };
            parts.push(at_path(path, text, versions));
        }
    }
    let own = ["Patient", "Practitioner", "Organization"].contains(&name);
    parts.push(prop::collection::vec(extra(own), 0..3).prop_map(distinct).boxed());
    if versions {
        // Broken only where the server has to read them; see the oracle.
        let doubled = prop::option::weighted(
            0.02,
            select(vec![
                ("id", "\"a\""),
                ("meta", "{}"),
                ("i\\u0064", "\"a\""),
                ("resourceType", "\"Patient\""),
            ]),
        );
        parts.push(
            doubled.prop_map(|one| one.map(|(k, v)| (k.into(), v.into())).into_iter().collect()).boxed(),
        );
    }
    (id, 0u8..20, parts, 0u8..8)
        .prop_flat_map(move |(id, spelling, parts, style)| {
            let mut members: Members = parts.into_iter().flatten().collect();
            members.push(("resourceType".into(), quoted(name, spelling.saturating_sub(3))));
            members.extend(id.map(|id| ("id".into(), quoted(id, spelling))));
            Just(members).prop_shuffle().prop_map(move |members| {
                let text = object(&members, style).into_bytes();
                Line { text, name: id.map(|id| (name, id)) }
            })
        })
        .boxed()
}

fn object(members: &[(String, String)], style: u8) -> String {
    let (colon, comma) = match style {
        0 => (" : ", " ,\t"),
        1 => (":\r", ","),
        2 => (": ", ", "),
        _ => (":", ","),
    };
    let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\"{colon}{value}")).collect();
    format!("{{{}}}", members.join(comma))
}

/// No key twice.
fn distinct(members: Members) -> Members {
    let mut seen = std::collections::BTreeSet::new();
    members.into_iter().filter(|(key, _)| seen.insert(key.clone())).collect()
}

/// References at the end of a path, each step through an object or through an array.
fn at_path(path: &'static str, text: BoxedStrategy<String>, versions: bool) -> BoxedStrategy<Members> {
    let ends = prop::collection::vec(reference(text, versions), 0..3);
    let twice = if versions { 0.01 } else { 0.0 };
    let steps = path.split('.').count();
    (ends, prop::collection::vec(any::<bool>(), steps), prop::bool::weighted(twice))
        .prop_map(move |(ends, arrays, twice)| {
            let Some(one) = ends.first() else { return Vec::new() };
            let mut value = match ends.len() {
                1 if !arrays[0] => one.clone(),
                _ => format!("[{}]", ends.join(",")),
            };
            let mut steps: Vec<_> = path.split('.').collect();
            let root = steps.remove(0).to_string();
            for (step, array) in steps.iter().rev().zip(&arrays[1..]) {
                value = format!(r#"{{"note":{{"{step}":{one}}},"{step}":{value}}}"#);
                if *array {
                    value = format!(r#"[{{"{step}x":{one}}},{value},{{"{step}":null}},7]"#);
                }
            }
            let member = (root, value);
            if twice { vec![member.clone(), member] } else { vec![member] }
        })
        .boxed()
}

/// A member that puts a resource into no compartment, whatever stands in it.
fn extra(own: bool) -> impl Strategy<Value = (String, String)> {
    (patient_text(), reference_text(), binary_text(), 0u8..13).prop_map(move |(patient, other, url, kind)| {
        let (key, value) = match kind {
            0 => ("text", format!(r#"{{"div":{}}}"#, quoted(&format!("\"subject\":{{\"reference\":{patient}}}"), 9))),
            1 => (
                "contained",
                format!(
                    r#"[{{"resourceType":"Observation","id":"x","subject":{{"reference":{patient}}},"performer":[{{"reference":{other}}}]}}]"#
                ),
            ),
            2 => ("extension", format!(r#"[{{"url":"x","valueReference":{{"reference":{patient}}}}}]"#)),
            3 => ("modifierExtension", format!(r#"[{{"valueReference":{{"reference":{other}}}}}]"#)),
            4 => ("reference", other),
            5 => ("x", format!(r#"{{"y":[[{{"z":{{"id":7,"reference":{other}}}}}],-1.5e400]}}"#)),
            6 => ("description", quoted(&format!("}},{{\"reference\":{other}"), 9)),
            7 => ("x", format!(r#"{{"a":1,"a":2,"reference":{{"reference":{other}}}}}"#)),
            8 => ("url", url),
            9 => ("content", format!(r#"[{{"attachment":{{"url" : {url},"title":"\"url\":\"Binary/a\""}}}},{{"url":[{url}]}}]"#)),
            10 => (
                "photo",
                format!(r#"[{{"u\u0072l":{url},"data":"QQ==","x":["url",{url}]}},{{"contained":[{{"url":{url}}}],"uri":{url}}}]"#),
            ),
            _ if own => ("managingOrganization", format!(r#"{{"reference":{other}}}"#)),
            _ => ("custodian", format!(r#"{{"reference":{other},"display":{patient}}}"#)),
        };
        (key.to_string(), value)
    })
}

/// `actual`, `active` and the members of a group.
fn group(versions: bool) -> BoxedStrategy<Members> {
    let actual =
        prop_oneof![16 => Just(Some("true")), 1 => select(vec![Some("false"), Some("\"true\""), None])];
    let active = prop_oneof![8 => Just(Some("true")), 8 => Just(None), 1 => Just(Some("false"))];
    let members = prop::collection::vec(member(versions), 0..5);
    (actual, active, members)
        .prop_map(|(actual, active, members)| {
            let flag =
                |key: &str, value: Option<&str>| value.map(|value| (key.to_string(), value.to_string()));
            let all =
                (!members.is_empty()).then(|| ("member".to_string(), format!("[{}]", members.join(","))));
            flag("actual", actual).into_iter().chain(flag("active", active)).chain(all).collect()
        })
        .boxed()
}

fn member(versions: bool) -> impl Strategy<Value = String> {
    let nested = select(vec!["\"Group/a\"", "\"Group\\/nobody\"", "\"Group/b/_history/1\""]);
    let text = prop_oneof![12 => patient_text(), 1 => nested.prop_map(str::to_string)];
    let inactive =
        prop_oneof![6 => Just(""), 1 => Just(r#","inactive":true"#), 1 => Just(r#","inactive":false"#)];
    let period = prop_oneof![4 => Just(""), 3 => select(PERIODS.to_vec())];
    (reference(text.boxed(), versions), inactive, period).prop_map(|(entity, inactive, period)| {
        let comma = if period.is_empty() { "" } else { r#","period":"# };
        format!(r#"{{"entity":{entity}{inactive}{comma}{period}}}"#)
    })
}

/// Periods that hold now and periods that do not.
const PERIODS: [&str; 14] = [
    "{}",
    r#"{"start":"2001"}"#,
    r#"{"start":"2001-02-03T04:05:06.7Z","end":"9999-12-31"}"#,
    r#"{"end":"2190"}"#,
    r#"{"start":"0001-01-01","end":"2190-12"}"#,
    r#"{"end":"2190-01-01T00:00:00+14:00"}"#,
    r#"{"start":"2190"}"#,
    r#"{"start":"2190-01-02"}"#,
    r#"{"end":"2001"}"#,
    r#"{"start":"2000-01","end":"2001-12-31"}"#,
    r#"{"start":"9999","end":"0001"}"#,
    r#"{"start":"soon"}"#,
    r#"{"start":"2001","end":"2190-02-30"}"#,
    r#"{"end":21900101}"#,
];

/// A line that is no resource. Some are in today's sense; those with `versions` are to come.
fn broken(versions: bool) -> BoxedStrategy<Line> {
    let mut lines: Vec<&'static [u8]> = vec![
        b"no JSON",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\"",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\"}}",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\",}",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\"} {\"resourceType\":\"Patient\",\"id\":\"b\"}",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\"}\r{\"resourceType\":\"Patient\",\"id\":\"b\"}",
        b"[{\"resourceType\":\"Patient\",\"id\":\"a\"}]",
        b"\"Patient\"",
        b"null",
        b"{}",
        b"{\"id\":\"a\"}",
        b"{\"resourceType\":\"Elephant\",\"id\":\"a\"}",
        b"{\"resourceType\":\"patient\",\"id\":\"a\"}",
        b"{\"resourceType\":[\"Patient\"],\"id\":\"a\"}",
        b"{\"resourceType\":null,\"id\":\"a\"}",
        b"{\"resourceType\":\"Patient\",\"resourceType\":\"Patient\",\"id\":\"a\"}",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\",\"x\":\"\xff\"}",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\",\"x\":\"\xed\xa0\x80\"}",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\",\"x\":\"\t\"}",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\",\"x\":01}",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\",\"x\":NaN}",
        b"\xEF\xBB\xBF\xEF\xBB\xBF{\"resourceType\":\"Patient\",\"id\":\"a\"}",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\"}\xC2\xA0",
        b"\x0b{\"resourceType\":\"Patient\",\"id\":\"a\"}",
        b"{\"resourceType\":\"Patient\",\"id\":\"a\"}\0",
    ];
    if versions {
        lines.extend([
            &b"{\"resourceType\":\"Patient\",\"id\":7}"[..],
            b"{\"resourceType\":\"Patient\",\"id\":null}",
            b"{\"resourceType\":\"Patient\",\"id\":\"a\",\"id\":\"b\"}",
            b"{\"resourceType\":\"Organization\",\"id\":{\"id\":\"a\"}}",
        ]);
    }
    select(lines).prop_map(|text| Line { text: text.to_vec(), name: None }).boxed()
}
