//! Dates, words, quantities and numbers, with every prefix and modifier.

use serde_json::{Value, json};

use super::check;

#[test]
fn every_prefix_compares_dates_as_times_with_a_beginning_and_an_end() {
    let on = |name: &str, value: Value| json!({"resourceType": "Observation", name: value});
    check(
        &on("effectiveDateTime", json!("2013-01-14T10:00:00Z")),
        &[
            "date=2013-01-14",
            "date=eq2013-01",
            "date=2013",
            "date=2013-01-14T10:00",
            "date=2013-01-14T10:00:00Z",
            "date=2013-01-14T11:00:00 01:00",
            "date=2013-01-14T11:00:00%2B01:00",
            "date=ne2013-01-15",
            "date=ge2013-01-14",
            "date=le2013-01-14",
            "date=gt2013-01-13",
            "date=lt2013-01-15",
            "date=sa2013-01-13",
            "date=eb2013-01-15",
            "date=ap2013-01-15",
            "date=ap2013-01-13",
            "date=gt2013-01-14T09:59",
            "date=ge2013-01-01&date=le2013-01-31",
        ],
        &[
            "date=2013-01-15",
            "date=2013-01-14T10:01",
            "date=2013-01-14T10:00:00.5Z",
            "date=ne2013-01-14",
            "date=gt2013-01-14",
            "date=lt2013-01-14",
            "date=ge2013-01-15",
            "date=le2013-01-13",
            "date=sa2013-01-14",
            "date=eb2013-01-14",
            "date=ap2013-01-16",
            "date=ap2013-01-12",
            "date:missing=true",
            "date=ge2013-01-01&date=le2013-01-13",
        ],
    );
    // The standard's own examples.
    check(
        &on("effectiveDateTime", json!("2013-01-14")),
        &[
            "date=lt2013-01-14T10:00",
            "date=gt2013-01-14T10:00",
            "date=ge2013-01-14T10:00",
            "date=le2013-01-14T10:00",
        ],
        &["date=2013-01-14T10:00", "date=sa2013-01-14T10:00", "date=eb2013-01-14T10:00"],
    );
    check(
        &on("effectivePeriod", json!({"start": "2013-01-21"})),
        &[
            "date=ge2013-03-14",
            "date=le2013-03-14",
            "date=gt2030",
            "date=sa2013-01-20",
            "date=ap2040",
            "date=ne2013",
        ],
        &["date=sa2013-03-14", "date=eb2013-03-14", "date=2013", "date=lt2013-01-21", "date=eb2040"],
    );
    check(
        &on("effectivePeriod", json!({"end": "2013-01-21"})),
        &["date=eb2013-03-14", "date=lt0001", "date=le2013-01-21", "date=ge2013-01-21"],
        &["date=sa0001", "date=gt2013-01-21", "date=2013"],
    );
    check(
        &on("effectivePeriod", json!({"start": "2013-01-13", "end": "2013-01-14T12:00:00Z"})),
        &["date=ge2013-01-14", "date=le2013-01-13", "date=2013-01", "date=ap2013-01-14"],
        &["date=gt2013-01-14", "date=2013-01-14", "date=sa2013-01-13"],
    );
    check(
        &on("effectiveInstant", json!("2013-01-14T10:00:00.5Z")),
        &["date=2013-01-14T10:00:00Z", "date=ge2013-01-14T10:00:00.500Z", "date=gt2013-01-14T10:00:00.4Z"],
        &["date=gt2013-01-14T10:00:00.5Z", "date=2013-01-14T10:00:01Z"],
    );
    check(
        &on(
            "effectiveTiming",
            json!({"event": ["2013-01-31", "2013-03-24"], "repeat": {"boundsPeriod": {"end": "2013-04-01"}}}),
        ),
        &["date=le2013-01-31", "date=lt2000", "date=eb2013-04-02", "date=ge2013-04-01"],
        &["date=gt2013-04-01", "date=2013"],
    );
    for unread in [json!("yesterday"), json!(2013), json!(null)] {
        check(&on("effectiveDateTime", unread), &[], &["date=ne2000", "date=gt0001", "date=lt9999"]);
    }
    check(&on("effectivePeriod", json!({})), &["date:missing=false"], &["date=gt0001"]);
    check(
        &json!({"resourceType": "Observation", "meta": {"lastUpdated": "2024-01-01T00:00:00.000+01:00"}}),
        &["_lastUpdated=2023-12-31", "_lastUpdated=lt2024"],
        &["_lastUpdated=2024"],
    );
}

#[test]
fn words_are_compared_without_case_accents_and_punctuation() {
    let patient = json!({"resourceType": "Patient", "name": [
        {"family": "Muñoz-O'Brien", "given": ["Éva", "Anne \t Marie"], "prefix": ["Dr."], "suffix": ["PhD"], "use": "official"},
        {"text": "Ms  EVA Muñoz"}],
        "address": [{"line": ["1 Main St"], "city": "Łódź", "state": "MA", "postalCode": "02-111", "country": "PL", "use": "home"}]});
    check(
        &patient,
        &[
            "name=munoz",
            "name=MUN",
            "family=munozobrien",
            "family=muñoz-o'",
            "given=eva",
            "given=EV",
            "given=anne marie",
            "name=dr",
            "name=phd",
            "name=ms eva",
            "name:contains=brien",
            "name:exact=Éva",
            "family:exact=Muñoz-O'Brien",
            "address=1 main",
            "address=02111",
            "address=pl",
            "address-city=Łod",
            "given=x,eva",
            "given:missing=false",
        ],
        &[
            "name=brien",
            "name=official",
            "name:exact=Eva",
            "name:exact=éva",
            "family=eva",
            "name:contains=zz",
            "given=eva%20anne",
            "address=home",
            "address-city=lodz",
            "address-country=p l",
            "given:missing=true",
        ],
    );
    let text = json!({"resourceType": "Observation", "valueCodeableConcept": {"text": "Pos, weak"}});
    check(
        &text,
        &["value-string=pos weak", r"value-string:exact=Pos\, weak"],
        &["value-string=posi", "value-string=weak"],
    );
}

#[test]
fn every_prefix_compares_quantities_and_numbers() {
    let ucum = "http://unitsofmeasure.org";
    let weight = json!({"resourceType": "Observation",
        "valueQuantity": {"value": 5.35, "unit": "milligram", "system": ucum, "code": "mg"}});
    check(
        &weight,
        &[
            "value-quantity=5.4",
            "value-quantity=5.35",
            "value-quantity=eq5",
            "value-quantity=535e-2",
            "value-quantity=ne5.3",
            "value-quantity=gt5.3",
            "value-quantity=lt5.4",
            "value-quantity=ge5.35",
            "value-quantity=le5.35",
            "value-quantity=sa5.3",
            "value-quantity=eb5.4",
            "value-quantity=ap5",
            "value-quantity=ap4.9",
            "value-quantity=5.4|http://unitsofmeasure.org|mg",
            "value-quantity=5.4||mg",
            "value-quantity=5.4||milligram",
            "value-quantity=5.4|http://unitsofmeasure.org|",
            "value-quantity=1,5.4",
            "combo-value-quantity=5.4",
        ],
        &[
            "value-quantity=5.3",
            "value-quantity=5.36",
            "value-quantity=ne5.4",
            "value-quantity=gt5.35",
            "value-quantity=lt5.35",
            "value-quantity=ge5.36",
            "value-quantity=le5.34",
            "value-quantity=sa5.35",
            "value-quantity=eb5.35",
            "value-quantity=ap4",
            "value-quantity=5.4|http://unitsofmeasure.org|g",
            "value-quantity=5.4|http://other|mg",
            "value-quantity=5.4||MG",
            "value-quantity=-5.4",
            "component-value-quantity=5.4",
        ],
    );
    // The upper end is not within.
    let at = |value: f64| json!({"resourceType": "Observation", "valueQuantity": {"value": value}});
    check(&at(5.45), &["value-quantity=5.5"], &["value-quantity=5.4", "value-quantity=5.4||mg"]);
    check(&at(100.4), &["value-quantity=100", "value-quantity=1e2"], &["value-quantity=100.0"]);
    check(&at(1e300), &["value-quantity=gt5"], &["value-quantity=lt5"]);
    let age = json!({"resourceType": "Condition", "onsetRange": {"low": {"value": 30, "code": "a", "system": ucum}}});
    check(
        &age,
        &[
            "onset-age=ge40",
            "onset-age=gt40||a",
            "onset-age=le30",
            "onset-age=sa29",
            "onset-age=ap90",
            "onset-age=ne35",
        ],
        &["onset-age=30", "onset-age=lt30", "onset-age=eb100", "onset-age=gt40||mo"],
    );
    let span =
        json!({"resourceType": "Condition", "onsetRange": {"low": {"value": 30}, "high": {"value": 34}}});
    check(&span, &["onset-age=3e1", "onset-age=gt33", "onset-age=eb35"], &["onset-age=30", "onset-age=gt34"]);
    let price = json!({"resourceType": "Invoice", "totalNet": {"value": 10, "currency": "EUR"}});
    check(
        &price,
        &["totalnet=10", "totalnet=10|urn:iso:std:iso:4217|EUR", "totalnet=10||EUR"],
        &["totalnet=10||USD", "totalnet=10|http://other|EUR"],
    );
    let sampled = json!({"resourceType": "Observation", "valueSampledData": {"origin": {"value": 5}}});
    check(&sampled, &["value-quantity:missing=false"], &["value-quantity=5", "value-quantity=ne5"]);
    let risk = json!({"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": 0.82}]});
    check(
        &risk,
        &["probability=gt0.8", "probability=gt8e-1", "probability=0.8", "probability=le0.82"],
        &["probability=0.9", "probability=gt0.82", "probability=lt0.8"],
    );
    let variant = json!({"resourceType": "MolecularSequence", "variant": [{"start": 100}]});
    check(
        &variant,
        &["variant-start=100", "variant-start=100.00"],
        &["variant-start=101", "variant-start=99.5"],
    );
}
