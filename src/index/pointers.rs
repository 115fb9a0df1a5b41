//! What a resource points to outside of compartments: Organizations, Practitioners and their
//! like, which a Patient or Group export carries along (K-10, K-17).
//!
//! Every `reference` member counts, wherever it stands. The line is known to be JSON by now,
//! and in JSON a quote that has no backslash before it begins or ends a string: so the bytes
//! `"reference"` followed by a colon are a key and nothing else, and need no second parse.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::key::{Key, key};
use crate::fhir::reference::{self, Literal};

static REFERENCE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"reference\""));

/// How the escape of a letter begins.
static ESCAPED_LETTER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));

/// The resources that a line points to, each once.
#[derive(Default)]
pub struct Pointers(Vec<Key>);

impl Pointers {
    /// Their names, in order.
    pub fn keys(&self) -> &[Key] {
        &self.0
    }

    /// Reads those of another line: valid JSON.
    pub fn find(&mut self, json: &str, base_url: Option<&str>) {
        self.0.clear();
        each_reference(json, base_url, |literal| {
            if literal.resource_type.is_referred_to() {
                self.0.push(key(literal.key));
            }
        });
        self.0.sort_unstable();
        self.0.dedup();
    }
}

/// Tells what the `reference` members of a line refer to, in their order: valid JSON.
pub fn each_reference(json: &str, base_url: Option<&str>, mut tell: impl FnMut(Literal<'_>)) {
    let json = &*without_escaped_letters(json);
    for at in REFERENCE.find_iter(json.as_bytes()) {
        if at > 0 && json.as_bytes()[at - 1] == b'\\' {
            continue;
        }
        let after_key = json[at + REFERENCE.needle().len()..].trim_ascii_start();
        let Some(value) = after_key.strip_prefix(':') else { continue };
        let Some(text) = value.trim_ascii_start().strip_prefix('"') else { continue };
        let Some(end) = memchr::memchr2(b'"', b'\\', text.as_bytes()) else { continue };
        let plain = &text[..end];
        let decoded = if text.as_bytes()[end] == b'"' { Cow::Borrowed(plain) } else { decode(text) };
        reference::parse(&decoded, base_url).into_iter().for_each(&mut tell);
    }
}

/// Decodes a JSON string with escapes, given without its first quote.
fn decode(text: &str) -> Cow<'_, str> {
    let quoted = format!("\"{text}");
    let mut strings = serde_json::Deserializer::from_str(&quoted).into_iter::<String>();
    // The text was checked before; one that cannot be decoded names nothing.
    strings.next().and_then(Result::ok).unwrap_or_default().into()
}

/// The same JSON with its letters written as themselves: a key may be `refer\u0065nce`.
fn without_escaped_letters(json: &str) -> Cow<'_, str> {
    if ESCAPED_LETTER.find(json.as_bytes()).is_none() {
        return Cow::Borrowed(json);
    }
    let mut plain = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let letter = rest[at..].strip_prefix("\\u00").and_then(|hex| hex.get(..2));
        let letter = letter.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii_alphabetic);
        plain.push_str(&rest[..at]);
        match letter {
            Some(letter) => {
                plain.push(char::from(letter));
                rest = &rest[at + 6..];
            }
            // The backslash and what it escapes, one character at least.
            None => {
                let end = at + 1 + rest[at + 1..].chars().next().map_or(0, char::len_utf8);
                plain.push_str(&rest[at..end]);
                rest = &rest[end..];
            }
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<Key> {
        let mut pointers = Pointers::default();
        serde_json::from_str::<serde_json::Value>(json).unwrap();
        pointers.find(json, None);
        pointers.keys().to_vec()
    }

    #[test]
    fn a_pointer_is_a_reference_member_at_any_depth() {
        let x = vec![key("Organization/x")];
        assert_eq!(found(r#"{"a":[{"b":{"reference":"Organization/x"}}]}"#), x);
        assert_eq!(found(r#"{"reference" : "Organization\/x"}"#), x);
        assert_eq!(found(r#"{"refer\u0065nce":"Organization/x"}"#), x);
        assert_eq!(found(r#"{"a":"\\","reference":"Organi\u007aation/x/_history/3"}"#), x);
        assert_eq!(found(r#"{"reference":"Organization/x","b":{"reference":"Organization/x"}}"#), x);
    }

    #[test]
    fn text_that_looks_like_a_reference_is_none() {
        for json in [
            r#"{"a":"\"reference\":\"Organization/x\""}"#,
            r#"{"a":"\\\"reference\":\"Organization/x"}"#,
            r#"{"a":"reference","b":"Organization/x"}"#,
            r#"{"reference":{"a":"Organization/x"}}"#,
            r#"{"refer\\u0065nce":"Organization/x"}"#,
            r#"{"\"reference":"Organization/x"}"#,
            r#"{"reference":"Patient/x"}"#,
            r#"{"reference":"\"Organization/x"}"#,
        ] {
            assert_eq!(found(json), [] as [Key; 0], "{json}");
        }
    }
}
