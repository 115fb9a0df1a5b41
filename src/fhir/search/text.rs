//! Strings: words at the beginning of a text or within it, or the whole text.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::SearchContext;
use super::place::ValueShape;

/// How a text must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextMode {
    /// It begins with the words, ignoring case, accents and punctuation.
    Start,
    /// It contains the words, ignoring case, accents and punctuation.
    Contains,
    /// It is exactly this text.
    Exact,
}

/// Words to search for.
#[derive(Debug, Clone)]
pub struct SearchWords {
    mode: TextMode,
    sought: String,
}

impl SearchWords {
    /// Creates a search for a text without escapes.
    ///
    /// # Errors
    /// Fails if nothing of the text can be compared.
    pub fn new(mode: TextMode, text: &str) -> Result<Self, &'static str> {
        let sought = if mode == TextMode::Exact { text.to_owned() } else { folded(text, || false) };
        if sought.is_empty() {
            return Err("give a word: punctuation, accents and spaces are not compared");
        }
        Ok(Self { mode, sought })
    }

    /// Returns whether a value of a resource has the words, in any of its parts.
    pub fn matches(&self, shape: ValueShape, value: &Value, search: SearchContext<'_>) -> bool {
        let parts: &[&str] = match shape {
            ValueShape::Text => return self.are_in(value, search),
            ValueShape::HumanName => &["text", "family", "given", "prefix", "suffix"],
            ValueShape::Address => &["text", "line", "city", "district", "state", "postalCode", "country"],
            _ => return false,
        };
        parts.iter().any(|part| self.are_in(&value[part], search))
    }

    /// Returns whether the text of a coded value has the words (`:text`).
    pub fn describe(&self, shape: ValueShape, value: &Value, search: SearchContext<'_>) -> bool {
        match shape {
            ValueShape::Coding => self.are_in(&value["display"], search),
            ValueShape::CodeableConcept => {
                let codings = value["coding"].as_array();
                self.are_in(&value["text"], search)
                    || codings
                        .is_some_and(|codings| search.any(codings, |it| self.are_in(&it["display"], search)))
            }
            ValueShape::Identifier => self.are_in(&value["type"]["text"], search),
            _ => false,
        }
    }

    fn are_in(&self, value: &Value, search: SearchContext<'_>) -> bool {
        match value {
            Value::Array(items) => search.any(items, |item| self.are_in(item, search)),
            Value::String(text) if self.mode == TextMode::Exact => *text == self.sought,
            Value::String(text) => {
                let folded = folded(text, || search.cancel.is_cancelled());
                match self.mode {
                    TextMode::Start => folded.starts_with(&self.sought),
                    TextMode::Contains | TextMode::Exact => folded.contains(&self.sought),
                }
            }
            _ => false,
        }
    }
}

/// Returns whether [`SearchWords::describe`] can match values of that shape.
pub fn has_text(shape: ValueShape) -> bool {
    matches!(shape, ValueShape::Coding | ValueShape::CodeableConcept | ValueShape::Identifier)
}

/// Returns the text in lower case, without accents and ASCII punctuation, with single spaces. Stops
/// when `is_over` returns true; it is called for each character.
fn folded(text: &str, is_over: impl Fn() -> bool) -> String {
    let lower = text.nfd().flat_map(char::to_lowercase);
    let mut folded = String::with_capacity(text.len());
    for c in lower.filter(|c| !is_combining_mark(*c) && !c.is_ascii_punctuation()) {
        if is_over() {
            break;
        }
        if !c.is_whitespace() {
            folded.push(c);
        } else if !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    folded
}
