//! The three practices the patients go to, each with one location and four practitioners. They are
//! drawn from a stream of their own and are the same for any number of patients.

use super::draw::{RandomStream, RecordId};
use super::kind::RecordKind;
use super::moment::{DAY, UnixMillis};
use super::person::{FAMILY, FEMALE, MALE, TOWNS, address, name};
use super::sheets::SourceSheets;
use super::vocabulary::{FAMILY_DOCTOR, hl7};

/// The names of the practices.
const NAMES: [&str; 3] = ["Fictional Family Practice", "Mockton Health Center", "Specimen Street Surgery"];

/// How many practitioners a practice has.
const STAFF: usize = 4;

/// The practices, in the order of their numbers.
pub(super) struct PracticeList(Vec<MedicalPractice>);

/// One practice: what the patients' records refer to.
pub(super) struct MedicalPractice {
    pub(super) name: &'static str,
    pub(super) organization: RecordId,
    pub(super) location: RecordId,
    pub(super) staff: [RecordId; STAFF],
}

impl PracticeList {
    /// How many there are.
    pub(super) const COUNT: usize = NAMES.len();

    /// Draws the practices and writes their resources.
    pub(super) fn write(draw: &mut RandomStream, sheets: &mut SourceSheets) -> Self {
        let write_one = |name| {
            let practice = MedicalPractice {
                name,
                organization: draw.id(),
                location: draw.id(),
                staff: std::array::from_fn(|_| draw.id()),
            };
            practice.write(draw, sheets);
            practice
        };
        Self(NAMES.into_iter().map(write_one).collect())
    }

    /// The practice numbered `number`, below [`PracticeList::COUNT`].
    pub(super) fn get(&self, number: usize) -> &MedicalPractice {
        &self.0[number]
    }
}

impl MedicalPractice {
    fn write(&self, draw: &mut RandomStream, sheets: &mut SourceSheets) {
        let town = *draw.pick(TOWNS);
        let street = 1 + draw.below(99);
        sheets.resource(RecordKind::Organization, self.organization, updated(draw), |json| {
            json.set("active");
            json.concepts("type", hl7!("organization-type", "prov", "Healthcare Provider"));
            json.text("name", self.name);
            json.only("telecom", |json| {
                json.text("system", "phone");
                json.text("value", ("555-01", 10 + street % 90));
                json.text("use", "work");
            });
            json.only("address", |json| address(json, street, town));
        });
        sheets.resource(RecordKind::Location, self.location, updated(draw), |json| {
            json.text("status", "active");
            json.text("name", (self.name, ", main building"));
            json.text("mode", "instance");
            json.concepts("type", hl7!("v3-RoleCode", "FMC", "Family medicine clinic"));
            json.object("address", |json| address(json, street, town));
            json.link("managingOrganization", RecordKind::Organization, self.organization);
        });
        for id in self.staff {
            self.write_practitioner(id, draw, sheets);
        }
    }

    fn write_practitioner(&self, id: RecordId, draw: &mut RandomStream, sheets: &mut SourceSheets) {
        let female = draw.chance(50);
        let names = if female { FEMALE } else { MALE };
        let given = (*draw.pick(names), 100 + draw.below(900));
        let family = (*draw.pick(FAMILY), 100 + draw.below(900));
        let number = 100_000 + draw.below(900_000);
        sheets.resource(RecordKind::Practitioner, id, updated(draw), |json| {
            json.only("identifier", |json| {
                json.text("system", "http://example.org/synthetic/staff-number");
                json.text("value", ("S", number));
            });
            json.set("active");
            json.only("name", |json| {
                name(json, given, family);
                json.array("prefix", |json| json.word("Dr."));
            });
            json.text("gender", if female { "female" } else { "male" });
            json.only("qualification", |json| {
                json.concept("code", FAMILY_DOCTOR);
                json.link("issuer", RecordKind::Organization, self.organization);
            });
        });
    }
}

/// When a resource of the practice was last changed: any time from 2015 to the middle of December 2025.
fn updated(draw: &mut RandomStream) -> UnixMillis {
    UnixMillis::midnight(2015, 1, 1).plus(draw.below(4_000 * DAY))
}
