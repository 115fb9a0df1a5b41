//! What a server says, made fit for a terminal: on one line, short, without control characters and
//! without those that turn the direction of a text.

use serde::Deserialize;

/// The most characters of a text that are shown.
pub const LONGEST_TEXT: usize = 300;

/// The most issues of an OperationOutcome that are shown.
const MOST_ISSUES: usize = 3;

/// Returns the text on one line, with at most `longest` characters.
pub fn words(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    let mut length = 0;
    let mut wants_space = false;
    for symbol in text.chars() {
        if symbol.is_whitespace() || is_unsafe(symbol) {
            wants_space = length > 0;
            continue;
        }
        if length + usize::from(wants_space) >= longest {
            shown.push('…');
            break;
        }
        if std::mem::take(&mut wants_space) {
            shown.push(' ');
            length += 1;
        }
        shown.push(symbol);
        length += 1;
    }
    shown
}

/// Returns whether a character could control a terminal or hide what stands beside it.
fn is_unsafe(symbol: char) -> bool {
    let is_invisible = matches!(
        symbol,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    );
    symbol.is_control() || is_invisible
}

/// What an OperationOutcome says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeWords {
    /// The issue codes, as the server wrote them.
    pub codes: Vec<String>,
    /// The texts of the first issues.
    pub text: String,
}

#[derive(Deserialize)]
struct OutcomeBody {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    issue: Vec<IssueBody>,
}

#[derive(Deserialize)]
struct IssueBody {
    #[serde(default)]
    code: String,
    #[serde(default)]
    diagnostics: Option<String>,
    #[serde(default)]
    details: Option<DetailsBody>,
}

#[derive(Deserialize)]
struct DetailsBody {
    #[serde(default)]
    text: Option<String>,
}

/// Reads an OperationOutcome. Returns `None` if the body is none.
pub fn outcome(body: &[u8]) -> Option<OutcomeWords> {
    let outcome: OutcomeBody = serde_json::from_slice(body).ok()?;
    if outcome.resource_type != "OperationOutcome" {
        return None;
    }
    let codes = outcome.issue.iter().map(|issue| words(&issue.code, 40)).collect();
    let texts = outcome.issue.into_iter().take(MOST_ISSUES).map(|issue| {
        let details = issue.details.and_then(|details| details.text);
        details.or(issue.diagnostics).unwrap_or(issue.code)
    });
    let text = words(&texts.collect::<Vec<_>>().join("; "), LONGEST_TEXT);
    Some(OutcomeWords { codes, text })
}

/// Returns what an OperationOutcome says as the end of a sentence; nothing if the body is none.
pub fn said(body: &[u8]) -> String {
    let outcome = outcome(body).filter(|outcome| !outcome.text.is_empty());
    outcome.map(|outcome| format!(": {}", outcome.text)).unwrap_or_default()
}

/// Returns whether a body is a page for people.
pub fn is_html(content_type: &str, body: &[u8]) -> bool {
    let begins_with_tag = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<');
    content_type.to_ascii_lowercase().contains("html") || begins_with_tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_a_servers_words_are_short_on_one_line_and_cannot_control_a_terminal() {
        assert_eq!(words("a\u{1b}[31mb\n\n c\t\u{202e}d\u{9b}", 300), "a [31mb c d");
        assert_eq!(words(&"é".repeat(301), 300), format!("{}…", "é".repeat(300)));
        assert_eq!(words(&"é".repeat(300), 300), "é".repeat(300));
        assert_eq!(words(" \u{1b}\u{7} ", 300), "");
    }

    #[test]
    fn an_outcome_is_told_in_its_own_words() {
        let body = br#"{"resourceType":"OperationOutcome","issue":[
            {"severity":"error","code":"not-found","details":{"text":"There is\u001b[2J no group."}},
            {"severity":"error","code":"invalid","diagnostics":"And more."},{"code":"x"},{"code":"y"}]}"#;
        let outcome = outcome(body).unwrap();
        assert_eq!(outcome.codes, ["not-found", "invalid", "x", "y"]);
        assert_eq!(outcome.text, "There is [2J no group.; And more.; x");
        assert_eq!(super::outcome(b"{\"resourceType\":\"Patient\"}"), None);
        assert_eq!(super::outcome(b"<html>"), None);
    }

    #[test]
    fn a_page_for_people_is_recognized() {
        assert!(is_html("text/html; charset=utf-8", b""));
        assert!(is_html("", b"\n <!DOCTYPE html>"));
        assert!(!is_html("application/json", b"{}"));
    }
}
