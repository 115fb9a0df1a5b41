//! Which parameters are accepted, and every refusal.

use std::sync::LazyLock;

use super::*;
use crate::fhir::IssueCode;
use crate::http::input::query;

const NOW: &str = "2024-06-01T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

static BASES: LazyLock<BaseUrls> = LazyLock::new(|| BaseUrls::new(["https://own/r4/t", "https://source"]));

fn context(level: &Level, handling: HandlingPreference, origin: ParameterOrigin) -> KickoffContext<'_> {
    KickoffContext {
        level,
        now: at(NOW),
        handling,
        profile: ProtocolProfile::Standard,
        origin,
        bases: &BASES,
        references: ReferencePolicy::Referenced,
        devices: DevicePolicy::ByPatient,
    }
}

fn parse(query: &str) -> Result<Parameters, ApiError> {
    parse_at(query, at(NOW))
}

fn parse_at(query: &str, now: Timestamp) -> Result<Parameters, ApiError> {
    let context = KickoffContext {
        now,
        ..context(&Level::Patient, HandlingPreference::Strict, ParameterOrigin::Query)
    };
    super::parse(&query::parse(query)?, &context)
}

#[test]
fn type_is_a_list_that_may_repeat_and_duplicates_collapse() {
    let types =
        |query: &str| parse(query).unwrap().types.into_iter().map(ResourceType::as_str).collect::<Vec<_>>();
    assert_eq!(types("_type=Patient,Observation&_type=Patient"), ["Patient", "Observation"]);
    assert!(types("").is_empty());
    for format in ["application%2Ffhir%2Bndjson", "application/fhir+ndjson", "application/ndjson", "ndjson"] {
        assert!(types(&format!("_outputFormat={format}")).is_empty());
    }
}

#[test]
fn bounds_are_instants_whose_plus_may_have_become_a_space() {
    let bounds = |query: &str| {
        let parameters = parse(query).unwrap();
        (parameters.since, parameters.until)
    };
    let noon = Some(at("2024-01-31T12:00:00Z"));
    for value in [
        "2024-01-31T12:00:00Z",
        "2024-01-31T14:00:00%2B02:00",
        "2024-01-31T14:00:00+02:00",
        "2024-01-31T14:00:00%2002:00",
        "2024-01-31T10:00:00.000-02:00",
    ] {
        assert_eq!(bounds(&format!("_since={value}")), (noon, None), "{value}");
        assert_eq!(bounds(&format!("_until={value}")), (None, noon), "{value}");
    }
    let end = Some(at("9999-01-01T00:00:00Z"));
    assert_eq!(bounds("_until=9999-01-01T00:00:00Z&_since=2024-01-31T12:00:00Z"), (noon, end));
}

#[test]
fn a_since_may_be_ahead_of_our_clock_by_the_skew_and_no_more() {
    let since = |value: &str| parse(&format!("_since={value}")).map(|parameters| parameters.since);
    assert_eq!(since("2024-06-01T12:05:00Z"), Ok(Some(at("2024-06-01T12:05:00Z"))));
    let text = since("2024-06-01T12:05:00.000000001Z").unwrap_err().to_string();
    assert!(text.contains("future") && text.contains(NOW), "{text}");
    assert!(parse_at("_since=9999-12-31T00:00:00Z", Timestamp::MAX).is_ok());
}

#[test]
fn a_bad_instant_is_told_what_would_be_right() {
    let text = |query: &str| parse(query).unwrap_err().to_string();
    for (query, reason) in [
        ("_since=2023-02-29T00:00:00Z", "there is no such day"),
        ("_until=2023-01-01T24:00:00Z", "there is no such time of day"),
        ("_until=2023-01-01T00:00:00-14:30", "there is no such offset"),
        ("_since=2023-01-01", "of the form YYYY-MM-DDThh:mm:ss"),
    ] {
        let text = text(query);
        assert!(text.starts_with(&query[..6]) && text.contains(reason), "{text}");
        assert!(text.contains("2024-01-31T08:30:00Z"), "{text}");
    }
    // The example is one, as it stands in a URL.
    assert!(parse("_since=2024-01-31T08:30:00.123%2B01:00").is_ok());
}

#[test]
fn bad_parameters_are_refused_with_the_documented_code() {
    for (query, status, code) in [
        ("_type=", 400, IssueCode::Invalid),
        ("_type=Patient,", 400, IssueCode::Invalid),
        ("_type=MissingType", 400, IssueCode::Invalid),
        ("_type=patient", 400, IssueCode::Invalid),
        ("_type=ValueSet", 404, IssueCode::NotSupported),
        ("_type=Binary", 404, IssueCode::NotSupported),
        ("_outputFormat=text/html", 400, IssueCode::Invalid),
        ("_outputFormat=", 400, IssueCode::Invalid),
        ("_outputFormat=ndjson&_outputFormat=ndjson", 400, IssueCode::NotSupported),
        ("_since=", 400, IssueCode::Invalid),
        ("_since=2024-01-01", 400, IssueCode::Invalid),
        ("_until=tomorrow", 400, IssueCode::Invalid),
        ("_since=2024-01-01T00:00:00Z&_since=2024-01-01T00:00:00Z", 400, IssueCode::NotSupported),
        ("_until=2024-01-01T00:00:00Z&_until=2025-01-01T00:00:00Z", 400, IssueCode::NotSupported),
        ("_since=2024-01-01T00:00:00Z&_until=2024-01-01T00:00:00Z", 400, IssueCode::Invalid),
        ("_until=2023-12-31T23:59:59Z&_since=2024-01-01T00:00:00Z", 400, IssueCode::Invalid),
        ("_Since=2024-01-01T00:00:00Z", 400, IssueCode::NotSupported),
        ("_Type=Patient", 400, IssueCode::NotSupported),
        ("=x", 400, IssueCode::NotSupported),
        ("_type=%ff", 400, IssueCode::Structure),
    ] {
        let error = parse(query).unwrap_err();
        let shown = format!("{error:?}");
        assert!(shown.contains(&format!("status: {status}")), "{query}: {shown}");
        assert!(shown.contains(&format!("{code:?}")), "{query}: {shown}");
    }
}

/// Reads pairs as a body has them.
fn parse_body(given: &[(String, String)], handling: HandlingPreference) -> Result<Parameters, ApiError> {
    super::parse(given, &context(&Level::Patient, handling, ParameterOrigin::Body))
}

#[test]
fn p13_each_list_is_taken_at_its_bound_and_refused_beyond_it_however_lenient_the_client_is() {
    let list = |name: &str, item: &str, items: usize| {
        vec![(name.to_string(), vec![item; items].join(","))] // One value with commas.
    };
    let repeated = |name: &str, item: &dyn Fn(usize) -> String, items: usize| {
        (0..items).map(|n| (name.to_string(), item(n))).collect::<Vec<_>>()
    };
    let filter = |n: usize| format!("Patient?_id={n}");
    let values =
        |items: usize| vec![("_typeFilter".into(), format!("Patient?_id={}", vec!["1"; items].join(",")))];
    let long = |bytes: usize| {
        vec![("_typeFilter".into(), format!("Patient?name={}", "x".repeat(bytes - "Patient?name=".len())))]
    };
    let patients = |items: usize| repeated("patient", &|n| format!("Patient/{n}"), items);
    type Make<'a> = &'a dyn Fn(usize) -> Vec<(String, String)>;
    let cases: [(&str, usize, Make<'_>); 8] = [
        ("_type", bounds::MAX_TYPES, &|n| list("_type", "Patient", n)),
        ("_elements", bounds::MAX_ELEMENTS, &|n| list("_elements", "Patient.name", n)),
        ("_typeFilter", bounds::MAX_FILTERS, &|n| repeated("_typeFilter", &filter, n)),
        ("_typeFilter", bounds::MAX_VALUES, &values),
        ("_typeFilter", bounds::MAX_FILTER_BYTES, &long),
        ("patient", bounds::MAX_PATIENTS, &patients),
        ("includeAssociatedData", bounds::MAX_ASSOCIATED, &|n| {
            list("includeAssociatedData", "LatestProvenanceResources", n)
        }),
        ("the kick-off", bounds::MAX_PARAMETERS, &|n| repeated("_type", &|_| "Patient".into(), n)),
    ];
    for (what, most, make) in cases {
        for handling in [HandlingPreference::Strict, HandlingPreference::Lenient] {
            if what != "the kick-off" {
                assert!(parse_body(&make(most), handling).is_ok(), "{what} {most}");
            }
            let error = parse_body(&make(most + 1), handling).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.code(), IssueCode::TooCostly, "{text}");
            assert!(text.starts_with(what) && text.contains(&format!("more than {most} ")), "{text}");
        }
    }
}

#[test]
fn p13_what_is_repeated_is_kept_once() {
    let twice = |name: &str, value: &str| vec![(name.to_string(), value.to_string()); 2];
    let of = |name: &str, value: &str| parse_body(&twice(name, value), HandlingPreference::Strict).unwrap();
    assert_eq!(of("_elements", "name,id,name").elements.items(), ["name", "id"]);
    assert_eq!(of("_typeFilter", "Patient?_id=1").type_filters[0].as_str(), "Patient?_id=1");
    assert_eq!(of("patient", "Patient/1").patients, ["1"]);
}

#[test]
fn p13_of_what_is_ignored_the_first_are_told_and_the_rest_is_counted() {
    let given: Vec<_> = (0..1000).map(|n| (format!("nonsense{n}"), String::new())).collect();
    let ignored = parse_body(&given, HandlingPreference::Lenient).unwrap().ignored;
    assert_eq!(ignored.len(), bounds::MAX_NOTICES + 1);
    assert!(ignored[0].contains("nonsense0"), "{}", ignored[0]);
    assert!(ignored[bounds::MAX_NOTICES].contains("900 more"), "{}", ignored[bounds::MAX_NOTICES]);
    // The same sentence is there once.
    let same = [("_elements".to_string(), vec!["x"; bounds::MAX_ELEMENTS].join(","))];
    assert_eq!(parse_body(&same, HandlingPreference::Lenient).unwrap().ignored.len(), 1);
}

#[test]
fn a_patient_is_named_by_any_reference_that_names_one_here() {
    let parse = |text: &str| {
        let given = [("patient".to_string(), text.to_string())];
        parse_body(&given, HandlingPreference::Strict).map(|parameters| parameters.patients)
    };
    for text in [
        "Patient/p_1",
        "Patient/p_1/_history/2",
        "https://own/r4/t/Patient/p_1",
        "https://own/r4/t/Patient/p_1/_history/2",
        "https://source/Patient/p_1",
    ] {
        assert_eq!(parse(text), Ok(vec!["p_1".into()]), "{text}");
    }
    for text in [
        "p_1",
        "Group/p_1",
        "Patient/",
        "Patient/p 1",
        "https://own/r4/other/Patient/p_1",
        "https://elsewhere/Patient/p_1",
        "urn:uuid:p_1",
        "Patient?identifier=p_1",
    ] {
        assert_eq!(parse(text).unwrap_err().code(), IssueCode::Invalid, "{text}");
    }
}

#[test]
fn c9_types_that_a_level_does_not_have_are_told_as_long_as_one_is_left() {
    for handling in [HandlingPreference::Strict, HandlingPreference::Lenient] {
        let read = |types: &str, level: &Level| {
            let given = [("_type".to_string(), types.to_string())];
            super::parse(&given, &context(level, handling, ParameterOrigin::Query))
        };
        let told = read("ActivityDefinition,Patient,Binary", &Level::Patient).unwrap();
        assert_eq!(told.types, [ResourceType::PATIENT]);
        let names = ["ActivityDefinition", "Binary"];
        assert_eq!(told.ignored.len(), names.len());
        assert!(told.ignored.iter().zip(names).all(|(text, name)| text.contains(name)), "{told:?}");
        let whole = read("ActivityDefinition,Patient", &Level::System).unwrap();
        assert_eq!((whole.types.len(), whole.ignored.len()), (2, 0));
        for (types, level) in [("ActivityDefinition", Level::Patient), ("Binary,Bundle", Level::System)] {
            let error = read(types, &level).unwrap_err();
            assert_eq!(error.code(), IssueCode::NotSupported);
            assert!(error.to_string().contains(types.split(',').next().unwrap()), "{error}");
        }
    }
}

#[test]
fn c9_types_that_only_go_along_with_others_are_refused_without_one() {
    let read = |query: &str, level: &Level, references, devices| {
        let context = KickoffContext {
            references,
            devices,
            ..context(level, HandlingPreference::Lenient, ParameterOrigin::Query)
        };
        super::parse(&query::parse(query).unwrap(), &context)
    };
    let (referenced, all) = (ReferencePolicy::Referenced, ReferencePolicy::All);
    let (owned, others) = (DevicePolicy::ByPatient, DevicePolicy::ByReference);
    let group = Level::Group { id: "g".into() };
    for (query, references, devices, is_taken) in [
        ("_type=Location", referenced, owned, false),
        ("_type=Location,Organization,ValueSet", referenced, owned, false),
        ("_type=Location", ReferencePolicy::None, owned, false),
        ("_type=Location", all, owned, true),
        ("_type=Location,Patient", referenced, owned, true),
        ("_type=Device", referenced, owned, true),
        ("_type=Device", referenced, others, false),
        ("_type=Device", all, others, true),
        ("_type=Provenance", referenced, owned, true),
        ("_type=Provenance&includeAssociatedData=LatestProvenanceResources", all, owned, false),
        ("includeAssociatedData=LatestProvenanceResources", referenced, owned, true),
    ] {
        for level in [&Level::Patient, &group] {
            let read = read(query, level, references, devices);
            assert_eq!(read.is_ok(), is_taken, "{query} {references:?} {devices:?}: {read:?}");
            assert!(read.is_ok() || read.is_err_and(|error| error.code() == IssueCode::NotSupported));
        }
        assert!(read(query, &Level::System, references, devices).is_ok(), "{query}");
    }
}
