//! The Group resources: all patients, the patients of each practice, those with each chronic condition,
//! and as many cohorts as are asked for. Members are found by drawing every patient's first facts
//! again, or for a cohort one number a patient, and a group's line goes to its file in pieces, so that
//! neither patients nor lines need fit in memory.

use super::draw::{RandomStream, RecordId, StreamOwner, StreamPurpose};
use super::json::JsonText;
use super::kind::RecordKind;
use super::moment::UnixMillis;
use super::person::SyntheticPatient;
use super::practice::PracticeList;
use super::sheets::SourceSheets;
use super::vocabulary::CHRONIC;
use super::{GenerateError, GenerateOptions};

/// How many percent of the patients are in a cohort.
const COHORT_PERCENT: u64 = 10;

/// Writes all groups; a group with no members is left out, since FHIR has no empty arrays.
///
/// # Errors
/// [`GenerateError::Write`] if the file does not take the bytes.
pub(super) fn write_all(
    options: &GenerateOptions,
    practices: &PracticeList,
    sheets: &mut SourceSheets,
) -> Result<(), GenerateError> {
    let mut groups = GroupRecord { options, sheets, number: 0 };
    groups.write_those("All_Patients", "All patients", |_| true)?;
    for number in 0..PracticeList::COUNT {
        let name = ("Patients of ", practices.get(number).name);
        let id = ("practice-", number as u64 + 1);
        groups.write_those(id, name, |person| person.home == number)?;
    }
    for (index, chronic) in CHRONIC.iter().enumerate() {
        let name = ("Patients with ", chronic.condition.display);
        let id = ("condition-", chronic.condition.code);
        groups.write_those(id, name, |person| person.ailment == index)?;
    }
    (1..=options.groups).try_for_each(|number| groups.write_cohort(number))
}

/// The groups on their way to their sheet.
struct GroupRecord<'a> {
    options: &'a GenerateOptions,
    sheets: &'a mut SourceSheets,
    /// Of the next group. One that is left out has its number all the same.
    number: u32,
}

impl GroupRecord<'_> {
    /// Writes the group of those who by their first facts belong to it.
    fn write_those(
        &mut self,
        id: impl JsonText,
        name: impl JsonText,
        belongs: impl Fn(&SyntheticPatient) -> bool,
    ) -> Result<(), GenerateError> {
        let options = self.options;
        let those = (0..options.patients)
            .map(|patient| SyntheticPatient::numbered(options.seed, patient))
            .filter(belongs);
        self.write(id, name, those.map(|person| person.id))
    }

    /// Writes the cohort with this number.
    fn write_cohort(&mut self, number: u16) -> Result<(), GenerateError> {
        let options = self.options;
        let drawn = |patient: &u32| {
            let owner = StreamOwner::Patient(*patient);
            RandomStream::stream(options.seed, StreamPurpose::Cohort(number), owner).chance(COHORT_PERCENT)
        };
        let members = (0..options.patients)
            .filter(drawn)
            .map(|patient| SyntheticPatient::numbered(options.seed, patient).id);
        let number = u64::from(number);
        self.write(("cohort-", number), ("Cohort ", number), members)
    }

    fn write(
        &mut self,
        id: impl JsonText,
        name: impl JsonText,
        members: impl Iterator<Item = RecordId>,
    ) -> Result<(), GenerateError> {
        let mut members = members.peekable();
        let number = self.number;
        self.number += 1;
        if members.peek().is_none() {
            return Ok(());
        }
        self.sheets.turn_to(StreamOwner::Group(number));
        let json = self.sheets.begin(RecordKind::Group, id, UnixMillis::midnight(2025, 12, 30));
        json.set("active");
        json.text("type", "person");
        json.set("actual");
        json.text("name", name);
        json.open_array("member");
        let sheet = self.sheets.sheet(RecordKind::Group);
        let mut quantity: u64 = 0;
        for member in members {
            sheet.json.item(|json| json.link("entity", RecordKind::Patient, member));
            sheet.spill_when_full()?;
            quantity += 1;
        }
        sheet.json.close_array();
        // After the members, because only now are they counted.
        sheet.json.number("quantity", quantity);
        self.sheets.end(RecordKind::Group);
        Ok(())
    }
}
