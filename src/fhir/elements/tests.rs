//! What is kept, what is refused, and that nothing grows by more than it may.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn named(name: &str) -> ResourceType {
    ResourceType::of(name).unwrap()
}

/// The line of a type with `{T}` for the tag, cut down to the elements of the list.
fn subset(items: &str, name: &str, line: &str) -> Result<String, SubsetError> {
    let elements = Elements::parse(items.split(',')).unwrap();
    let mut out = b"before".to_vec();
    let line = line.replace("{T}", TAG);
    let done = elements.subset(named(name), line.as_bytes(), &CancelToken::new(), &mut out);
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_prefix("before").unwrap();
    assert!(done.is_ok() || text.is_empty(), "{text}");
    assert!(text.len() <= line.len() + Elements::GROWTH, "{text}");
    done.map(|()| text.replace(TAG, "{T}"))
}

#[test]
fn the_table_has_every_type_and_knows_mandatory_and_choice_elements() {
    for resource_type in ResourceType::all() {
        let names: Vec<_> = of(resource_type).iter().map(|it| it.name).collect();
        assert!(names.contains(&"id") && names.contains(&"meta"), "{resource_type:?}");
    }
    let mandatory =
        |name| of(named(name)).iter().filter(|it| it.is_mandatory).map(|it| it.name).collect::<Vec<_>>();
    assert_eq!(mandatory("Observation"), ["status", "code"]);
    assert_eq!(mandatory("MedicationRequest"), ["status", "intent", "medication", "subject"]);
    assert!(mandatory("Patient").is_empty());
    let choices: Vec<_> = of(named("Patient")).iter().filter(|it| it.is_choice).map(|it| it.name).collect();
    assert_eq!(choices, ["deceased", "multipleBirth"]);
}

#[test]
fn what_is_named_for_a_type_or_for_all_counts_and_other_types_stay_whole() {
    let applies = |items: &str, name| Elements::parse(items.split(',')).unwrap().applies_to(named(name));
    assert!(applies("Patient.name", "Patient") && !applies("Patient.name", "Group"));
    assert!(applies("name", "Patient") && applies("name", "Observation"));
    assert!(applies("Patient.name,code", "Group"));
    assert!(!Elements::default().applies_to(named("Patient")));
    let line = r#"{"resourceType":"Patient","name":[],"gender":"x","birthDate":"2020"}"#;
    for (items, kept) in [
        ("Patient.name", r#""name":[]"#),
        ("Patient.name,Group.member,birthDate", r#""name":[],"birthDate":"2020""#),
        ("gender,Group.name", r#""gender":"x""#),
    ] {
        let whole = format!(r#"{{"resourceType":"Patient","meta":{{"tag":[{{T}}]}},{kept}}}"#);
        assert_eq!(subset(items, "Patient", line), Ok(whole), "{items}");
    }
}

#[test]
fn kept_elements_stay_as_they_are_and_the_tag_is_there_once() {
    for (items, name, line, kept) in [
        // Mandatory ones, and what every resource has.
        (
            "Observation.issued",
            "Observation",
            r#"{"resourceType":"Observation","id":"o","meta":{"versionId":"1"},"implicitRules":"u","language":"en","text":{},"contained":[{}],"extension":[],"modifierExtension":[{"url":"u"}],"status": "final" ,"code":{"a" :1.50},"issued":"i","valueString":"v"}"#,
            r#"{"resourceType":"Observation","id":"o","meta":{"versionId":"1","tag":[{T}]},"implicitRules":"u","modifierExtension":[{"url":"u"}],"status":"final","code":{"a" :1.50},"issued":"i"}"#,
        ),
        // A choice element, and what goes with a primitive.
        (
            "value[x],Observation.effective",
            "Observation",
            r#"{"resourceType":"Observation","valueString":"v","_valueString":{"id":"1"},"effectiveDateTime":"2020","value":1,"valued":2}"#,
            r#"{"resourceType":"Observation","meta":{"tag":[{T}]},"valueString":"v","_valueString":{"id":"1"},"effectiveDateTime":"2020"}"#,
        ),
        (
            "Patient.birthDate",
            "Patient",
            r#"{"resourceType":"Patient","_birthDate":{"id":"1"},"birthDate":"2020","_gender":{},"deceasedBoolean":true,"_id":{"id":"2"}}"#,
            r#"{"resourceType":"Patient","meta":{"tag":[{T}]},"_birthDate":{"id":"1"},"birthDate":"2020","_id":{"id":"2"}}"#,
        ),
        (
            "Encounter.class",
            "Encounter",
            r#"{"id":"e","classHistory":[],"class":{},"statusHistory":[],"status":"x","resourceType":"Encounter"}"#,
            r#"{"id":"e","meta":{"tag":[{T}]},"class":{},"status":"x","resourceType":"Encounter"}"#,
        ),
        // Tags.
        ("id", "Patient", r#"{"meta":{}}"#, r#"{"meta":{"tag":[{T}]}}"#),
        ("id", "Patient", r#"{"meta":{"tag":[ ]}}"#, r#"{"meta":{"tag":[ {T}]}}"#),
        (
            "id",
            "Patient",
            r#"{"meta":{"tag":[{"code":"SUBSETTED"}],"a":1}}"#,
            r#"{"meta":{"tag":[{"code":"SUBSETTED"},{T}],"a":1}}"#,
        ),
        ("id", "Patient", r#"{"meta":{"tag":[{"x":1},{T}]}}"#, r#"{"meta":{"tag":[{"x":1},{T}]}}"#),
        (
            "id",
            "Patient",
            r#"{"meta":{"tag":[{"code":"SUBSETTED","display":"d","system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue"}]}}"#,
            r#"{"meta":{"tag":[{"code":"SUBSETTED","display":"d","system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue"}]}}"#,
        ),
        ("meta", "Patient", r#"{"gender":"x","id":"p"}"#, r#"{"id":"p","meta":{"tag":[{T}]}}"#),
        ("name", "Patient", "{}", r#"{"meta":{"tag":[{T}]}}"#),
        (
            "name",
            "Patient",
            r#"{"n\u0061me":1e999,"meta":{"\"":"\u00e9"}}"#,
            r#"{"name":1e999,"meta":{"\"":"\u00e9","tag":[{T}]}}"#,
        ),
    ] {
        assert_eq!(subset(items, name, line).as_deref(), Ok(kept), "{line}");
    }
}

#[test]
fn a_line_that_cannot_be_read_is_an_error_and_writes_nothing() {
    for (line, error) in [
        ("", SubsetError::NotAnObject),
        ("[]", SubsetError::NotAnObject),
        (r#"{"id":"#, SubsetError::NotAnObject),
        (r#"{"id":1}x"#, SubsetError::NotAnObject),
        (r#"{"meta":{},"meta":{}}"#, SubsetError::BadMeta),
        (r#"{"meta":{"tag":[],"tag":[]}}"#, SubsetError::BadMeta),
        (r#"{"id":"p","meta":null}"#, SubsetError::BadMeta),
        (r#"{"meta":[]}"#, SubsetError::BadMeta),
        (r#"{"meta":{"tag":{}}}"#, SubsetError::BadMeta),
    ] {
        assert_eq!(subset("id", "Patient", line), Err(error), "{line}");
    }
}

#[test]
fn p13_a_long_line_is_cut_down_as_a_short_one_is_and_with_looks() {
    let blanks = " ".repeat(AT_ONCE);
    for (kept, meta) in
        [(r#""gender":[1.50,{}]"#, r#"{"tag":[]}"#), (r#""gender":"\u0041""#, r#"{"tag":[{T}],"a":1}"#)]
    {
        let line =
            |blanks: &str| format!(r#"{{"resourceType":"Patient","x":[{blanks}],{kept},"meta":{meta}}}"#);
        assert_eq!(subset("gender", "Patient", &line(&blanks)), subset("gender", "Patient", &line("")));
        assert!(subset("gender", "Patient", &line("")).unwrap().contains(kept));
    }
    let tags = format!(r#"{{"meta":{{"tag":[{blanks}{{"code":"x"}}]}}}}"#);
    assert!(subset("id", "Patient", &tags).unwrap().ends_with(r#"{"code":"x"},{T}]}}"#));
    let elements = Elements::parse(["gender"]).unwrap();
    for line in [tags, format!(r#"{{"gender":[{blanks}]}}"#)] {
        let cancel = CancelToken::new();
        elements.subset(named("Patient"), line.as_bytes(), &cancel, &mut Vec::new()).unwrap();
        let all = cancel.looks();
        assert!(all > 16, "{all} looks at 16 strides");
        for look in 1..=all {
            let (cancel, mut out) = (CancelToken::at_look(look), Vec::new());
            let cancelled = elements.subset(named("Patient"), line.as_bytes(), &cancel, &mut out);
            assert_eq!(cancelled, Err(SubsetError::Cancelled(TokenFired)), "{look} of {all}");
            assert!(out.is_empty() && cancel.looks() < look + 5, "{} looks", cancel.looks());
        }
    }
}

#[test]
fn what_names_no_root_element_is_refused_with_what_would_be_right() {
    for (item, says) in [
        ("", "status or Patient.birthDate"),
        ("colour", "not a root element of any type"),
        ("birthdate", "not a root element of any type"),
        ("_birthDate", "not a root element of any type"),
        ("valueQuantity", "without its type, value"),
        ("birthDate[x]", "not a root element of any type"),
        ("Patient", "not a root element of any type"),
        ("Patient.", "those are id, meta"),
        ("Patient.colour", "birthDate, deceased"),
        ("Patient.status", "names no root element of Patient"),
        ("Patient.name.family", "goes deeper than the root of Patient"),
        ("name.family", "'name' is not a resource type"),
        ("Elephant.name", "'Elephant' is not a resource type"),
        (".name", "'' is not a resource type"),
        (&"x".repeat(10_000), "..."),
        (&format!("Patient.{}", "x".repeat(10_000)), "..."),
    ] {
        let text = Elements::parse(["id", item]).unwrap_err().to_string();
        assert!(text.contains(says) && text.len() < 600, "{text}");
    }
}

proptest! {
    #[test]
    fn no_item_and_no_line_panics(item in ".{0,30}|[A-Z][a-z]{3,9}\\.[a-z\\[\\]]{0,9}", line in ".{0,60}") {
        let _ = Elements::parse([item.as_str()]);
        let _ = Elements::parse(["name"]).unwrap().subset(named("Patient"), line.as_bytes(), &CancelToken::new(), &mut Vec::new());
    }

    #[test]
    fn a_subset_is_json_with_what_was_kept_and_grows_by_no_more_than_it_may(
        members in prop::collection::vec(("id|resourceType|name|gender|text|_gender|deceasedBoolean|[a-z\u{1}é\"]{0,3}", ".{0,8}"), 0..6),
        meta in prop::option::of(prop::collection::vec(("tag|source|[a-z\u{1}\"]{0,2}", ".{0,4}"), 0..3)),
        at in 0usize..6,
    ) {
        let mut object: serde_json::Map<String, Value> = members.into_iter().map(|(key, text)| (key, json!(text))).collect();
        if let Some(meta) = meta {
            let meta = meta.into_iter().map(|(key, text)| {
                let value = if key == "tag" { json!([{"code": text}]) } else { json!(text) };
                (key, value)
            });
            object.insert("meta".into(), Value::Object(meta.collect()));
        }
        let mut keys: Vec<_> = object.keys().cloned().collect();
        let turn = at.min(keys.len());
        keys.rotate_left(turn);
        let line = format!("{{{}}}", keys.iter().map(|key| format!("{}:{}", json!(key), object[key])).collect::<Vec<_>>().join(","));
        let mut out = Vec::new();
        Elements::parse(["Patient.gender"]).unwrap().subset(named("Patient"), line.as_bytes(), &CancelToken::new(), &mut out).unwrap();
        prop_assert!(out.len() <= line.len() + Elements::GROWTH);
        let mut read: Value = serde_json::from_slice(&out).unwrap();
        let tags = read["meta"]["tag"].as_array().unwrap();
        prop_assert_eq!(tags.iter().filter(|tag| tag["code"] == CODE).count(), 1);
        let kept = ["id", "resourceType", "gender", "_gender"].map(|key| read.get(key) == object.get(key));
        prop_assert_eq!(kept, [true; 4]);
        read.as_object_mut().unwrap().retain(|key, _| !["id", "resourceType", "gender", "_gender", "meta"].contains(&key.as_str()));
        prop_assert_eq!(read, json!({}));
    }
}
