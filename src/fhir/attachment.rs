//! URLs of Binaries in attachments (O-4, K-11): a member `url`, wherever it stands, whose text
//! names a Binary of the source, as [`reference`] reads it.
//!
//! They are found in the text of a resource that is known to be JSON, by its strings: what
//! stands inside of a string is never taken for a member, and escapes hide nothing. Every type
//! is looked at: an attachment may stand in an extension, or in a contained resource, of any.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{ResourceType, reference};

static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("Binary"));

/// How the escape of a letter begins.
static ESCAPED_LETTER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));

/// Calls `found` for each such URL in `json` with the place of its text, quotes included, and the
/// id of the Binary, which consists of characters that a URL has as they are. `base_url` is the
/// source's own.
pub fn binaries(json: &str, base_url: Option<&str>, mut found: impl FnMut(Range<usize>, &str)) {
    let bytes = json.as_bytes();
    if NAME.find(bytes).is_none() && ESCAPED_LETTER.find(bytes).is_none() {
        return;
    }
    let (mut at, mut is_url) = (0, false);
    while let Some(start) = memchr::memchr(b'"', &bytes[at..]).map(|n| at + n) {
        let Some(end) = end_of(bytes, start) else { return };
        let text = &json[start..end];
        let behind = json[end..].trim_ascii_start();
        if let Some(value) = behind.strip_prefix(':') {
            is_url = value.trim_ascii_start().starts_with('"') && decoded(text) == "url";
        } else if std::mem::take(&mut is_url)
            && let Some(literal) = reference::parse(&decoded(text), base_url)
            && literal.resource_type == ResourceType::BINARY
            && literal.id.bytes().all(is_plain)
        {
            found(start..end, literal.id);
        }
        at = end;
    }
}

/// Whether a URL may have the character anywhere and it means itself.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Behind the last quote of the string whose first quote is at `start`.
fn end_of(json: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', json.get(at..)?)?;
        if json[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The text of a JSON string with its quotes; one that cannot be decoded is empty.
fn decoded(quoted: &str) -> Cow<'_, str> {
    if quoted.contains('\\') {
        serde_json::from_str::<String>(quoted).unwrap_or_default().into()
    } else {
        quoted[1..quoted.len() - 1].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<(String, String)> {
        serde_json::from_str::<serde_json::Value>(json).unwrap();
        let mut all = Vec::new();
        binaries(json, Some("https://h/r4"), |range, id| all.push((json[range].into(), id.into())));
        all
    }

    #[test]
    fn a_url_that_names_a_binary_is_found_however_it_is_written() {
        for url in [
            r#""Binary/x-1.Y""#,
            r#""Binary\/x-1.Y""#,
            r#""\u0042inary/x-1.Y""#,
            r#""Binary/x-1.Y/_history/2""#,
            r#""https://h/r4/Binary/x-1.Y""#,
            r#""https:\/\/h\/r4\/Binary\/x-1.Y\/_history\/7""#,
        ] {
            for json in [
                format!(r#"{{"url":{url}}}"#),
                format!(r#"{{"a":"\\","b":[{{"url" :	{url} ,"c":"url"}}]}}"#),
                format!(r#"{{"u\u0072l":{url},"url":["Binary/y"]}}"#),
                format!(r#"{{"a":"\"url\":","url":{url}}}"#),
            ] {
                assert_eq!(found(&json), [(url.to_string(), "x-1.Y".to_string())], "{json}");
            }
        }
        assert_eq!(found(r#"{"url":"Binary/1","a":{"url":"Binary/2"},"url":"Binary/3"}"#).len(), 3);
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for json in [
            r#"{"a":"\"url\":\"Binary/x\""}"#,
            r#"{"a":"url","b":"Binary/x"}"#,
            r#"{"a":["url","Binary/x"]}"#,
            r#"{"url":{"a":"Binary/x"}}"#,
            r#"{"url":7,"a":"Binary/x"}"#,
            r#"{"url":null,"a":["Binary/x"]}"#,
            r#"{"uri":"Binary/x"}"#,
            r#"{"url\\":"Binary/x"}"#,
            r#"{"url":"Binary"}"#,
            r#"{"url":"Binary/"}"#,
            r#"{"url":"Binary/x?y"}"#,
            r#"{"url":"Binary/x y"}"#,
            r#"{"url":"Binary/x\"y"}"#,
            r#"{"url":"Binary/ä"}"#,
            r#"{"url":"/Binary/x"}"#,
            r#"{"url":"binary/x"}"#,
            r#"{"url":"Patient/x"}"#,
            r#"{"url":"https://elsewhere/r4/Binary/x"}"#,
        ] {
            assert_eq!(found(json), [], "{json}");
        }
    }
}
