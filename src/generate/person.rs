//! Who a patient is: the facts drawn first from the patient's stream, before any record. Groups draw
//! them again to find their members, and so nothing need be kept of a patient once it is written.

use super::draw::{RandomStream, RecordId, StreamOwner, StreamPurpose};
use super::json::{JsonWriter, ScaledNumber};
use super::kind::RecordKind;
use super::moment::{DAY, UnixMillis};
use super::practice::{MedicalPractice, PracticeList};
use super::vocabulary::{CHRONIC, ChronicCondition, ClinicalMeasure, code, hl7};

/// Given names, obviously of nobody; a number always follows.
pub(super) const FEMALE: &[&str] =
    &["Testina", "Mockara", "Fixtura", "Sampla", "Dummelia", "Synthia", "Stubbina"];
/// As [`FEMALE`], for men.
pub(super) const MALE: &[&str] = &["Testor", "Mockard", "Fixtus", "Samplen", "Dummis", "Synthan", "Stubbert"];
/// Family names, obviously of nobody; a number always follows.
pub(super) const FAMILY: &[&str] = &[
    "Placeholder",
    "Examplewood",
    "Mockingham",
    "Testerly",
    "Fictionson",
    "Dataworth",
    "Specimenson",
    "Nullman",
];
/// Towns that no map has.
pub(super) const TOWNS: &[&str] = &["Mockton", "Sampleford", "Testbury", "Fixture Falls"];

/// The lasting facts about one patient.
pub(super) struct SyntheticPatient {
    pub(super) id: RecordId,
    /// The number of the practice the patient is registered with.
    pub(super) home: usize,
    /// The index in [`CHRONIC`] of the condition the patient lives with.
    pub(super) ailment: usize,
    /// Where in the span of any measure this patient's values lie, in percent. It keeps them from
    /// jumping across the whole span between one visit and the next.
    build: u64,
    female: bool,
    given: (&'static str, u64),
    family: (&'static str, u64),
    born: UnixMillis,
    town: &'static str,
    street: u64,
}

impl SyntheticPatient {
    /// The patient with this number in the set made with `seed`.
    pub(super) fn numbered(seed: u64, number: u32) -> Self {
        Self::draw(&mut RandomStream::stream(seed, StreamPurpose::Record, StreamOwner::Patient(number)))
    }

    /// Draws the patient that a fresh stream stands for.
    pub(super) fn draw(draw: &mut RandomStream) -> Self {
        let id = draw.id();
        let female = draw.chance(51);
        Self {
            id,
            home: draw.index(PracticeList::COUNT),
            ailment: draw.index(CHRONIC.len()),
            build: draw.below(90),
            female,
            given: (*draw.pick(if female { FEMALE } else { MALE }), 100 + draw.below(900)),
            family: (*draw.pick(FAMILY), 100 + draw.below(900)),
            // Adults all, since the tables hold no paediatrics.
            born: UnixMillis::midnight(1935, 1, 1).plus(draw.below(62 * 365) * DAY),
            town: *draw.pick(TOWNS),
            street: 1 + draw.below(999),
        }
    }

    /// The condition the patient lives with.
    pub(super) fn chronic(&self) -> &'static ChronicCondition {
        &CHRONIC[self.ailment]
    }

    /// A value of `measure` for this patient, as it happens to be today.
    pub(super) fn measure(&self, measure: &ClinicalMeasure, draw: &mut RandomStream) -> ScaledNumber {
        let today = self.build + draw.below(11);
        let value = measure.low + (measure.high - measure.low) * today / 100;
        ScaledNumber { value, decimals: measure.decimals }
    }

    /// The elements of the Patient resource after `meta`.
    pub(super) fn write(&self, json: &mut JsonWriter, practice: &MedicalPractice, doctor: RecordId) {
        json.only("identifier", |json| {
            json.text("use", "usual");
            json.concept("type", hl7!("v2-0203", "MR", "Medical record number"));
            json.text("system", "http://example.org/synthetic/medical-record-number");
            json.text("value", ("SYN-", self.id));
        });
        json.set("active");
        json.only("name", |json| {
            json.text("use", "official");
            name(json, self.given, self.family);
        });
        json.only("telecom", |json| {
            json.text("system", "phone");
            json.text("value", ("555-01", 10 + self.street % 90));
            json.text("use", "home");
        });
        json.text("gender", if self.female { "female" } else { "male" });
        json.text("birthDate", self.born.day());
        json.only("address", |json| address(json, self.street, self.town));
        json.only("communication", |json| {
            json.concept("language", code("urn:ietf:bcp:47", "en-US", "English (United States)"));
        });
        json.array("generalPractitioner", |json| json.link_item(RecordKind::Practitioner, doctor));
        json.link("managingOrganization", RecordKind::Organization, practice.organization);
    }
}

/// The parts of a HumanName.
pub(super) fn name(json: &mut JsonWriter, given: (&str, u64), family: (&str, u64)) {
    json.text("family", family);
    json.array("given", |json| json.word(given));
}

/// The parts of an Address in a state and a postal code that do not exist.
pub(super) fn address(json: &mut JsonWriter, street: u64, town: &str) {
    json.array("line", |json| json.word((street, " Specimen Street")));
    json.text("city", town);
    json.text("state", "ZZ");
    json.text("postalCode", "00000");
    json.text("country", "US");
}
