//! The error for a name that no resource type has. It says which type has the nearest name.

use super::{ResourceType, quoted};

/// A name that is not one of a resource type. The text has the type with the nearest name, if one is near.
///
/// ```
/// use evanesce::ResourceType;
///
/// let error = "observation".parse::<ResourceType>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "'observation' is not a resource type of FHIR R4; did you mean Observation? Names are case-sensitive"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a resource type of FHIR R4{}", quoted(.name), suggestion(*.nearest))]
pub struct UnknownType {
    /// The beginning of the name.
    name: String,
    nearest: Option<ResourceType>,
}

/// The characters of an unknown name that are kept, and compared with others (P13).
const COMPARED: usize = 80;

/// How alike names must be, from 0 to 1: `Patients` and `Observaton` are, `Person` and `Parson` too.
const ALIKE: f64 = 0.7;

impl UnknownType {
    pub(super) fn new(name: &str) -> Self {
        let name: String = name.chars().take(COMPARED).collect();
        let lower = name.to_lowercase();
        let likeness = |it: ResourceType| strsim::normalized_levenshtein(&it.as_str().to_lowercase(), &lower);
        let nearest =
            ResourceType::all().map(|it| (it, likeness(it))).max_by(|(_, a), (_, b)| a.total_cmp(b));
        Self { name, nearest: nearest.filter(|(_, likeness)| *likeness >= ALIKE).map(|(it, _)| it) }
    }

    /// Returns the type with the nearest name, if one is near.
    pub fn nearest(&self) -> Option<ResourceType> {
        self.nearest
    }
}

fn suggestion(nearest: Option<ResourceType>) -> String {
    nearest.map_or_else(String::new, |it| format!("; did you mean {it}? Names are case-sensitive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_told_with_the_nearest_one() {
        let nearest =
            |name: &str| name.parse::<ResourceType>().unwrap_err().nearest().map(ResourceType::as_str);
        for (name, expected) in [
            ("patient", "Patient"),
            ("Patients", "Patient"),
            ("Observaton", "Observation"),
            ("MEDICATIONREQUEST", "MedicationRequest"),
            ("AllergyIntolerence", "AllergyIntolerance"),
        ] {
            assert_eq!(nearest(name), Some(expected), "{name}");
        }
        for name in ["", "x", "Invoices of March", "DomainResource"] {
            assert_eq!(nearest(name), None, "{name}");
        }
        let read = serde_json::from_str::<ResourceType>(r#""Patiens""#).unwrap_err().to_string();
        assert!(
            read.starts_with("'Patiens' is not a resource type of FHIR R4; did you mean Patient?"),
            "{read}"
        );
    }

    #[test]
    fn p13_an_error_keeps_the_beginning_of_a_name_on_one_line() {
        let error = format!("a\n{}", "\u{1F600}".repeat(1 << 20)).parse::<ResourceType>().unwrap_err();
        assert_eq!(error.name.chars().count(), COMPARED);
        let text = error.to_string();
        assert!(text.len() < 400 && text.lines().count() == 1, "{text}");
    }
}
