//! The search parameters of FHIR R4, loaded from `parameters.tsv` on first use.

use std::sync::LazyLock;

use super::expression;
use super::place::ValuePath;
use crate::fhir::ResourceType;

/// How a parameter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// Codes and identifiers.
    Token,
    /// References to other resources.
    Reference,
    /// Dates, instants and periods.
    Date,
    /// Words.
    String,
    /// Numbers with a unit.
    Quantity,
    /// Numbers.
    Number,
    /// URIs.
    Uri,
}

impl ParameterKind {
    /// Returns the code in `SearchParameter.type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Reference => "reference",
            Self::Date => "date",
            Self::String => "string",
            Self::Quantity => "quantity",
            Self::Number => "number",
            Self::Uri => "uri",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Token, Self::Reference, Self::Date, Self::String, Self::Quantity, Self::Number, Self::Uri]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

/// A parameter of one resource type, or of all.
#[derive(Debug)]
pub struct SearchParameter {
    /// Its name in a search.
    pub code: &'static str,
    /// How it compares.
    pub kind: ParameterKind,
    /// Where its values are.
    pub places: Vec<ValuePath>,
    /// The types that a reference may have, separated by commas; `*` for all.
    targets: &'static str,
}

impl SearchParameter {
    /// Returns whether the reference may be to that type.
    pub fn can_target(&self, resource_type: ResourceType) -> bool {
        self.targets == "*" || self.targets.split(',').any(|target| target == resource_type.as_str())
    }

    /// Returns the types that the reference may have, for people.
    pub fn targets(&self) -> String {
        if self.targets == "*" { "any type".into() } else { self.targets.replace(',', ", ") }
    }
}

/// A row of the table.
struct ParameterRow {
    code: &'static str,
    /// Or why it cannot be used.
    parameter: Result<SearchParameter, &'static str>,
}

struct ParameterTable {
    /// The parameters of each type, by its index.
    own: Vec<Vec<ParameterRow>>,
    /// The parameters of all types.
    common: Vec<ParameterRow>,
}

static TABLE: LazyLock<ParameterTable> = LazyLock::new(|| {
    let mut table =
        ParameterTable { own: ResourceType::all().map(|_| Vec::new()).collect(), common: Vec::new() };
    for line in include_str!("parameters.tsv").lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let mut column = || columns.next().unwrap_or_default();
        let (base, row) = (column(), row(column(), column(), column(), column(), column()));
        match ResourceType::of(base) {
            Some(resource_type) => table.own[usize::from(resource_type.index())].push(row),
            None => table.common.push(row),
        }
    }
    table
});

fn row(
    code: &'static str,
    kind: &str,
    expression: &str,
    data_types: &str,
    targets: &'static str,
) -> ParameterRow {
    let parameter = || {
        let kind = ParameterKind::of(kind).ok_or(match kind {
            "composite" => {
                "composite parameters are not supported; give its parts as parameters of their own"
            }
            _ => "special parameters are not supported",
        })?;
        if expression.is_empty() {
            return Err("it has no definition that this server could evaluate");
        }
        if code == "phonetic" {
            return Err("no phonetic comparison is offered; use name");
        }
        Ok(SearchParameter { code, kind, places: expression::parse(expression, data_types)?, targets })
    };
    ParameterRow { code, parameter: parameter() }
}

fn rows(resource_type: ResourceType) -> impl Iterator<Item = &'static ParameterRow> {
    TABLE.own[usize::from(resource_type.index())].iter().chain(&TABLE.common)
}

/// Returns the parameter of that name for a type, or why it cannot be used. `None` if there is none.
pub fn find(
    resource_type: ResourceType,
    code: &str,
) -> Option<Result<&'static SearchParameter, &'static str>> {
    rows(resource_type)
        .find(|row| row.code == code)
        .map(|row| row.parameter.as_ref().map_err(|reason| *reason))
}

/// Returns the names and kinds of the search parameters that can be used with a type.
pub fn parameters(resource_type: ResourceType) -> impl Iterator<Item = (&'static str, ParameterKind)> {
    let usable = rows(resource_type).filter_map(|row| row.parameter.as_ref().ok());
    usable.map(|parameter| (parameter.code, parameter.kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::Level;

    #[test]
    fn of_all_types_only_composites_and_a_few_others_cannot_be_used() {
        let mut unusable = Vec::new();
        let mut usable = 0;
        for resource_type in ResourceType::all() {
            for row in &TABLE.own[usize::from(resource_type.index())] {
                match &row.parameter {
                    Err(reason) if reason.starts_with("composite") => {}
                    Err(_) => unusable.push(format!("{}.{}", resource_type.as_str(), row.code)),
                    Ok(_) => usable += 1,
                }
            }
        }
        assert_eq!(
            unusable,
            [
                "Bundle.composition",
                "Bundle.message",
                "DeviceDefinition.classification",
                "InsurancePlan.phonetic",
                "Location.near",
                "Organization.phonetic",
                "Patient.phonetic",
                "Person.phonetic",
                "Practitioner.phonetic",
                "RelatedPerson.phonetic",
            ]
        );
        assert_eq!(usable, 1618);
    }

    #[test]
    fn every_type_that_is_exported_has_the_parameters_of_all_types() {
        for resource_type in ResourceType::all().filter(|it| it.is_exported_at(&Level::System)) {
            for code in ["_id", "_lastUpdated", "_profile", "_security", "_source", "_tag"] {
                assert!(matches!(find(resource_type, code), Some(Ok(_))), "{resource_type:?} {code}");
            }
            for code in ["_text", "_content", "_query"] {
                assert!(matches!(find(resource_type, code), Some(Err(_))), "{resource_type:?} {code}");
            }
        }
    }
}
