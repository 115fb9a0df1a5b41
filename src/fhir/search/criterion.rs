//! One criterion of a search, `parameter[:modifier]=value`.

use serde_json::Value;

use super::SearchContext;
use super::date::SearchDate;
use super::error::FilterError;
use super::escape;
use super::parameters::{self, ParameterKind, SearchParameter};
use super::place::ValueShape;
use super::quantity::SearchQuantity;
use super::read::WantedElements;
use super::reference::ReferenceTarget;
use super::text::{SearchWords, TextMode, has_text};
use super::token::SearchToken;
use super::uri::{SearchUri, UriRelation};
use crate::fhir::ResourceType;
use crate::fhir::quoted::quoted;

/// Parameters that control how results of a search are returned.
const RESULT_PARAMETERS: &[&str] = &[
    "_contained",
    "_containedType",
    "_count",
    "_elements",
    "_format",
    "_include",
    "_maxresults",
    "_offset",
    "_page",
    "_pretty",
    "_revinclude",
    "_score",
    "_since",
    "_sort",
    "_summary",
    "_total",
];

/// Modifiers of the standard that this server does not support.
const FOREIGN_MODIFIERS: &[&str] = &["above", "below", "in", "not-in", "of-type"];

/// What a resource must contain.
#[derive(Debug, Clone)]
pub struct SearchCriterion {
    parameter: &'static SearchParameter,
    test: CriterionTest,
}

#[derive(Debug, Clone)]
enum CriterionTest {
    /// The parameter has a value, or none.
    Missing(bool),
    /// Some value matches any of these.
    Any(Vec<CriterionValue>),
    /// No value matches any of these.
    None(Vec<CriterionValue>),
}

#[derive(Debug, Clone)]
enum CriterionValue {
    Date(SearchDate),
    /// Matches the identifier of a Reference.
    Identifier(SearchToken),
    Quantity(SearchQuantity),
    Reference(ReferenceTarget),
    /// Matches the text of a coded value.
    Text(SearchWords),
    Token(SearchToken),
    Uri(SearchUri),
    Words(SearchWords),
}

impl SearchCriterion {
    /// Parses a decoded name, with its modifier, and a decoded value.
    ///
    /// # Errors
    /// Fails with what is wrong and what would be right.
    pub fn parse(resource_type: ResourceType, name: &str, value: &str) -> Result<Self, FilterError> {
        let (code, modifier) = match name.split_once(':') {
            Some((code, modifier)) => (code, Some(modifier)),
            None => (name, None),
        };
        let parameter = find(resource_type, name, code)?;
        if modifier == Some("missing") {
            let is_missing = match value {
                "true" => true,
                "false" => false,
                _ => return Err(FilterError::bad_value(name, value, "give true or false")),
            };
            return Ok(Self { parameter, test: CriterionTest::Missing(is_missing) });
        }
        let mut sought = Vec::new();
        for item in escape::split(value, ',') {
            if item.is_empty() {
                let reason = "there is an empty item; give one or more values with commas between them";
                return Err(FilterError::bad_value(code, value, reason));
            }
            sought.push(seek(parameter, modifier, item)?);
        }
        let test =
            if modifier == Some("not") { CriterionTest::None(sought) } else { CriterionTest::Any(sought) };
        Ok(Self { parameter, test })
    }

    /// Returns how many values are compared.
    #[cfg(feature = "server")]
    pub fn values(&self) -> usize {
        match &self.test {
            CriterionTest::Missing(_) => 1,
            CriterionTest::Any(sought) | CriterionTest::None(sought) => sought.len(),
        }
    }

    /// Returns whether a resource matches.
    pub fn matches(&self, resource: &Value, search: SearchContext<'_>) -> bool {
        let any = |test: &mut dyn FnMut(ValueShape, &Value) -> bool| {
            self.parameter.places.iter().any(|place| place.any(resource, search, test))
        };
        let is = |shape: ValueShape, value: &Value, sought: &[CriterionValue]| {
            search.any(sought, |sought| sought.matches(shape, value, search))
        };
        match &self.test {
            CriterionTest::Missing(is_missing) => any(&mut |_, _| true) != *is_missing,
            CriterionTest::Any(sought) => any(&mut |shape, value| is(shape, value, sought)),
            CriterionTest::None(sought) => !any(&mut |shape, value| is(shape, value, sought)),
        }
    }

    /// Adds the elements that must be read.
    pub fn want(&self, wanted: &mut WantedElements) {
        self.parameter.places.iter().for_each(|place| place.want(wanted));
    }
}

impl CriterionValue {
    fn matches(&self, shape: ValueShape, value: &Value, search: SearchContext<'_>) -> bool {
        match self {
            Self::Date(date) => date.matches(shape, value, search),
            Self::Identifier(token) => {
                shape == ValueShape::Reference
                    && token.matches(ValueShape::Identifier, &value["identifier"], search)
            }
            Self::Quantity(quantity) => quantity.matches(shape, value),
            Self::Reference(target) => target.matches(shape, value, search.bases),
            Self::Text(words) => words.describe(shape, value, search),
            Self::Token(token) => token.matches(shape, value, search),
            Self::Uri(uri) => uri.matches(shape, value),
            Self::Words(words) => words.matches(shape, value, search),
        }
    }
}

fn find(
    resource_type: ResourceType,
    name: &str,
    code: &str,
) -> Result<&'static SearchParameter, FilterError> {
    if RESULT_PARAMETERS.contains(&code) {
        return Err(FilterError::invalid(format!(
            "{code} says how a search gives its result; _typeFilter takes only parameters that say which \
             resources are meant."
        )));
    }
    if code == "_has" || name.contains('.') {
        return Err(FilterError::unsupported(format!(
            "{} is a chain, and those are not supported; use parameters of {} itself.",
            quoted(name),
            resource_type.as_str()
        )));
    }
    match parameters::find(resource_type, code) {
        Some(Ok(parameter)) => Ok(parameter),
        Some(Err(reason)) => {
            Err(FilterError::unsupported(format!("{code} cannot be used in a _typeFilter: {reason}.")))
        }
        None => {
            let codes: Vec<_> = parameters::parameters(resource_type).map(|(code, _)| code).collect();
            Err(FilterError::unsupported(format!(
                "{} has no search parameter {}; it has {}.",
                resource_type.as_str(),
                quoted(code),
                codes.join(", ")
            )))
        }
    }
}

/// Parses one wanted value.
fn seek(
    parameter: &SearchParameter,
    modifier: Option<&str>,
    item: &str,
) -> Result<CriterionValue, FilterError> {
    let shapes = parameter.places.iter().map(|place| place.shape());
    let text = || escape::unescape(item);
    let sought = match (parameter.kind, modifier) {
        (ParameterKind::Token, None | Some("not")) => {
            SearchToken::parse_for(item, shapes).map(CriterionValue::Token)
        }
        (ParameterKind::Token, Some("text")) if shapes.clone().any(has_text) => {
            text().and_then(|text| SearchWords::new(TextMode::Start, &text)).map(CriterionValue::Text)
        }
        (ParameterKind::Reference, None) => {
            let target = text().and_then(|text| ReferenceTarget::parse(&text, None));
            match target {
                Ok(ReferenceTarget::Id { .. }) if !has_references(parameter) => Err("give a canonical URL"),
                target => target.map(CriterionValue::Reference),
            }
        }
        (ParameterKind::Reference, Some("identifier")) if has_references(parameter) => {
            SearchToken::parse(item).map(CriterionValue::Identifier)
        }
        (ParameterKind::Reference, Some(name)) if has_references(parameter) => {
            match ResourceType::of(name).filter(|it| parameter.can_target(*it)) {
                Some(modifier) => text()
                    .and_then(|text| ReferenceTarget::parse(&text, Some(modifier)))
                    .map(CriterionValue::Reference),
                None => return Err(bad_modifier(parameter, name)),
            }
        }
        (ParameterKind::Date, None) => SearchDate::parse(item).map(CriterionValue::Date),
        (ParameterKind::Number, None) => SearchQuantity::parse_number(item).map(CriterionValue::Quantity),
        (ParameterKind::Quantity, None) => SearchQuantity::parse(item).map(CriterionValue::Quantity),
        (ParameterKind::String, None | Some("contains" | "exact")) => {
            let mode = match modifier {
                None => TextMode::Start,
                Some("contains") => TextMode::Contains,
                Some(_) => TextMode::Exact,
            };
            text().and_then(|text| SearchWords::new(mode, &text)).map(CriterionValue::Words)
        }
        (ParameterKind::Uri, None) if parameter.code == "url" && escape::split(item, '|').count() > 1 => {
            Err("give the url alone, and what is after | as the parameter version")
        }
        (ParameterKind::Uri, None | Some("above" | "below")) => {
            let relation = match modifier {
                None => UriRelation::Same,
                Some("below") => UriRelation::Below,
                Some(_) => UriRelation::Above,
            };
            text().and_then(|text| SearchUri::new(relation, text)).map(CriterionValue::Uri)
        }
        (_, Some(modifier)) => return Err(bad_modifier(parameter, modifier)),
    };
    sought.map_err(|reason| FilterError::bad_value(parameter.code, item, reason))
}

fn has_references(parameter: &SearchParameter) -> bool {
    parameter.places.iter().any(|place| place.shape() == ValueShape::Reference)
}

fn bad_modifier(parameter: &SearchParameter, modifier: &str) -> FilterError {
    let modifiers = match parameter.kind {
        ParameterKind::Token if parameter.places.iter().any(|place| has_text(place.shape())) => {
            ":not, :text and :missing".into()
        }
        ParameterKind::Token => ":not and :missing".into(),
        ParameterKind::Reference if has_references(parameter) => {
            format!(":identifier, :missing and the type that is referred to ({})", parameter.targets())
        }
        ParameterKind::Reference | ParameterKind::Date | ParameterKind::Quantity | ParameterKind::Number => {
            ":missing".into()
        }
        ParameterKind::String => ":exact, :contains and :missing".into(),
        ParameterKind::Uri => ":below, :above and :missing".into(),
    };
    let text = format!(
        "{} is of the kind {} and has no modifier {} here; it has {modifiers}.",
        parameter.code,
        parameter.kind.as_str(),
        quoted(modifier)
    );
    if parameter.kind == ParameterKind::Token && FOREIGN_MODIFIERS.contains(&modifier) {
        return FilterError::unsupported(text);
    }
    FilterError::invalid(text)
}
