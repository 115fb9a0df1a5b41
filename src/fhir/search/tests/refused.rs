//! Every refusal.

use crate::fhir::search::{ErrorKind, TypeFilter};

#[test]
fn what_cannot_be_evaluated_is_refused_with_what_would_be_right() {
    use ErrorKind::{Invalid, Unsupported};
    for (text, kind, says) in [
        ("", Invalid, "has no ?"),
        ("Observation", Invalid, "Observation?status=final"),
        ("?status=final", Invalid, "not a resource type"),
        ("observation?status=final", Invalid, "case-sensitive"),
        ("Elephant?status=final", Invalid, "not a resource type"),
        ("Observation?", Invalid, "says nothing"),
        ("Observation?&&", Invalid, "says nothing"),
        ("Observation?status", Invalid, "has no ="),
        ("Observation?status=", Invalid, "empty item"),
        ("Observation?status=final,", Invalid, "empty item"),
        ("Observation?status=%ff", Invalid, "UTF-8"),
        ("Observation?=final", Unsupported, "it has based-on, category"),
        ("Observation?colour=red", Unsupported, "no search parameter 'colour'"),
        ("Observation?Status=final", Unsupported, "'Status'"),
        ("Observation?_sort=date", Invalid, "_sort says how"),
        ("Observation?status=final&_count=10", Invalid, "_count says how"),
        ("Observation?_include=Observation:subject", Invalid, "_include"),
        ("Observation?_revinclude:iterate=a", Invalid, "_revinclude"),
        ("Observation?_summary=true", Invalid, "_summary"),
        ("Observation?_elements=id", Invalid, "_elements"),
        ("Observation?_total=none", Invalid, "_total"),
        ("Observation?_contained=true", Invalid, "_contained"),
        ("Observation?subject.name=x", Unsupported, "is a chain"),
        ("Observation?subject:Patient.name=x", Unsupported, "is a chain"),
        ("Patient?_has:Observation:patient:code=x", Unsupported, "is a chain"),
        ("Observation?code-value-quantity=a$5", Unsupported, "composite"),
        ("Location?near=1|2", Unsupported, "special"),
        ("Patient?phonetic=x", Unsupported, "use name"),
        ("Patient?_text=x", Unsupported, "no definition"),
        ("DeviceDefinition?classification=x", Unsupported, "cannot evaluate"),
        ("Patient?active=yes", Invalid, "true or false"),
        ("Patient?active=TRUE", Invalid, "true or false"),
        ("Patient?active=|true", Invalid, "without |"),
        ("Patient?gender=http://x|male", Invalid, "without |"),
        ("Patient?email=email|a@b", Invalid, "without |"),
        ("Observation?code=|", Invalid, "system|code"),
        ("Observation?code=a|b|c", Invalid, "more than one |"),
        (r"Observation?code=a\b", Invalid, "backslash"),
        ("Observation?code:in=http://vs", Unsupported, ":not, :text and :missing"),
        ("Observation?code:exact=x", Invalid, ":not, :text and :missing"),
        ("Observation?status:text=x", Invalid, ":not and :missing"),
        ("Observation?code:=x", Invalid, "no modifier ''"),
        ("Observation?code:text=...", Invalid, "give a word"),
        ("Observation?subject=", Invalid, "empty item"),
        ("Observation?subject=a/b", Invalid, "Type/id"),
        ("Observation?subject=Elephant/1", Invalid, "Type/id"),
        ("Observation?subject:Elephant=1", Invalid, "Group, Device, Patient, Location"),
        ("Observation?subject:Practitioner=1", Invalid, "Group, Device, Patient, Location"),
        ("Observation?subject:Patient=Group/1", Invalid, "the id alone"),
        ("Observation?subject:Patient=http://o/Patient/1", Invalid, "the id alone"),
        ("Observation?subject:not=1", Invalid, ":identifier"),
        ("QuestionnaireResponse?questionnaire=q1", Invalid, "canonical URL"),
        ("QuestionnaireResponse?questionnaire:identifier=q1", Invalid, ":missing"),
        ("Observation?date=today", Invalid, "2024-01-31"),
        ("Observation?date=2023-02-29", Invalid, "2024-01-31"),
        ("Observation?date=xx2023-02-28", Invalid, "prefixes"),
        ("Observation?date:not=2023", Invalid, ":missing"),
        ("Observation?value-quantity=many", Invalid, "number"),
        ("Observation?value-quantity=5|mg", Invalid, "number||unit"),
        ("Observation?value-quantity=5||", Invalid, "number||unit"),
        ("Observation?value-quantity=5.4.1", Invalid, "such as 5.4"),
        ("Observation?value-quantity:not=5", Invalid, ":missing"),
        ("RiskAssessment?probability=1||a", Invalid, "such as 5.4"),
        ("Patient?name:text=x", Invalid, ":exact, :contains and :missing"),
        ("Patient?name=-", Invalid, "give a word"),
        ("ValueSet?url:below=urn:oid:1", Invalid, "URN"),
        ("ValueSet?url=http://v|2", Invalid, "as the parameter version"),
        ("ValueSet?url:contains=x", Invalid, ":below, :above"),
        ("Observation?status:missing=yes", Invalid, "true or false"),
        ("Observation?status:missing=true,false", Invalid, "true or false"),
    ] {
        let error = TypeFilter::parse(text).expect_err(text);
        assert_eq!(error.kind(), kind, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
}

#[test]
fn a_refusal_quotes_little_of_what_the_client_sent() {
    let long = "x".repeat(100_000);
    for text in [
        long.clone(),
        format!("{long}?a=b"),
        format!("Observation?{long}=1"),
        format!("Observation?code:{long}=1"),
        format!("Observation?code:{long}=,"),
        format!("Observation?date={long}"),
        format!("Observation?subject:{long}=1"),
        format!("Observation?{long}.x=1"),
    ] {
        assert!(TypeFilter::parse(&text).unwrap_err().to_string().len() < 1_000, "{:.40}", text);
    }
}
