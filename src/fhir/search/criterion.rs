//! One criterion of a search, `parameter[:modifier]=value`.

use serde_json::Value;

use super::Search;
use super::date::Date;
use super::error::FilterError;
use super::escape;
use super::parameters::{self, Kind, Parameter};
use super::place::Shape;
use super::quantity::Quantity;
use super::read::Wanted;
use super::reference::Target;
use super::text::{Mode, Words, has_text};
use super::token::Token;
use super::uri::{Relation, Uri};
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
pub struct Criterion {
    parameter: &'static Parameter,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    /// The parameter has a value, or none.
    Missing(bool),
    /// Some value matches any of these.
    Any(Vec<Sought>),
    /// No value matches any of these.
    None(Vec<Sought>),
}

#[derive(Debug, Clone)]
enum Sought {
    Date(Date),
    /// Matches the identifier of a Reference.
    Identifier(Token),
    Quantity(Quantity),
    Reference(Target),
    /// Matches the text of a coded value.
    Text(Words),
    Token(Token),
    Uri(Uri),
    Words(Words),
}

impl Criterion {
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
            return Ok(Self { parameter, test: Test::Missing(is_missing) });
        }
        let mut sought = Vec::new();
        for item in escape::split(value, ',') {
            if item.is_empty() {
                let reason = "there is an empty item; give one or more values with commas between them";
                return Err(FilterError::bad_value(code, value, reason));
            }
            sought.push(seek(parameter, modifier, item)?);
        }
        let test = if modifier == Some("not") { Test::None(sought) } else { Test::Any(sought) };
        Ok(Self { parameter, test })
    }

    /// Returns how many values are compared.
    pub fn values(&self) -> usize {
        match &self.test {
            Test::Missing(_) => 1,
            Test::Any(sought) | Test::None(sought) => sought.len(),
        }
    }

    /// Returns whether a resource matches.
    pub fn matches(&self, resource: &Value, search: Search<'_>) -> bool {
        let any = |test: &mut dyn FnMut(Shape, &Value) -> bool| {
            self.parameter.places.iter().any(|place| place.any(resource, search, test))
        };
        let is = |shape: Shape, value: &Value, sought: &[Sought]| {
            search.any(sought, |sought| sought.matches(shape, value, search))
        };
        match &self.test {
            Test::Missing(is_missing) => any(&mut |_, _| true) != *is_missing,
            Test::Any(sought) => any(&mut |shape, value| is(shape, value, sought)),
            Test::None(sought) => !any(&mut |shape, value| is(shape, value, sought)),
        }
    }

    /// Adds the elements that must be read.
    pub fn want(&self, wanted: &mut Wanted) {
        self.parameter.places.iter().for_each(|place| place.want(wanted));
    }
}

impl Sought {
    fn matches(&self, shape: Shape, value: &Value, search: Search<'_>) -> bool {
        match self {
            Self::Date(date) => date.matches(shape, value, search),
            Self::Identifier(token) => {
                shape == Shape::Reference && token.matches(Shape::Identifier, &value["identifier"], search)
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

fn find(resource_type: ResourceType, name: &str, code: &str) -> Result<&'static Parameter, FilterError> {
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
fn seek(parameter: &Parameter, modifier: Option<&str>, item: &str) -> Result<Sought, FilterError> {
    let shapes = parameter.places.iter().map(|place| place.shape());
    let text = || escape::unescape(item);
    let sought = match (parameter.kind, modifier) {
        (Kind::Token, None | Some("not")) => Token::parse_for(item, shapes).map(Sought::Token),
        (Kind::Token, Some("text")) if shapes.clone().any(has_text) => {
            text().and_then(|text| Words::new(Mode::Start, &text)).map(Sought::Text)
        }
        (Kind::Reference, None) => {
            let target = text().and_then(|text| Target::parse(&text, None));
            match target {
                Ok(Target::Id { .. }) if !has_references(parameter) => Err("give a canonical URL"),
                target => target.map(Sought::Reference),
            }
        }
        (Kind::Reference, Some("identifier")) if has_references(parameter) => {
            Token::parse(item).map(Sought::Identifier)
        }
        (Kind::Reference, Some(name)) if has_references(parameter) => {
            match ResourceType::of(name).filter(|it| parameter.can_target(*it)) {
                Some(modifier) => {
                    text().and_then(|text| Target::parse(&text, Some(modifier))).map(Sought::Reference)
                }
                None => return Err(bad_modifier(parameter, name)),
            }
        }
        (Kind::Date, None) => Date::parse(item).map(Sought::Date),
        (Kind::Number, None) => Quantity::parse_number(item).map(Sought::Quantity),
        (Kind::Quantity, None) => Quantity::parse(item).map(Sought::Quantity),
        (Kind::String, None | Some("contains" | "exact")) => {
            let mode = match modifier {
                None => Mode::Start,
                Some("contains") => Mode::Contains,
                Some(_) => Mode::Exact,
            };
            text().and_then(|text| Words::new(mode, &text)).map(Sought::Words)
        }
        (Kind::Uri, None) if parameter.code == "url" && escape::split(item, '|').count() > 1 => {
            Err("give the url alone, and what is after | as the parameter version")
        }
        (Kind::Uri, None | Some("above" | "below")) => {
            let relation = match modifier {
                None => Relation::Same,
                Some("below") => Relation::Below,
                Some(_) => Relation::Above,
            };
            text().and_then(|text| Uri::new(relation, text)).map(Sought::Uri)
        }
        (_, Some(modifier)) => return Err(bad_modifier(parameter, modifier)),
    };
    sought.map_err(|reason| FilterError::bad_value(parameter.code, item, reason))
}

fn has_references(parameter: &Parameter) -> bool {
    parameter.places.iter().any(|place| place.shape() == Shape::Reference)
}

fn bad_modifier(parameter: &Parameter, modifier: &str) -> FilterError {
    let modifiers = match parameter.kind {
        Kind::Token if parameter.places.iter().any(|place| has_text(place.shape())) => {
            ":not, :text and :missing".into()
        }
        Kind::Token => ":not and :missing".into(),
        Kind::Reference if has_references(parameter) => {
            format!(":identifier, :missing and the type that is referred to ({})", parameter.targets())
        }
        Kind::Reference | Kind::Date | Kind::Quantity | Kind::Number => ":missing".into(),
        Kind::String => ":exact, :contains and :missing".into(),
        Kind::Uri => ":below, :above and :missing".into(),
    };
    let text = format!(
        "{} is of the kind {} and has no modifier {} here; it has {modifiers}.",
        parameter.code,
        parameter.kind.as_str(),
        quoted(modifier)
    );
    if parameter.kind == Kind::Token && FOREIGN_MODIFIERS.contains(&modifier) {
        return FilterError::unsupported(text);
    }
    FilterError::invalid(text)
}
