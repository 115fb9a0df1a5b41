//! The first line of a block, which names its patient. The index has no ids: they are read from a
//! line of the source, the Patient resource itself or, if there is none, one that refers to it.

use serde::Deserialize;

use crate::cancel::{CancelToken, TokenFired};
use crate::fhir::ResourceType;
use crate::fhir::reference::BaseUrls;
use crate::index::{ResourceKey, each_reference, key};

const BEFORE: &str =
    r#"{"resourceType":"Parameters","parameter":[{"name":"header","valueReference":{"reference":"#;
const BEHIND: &str = "}}]}";

/// What of the reference is not the id: `"Patient/"`.
const AROUND_ID: usize = 10;

/// Returns the bytes of a header with its line feed, at the most, if the patient's id stands in a line
/// of `name_bytes` bytes. There it is written in as many bytes as in the header, or in more.
pub fn bytes(name_bytes: u64) -> u64 {
    (BEFORE.len() + AROUND_ID + BEHIND.len() + 1) as u64 + name_bytes
}

/// Returns the header of the patient whose own resource this is, or `None` if it has no id.
///
/// # Errors
/// If the token has fired.
pub fn of_patient(line: &[u8], cancel: &CancelToken) -> Result<Option<Vec<u8>>, TokenFired> {
    #[derive(Deserialize)]
    struct PatientName {
        id: String,
    }
    Ok(cancel.parse::<PatientName>(line)?.ok().map(|named| header(&named.id)))
}

/// Returns the header of the patient that the index knows by `patient`, of a line that refers to it, or
/// `None` if this one does not.
pub fn referred_to(
    patient: ResourceKey,
    line: &[u8],
    bases: &BaseUrls,
    cancel: &CancelToken,
) -> Result<Option<Vec<u8>>, TokenFired> {
    let mut found = None;
    each_reference(line, bases, cancel, |literal| {
        if literal.resource_type == ResourceType::PATIENT && key(literal.key) == patient {
            found = Some(header(literal.id));
        }
    })?;
    Ok(found)
}

fn header(id: &str) -> Vec<u8> {
    let reference = serde_json::Value::from(format!("Patient/{id}"));
    format!("{BEFORE}{reference}{BEHIND}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(header: Result<Option<Vec<u8>>, TokenFired>) -> Option<String> {
        header.unwrap().map(|header| String::from_utf8(header).unwrap())
    }

    #[test]
    fn o_3_a_header_is_what_the_standard_says_letter_for_letter() {
        let expected = r#"{"resourceType":"Parameters","parameter":[{"name":"header","valueReference":{"reference":"Patient/p-1"}}]}"#;
        for line in [r#"{"resourceType":"Patient","id":"p-1"}"#, r#"{"n":1e999,"i\u0064":"p\u002d1"}"#] {
            assert_eq!(
                text(of_patient(line.as_bytes(), &CancelToken::new())).as_deref(),
                Some(expected),
                "{line}"
            );
        }
        let cancel = CancelToken::new();
        let patient = key("Patient/p-1");
        let bases = BaseUrls::new(["https://h"]);
        let refers = |line: &str| text(referred_to(patient, line.as_bytes(), &bases, &cancel));
        for line in [
            r#"{"a":[{"reference":"Patient/p-2"},{"reference":"Patient/p-1"}]}"#,
            r#"{"a":{"reference":"Patient\/p-1\/_history\/3"}}"#,
            r#"{"a":{"refer\u0065nce":"https://h/Patient/p-1"}}"#,
        ] {
            assert_eq!(refers(line).as_deref(), Some(expected), "{line}");
        }
        assert_eq!(refers(r#"{"id":"p-1","a":{"reference":"Group/p-1"}}"#), None);
        assert_eq!(text(of_patient(br#"{"resourceType":"Patient"}"#, &CancelToken::new())), None);
    }

    #[test]
    fn a_header_has_at_most_as_many_bytes_as_was_said_whatever_the_id() {
        for id in ["", "p-1", "\u{e9}", r#"\"\\\/"#, r"\u0001\n\u00e9\u007f", "\u{7f}"] {
            let line = format!(r#"{{"id":"{id}"}}"#);
            let header = of_patient(line.as_bytes(), &CancelToken::new()).unwrap().unwrap();
            assert!(header.len() < bytes(id.len() as u64) as usize, "{id}");
        }
        assert_eq!(
            of_patient(br#"{"id":""}"#, &CancelToken::new()).unwrap().unwrap().len() as u64 + 1,
            bytes(0)
        );
    }
}
