//! The references of a resource to others outside of compartments, such as Organizations and
//! Practitioners, which a Patient or Group export includes (K-10, K-17).
//!
//! Every `reference` member counts, wherever it stands. The line is known to be JSON, where a quote
//! without a backslash before it begins or ends a string. So the bytes `"reference"` followed by a
//! colon are a key and nothing else, and need no second parse.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::key::{ResourceKey, key};
use crate::cancel::{CancelToken, TokenFired};
use crate::fhir::reference::{BaseUrls, LiteralReference};

static REFERENCE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"reference\""));

/// How the escape of a letter begins.
static ESCAPED_LETTER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));

/// Longest reference in bytes that is read, with its quotes.
const LONGEST_REFERENCE: usize = 64 << 10;

/// The resources that a line refers to, each once.
#[derive(Default)]
pub struct ResourcePointers(Vec<ResourceKey>);

impl ResourcePointers {
    /// Returns their names, in order.
    pub fn keys(&self) -> &[ResourceKey] {
        &self.0
    }

    /// Finds the references of another line, which is valid JSON.
    ///
    /// # Errors
    /// Fails if the token has fired.
    pub fn find(&mut self, json: &str, bases: &BaseUrls, cancel: &CancelToken) -> Result<(), TokenFired> {
        self.0.clear();
        each_reference(json.as_bytes(), bases, cancel, |literal| {
            if literal.resource_type.is_referred_to() {
                self.0.push(key(literal.key));
            }
        })?;
        cancel.sort_once(&mut self.0)
    }
}

/// Visits what the `reference` members of a line refer to, in order. The line is valid JSON.
pub fn each_reference(
    json: &[u8],
    bases: &BaseUrls,
    cancel: &CancelToken,
    mut tell: impl FnMut(LiteralReference<'_>),
) -> Result<(), TokenFired> {
    let json = without_escaped_letters(json, cancel)?;
    let mut from = 0;
    while let Some(at) = cancel.find(&REFERENCE, &json, from)? {
        from = at + REFERENCE.needle().len();
        if at > 0 && json[at - 1] == b'\\' {
            continue;
        }
        let colon = cancel.skip_blanks(&json, from)?;
        if json.get(colon) != Some(&b':') {
            continue;
        }
        let start = cancel.skip_blanks(&json, colon + 1)?;
        if json.get(start) != Some(&b'"') {
            continue;
        }
        let Some(end) = cancel.end_of_string(&json, start)? else { continue };
        if let Some(text) = decoded(&json[start..end]) {
            bases.parse(&text).into_iter().for_each(&mut tell);
        }
    }
    Ok(())
}

/// Decodes a JSON string with its quotes. One that is longer than any reference, or cannot be
/// decoded, names nothing.
fn decoded(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let quoted = std::str::from_utf8(quoted).ok().filter(|text| text.len() <= LONGEST_REFERENCE)?;
    if quoted.contains('\\') {
        return serde_json::from_str::<String>(quoted).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(&quoted[1..quoted.len() - 1]))
}

/// Returns the same JSON without escaped letters: a key may be `refer\u0065nce`.
fn without_escaped_letters<'j>(json: &'j [u8], cancel: &CancelToken) -> Result<Cow<'j, [u8]>, TokenFired> {
    if cancel.find(&ESCAPED_LETTER, json, 0)?.is_none() {
        return Ok(Cow::Borrowed(json));
    }
    let mut plain = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        cancel.append(&rest[..at], &mut plain)?;
        let hex = rest[at..].strip_prefix(b"\\u00").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok());
        let letter = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii_alphabetic);
        let taken = match letter {
            Some(letter) => {
                plain.push(letter);
                6
            }
            // The backslash and what it escapes; what follows of a character stays as it is.
            None => {
                plain.extend_from_slice(rest.get(at..at + 2).unwrap_or(&rest[at..]));
                2
            }
        };
        cancel.check()?;
        rest = rest.get(at + taken..).unwrap_or_default();
    }
    cancel.append(rest, &mut plain)?;
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<ResourceKey> {
        let mut pointers = ResourcePointers::default();
        serde_json::from_str::<serde_json::Value>(json).unwrap();
        pointers.find(json, &BaseUrls::NONE, &CancelToken::new()).unwrap();
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
            assert_eq!(found(json), [] as [ResourceKey; 0], "{json}");
        }
    }
}
