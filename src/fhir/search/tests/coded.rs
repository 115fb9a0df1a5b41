//! Tokens, references and URIs, and what is missing.

use serde_json::{Value, json};

use super::check;

#[test]
fn tokens_are_compared_with_every_coded_type() {
    let patient = json!({"resourceType": "Patient", "id": "A1", "active": true, "gender": "female",
        "identifier": [{"system": "http://a", "value": "X-1", "type": {"text": "Médical record"}}, {"value": "2"}],
        "telecom": [{"system": "phone", "value": "555"}, {"system": "email", "value": "a@b"}],
        "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en-US", "display": "English (US)"}], "text": "Engl. spoken"}}],
        "meta": {"tag": [{"system": "http://t", "code": "a,b|c"}], "security": [{"code": "R"}]}});
    check(
        &patient,
        &[
            "_id=A1",
            "active=true",
            "gender=female",
            "gender=male,female",
            "gender:not=male",
            "gender:not=other",
            "identifier=X-1",
            "identifier=x-1",
            "identifier=http://a|X-1",
            "identifier=http://a|",
            "identifier=|2",
            "identifier=http%3A%2F%2Fa|X-1",
            "identifier:text=medical",
            "telecom=555",
            "telecom=A@B",
            "phone=555",
            "email=a@b",
            "language=en-us",
            "language=urn:ietf:bcp:47|en-US",
            "language:text=english us",
            "language:text=engl spoken",
            r"_tag=a\,b\|c",
            r"_tag=http://t|a\,b\|c",
            "_security=|R",
            "address-use:not=home",
            "gender=female&active=true",
            "gender=male,female&identifier=2",
        ],
        &[
            "_id=a1",
            "_id=A",
            "active=false",
            "gender=Female",
            "gender=male",
            "gender:not=male,female",
            "identifier=X",
            "identifier=http://b|X-1",
            "identifier=HTTP://a|X-1",
            "identifier=|X-1",
            "identifier=http://a|2",
            "identifier:text=record",
            "phone=a@b",
            "email=555",
            "language=urn:other|",
            "language=|en-US",
            "language:not=en-US",
            "language:text=spoken",
            "_security=http://t|R",
            "address-use=home",
            "gender=female&active=false",
        ],
    );
}

#[test]
fn a_truth_that_an_expression_computes_is_always_there() {
    let patient = |deceased: Value| {
        let mut patient = json!({"resourceType": "Patient"});
        patient.as_object_mut().unwrap().extend(deceased.as_object().unwrap().clone());
        patient
    };
    let (alive, dead) = (&["deceased=false", "deceased:missing=false"][..], &["deceased=true"][..]);
    check(&patient(json!({})), alive, dead);
    check(&patient(json!({"deceasedBoolean": false})), alive, dead);
    check(&patient(json!({"deceasedBoolean": true})), dead, &["deceased=false"]);
    check(&patient(json!({"deceasedDateTime": "2020"})), dead, &["deceased:not=true"]);
}

#[test]
fn references_are_compared_by_type_id_version_and_url() {
    let to = |reference: Value| json!({"resourceType": "Observation", "subject": reference});
    let local = &[
        "subject=Patient/1",
        "subject=1",
        "subject=https://h/fhir/Patient/1",
        "subject:Patient=1",
        "subject:Patient=Patient/1",
        "patient=1",
        "patient=Patient/1",
        "subject=Patient/2,Patient/1",
    ];
    let never = &[
        "subject=2",
        "subject=Group/1",
        "subject:Group=1",
        "subject=Patient/1/_history/2",
        "subject=Patient/11",
        "subject=https://other/fhir/Patient/1",
        "subject:missing=true",
        "patient=Patient/2",
    ];
    for text in ["Patient/1", "https://h/fhir/Patient/1", "Patient/1/_history/1"] {
        check(&to(json!({"reference": text})), local, never);
    }
    check(&to(json!({"reference": "Patient/1/_history/2"})), &["subject=Patient/1/_history/2"], &[]);
    check(
        &to(json!({"reference": "https://other/fhir/Patient/1"})),
        &["subject=https://other/fhir/Patient/1", "patient=https://other/fhir/Patient/1"],
        &["subject=Patient/1", "subject=1", "subject:Patient=1", "subject=https://h/fhir/Patient/1"],
    );
    check(
        &to(
            json!({"reference": "urn:uuid:1", "type": "Patient", "identifier": {"system": "http://a", "value": "7"}}),
        ),
        &[
            "subject=urn:uuid:1",
            "patient=urn:uuid:1",
            "subject:identifier=7",
            "subject:identifier=http://a|7",
            "patient:identifier=http://a|",
            "patient:missing=false",
        ],
        &["subject=1", "subject:identifier=8", "subject:identifier=http://b|7"],
    );
    check(&to(json!({"reference": "Group/1"})), &["subject=Group/1", "patient:missing=true"], &["patient=1"]);
    check(&to(json!({"reference": "#1"})), &["subject:missing=false"], &["subject=1", "subject=Patient/1"]);
}

#[test]
fn canonicals_are_compared_with_and_without_their_version() {
    let answers = |text: &str| json!({"resourceType": "QuestionnaireResponse", "questionnaire": text});
    let of = |version: &str| format!("questionnaire=http://q{version}");
    check(&answers("http://q|2"), &[&of(""), &of("|2")], &[&of("|1"), &of("/"), "questionnaire=http://p"]);
    check(&answers("http://q"), &[&of("")], &[&of("|2")]);
    let source = json!({"resourceType": "ConceptMap", "sourceUri": "http://v|1"});
    check(&source, &["source-uri=http://v|1"], &["source-uri=http://v"]);
    // A canonical is a uri.
    check(
        &json!({"resourceType": "ConceptMap", "sourceCanonical": "http://v|1"}),
        &["source-uri=http://v"],
        &[],
    );
}

#[test]
fn uris_are_compared_to_the_letter_or_as_beginnings() {
    let set = json!({"resourceType": "ValueSet", "url": "http://acme.org/fhir/ValueSet/123"});
    check(
        &set,
        &[
            "url=http://acme.org/fhir/ValueSet/123",
            "url:below=http://acme.org/fhir/",
            "url:above=http://acme.org/fhir/ValueSet/123/_history/5",
            "url:above=http://acme.org/fhir/ValueSet/123",
        ],
        &[
            "url=http://acme.org/fhir/ValueSet/",
            "url=http://ACME.org/fhir/ValueSet/123",
            "url:below=http://b",
            "url:above=http://acme.org/fhir",
        ],
    );
    let meta = json!({"resourceType": "ValueSet", "meta": {"profile": ["http://p|1"], "source": "urn:s"}});
    check(
        &meta,
        &["_profile=http://p", "_profile=http://p|1", "_source=urn:s"],
        &["_profile=http://p|2", "_source=urn:t"],
    );
}

#[test]
fn missing_is_what_has_no_value() {
    let observation = json!({"resourceType": "Observation", "_status": {"extension": []}, "code": {"text": "x"},
        "component": [{"code": {"text": "y"}}], "performer": [null], "note": []});
    check(
        &observation,
        &[
            "status:missing=true",
            "code:missing=false",
            "component-code:missing=false",
            "performer:missing=true",
            "date:missing=true",
        ],
        &["status:missing=false", "code:missing=true", "component-value-concept:missing=false"],
    );
}
