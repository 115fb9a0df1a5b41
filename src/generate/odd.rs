//! The odd resources of a mess: valid FHIR that a careless reader gets wrong. They are about the
//! second patient and each tenth after it, and stand in the file for all types.

use super::GenerateOptions;
use super::draw::{RandomStream, RecordId, StreamOwner, StreamPurpose};
use super::json::{JsonWriter, RawJson};
use super::kind::RecordKind;
use super::moment::{DAY, UnixMillis};
use super::person::SyntheticPatient;
use super::sheets::SourceSheets;
use super::variation::FillerText;
use super::vocabulary::BODY_WEIGHT;

/// The length of the text that makes a giant line, in bytes.
pub(super) const GIANT: usize = 2 << 20;

/// How deep extensions are nested.
const DEPTH: usize = 200;

/// A long way of writing the beginning of a reference to a patient.
const ESCAPED: RawJson<'_> = RawJson(r"\u0050atient\u002f");

/// The odd resources about one patient.
struct OddResources<'a> {
    draw: RandomStream,
    patient: RecordId,
    /// Another patient, who is written about but whose resources these are not.
    other: RecordId,
    sheets: &'a mut SourceSheets,
}

/// Writes the odd resources about the patient with this number, if there are any.
pub(super) fn write(options: &GenerateOptions, patient: u32, sheets: &mut SourceSheets) {
    if patient % 10 != 1 {
        return;
    }
    let id = |number| SyntheticPatient::numbered(options.seed, number).id;
    let draw = RandomStream::stream(options.seed, StreamPurpose::Odd, StreamOwner::Patient(patient));
    let mut odd = OddResources { draw, patient: id(patient), other: id(patient - 1), sheets };
    odd.write();
    if patient == 1 {
        odd.giant();
    }
}

impl OddResources<'_> {
    fn write(&mut self) {
        let (patient, other) = (self.patient, self.other);
        self.duplicate();
        self.observation(|json| {
            json.object("subject", |json| json.text("reference", (ESCAPED, patient)));
        });
        self.observation(|json| {
            json.object("subject", |json| json.text("reference", (RawJson(r"Patient\/"), patient)));
        });
        self.observation(|json| {
            let open = RawJson(r#"\ud83d\ude00 é \\\"subject\":{\"reference\":\"Patient/"#);
            json.only("note", |json| json.text("text", (open, other, RawJson(r#"\"},"#))));
            json.link("subject", RecordKind::Patient, patient);
        });
        self.observation(|json| {
            json.only("contained", |json| {
                json.text("resourceType", "RelatedPerson");
                json.text("id", "kin");
                json.link("patient", RecordKind::Patient, other);
            });
            json.link("subject", RecordKind::Patient, patient);
            json.array("performer", |json| json.item(|json| json.text("reference", "#kin")));
        });
        self.observation(|json| {
            nested(json, DEPTH);
            json.link("subject", RecordKind::Patient, patient);
        });
        self.type_last();
    }

    /// The patient once more, with less to say and after the first one in the order of file names.
    fn duplicate(&mut self) {
        let updated = self.updated();
        self.sheets.odd(RecordKind::Patient, self.patient, updated, |json| {
            json.text("gender", "unknown");
            json.only("name", |json| json.text("text", "Duplicate of a Synthetic Patient"));
        });
    }

    /// An Observation; `body` adds what is odd about it, and the subject.
    fn observation(&mut self, body: impl FnOnce(&mut JsonWriter)) {
        let updated = self.updated();
        let id = self.draw.id();
        self.sheets.odd(RecordKind::Observation, id, updated, |json| {
            json.text("status", "final");
            json.concept("code", BODY_WEIGHT.code);
            body(json);
        });
    }

    /// A resource with white space between its parts, no `meta`, and its type behind all the rest.
    fn type_last(&mut self) {
        let head = (RawJson(r#"{ "id" : ""#), self.draw.id(), RawJson(r#"" , "status" : "final" ,"#));
        let code = RawJson("\t\"code\" : { \"text\" : \"Body weight\" } ,");
        let subject = (RawJson(r#" "subject" : { "reference" : "Patient/"#), self.patient, RawJson("\" } ,"));
        let tail = RawJson(r#" "resourceType" : "Observation" }"#);
        self.sheets.mixed().line(((head, code), subject, tail));
    }

    /// A line of more than [`GIANT`] bytes, which says at its very end whose it is.
    fn giant(&mut self) {
        let (patient, prose) = (self.patient, FillerText { draw: self.draw.fork(), length: GIANT });
        self.observation(|json| {
            json.only("note", |json| json.text("text", prose));
            json.link("subject", RecordKind::Patient, patient);
        });
    }

    fn updated(&mut self) -> UnixMillis {
        UnixMillis::midnight(2025, 6, 1).plus(self.draw.below(180 * DAY))
    }
}

/// An extension in an extension and so on, `depth` of them.
fn nested(json: &mut JsonWriter, depth: usize) {
    json.only("extension", |json| {
        json.text("url", "http://example.org/synthetic/nested");
        match depth {
            1 => json.set("valueBoolean"),
            _ => nested(json, depth - 1),
        }
    });
}
