//! What stays with the patient between visits: conditions and what is prescribed for them, allergies,
//! the care plan with its team and goal, a device at home, and the Provenance of it all.

use super::chart::{PatientChart, PatientVisit};
use super::draw::RecordId;
use super::kind::RecordKind;
use super::moment::{DAY, UnixMillis};
use super::vocabulary::{ALLERGIES, ConceptCode, DEVICES, FAMILY_DOCTOR, hl7, snomed};

impl PatientChart<'_> {
    /// A Condition found at `visit`; `over` is when it ended, if it did.
    pub(super) fn condition(
        &mut self,
        visit: PatientVisit,
        found: ConceptCode,
        over: Option<UnixMillis>,
    ) -> RecordId {
        let id = self.draw.id();
        let updated = self.recorded(over.unwrap_or(visit.end));
        let person = &self.person;
        let status = match over {
            None => hl7!("condition-clinical", "active", "Active"),
            Some(_) => hl7!("condition-clinical", "resolved", "Resolved"),
        };
        self.sheets.resource(RecordKind::Condition, id, updated, |json| {
            json.concept("clinicalStatus", status);
            json.concept("verificationStatus", hl7!("condition-ver-status", "confirmed", "Confirmed"));
            json.concepts(
                "category",
                hl7!("condition-category", "encounter-diagnosis", "Encounter Diagnosis"),
            );
            json.concept("code", found);
            json.link("subject", RecordKind::Patient, person.id);
            json.link("encounter", RecordKind::Encounter, visit.id);
            json.text("onsetDateTime", visit.start);
            if let Some(over) = over {
                json.text("abatementDateTime", over);
            }
            json.text("recordedDate", visit.end);
            json.link("recorder", RecordKind::Practitioner, visit.doctor);
        });
        id
    }

    /// A MedicationRequest made at `visit` because of a Condition.
    pub(super) fn medication(&mut self, visit: PatientVisit, medication: ConceptCode, reason: RecordId) {
        let id = self.draw.id();
        let updated = self.recorded(visit.end);
        let person = &self.person;
        self.sheets.resource(RecordKind::MedicationRequest, id, updated, |json| {
            json.text("status", "completed");
            json.text("intent", "order");
            json.concept("medicationCodeableConcept", medication);
            json.link("subject", RecordKind::Patient, person.id);
            json.link("encounter", RecordKind::Encounter, visit.id);
            json.text("authoredOn", visit.end);
            json.link("requester", RecordKind::Practitioner, visit.doctor);
            json.array("reasonReference", |json| json.link_item(RecordKind::Condition, reason));
            json.only("dosageInstruction", |json| {
                json.number("sequence", 1);
                json.text("text", "As it says on the package. Synthetic: not for use.");
                json.object("timing", |json| {
                    json.object("repeat", |json| {
                        json.number("frequency", 1);
                        json.number("period", 1);
                        json.text("periodUnit", "d");
                    });
                });
            });
        });
    }

    /// What is set up around the patient's chronic condition: team, goal and plan; some allergies and
    /// perhaps a device.
    pub(super) fn care(&mut self, first: PatientVisit, last: PatientVisit, problem: RecordId) {
        let team = self.team(first, problem);
        let goal = self.goal(first, problem);
        self.plan(last, problem, team, goal, first.end);
        let allergies = self.draw.below(3);
        // Neighbours in the table from a drawn start, so that nobody has the same allergy twice.
        let start = self.draw.index(ALLERGIES.len());
        for allergy in 0..allergies as usize {
            self.allergy(first, (start + allergy) % ALLERGIES.len());
        }
        if self.draw.chance(50) {
            self.device(last);
        }
    }

    fn team(&mut self, visit: PatientVisit, problem: RecordId) -> RecordId {
        let id = self.draw.id();
        let updated = self.recorded(visit.end);
        let Self { person, practice, .. } = self;
        self.sheets.resource(RecordKind::CareTeam, id, updated, |json| {
            json.text("status", "active");
            json.text("name", ("Care team at ", practice.name));
            json.link("subject", RecordKind::Patient, person.id);
            json.object("period", |json| json.text("start", visit.end));
            json.array("participant", |json| {
                json.item(|json| {
                    json.concepts("role", snomed("116154003", "Patient (person)"));
                    json.link("member", RecordKind::Patient, person.id);
                });
                json.item(|json| {
                    json.concepts("role", FAMILY_DOCTOR);
                    json.link("member", RecordKind::Practitioner, visit.doctor);
                });
            });
            json.array("reasonReference", |json| json.link_item(RecordKind::Condition, problem));
            json.array("managingOrganization", |json| {
                json.link_item(RecordKind::Organization, practice.organization)
            });
        });
        id
    }

    fn goal(&mut self, visit: PatientVisit, problem: RecordId) -> RecordId {
        let id = self.draw.id();
        let updated = self.recorded(visit.end);
        let person = &self.person;
        self.sheets.resource(RecordKind::Goal, id, updated, |json| {
            json.text("lifecycleStatus", "active");
            json.concept("achievementStatus", hl7!("goal-achievement", "in-progress", "In Progress"));
            json.object("description", |json| json.text("text", person.chronic().goal));
            json.link("subject", RecordKind::Patient, person.id);
            json.text("startDate", visit.end.day());
            json.only("target", |json| json.text("dueDate", visit.end.plus(365 * DAY).day()));
            json.array("addresses", |json| json.link_item(RecordKind::Condition, problem));
        });
        id
    }

    fn plan(
        &mut self,
        visit: PatientVisit,
        problem: RecordId,
        team: RecordId,
        goal: RecordId,
        since: UnixMillis,
    ) {
        let id = self.draw.id();
        let updated = self.recorded(visit.end);
        let Self { person, practice, .. } = self;
        self.sheets.resource(RecordKind::CarePlan, id, updated, |json| {
            json.text("status", "active");
            json.text("intent", "plan");
            json.concepts("category", person.chronic().plan);
            json.link("subject", RecordKind::Patient, person.id);
            json.object("period", |json| json.text("start", since));
            json.array("careTeam", |json| json.link_item(RecordKind::CareTeam, team));
            json.array("addresses", |json| json.link_item(RecordKind::Condition, problem));
            json.array("goal", |json| json.link_item(RecordKind::Goal, goal));
            json.only("activity", |json| {
                json.object("detail", |json| {
                    json.concept("code", person.chronic().activity);
                    json.text("status", "in-progress");
                    json.link("location", RecordKind::Location, practice.location);
                });
            });
        });
    }

    fn allergy(&mut self, visit: PatientVisit, index: usize) {
        let id = self.draw.id();
        let updated = self.recorded(visit.end);
        let person = &self.person;
        let allergy = &ALLERGIES[index];
        self.sheets.resource(RecordKind::AllergyIntolerance, id, updated, |json| {
            json.concept("clinicalStatus", hl7!("allergyintolerance-clinical", "active", "Active"));
            json.concept(
                "verificationStatus",
                hl7!("allergyintolerance-verification", "confirmed", "Confirmed"),
            );
            json.text("type", "allergy");
            json.array("category", |json| json.word(allergy.category));
            json.text("criticality", "low");
            json.concept("code", allergy.code);
            json.link("patient", RecordKind::Patient, person.id);
            json.text("recordedDate", visit.end);
            json.link("recorder", RecordKind::Practitioner, visit.doctor);
        });
    }

    fn device(&mut self, visit: PatientVisit) {
        let id = self.draw.id();
        let kind = *self.draw.pick(DEVICES);
        let serial = 100_000 + self.draw.below(900_000);
        let updated = self.recorded(visit.end);
        let person = &self.person;
        self.sheets.resource(RecordKind::Device, id, updated, |json| {
            json.text("status", "active");
            json.text("manufacturer", "Mock Devices (synthetic)");
            json.text("serialNumber", ("SYN-", serial));
            json.only("deviceName", |json| {
                json.text("name", kind.display);
                json.text("type", "user-friendly-name");
            });
            json.concept("type", kind);
            json.link("patient", RecordKind::Patient, person.id);
        });
    }

    /// A Provenance that says the practitioner seen at `visit` is the author of `targets`.
    pub(super) fn provenance(&mut self, visit: PatientVisit, targets: &[(RecordKind, RecordId)]) {
        let id = self.draw.id();
        let updated = self.recorded(visit.end);
        let practice = self.practice;
        self.sheets.resource(RecordKind::Provenance, id, updated, |json| {
            json.array("target", |json| {
                for &(kind, id) in targets {
                    json.link_item(kind, id);
                }
            });
            json.text("recorded", updated);
            json.concept("activity", hl7!("v3-DataOperation", "UPDATE", "revise"));
            json.only("agent", |json| {
                json.concept("type", hl7!("provenance-participant-type", "author", "Author"));
                json.link("who", RecordKind::Practitioner, visit.doctor);
                json.link("onBehalfOf", RecordKind::Organization, practice.organization);
            });
        });
    }
}
