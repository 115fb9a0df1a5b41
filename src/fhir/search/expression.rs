//! The subset of FHIRPath that R4's search parameters are written in: paths, `|`, `(X as T)`,
//! `.as(T)`, `.where(member='text')`, `.where(resolve() is T)` and `X.exists() and X != false`.

use super::place::{PathStep, ValuePath, ValueShape};
use crate::fhir::ResourceType;

/// The reason for an expression that cannot be evaluated.
pub const UNREADABLE: &str = "its definition uses what this server cannot evaluate";

/// Parses an expression. `data_types` lists the data type of each alternative, with `[x]` and a
/// list for a choice element that may have several.
///
/// # Errors
/// Fails with [`UNREADABLE`].
pub fn parse(expression: &str, data_types: &str) -> Result<Vec<ValuePath>, &'static str> {
    let mut places = Vec::new();
    let mut data_types = data_types.split(" | ");
    for alternative in expression.split(" | ") {
        let data_types = data_types.next().ok_or(UNREADABLE)?;
        match alternative.split_once(".exists() and ") {
            Some((path, rest)) if rest.strip_suffix(" != false") == Some(path) => {
                let ways = ways(path, data_types)?;
                places.push(ValuePath::Truth(ways.into_iter().map(|(steps, _)| steps).collect()));
            }
            _ => {
                let ways = ways(alternative, data_types)?;
                places.extend(ways.into_iter().map(|(steps, shape)| ValuePath::Elements { steps, shape }));
            }
        }
    }
    Ok(places)
}

/// Returns one path for each data type. `as` also selects subtypes, which the list names.
fn ways(path: &str, data_types: &str) -> Result<Vec<(Vec<PathStep>, ValueShape)>, &'static str> {
    let (steps, chosen) = steps(path)?;
    let way = |data_type, chosen: Option<&str>| {
        let mut steps = steps.clone();
        if let Some(chosen) = chosen {
            choose(&mut steps, chosen)?;
        }
        Ok((steps, ValueShape::of(data_type).ok_or(UNREADABLE)?))
    };
    match data_types.strip_prefix("[x]") {
        Some(choice) => choice.split(',').map(|data_type| way(data_type, Some(data_type))).collect(),
        None => Ok(vec![way(data_types, chosen)?]),
    }
}

/// Returns the steps of a path, and the type chosen of the choice element at its end.
fn steps(path: &str) -> Result<(Vec<PathStep>, Option<&str>), &'static str> {
    let mut steps = Vec::new();
    let mut chosen = None;
    for part in parts(path) {
        if let Some(data_type) = chosen.take() {
            choose(&mut steps, data_type)?;
        }
        if let Some(inner) = between(part, "(", ")") {
            let (path, data_type) = inner.split_once(" as ").ok_or(UNREADABLE)?;
            steps.extend(self::steps(path)?.0);
            chosen = Some(data_type);
        } else if let Some(data_type) = between(part, "as(", ")") {
            chosen = Some(data_type);
        } else if let Some(name) = between(part, "where(resolve() is ", ")") {
            steps.push(PathStep::RefersTo(ResourceType::of(name).ok_or(UNREADABLE)?));
        } else if let Some((member, text)) = between(part, "where(", "')").and_then(|is| is.split_once("='"))
        {
            steps.push(PathStep::Where { member: member.into(), text: text.into() });
        } else if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(UNREADABLE);
        } else if part.starts_with(|first: char| first.is_ascii_lowercase()) {
            steps.push(PathStep::Member(part.into()));
        } else if !steps.is_empty() {
            return Err(UNREADABLE);
        }
    }
    Ok((steps, chosen))
}

/// Returns the parts between dots that are not in parentheses.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0usize;
    path.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '.' && depth == 0
    })
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.strip_suffix(end)
}

/// Makes the last step lead to the choice element of that type: `value` becomes `valueQuantity`.
fn choose(steps: &mut [PathStep], data_type: &str) -> Result<(), &'static str> {
    let Some(PathStep::Member(name)) = steps.last_mut() else { return Err(UNREADABLE) };
    let (first, rest) = data_type.split_at_checked(1).ok_or(UNREADABLE)?;
    name.push_str(&first.to_ascii_uppercase());
    name.push_str(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> PathStep {
        PathStep::Member(name.into())
    }

    fn elements(steps: Vec<PathStep>, shape: ValueShape) -> ValuePath {
        ValuePath::Elements { steps, shape }
    }

    #[test]
    fn every_form_of_the_published_expressions_is_read() {
        let patient = ResourceType::of("Patient").unwrap();
        for (expression, data_types, places) in [
            ("Resource.id", "id", vec![elements(vec![member("id")], ValueShape::Code)]),
            ("name", "string", vec![elements(vec![member("name")], ValueShape::Text)]),
            (
                "Observation.code | Observation.component.code",
                "CodeableConcept | CodeableConcept",
                vec![
                    elements(vec![member("code")], ValueShape::CodeableConcept),
                    elements(vec![member("component"), member("code")], ValueShape::CodeableConcept),
                ],
            ),
            (
                "(Observation.value as CodeableConcept).text",
                "string",
                vec![elements(vec![member("valueCodeableConcept"), member("text")], ValueShape::Text)],
            ),
            (
                "Condition.onset.as(dateTime)",
                "dateTime",
                vec![elements(vec![member("onsetDateTime")], ValueShape::Date)],
            ),
            (
                "(ConceptMap.source as uri)",
                "[x]uri,canonical",
                vec![
                    elements(vec![member("sourceUri")], ValueShape::Uri),
                    elements(vec![member("sourceCanonical")], ValueShape::Canonical),
                ],
            ),
            (
                "Observation.effective",
                "[x]Period,instant",
                vec![
                    elements(vec![member("effectivePeriod")], ValueShape::Period),
                    elements(vec![member("effectiveInstant")], ValueShape::Instant),
                ],
            ),
            (
                "Patient.telecom.where(system='phone')",
                "ContactPoint",
                vec![elements(
                    vec![
                        member("telecom"),
                        PathStep::Where { member: "system".into(), text: "phone".into() },
                    ],
                    ValueShape::ContactPoint,
                )],
            ),
            (
                "Flag.subject.where(resolve() is Patient)",
                "Reference",
                vec![elements(vec![member("subject"), PathStep::RefersTo(patient)], ValueShape::Reference)],
            ),
            (
                "Patient.deceased.exists() and Patient.deceased != false",
                "[x]boolean,dateTime",
                vec![ValuePath::Truth(vec![
                    vec![member("deceasedBoolean")],
                    vec![member("deceasedDateTime")],
                ])],
            ),
        ] {
            assert_eq!(parse(expression, data_types), Ok(places), "{expression}");
        }
    }

    #[test]
    fn what_is_beyond_the_subset_is_an_error() {
        for (expression, data_types) in [
            ("", "string"),
            ("Bundle.entry[0].resource", "Reference"),
            ("A.b.first()", "string"),
            ("A.b.where(c > 1)", "string"),
            ("A.b.where(resolve() is Elephant)", "Reference"),
            ("A.b.exists() and A.c != false", "boolean"),
            ("A.b", "Elephant"),
            ("A.b | A.c", "string"),
            ("A.as(string)", "string"),
            ("A.b.as()", "string"),
            ("A.b.C", "string"),
        ] {
            assert_eq!(parse(expression, data_types), Err(UNREADABLE), "{expression}");
        }
    }
}
