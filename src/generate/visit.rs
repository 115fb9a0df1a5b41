//! What a visit leaves behind: the Encounter itself, the Observations made at it, a laboratory
//! DiagnosticReport with its results, a note, a procedure, a vaccination.

use super::chart::{PatientChart, PatientVisit};
use super::draw::RecordId;
use super::json::{JsonText, JsonWriter};
use super::kind::RecordKind;
use super::vocabulary::{
    BLOOD_PRESSURE, BODY_WEIGHT, ClinicalMeasure, ConceptCode, PANELS, PRESSURES, PROCEDURES, REASONS,
    VACCINES, VITAL_SIGNS, hl7, loinc, snomed,
};

const VITAL: ConceptCode = hl7!("observation-category", "vital-signs", "Vital Signs");
const LABORATORY: ConceptCode = hl7!("observation-category", "laboratory", "Laboratory");
const LEFT_ARM: ConceptCode = snomed("368208006", "Left upper arm structure (body structure)");

impl PatientChart<'_> {
    /// The Encounter.
    pub(super) fn encounter(&mut self, visit: PatientVisit) {
        let reason = *self.draw.pick(REASONS);
        let updated = self.recorded(visit.end);
        let Self { person, practice, .. } = self;
        self.sheets.resource(RecordKind::Encounter, visit.id, updated, |json| {
            json.text("status", "finished");
            json.coding("class", hl7!("v3-ActCode", "AMB", "ambulatory"));
            json.concepts("type", reason);
            json.link("subject", RecordKind::Patient, person.id);
            json.only("participant", |json| json.link("individual", RecordKind::Practitioner, visit.doctor));
            json.object("period", |json| {
                json.text("start", visit.start);
                json.text("end", visit.end);
            });
            json.only("location", |json| json.link("location", RecordKind::Location, practice.location));
            json.link("serviceProvider", RecordKind::Organization, practice.organization);
        });
    }

    /// Blood pressure, weight and one vital sign more.
    pub(super) fn vital_signs(&mut self, visit: PatientVisit) {
        let pressures = PRESSURES.map(|measure| (self.person.measure(&measure, &mut self.draw), measure));
        self.observation(visit, VITAL, BLOOD_PRESSURE, |json| {
            json.array("component", |json| {
                for (value, measure) in &pressures {
                    json.item(|json| {
                        json.concept("code", measure.code);
                        json.quantity("valueQuantity", *value, measure.unit);
                    });
                }
            });
        });
        self.measured(visit, VITAL, &BODY_WEIGHT);
        let sign = self.draw.pick(VITAL_SIGNS);
        self.measured(visit, VITAL, sign);
    }

    /// A DiagnosticReport on a panel of laboratory tests, with an Observation for each.
    pub(super) fn laboratory(&mut self, visit: PatientVisit) -> RecordId {
        let panel = self.draw.pick(PANELS);
        let measured = |test| self.measured(visit, LABORATORY, test);
        let results: Vec<RecordId> = panel.tests.iter().map(measured).collect();
        let id = self.draw.id();
        let updated = self.recorded(visit.end);
        let Self { person, practice, .. } = self;
        self.sheets.resource(RecordKind::DiagnosticReport, id, updated, |json| {
            json.text("status", "final");
            json.concepts("category", hl7!("v2-0074", "LAB", "Laboratory"));
            json.concept("code", panel.code);
            json.link("subject", RecordKind::Patient, person.id);
            json.link("encounter", RecordKind::Encounter, visit.id);
            json.text("effectiveDateTime", visit.start);
            json.text("issued", updated);
            json.array("performer", |json| json.link_item(RecordKind::Organization, practice.organization));
            json.array("result", |json| {
                for result in &results {
                    json.link_item(RecordKind::Observation, *result);
                }
            });
            json.text("conclusion", "Synthetic results: no clinical conclusion.");
        });
        id
    }

    /// A vital sign or a laboratory result on its own, each as often as the other.
    pub(super) fn single_observation(&mut self, visit: PatientVisit) {
        if self.draw.chance(50) {
            let sign = self.draw.pick(VITAL_SIGNS);
            self.measured(visit, VITAL, sign);
        } else {
            let panel = self.draw.pick(PANELS);
            let test = self.draw.pick(panel.tests);
            self.measured(visit, LABORATORY, test);
        }
    }

    /// An Observation of one measure.
    fn measured(
        &mut self,
        visit: PatientVisit,
        category: ConceptCode,
        measure: &ClinicalMeasure,
    ) -> RecordId {
        let value = self.person.measure(measure, &mut self.draw);
        self.observation(visit, category, measure.code, |json| {
            json.quantity("valueQuantity", value, measure.unit);
        })
    }

    /// An Observation; `value` adds what was seen.
    fn observation(
        &mut self,
        visit: PatientVisit,
        category: ConceptCode,
        code: ConceptCode,
        value: impl FnOnce(&mut JsonWriter),
    ) -> RecordId {
        let id = self.draw.id();
        let updated = self.recorded(visit.end);
        let person = &self.person;
        self.sheets.resource(RecordKind::Observation, id, updated, |json| {
            json.text("status", "final");
            json.concepts("category", category);
            json.concept("code", code);
            json.link("subject", RecordKind::Patient, person.id);
            json.link("encounter", RecordKind::Encounter, visit.id);
            json.text("effectiveDateTime", visit.start);
            value(json);
        });
        id
    }

    /// A progress note as a DocumentReference with the text inline.
    pub(super) fn note(&mut self, visit: PatientVisit) -> RecordId {
        let id = self.draw.id();
        let updated = self.recorded(visit.end);
        let Self { person, practice, .. } = self;
        let mut note = Vec::with_capacity(512);
        // Line ends are the one thing the text has that would need escaping, and base64 takes them.
        let mut line = |text: &dyn JsonText| {
            text.show(&mut note);
            note.push(b'\n');
        };
        line(&"SYNTHETIC RECORD. This note is about nobody.");
        line(&("Visit on ", visit.start.day()));
        line(&("Seen at ", practice.name));
        line(&("Known for: ", person.chronic().condition.display));
        line(&("Takes: ", person.chronic().medication.display));
        line(&("Agreed goal: ", person.chronic().goal));
        line(&"Plan: carry on as before and come back in some months.");
        self.sheets.resource(RecordKind::DocumentReference, id, updated, |json| {
            json.text("status", "current");
            json.text("docStatus", "final");
            json.concept("type", loinc("11506-3", "Progress note"));
            json.link("subject", RecordKind::Patient, person.id);
            json.text("date", updated);
            json.array("author", |json| json.link_item(RecordKind::Practitioner, visit.doctor));
            json.link("custodian", RecordKind::Organization, practice.organization);
            json.only("content", |json| {
                json.object("attachment", |json| {
                    json.text("contentType", "text/plain");
                    json.base64("data", &note);
                    json.number("size", note.len() as u64);
                    json.text("title", "Progress note");
                    json.text("creation", visit.end);
                });
            });
            json.object("context", |json| {
                json.array("encounter", |json| json.link_item(RecordKind::Encounter, visit.id));
                json.object("period", |json| {
                    json.text("start", visit.start);
                    json.text("end", visit.end);
                });
            });
        });
        id
    }

    /// A Procedure done at the visit.
    pub(super) fn procedure(&mut self, visit: PatientVisit) {
        let id = self.draw.id();
        let done = *self.draw.pick(PROCEDURES);
        let updated = self.recorded(visit.end);
        let Self { person, practice, .. } = self;
        self.sheets.resource(RecordKind::Procedure, id, updated, |json| {
            json.text("status", "completed");
            json.concept("code", done);
            json.link("subject", RecordKind::Patient, person.id);
            json.link("encounter", RecordKind::Encounter, visit.id);
            json.object("performedPeriod", |json| {
                json.text("start", visit.start);
                json.text("end", visit.end);
            });
            json.only("performer", |json| json.link("actor", RecordKind::Practitioner, visit.doctor));
            json.link("location", RecordKind::Location, practice.location);
        });
    }

    /// A vaccine that was to be had in the year of the visit.
    pub(super) fn immunization(&mut self, visit: PatientVisit) {
        let id = self.draw.id();
        let on_offer = VACCINES.partition_point(|vaccine| vaccine.since <= visit.start.year());
        let vaccine = self.draw.pick(&VACCINES[..on_offer]);
        let lot = 10_000 + self.draw.below(90_000);
        let updated = self.recorded(visit.end);
        let Self { person, practice, .. } = self;
        self.sheets.resource(RecordKind::Immunization, id, updated, |json| {
            json.text("status", "completed");
            json.concept("vaccineCode", vaccine.code);
            json.link("patient", RecordKind::Patient, person.id);
            json.link("encounter", RecordKind::Encounter, visit.id);
            json.text("occurrenceDateTime", visit.start);
            json.set("primarySource");
            json.link("location", RecordKind::Location, practice.location);
            json.text("lotNumber", ("SYN", lot));
            json.concept("site", LEFT_ARM);
            json.only("performer", |json| json.link("actor", RecordKind::Practitioner, visit.doctor));
        });
    }
}
