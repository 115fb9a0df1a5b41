//! The parameters of a kick-off (REQUIREMENTS section 3, K-5, K-6, K-13 to K-19): all are
//! checked, and what is not supported is refused; or, if the client asks for lenience, ignored
//! and named in an `error` file. Never is anything ignored silently.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

mod notices;

use super::ApiError;
use super::preferences::Handling;
use crate::clock::after;
use crate::config::Profile;
use crate::fhir::elements::Elements;
use crate::fhir::search::{self, ErrorKind, TypeFilter};
use crate::fhir::{self, EXPORT_PARAMETERS, ExportParameter, ResourceType, Taken, instant, quoted};
use crate::job::bounds::{self, check_bytes, check_items};
use crate::job::{Level, OrganizeBy, Parameters, Provenances};

use notices::Notices;

/// The values of `_outputFormat`; the second is the first with its `+` decoded to a space.
const FORMATS: &[&str] =
    &["application/fhir+ndjson", "application/fhir ndjson", "application/ndjson", "ndjson"];

/// How far ahead of ours a client's clock may be: a `_since` that is later than now by more
/// than this is a mistake, and not an export that finds nothing.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The parameters that are taken under the rules of a profile.
pub fn taken_by(profile: Profile) -> impl Iterator<Item = &'static ExportParameter> {
    let is_taken =
        move |parameter: &&ExportParameter| profile == Profile::Standard || parameter.taken == Taken::Always;
    EXPORT_PARAMETERS.iter().filter(is_taken)
}

/// The types that Soarian exports (K-16). The second list are its reference resources, which
/// need one of the first beside them (K-17).
const SOARIAN_TYPES: [&[&str]; 2] = [
    &[
        "AllergyIntolerance",
        "CarePlan",
        "CareTeam",
        "Condition",
        "Device",
        "DiagnosticReport",
        "DocumentReference",
        "Encounter",
        "Goal",
        "Immunization",
        "MedicationRequest",
        "Observation",
        "Patient",
        "Procedure",
    ],
    &["Location", "Organization", "Practitioner", "Provenance"],
];

/// Whether an export under the rules of a profile may hold resources of that type.
pub fn exported_under(profile: Profile, resource_type: ResourceType) -> bool {
    profile == Profile::Standard || SOARIAN_TYPES.concat().contains(&resource_type.as_str())
}

/// The type that Soarian accepts and has no file for (K-18).
const BINARY: &str = "Binary";

/// Where the parameters come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The query string.
    Query,
    /// A Parameters resource.
    Body,
}

/// What the meaning of parameters depends on.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The operation.
    pub level: &'a Level,
    /// When the kick-off came, by the server's clock.
    pub now: Timestamp,
    /// What becomes of what cannot be served.
    pub handling: Handling,
    /// Whose rules hold.
    pub profile: Profile,
    /// Where they come from.
    pub origin: Origin,
}

/// Reads the parameters of a kick-off, given by name and value. It may take a while: what answers
/// requests must not wait for it.
///
/// # Errors
/// 400 or 404 with the issue code of section 3's table and a text that says what would be
/// right; 400 `too-costly` beyond the [`bounds`], however lenient the client is (P13).
pub fn parse(given: &[(String, String)], context: &Context<'_>) -> Result<Parameters, ApiError> {
    check_items("the kick-off", given.len(), bounds::MAX_PARAMETERS)?;
    let mut reader = Reader {
        context,
        parameters: Parameters::default(),
        format: None,
        flags: Flags::default(),
        counts: Counts::default(),
        patients: HashSet::new(),
        notices: Notices::default(),
    };
    for (name, value) in given {
        reader.read(name, value)?;
    }
    reader.finish()
}

/// What may be given once, and was.
#[derive(Debug, Default)]
struct Flags {
    organize_by: bool,
    partial_manifests: bool,
    a_type_was_ignored: bool,
}

/// What was given of each list so far, whatever became of it.
#[derive(Debug, Default)]
struct Counts {
    types: usize,
    filters: usize,
    filter_bytes: usize,
    filter_values: usize,
    elements: usize,
    patients: usize,
    associated: usize,
}

struct Reader<'a> {
    context: &'a Context<'a>,
    parameters: Parameters,
    format: Option<()>,
    flags: Flags,
    counts: Counts,
    /// Those in `parameters`.
    patients: HashSet<String>,
    notices: Notices,
}

impl Reader<'_> {
    fn read(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        let now = self.context.now;
        if !taken_by(self.context.profile).any(|parameter| parameter.name == name) {
            let known: Vec<_> = taken_by(self.context.profile).map(|parameter| parameter.name).collect();
            let (name, known) = (quoted(name), known.join(", "));
            return self.ignore(ApiError::unsupported_parameter(format!(
                "The parameter {name} is not supported; supported are {known}."
            )));
        }
        match name {
            "_type" => self.add_types(value),
            "_outputFormat" => set_once(&mut self.format, name, check_format(value)),
            "_since" => set_once(&mut self.parameters.since, name, read_since(value, now)),
            "_until" => set_once(&mut self.parameters.until, name, read_instant(name, value)),
            "_typeFilter" => self.add_filters(value),
            "_elements" => self.add_elements(value),
            "patient" => self.add_patient(value),
            "includeAssociatedData" => self.add_all_associated(value),
            "organizeOutputBy" => self.organize(name, value),
            _ => self.allow_partial_manifests(name, value),
        }
    }

    /// Refuses, or notes what is ignored (K-5).
    fn ignore(&mut self, error: ApiError) -> Result<(), ApiError> {
        match self.context.handling {
            Handling::Strict => Err(error),
            Handling::Lenient => {
                self.notices.add(&error);
                Ok(())
            }
        }
    }

    fn add_types(&mut self, value: &str) -> Result<(), ApiError> {
        let names = value.split(',');
        self.counts.types += names.clone().count();
        check_items("_type", self.counts.types, bounds::MAX_TYPES)?;
        names.into_iter().try_for_each(|name| self.add_type(name))
    }

    fn add_filters(&mut self, value: &str) -> Result<(), ApiError> {
        self.counts.filter_bytes += value.len();
        check_bytes("_typeFilter", self.counts.filter_bytes, bounds::MAX_FILTER_BYTES)?;
        let filters = search::split(value);
        self.counts.filters += filters.len();
        check_items("_typeFilter", self.counts.filters, bounds::MAX_FILTERS)?;
        filters.into_iter().try_for_each(|text| self.add_filter(text))
    }

    fn add_elements(&mut self, value: &str) -> Result<(), ApiError> {
        let items = value.split(',');
        self.counts.elements += items.clone().count();
        check_items("_elements", self.counts.elements, bounds::MAX_ELEMENTS)?;
        items.into_iter().try_for_each(|item| self.add_element(item))
    }

    fn add_all_associated(&mut self, value: &str) -> Result<(), ApiError> {
        let values = value.split(',');
        self.counts.associated += values.clone().count();
        check_items("includeAssociatedData", self.counts.associated, bounds::MAX_ASSOCIATED)?;
        values.into_iter().try_for_each(|value| self.add_associated(value))
    }

    /// Adds a name of `_type`, a list that may repeat (K-6); repeated names collapse (K-19).
    fn add_type(&mut self, name: &str) -> Result<(), ApiError> {
        let asked = match self.context.profile {
            Profile::Soarian if name == BINARY => Ok(BINARY),
            profile => resource_type(name, self.context.level).and_then(|it| {
                let is_known = exported_under(profile, it);
                is_known.then_some(it.as_str()).ok_or_else(|| not_exported(name))
            }),
        };
        match asked {
            Ok(name) => {
                let types = &mut self.parameters.types;
                if !types.iter().any(|known| known == name) {
                    types.push(name.into());
                }
                Ok(())
            }
            Err(error) => {
                self.flags.a_type_was_ignored = true;
                self.ignore(error)
            }
        }
    }

    /// Adds a filter of `_typeFilter`.
    fn add_filter(&mut self, text: &str) -> Result<(), ApiError> {
        match TypeFilter::parse(text) {
            Ok(filter) => {
                self.counts.filter_values += filter.values();
                check_items("_typeFilter", self.counts.filter_values, bounds::MAX_VALUES)?;
                let filters = &mut self.parameters.type_filters;
                if !filters.iter().any(|known| known == text) {
                    filters.push(text.into());
                }
                Ok(())
            }
            Err(error) => {
                let text = format!("_typeFilter: {error}");
                self.ignore(match error.kind() {
                    ErrorKind::Invalid => ApiError::invalid(text),
                    ErrorKind::Unsupported => ApiError::unsupported_parameter(text),
                })
            }
        }
    }

    /// Adds an item of `_elements`.
    fn add_element(&mut self, item: &str) -> Result<(), ApiError> {
        match Elements::parse([item]) {
            Ok(_) => {
                let elements = &mut self.parameters.elements;
                if !elements.iter().any(|known| known == item) {
                    elements.push(item.into());
                }
                Ok(())
            }
            Err(error) => self.ignore(ApiError::invalid(format!("_elements: {error}"))),
        }
    }

    /// Refuses filters of types that the export does not have: they are mistakes, and nothing
    /// would come of them.
    fn check_filters(&mut self) -> Result<(), ApiError> {
        let filters = std::mem::take(&mut self.parameters.type_filters);
        for text in filters {
            let name = text.split('?').next().unwrap_or_default();
            let types = &self.parameters.types;
            let is_exported = ResourceType::of(name).is_some_and(|it| it.is_exported_at(self.context.level));
            if is_exported && (types.is_empty() || types.iter().any(|asked| asked == name)) {
                self.parameters.type_filters.push(text);
            } else {
                let name = quoted(name);
                self.ignore(ApiError::invalid(format!(
                    "_typeFilter is about {name}, which this export does not have; add it to _type, or leave \
                     the filter out."
                )))?;
            }
        }
        Ok(())
    }

    /// Adds a `patient`. It narrows what is exported, and so is never ignored.
    fn add_patient(&mut self, value: &str) -> Result<(), ApiError> {
        if self.context.origin == Origin::Query {
            return Err(ApiError::unsupported_parameter(
                "patient is a parameter of a POST only: send a Parameters resource with a valueReference.",
            ));
        }
        if *self.context.level == Level::System {
            return Err(ApiError::invalid(
                "patient is not a parameter of a system export; use Patient/$export or Group/{id}/$export.",
            ));
        }
        self.counts.patients += 1;
        check_items("patient", self.counts.patients, bounds::MAX_PATIENTS)?;
        let id = value.strip_prefix("Patient/").filter(|id| is_id(id)).ok_or_else(|| {
            ApiError::invalid(
                "patient is no reference to a Patient; give a valueReference such as Patient/123.",
            )
        })?;
        if self.patients.insert(id.into()) {
            self.parameters.patients.push(id.into());
        }
        Ok(())
    }

    /// Adds a value of `includeAssociatedData`; the least restrictive one holds.
    fn add_associated(&mut self, value: &str) -> Result<(), ApiError> {
        let Some(provenances) = provenances(value) else {
            let value = quoted(value);
            return self.ignore(ApiError::unsupported_parameter(format!(
                "includeAssociatedData {value} is not supported; use LatestProvenanceResources or \
                 RelevantProvenanceResources."
            )));
        };
        self.parameters.provenances = self.parameters.provenances.max(Some(provenances));
        Ok(())
    }

    fn organize(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        let was_given = std::mem::replace(&mut self.flags.organize_by, true);
        let organize_by = match (value, self.context.level) {
            _ if was_given => return Err(given_twice(name)),
            ("Patient", _) => OrganizeBy::Patient,
            _ => {
                let value = quoted(value);
                return self.ignore(ApiError::unsupported_parameter(format!(
                    "organizeOutputBy {value} is not supported; use Patient."
                )));
            }
        };
        self.parameters.organize_by = Some(organize_by);
        Ok(())
    }

    fn allow_partial_manifests(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        let was_given = std::mem::replace(&mut self.flags.partial_manifests, true);
        if was_given {
            return Err(given_twice(name));
        }
        match value {
            "true" => self.parameters.partial_manifests = true,
            "false" => {}
            _ => {
                let value = quoted(value);
                return self
                    .ignore(ApiError::invalid(format!("{name} {value} is no boolean; give true or false.")));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Parameters, ApiError> {
        self.check_filters()?;
        let mut parameters = Parameters { ignored: self.notices.into_texts(), ..self.parameters };
        if let (Some(since), Some(until)) = (parameters.since, parameters.until)
            && until <= since
        {
            return Err(ApiError::invalid(
                "_until is not later than _since: no resource is between them; give an _until after _since.",
            ));
        }
        if parameters.types.is_empty() && self.flags.a_type_was_ignored {
            return Err(ApiError::unsupported_type(
                "No type of _type can be exported here, and without _type all would be; name one that can be.",
            ));
        }
        if self.context.profile == Profile::Soarian {
            let [clinical, references] = SOARIAN_TYPES;
            let types = &mut parameters.types;
            if types.is_empty() {
                types.extend([clinical, references].concat().into_iter().map(String::from));
            } else if types.iter().all(|name| !clinical.contains(&name.as_str())) {
                return Err(ApiError::unsupported_parameter(format!(
                    "_type has reference resources only; ask for a clinical type beside them, one of {}.",
                    clinical.join(", ")
                )));
            }
        }
        Ok(parameters)
    }
}

/// What a value of `includeAssociatedData` asks for, if it is one.
pub fn provenances(value: &str) -> Option<Provenances> {
    match value {
        "LatestProvenanceResources" => Some(Provenances::Latest),
        "RelevantProvenanceResources" => Some(Provenances::Relevant),
        _ => None,
    }
}

/// Whether a text can be the id of a resource.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

fn given_twice(name: &str) -> ApiError {
    ApiError::unsupported_parameter(format!("{name} may be given once only."))
}

/// Keeps the value of a parameter that may be given once (K-19).
fn set_once<T>(kept: &mut Option<T>, name: &str, value: Result<T, ApiError>) -> Result<(), ApiError> {
    if kept.is_some() {
        return Err(given_twice(name));
    }
    *kept = Some(value?);
    Ok(())
}

fn check_format(value: &str) -> Result<(), ApiError> {
    if FORMATS.contains(&value) {
        return Ok(());
    }
    let value = quoted(value);
    Err(ApiError::invalid(format!("_outputFormat {value} is not supported; use application/fhir+ndjson.")))
}

fn read_since(value: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let since = read_instant("_since", value)?;
    if since > after(now, CLOCK_SKEW) {
        return Err(ApiError::invalid(format!(
            "_since is in the future, it is {} here; use the transactionTime of an earlier export.",
            fhir::seconds(now)
        )));
    }
    Ok(since)
}

/// The instant of a parameter. The `+` of an offset is a space by now if the client did not
/// escape it; an instant has no other place for either.
fn read_instant(name: &str, value: &str) -> Result<Timestamp, ApiError> {
    instant::parse(&value.replace(' ', "+")).map_err(|error| {
        let value = quoted(value);
        ApiError::invalid(format!(
            "{name} {value} is no FHIR instant: {error}; \
             give one such as 2024-01-31T08:30:00Z or 2024-01-31T08:30:00.123%2B01:00."
        ))
    })
}

/// A name of `_type` (C9): one that is no R4 type is invalid, a type that this level does not
/// export is not supported.
fn resource_type(name: &str, level: &Level) -> Result<ResourceType, ApiError> {
    if name.is_empty() {
        return Err(ApiError::invalid("_type has an empty item; list names such as Patient,Observation."));
    }
    let Some(resource_type) = ResourceType::of(name) else {
        let name = quoted(name);
        return Err(ApiError::invalid(format!(
            "_type {name} is no resource type of FHIR R4; names are case-sensitive."
        )));
    };
    if resource_type.is_exported_at(level) {
        return Ok(resource_type);
    }
    Err(not_exported(name))
}

fn not_exported(name: &str) -> ApiError {
    ApiError::unsupported_type(format!("Resources of type {name} are not part of this export."))
}

#[cfg(test)]
mod tests;
