//! One patient's record from the first visit to the last: which visits there were, and what was done
//! at each of them. The resources themselves are written by [`super::visit`] (what a visit leaves
//! behind) and [`super::care`] (what stays with the patient between visits).

use super::GenerateOptions;
use super::draw::{RandomStream, RecordId, StreamOwner, StreamPurpose};
use super::kind::RecordKind;
use super::moment::{DAY, HOUR, MINUTE, UnixMillis};
use super::person::SyntheticPatient;
use super::practice::{MedicalPractice, PracticeList};
use super::sheets::SourceSheets;
use super::vocabulary::ACUTE;

/// How many days the visits of the set spread over, from 2015-01-05 to 2025-11-08. The rest of 2025
/// is for what comes up to a month after a visit: the end of an illness, the last change of a record.
const DAYS: u64 = 3_960;

/// One visit to the practice.
#[derive(Clone, Copy)]
pub(super) struct PatientVisit {
    /// The id of the Encounter.
    pub(super) id: RecordId,
    pub(super) start: UnixMillis,
    pub(super) end: UnixMillis,
    /// The practitioner who was seen.
    pub(super) doctor: RecordId,
}

/// A patient's record while it is being written.
pub(super) struct PatientChart<'a> {
    options: &'a GenerateOptions,
    owner: StreamOwner,
    pub(super) draw: RandomStream,
    pub(super) person: SyntheticPatient,
    pub(super) practice: &'a MedicalPractice,
    pub(super) sheets: &'a mut SourceSheets,
}

impl<'a> PatientChart<'a> {
    /// Opens the record of the patient with this number.
    pub(super) fn open(
        options: &'a GenerateOptions,
        number: u32,
        practices: &'a PracticeList,
        sheets: &'a mut SourceSheets,
    ) -> Self {
        let owner = StreamOwner::Patient(number);
        sheets.turn_to(owner);
        let mut draw = RandomStream::stream(options.seed, StreamPurpose::Record, owner);
        let person = SyntheticPatient::draw(&mut draw);
        let practice = practices.get(person.home);
        Self { options, owner, draw, person, practice, sheets }
    }

    /// Writes the whole record.
    pub(super) fn write(mut self) {
        let visits = self.draw_visits();
        let (first, last) = (visits[0], visits[visits.len() - 1]);
        let changed = *self.draw.pick(&visits);
        self.patient(changed);

        let chronic = self.person.chronic();
        let problem = self.condition(first, chronic.condition, None);
        self.care(first, last, problem);
        let [encounter, note] = self.noted(first);
        let patient = (RecordKind::Patient, self.person.id);
        let admitted = [patient, (RecordKind::Condition, problem), encounter, note];
        self.provenance(first, &admitted);

        let mut reviewed = Vec::new();
        for (number, &visit) in visits.iter().enumerate() {
            self.encounter(visit);
            self.vital_signs(visit);
            if number % 2 == 1 {
                reviewed.push((RecordKind::DiagnosticReport, self.laboratory(visit)));
            } else {
                self.procedure(visit);
            }
            if number % 4 == 0 {
                self.medication(visit, chronic.medication, problem);
            }
            if self.draw.chance(82) {
                self.immunization(visit);
            }
            if self.draw.chance(45) {
                self.acute_illness(visit);
            }
        }
        reviewed.extend(self.noted(last));
        self.provenance(last, &reviewed);
        self.more_observations(&visits);
    }

    /// The Observations besides those above, each at one of the visits.
    fn more_observations(mut self, visits: &[PatientVisit]) {
        self.draw = RandomStream::stream(self.options.seed, StreamPurpose::Observations, self.owner);
        for _ in 0..self.options.observations {
            let visit = *self.draw.pick(visits);
            self.single_observation(visit);
        }
    }

    /// A visit and the note on it, as the targets of a Provenance.
    fn noted(&mut self, visit: PatientVisit) -> [(RecordKind, RecordId); 2] {
        let note = self.note(visit);
        [(RecordKind::Encounter, visit.id), (RecordKind::DocumentReference, note)]
    }

    /// When the record of something that was over at `done` was last changed: within two days of it.
    pub(super) fn recorded(&mut self, done: UnixMillis) -> UnixMillis {
        done.plus(self.draw.below(48 * HOUR))
    }

    fn patient(&mut self, visit: PatientVisit) {
        let updated = self.recorded(visit.end);
        let Self { person, practice, .. } = self;
        self.sheets.resource(RecordKind::Patient, person.id, updated, |json| {
            person.write(json, practice, visit.doctor)
        });
    }

    /// Something that passes, and for which something is given two times in five.
    fn acute_illness(&mut self, visit: PatientVisit) {
        let acute = self.draw.pick(ACUTE);
        let over = visit.end.plus((5 + self.draw.below(20)) * DAY);
        let condition = self.condition(visit, acute.condition, Some(over));
        if self.draw.chance(40) {
            self.medication(visit, acute.medication, condition);
        }
    }

    /// Five to seven visits, one after the other, from the day the patient joined the practice.
    ///
    /// The time there was is cut into as many slots as there are visits; each visit falls in its own
    /// and ends the day it began, so that no two overlap.
    fn draw_visits(&mut self) -> Vec<PatientVisit> {
        let joined = self.draw.below(2_500);
        let count = 5 + self.draw.below(3);
        let slot = (DAYS - joined) / count;
        let visit = |number| {
            let day = joined + number * slot + self.draw.below(slot);
            let opening = UnixMillis::midnight(2015, 1, 5).plus(day * DAY + 8 * HOUR);
            let start = opening.plus(self.draw.below(9 * 60) * MINUTE);
            PatientVisit {
                id: self.draw.id(),
                start,
                end: start.plus((10 + self.draw.below(40)) * MINUTE),
                doctor: *self.draw.pick(&self.practice.staff),
            }
        };
        (0..count).map(visit).collect()
    }
}
