//! URLs of Binaries in attachments (O-4, K-11): members `url`, anywhere in a resource, that name a
//! Binary of the source, as [`reference`] parses it.
//!
//! The text is known to be JSON, and is scanned by its strings. What is inside a string is never
//! taken for a member, and escapes hide nothing. All types are scanned, because any resource may
//! have an attachment in an extension or in a contained resource.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::ResourceType;
use super::reference::BaseUrls;
use crate::cancel::{CancelToken, TokenFired};

static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("Binary"));

/// How the escape of a letter begins.
static ESCAPED_LETTER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));

/// Longest string in bytes that may be a key or name a Binary.
const LONGEST_TEXT: usize = 64 << 10;

/// Calls `found` for each such URL in `json`, with the range of its text, including the quotes, and
/// the Binary's id, which needs no escapes in a URL. `bases` are those of the source. URLs of more
/// than 64 KiB are skipped.
///
/// # Errors
/// Fails if the token has fired.
pub fn binaries(
    json: &[u8],
    bases: &BaseUrls,
    cancel: &CancelToken,
    mut found: impl FnMut(Range<usize>, &str),
) -> Result<(), TokenFired> {
    if cancel.find(&NAME, json, 0)?.is_none() && cancel.find(&ESCAPED_LETTER, json, 0)?.is_none() {
        return Ok(());
    }
    let (mut at, mut is_url) = (0, false);
    while let Some(start) = memchr::memchr(b'"', &json[at..]).map(|n| at + n) {
        let Some(end) = cancel.end_of_string(json, start)? else { break };
        let text = &json[start..end];
        let behind = cancel.skip_blanks(json, end)?;
        if json.get(behind) == Some(&b':') {
            let value = cancel.skip_blanks(json, behind + 1)?;
            is_url = json.get(value) == Some(&b'"') && decoded(text) == "url";
        } else if std::mem::take(&mut is_url)
            && let Some(literal) = bases.parse(&decoded(text))
            && literal.resource_type == ResourceType::BINARY
            && literal.id.bytes().all(is_plain)
        {
            found(start..end, literal.id);
        }
        at = end;
    }
    Ok(())
}

/// Returns whether a URL may have the byte anywhere, meaning itself.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Decodes a JSON string with its quotes. Returns an empty text if it cannot be decoded or is too
/// long to matter.
fn decoded(quoted: &[u8]) -> Cow<'_, str> {
    if quoted.len() > LONGEST_TEXT {
        return "".into();
    }
    match std::str::from_utf8(quoted) {
        Ok(text) if text.contains('\\') => serde_json::from_str::<String>(text).unwrap_or_default().into(),
        Ok(text) => text[1..text.len() - 1].into(),
        Err(_) => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<(String, String)> {
        serde_json::from_str::<serde_json::Value>(json).unwrap();
        let mut all = Vec::new();
        let found = |range: Range<usize>, id: &str| all.push((json[range].into(), id.into()));
        binaries(json.as_bytes(), &BaseUrls::new(["https://h/r4"]), &CancelToken::new(), found).unwrap();
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
    fn p13_a_line_is_looked_through_with_a_look_at_each_string_and_each_escape() {
        let strings = format!(r#"{{"a":[{}"Binary"]}}"#, r#""b","#.repeat(1000));
        let escapes = format!(r#"{{"a":"{}Binary"}}"#, r"\n".repeat(1000));
        for json in [strings, escapes] {
            let cancel = CancelToken::at_look(500);
            assert_eq!(binaries(json.as_bytes(), &BaseUrls::NONE, &cancel, |_, _| {}), Err(TokenFired));
            assert_eq!(cancel.looks(), 500);
        }
        let url = format!(r#"{{"url":"Binary/{}"}}"#, "x".repeat(LONGEST_TEXT - 9));
        assert_eq!(found(&url).len(), 1);
        assert_eq!(found(&url.replacen("xx", "xxx", 1)).len(), 0);
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
