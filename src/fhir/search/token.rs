//! Tokens: codes and identifiers, with or without their system.

use serde_json::Value;

use super::place::ValueShape;
use super::{SearchContext, escape};

/// A token to search for.
#[derive(Debug, Clone)]
pub struct SearchToken {
    system: TokenSystem,
    /// `None` after `system|`.
    code: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum TokenSystem {
    /// Any system, or none.
    Any,
    /// No system, as in `|code`.
    Absent,
    Is(String),
}

impl SearchToken {
    /// Parses `code`, `system|code`, `|code` or `system|`.
    ///
    /// # Errors
    /// Fails with the expected form.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORMS: &str = "give code, system|code, |code or system|";
        let mut parts = escape::split(text, '|');
        let first = escape::unescape(parts.next().unwrap_or_default())?;
        let second = parts.next().map(escape::unescape).transpose()?;
        if parts.next().is_some() {
            return Err("there is more than one |; give system|code, and a | that is meant as \\|");
        }
        match (first.is_empty(), second) {
            (false, None) => Ok(Self { system: TokenSystem::Any, code: Some(first) }),
            (true, Some(code)) if !code.is_empty() => {
                Ok(Self { system: TokenSystem::Absent, code: Some(code) })
            }
            (false, Some(code)) => {
                Ok(Self { system: TokenSystem::Is(first), code: Some(code).filter(|code| !code.is_empty()) })
            }
            _ => Err(FORMS),
        }
    }

    /// Parses a token that is compared with values of these shapes.
    ///
    /// # Errors
    /// Fails as [`SearchToken::parse`] does, and if the token can match none of them.
    pub fn parse_for(
        text: &str,
        mut shapes: impl Iterator<Item = ValueShape> + Clone,
    ) -> Result<Self, &'static str> {
        let token = Self::parse(text)?;
        if token.system != TokenSystem::Any && shapes.clone().all(ValueShape::is_plain) {
            return Err("these values stand without a system; give the code alone, without |");
        }
        let is_truth = |shape| shape == ValueShape::Boolean;
        if shapes.all(is_truth) && !matches!(token.code.as_deref(), Some("true" | "false")) {
            return Err("it can only be true or false");
        }
        Ok(token)
    }

    /// Returns whether a value of a resource matches.
    pub fn matches(&self, shape: ValueShape, value: &Value, search: SearchContext<'_>) -> bool {
        match (shape, value) {
            (ValueShape::Code | ValueShape::Uri, Value::String(text)) => {
                self.system == TokenSystem::Any && self.code.as_ref() == Some(text)
            }
            (ValueShape::Text, Value::String(text)) => self.system == TokenSystem::Any && self.is_code(text),
            (ValueShape::Boolean, Value::Bool(truth)) => {
                self.system == TokenSystem::Any
                    && self.code.as_deref() == Some(if *truth { "true" } else { "false" })
            }
            (ValueShape::ContactPoint, _) => {
                self.system == TokenSystem::Any
                    && value["value"].as_str().is_some_and(|text| self.is_code(text))
            }
            (ValueShape::Coding, _) => self.is(value, "code"),
            (ValueShape::CodeableConcept, _) => value["coding"]
                .as_array()
                .is_some_and(|codings| search.any(codings, |it| self.is(it, "code"))),
            (ValueShape::Identifier, _) => self.is(value, "value"),
            _ => false,
        }
    }

    /// Returns whether the object's `system` and code match.
    fn is(&self, object: &Value, code: &str) -> bool {
        let system = object["system"].as_str();
        let is_system = match &self.system {
            TokenSystem::Any => true,
            TokenSystem::Absent => system.is_none(),
            TokenSystem::Is(sought) => system == Some(sought),
        };
        is_system && (self.code.is_none() || object[code].as_str().is_some_and(|text| self.is_code(text)))
    }

    /// Compares codes without case, as the standard says for strings and where it is unknown
    /// whether a code system distinguishes case.
    fn is_code(&self, text: &str) -> bool {
        let lower = |c: char| c.to_lowercase();
        self.code.as_deref().is_some_and(|code| code.chars().flat_map(lower).eq(text.chars().flat_map(lower)))
    }
}
