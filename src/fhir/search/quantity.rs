//! Quantities: numbers with a unit. Units are compared as written, without conversion.

use serde_json::Value;

use super::escape;
use super::number::{self, NumberRange, SearchNumber};
use super::place::ValueShape;

/// The system of the codes of a Money.
const CURRENCIES: &str = "urn:iso:std:iso:4217";

/// A quantity to search for.
#[derive(Debug, Clone)]
pub struct SearchQuantity {
    number: SearchNumber,
    unit: QuantityUnit,
}

#[derive(Debug, Clone)]
enum QuantityUnit {
    /// Any unit, or none.
    Any,
    /// This code or unit for people.
    Named(String),
    /// This system, and this code if there is one.
    Coded { system: String, code: Option<String> },
}

impl SearchQuantity {
    /// Parses `number`, `number|system|code` or `number||unit`, with or without a prefix.
    ///
    /// # Errors
    /// Fails with the expected form.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORMS: &str = "give number, number|system|code or number||unit";
        let parts = escape::split(text, '|').map(escape::unescape).collect::<Result<Vec<_>, _>>()?;
        let unit = match &parts[..] {
            [_] => QuantityUnit::Any,
            [_, system, unit] => match (system.is_empty(), unit.is_empty()) {
                (true, true) => return Err(FORMS),
                (true, false) => QuantityUnit::Named(unit.clone()),
                (false, _) => QuantityUnit::Coded {
                    system: system.clone(),
                    code: Some(unit.clone()).filter(|it| !it.is_empty()),
                },
            },
            _ => return Err(FORMS),
        };
        Ok(Self { number: SearchNumber::parse(&parts[0])?, unit })
    }

    /// Parses a number, which has no unit.
    ///
    /// # Errors
    /// Fails with the expected form.
    pub fn parse_number(text: &str) -> Result<Self, &'static str> {
        Ok(Self { number: SearchNumber::parse(text)?, unit: QuantityUnit::Any })
    }

    /// Returns whether a value of a resource matches. A `comparator` is ignored.
    pub fn matches(&self, shape: ValueShape, value: &Value) -> bool {
        let extent = match shape {
            ValueShape::Quantity | ValueShape::Money => {
                number::decimal(&value["value"]).map(|it| NumberRange { low: Some(it), high: Some(it) })
            }
            _ => number::extent(shape, value),
        };
        extent.is_some_and(|extent| self.number.matches(extent)) && self.is_unit(shape, value)
    }

    fn is_unit(&self, shape: ValueShape, value: &Value) -> bool {
        let (system, code, name) = match shape {
            ValueShape::Quantity => {
                (value["system"].as_str(), value["code"].as_str(), value["unit"].as_str())
            }
            ValueShape::Money => (Some(CURRENCIES), value["currency"].as_str(), None),
            ValueShape::Range => {
                return [&value["low"], &value["high"]]
                    .into_iter()
                    .filter(|end| !end.is_null())
                    .all(|end| self.is_unit(ValueShape::Quantity, end));
            }
            _ => (None, None, None),
        };
        match &self.unit {
            QuantityUnit::Any => true,
            QuantityUnit::Named(sought) => code == Some(sought) || name == Some(sought),
            QuantityUnit::Coded { system: sought, code: sought_code } => {
                system == Some(sought) && (sought_code.is_none() || code == sought_code.as_deref())
            }
        }
    }
}
