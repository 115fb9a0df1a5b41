//! Quantities: numbers with a unit. Units are compared as written, without conversion.

use serde_json::Value;

use super::escape;
use super::number::{self, Extent, Number};
use super::place::Shape;

/// The system of the codes of a Money.
const CURRENCIES: &str = "urn:iso:std:iso:4217";

/// A quantity to search for.
#[derive(Debug, Clone)]
pub struct Quantity {
    number: Number,
    unit: Unit,
}

#[derive(Debug, Clone)]
enum Unit {
    /// Any unit, or none.
    Any,
    /// This code or unit for people.
    Named(String),
    /// This system, and this code if there is one.
    Coded { system: String, code: Option<String> },
}

impl Quantity {
    /// Parses `number`, `number|system|code` or `number||unit`, with or without a prefix.
    ///
    /// # Errors
    /// Fails with the expected form.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORMS: &str = "give number, number|system|code or number||unit";
        let parts = escape::split(text, '|').map(escape::unescape).collect::<Result<Vec<_>, _>>()?;
        let unit = match &parts[..] {
            [_] => Unit::Any,
            [_, system, unit] => match (system.is_empty(), unit.is_empty()) {
                (true, true) => return Err(FORMS),
                (true, false) => Unit::Named(unit.clone()),
                (false, _) => Unit::Coded {
                    system: system.clone(),
                    code: Some(unit.clone()).filter(|it| !it.is_empty()),
                },
            },
            _ => return Err(FORMS),
        };
        Ok(Self { number: Number::parse(&parts[0])?, unit })
    }

    /// Parses a number, which has no unit.
    ///
    /// # Errors
    /// Fails with the expected form.
    pub fn parse_number(text: &str) -> Result<Self, &'static str> {
        Ok(Self { number: Number::parse(text)?, unit: Unit::Any })
    }

    /// Returns whether a value of a resource matches. A `comparator` is ignored.
    pub fn matches(&self, shape: Shape, value: &Value) -> bool {
        let extent = match shape {
            Shape::Quantity | Shape::Money => {
                number::decimal(&value["value"]).map(|it| Extent { low: Some(it), high: Some(it) })
            }
            _ => number::extent(shape, value),
        };
        extent.is_some_and(|extent| self.number.matches(extent)) && self.is_unit(shape, value)
    }

    fn is_unit(&self, shape: Shape, value: &Value) -> bool {
        let (system, code, name) = match shape {
            Shape::Quantity => (value["system"].as_str(), value["code"].as_str(), value["unit"].as_str()),
            Shape::Money => (Some(CURRENCIES), value["currency"].as_str(), None),
            Shape::Range => {
                return [&value["low"], &value["high"]]
                    .into_iter()
                    .filter(|end| !end.is_null())
                    .all(|end| self.is_unit(Shape::Quantity, end));
            }
            _ => (None, None, None),
        };
        match &self.unit {
            Unit::Any => true,
            Unit::Named(sought) => code == Some(sought) || name == Some(sought),
            Unit::Coded { system: sought, code: sought_code } => {
                system == Some(sought) && (sought_code.is_none() || code == sought_code.as_deref())
            }
        }
    }
}
