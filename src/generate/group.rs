//! The Group resources: all patients, the patients of each practice, and those with each chronic
//! condition. Members are found by drawing every patient's first facts again, and a group's line goes
//! to its file in pieces, so that neither patients nor lines need fit in memory.

use super::draw::Draw;
use super::json::Show;
use super::kind::Kind;
use super::moment::Moment;
use super::person::Person;
use super::practice::Practices;
use super::sheets::Sheets;
use super::vocabulary::CHRONIC;
use super::{GenerateError, Options};

/// Writes all groups; a group with no members is left out, since FHIR has no empty arrays.
///
/// # Errors
/// [`GenerateError::Write`] if the file does not take the bytes.
pub(super) fn write_all(
    options: &Options,
    practices: &Practices,
    sheets: &mut Sheets,
) -> Result<(), GenerateError> {
    write(options, sheets, "All_Patients", "All patients", |_| true)?;
    for number in 0..Practices::COUNT {
        let name = ("Patients of ", practices.get(number).name);
        let id = ("practice-", number as u64 + 1);
        write(options, sheets, id, name, |person| person.home == number)?;
    }
    for (index, chronic) in CHRONIC.iter().enumerate() {
        let name = ("Patients with ", chronic.condition.display);
        let id = ("condition-", chronic.condition.code);
        write(options, sheets, id, name, |person| person.ailment == index)?;
    }
    Ok(())
}

fn write(
    options: &Options,
    sheets: &mut Sheets,
    id: impl Show,
    name: impl Show,
    belongs: impl Fn(&Person) -> bool,
) -> Result<(), GenerateError> {
    let mut members = (0..options.patients)
        .map(|patient| Person::draw(&mut Draw::stream(options.seed, patient.into())))
        .filter(belongs)
        .peekable();
    if members.peek().is_none() {
        return Ok(());
    }
    let sheet = sheets.sheet(Kind::Group);
    let json = sheet.begin(id, Moment::midnight(2025, 12, 30));
    json.set("active");
    json.text("type", "person");
    json.set("actual");
    json.text("name", name);
    json.open_array("member");
    let mut quantity: u64 = 0;
    for person in members {
        sheet.json.item(|json| json.link("entity", Kind::Patient, person.id));
        sheet.spill_when_full()?;
        quantity += 1;
    }
    sheet.json.close_array();
    // After the members, because only now are they counted.
    sheet.json.number("quantity", quantity);
    sheet.end();
    Ok(())
}
