//! The parameters of a kick-off (REQUIREMENTS section 3, K-5, K-6, K-13 to K-19). All are checked. One
//! that is not supported is refused or, if the client asks for lenience, ignored and named in an `error`
//! file. Nothing is ignored silently.

mod notices;
mod values;

use std::collections::HashSet;

use jiff::Timestamp;

use crate::config::profile::SOARIAN_TYPES;
use crate::config::{DevicePolicy, ProtocolProfile, ReferencePolicy};
use crate::fhir::reference::BaseUrls;
use crate::fhir::search::{self, ErrorKind, TypeFilter};
use crate::fhir::{ResourceType, quoted};
use crate::http::ApiError;
use crate::http::negotiation::preferences::HandlingPreference;
use crate::job::bounds::{self, check_bytes, check_items};
use crate::job::{Level, OrganizeBy, Parameters};

use notices::IgnoredNotices;
use values::{
    check_format, given_twice, is_id, not_exported, read_instant, read_since, resource_type, set_once,
};

pub use crate::config::profile::{exported_under, taken_by};
pub use values::provenances;

/// Where parameters come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterOrigin {
    /// The query string.
    Query,
    /// A Parameters resource.
    Body,
}

/// What the meaning of parameters depends on.
#[derive(Debug, Clone, Copy)]
pub struct KickoffContext<'a> {
    /// The operation.
    pub level: &'a Level,
    /// When the kick-off came, by the server's clock.
    pub now: Timestamp,
    /// The client's preference for what cannot be served.
    pub handling: HandlingPreference,
    /// The profile whose rules hold.
    pub profile: ProtocolProfile,
    /// Where the parameters come from.
    pub origin: ParameterOrigin,
    /// The base URLs below which references are relative.
    pub bases: &'a BaseUrls,
    /// The resources outside of compartments that go with patients.
    pub references: ReferencePolicy,
    /// The Devices that go with patients.
    pub devices: DevicePolicy,
}

/// Reads the parameters of a kick-off, given by name and value. It may take a while and must not run on a
/// thread that answers requests.
///
/// # Errors
/// Fails with 400 or 404, the issue code of section 3's table and a text that says what would be right.
/// Fails with 400 `too-costly` beyond the [`bounds`], however lenient the client is (P13).
pub fn parse(given: &[(String, String)], context: &KickoffContext<'_>) -> Result<Parameters, ApiError> {
    check_items("the kick-off", given.len(), bounds::MAX_PARAMETERS)?;
    let mut reader = ParameterReader {
        context,
        parameters: Parameters::default(),
        format: None,
        flags: SeenParameters::default(),
        counts: ItemCounts::default(),
        patients: HashSet::new(),
        notices: IgnoredNotices::default(),
    };
    for (name, value) in given {
        reader.read(name, value)?;
    }
    reader.finish()
}

/// What was seen of parameters that may be given once, and of `_type`.
#[derive(Debug, Default)]
struct SeenParameters {
    organize_by: bool,
    partial_manifests: bool,
    a_type_was_ignored: bool,
    /// The error of the first type that this level does not have.
    not_exported: Option<ApiError>,
}

/// How much was given of each list so far, valid or not.
#[derive(Debug, Default)]
struct ItemCounts {
    types: usize,
    filters: usize,
    filter_bytes: usize,
    filter_values: usize,
    elements: usize,
    patients: usize,
    associated: usize,
}

struct ParameterReader<'a> {
    context: &'a KickoffContext<'a>,
    parameters: Parameters,
    format: Option<()>,
    flags: SeenParameters,
    counts: ItemCounts,
    /// The patients in `parameters`.
    patients: HashSet<String>,
    notices: IgnoredNotices,
}

impl ParameterReader<'_> {
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

    /// Refuses what cannot be served, or notes that it is ignored (K-5).
    fn ignore(&mut self, error: ApiError) -> Result<(), ApiError> {
        match self.context.handling {
            HandlingPreference::Strict => Err(error),
            HandlingPreference::Lenient => {
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

    /// Adds a name of `_type`, a list that may repeat (K-6); repeated names collapse (K-19). A type of R4
    /// that this level does not have is noted and left out, as long as others are left (C9).
    fn add_type(&mut self, name: &str) -> Result<(), ApiError> {
        let asked = match self.context.profile {
            // It is accepted, but has no file (K-18).
            ProtocolProfile::Soarian if name == ResourceType::BINARY.as_str() => Ok(ResourceType::BINARY),
            profile => resource_type(name, self.context.level).and_then(|it| {
                let is_known = exported_under(profile, it);
                is_known.then_some(it).ok_or_else(|| not_exported(name))
            }),
        };
        match asked {
            Ok(resource_type) => {
                let types = &mut self.parameters.types;
                if !types.contains(&resource_type) {
                    types.push(resource_type);
                }
                Ok(())
            }
            Err(error) => {
                self.flags.a_type_was_ignored = true;
                if self.context.profile == ProtocolProfile::Standard && ResourceType::of(name).is_some() {
                    self.notices.add(&error);
                    self.flags.not_exported.get_or_insert(error);
                    return Ok(());
                }
                self.ignore(error)
            }
        }
    }

    /// Refuses types that only go along with others if no others are there (C9).
    fn check_types(&self) -> Result<(), ApiError> {
        let KickoffContext { level, references, devices, .. } = *self.context;
        let types = &self.parameters.types;
        let stands_alone = |resource_type: ResourceType| match resource_type {
            ResourceType::PROVENANCE => self.parameters.provenances.is_none(),
            ResourceType::DEVICE if devices == DevicePolicy::ByPatient => true,
            other => other.is_in_compartment() || references == ReferencePolicy::All,
        };
        if types.is_empty() || *level == Level::System || types.iter().copied().any(stands_alone) {
            return Ok(());
        }
        let types: Vec<_> = types.iter().map(|it| it.as_str()).collect();
        let types = types.join(", ");
        Err(ApiError::unsupported_parameter(format!(
            "_type has only what goes along with other resources here ({types}); ask for a type of the \
             patient compartment beside it, such as Patient or Observation, or use $export."
        )))
    }

    /// Adds a filter of `_typeFilter`.
    fn add_filter(&mut self, text: &str) -> Result<(), ApiError> {
        match TypeFilter::parse(text) {
            Ok(filter) => {
                self.counts.filter_values += filter.values();
                check_items("_typeFilter", self.counts.filter_values, bounds::MAX_VALUES)?;
                let filters = &mut self.parameters.type_filters;
                if !filters.contains(&filter) {
                    filters.push(filter);
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
        match self.parameters.elements.add(item) {
            Ok(()) => Ok(()),
            Err(error) => self.ignore(ApiError::invalid(format!("_elements: {error}"))),
        }
    }

    /// Refuses filters of types that the export does not have: they are mistakes, and would match nothing.
    fn check_filters(&mut self) -> Result<(), ApiError> {
        let filters = std::mem::take(&mut self.parameters.type_filters);
        for filter in filters {
            let (of_type, types) = (filter.resource_type(), &self.parameters.types);
            if of_type.is_exported_at(self.context.level) && (types.is_empty() || types.contains(&of_type)) {
                self.parameters.type_filters.push(filter);
            } else {
                let name = quoted(of_type.as_str());
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
        if self.context.origin == ParameterOrigin::Query {
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
        let literal = self.context.bases.parse(value);
        let literal = literal.filter(|it| it.resource_type == ResourceType::PATIENT && is_id(it.id));
        let id = literal.map(|it| it.id).ok_or_else(|| {
            ApiError::invalid(
                "patient is not a reference to a Patient of this server; give a valueReference such as \
                 Patient/123, or its absolute URL here.",
            )
        })?;
        if self.patients.insert(id.into()) {
            self.parameters.patients.push(id.into());
        }
        Ok(())
    }

    /// Adds a value of `includeAssociatedData`. The least restrictive one holds.
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
                return self.ignore(ApiError::invalid(format!(
                    "{name} {value} is not a boolean; give true or false."
                )));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Parameters, ApiError> {
        self.check_filters()?;
        if self.context.profile == ProtocolProfile::Standard {
            self.check_types()?;
        }
        let mut parameters = Parameters { ignored: self.notices.into_texts(), ..self.parameters };
        if let (Some(since), Some(until)) = (parameters.since, parameters.until)
            && until <= since
        {
            return Err(ApiError::invalid(
                "_until is not later than _since: no resource is between them; give an _until after _since.",
            ));
        }
        if parameters.types.is_empty() && self.flags.a_type_was_ignored {
            return Err(self.flags.not_exported.unwrap_or_else(|| {
                ApiError::unsupported_type(
                    "No type of _type can be exported here, and without _type all would be; name one that \
                     can be.",
                )
            }));
        }
        if self.context.profile == ProtocolProfile::Soarian {
            let [clinical, references] = SOARIAN_TYPES;
            let types = &mut parameters.types;
            if types.is_empty() {
                types.extend([clinical, references].concat().into_iter().filter_map(ResourceType::of));
            } else if types.iter().all(|it| !clinical.contains(&it.as_str())) {
                return Err(ApiError::unsupported_parameter(format!(
                    "_type has reference resources only; ask for a clinical type beside them, one of {}.",
                    clinical.join(", ")
                )));
            }
        }
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests;
