//! The OperationOutcome (REQUIREMENTS section 11): one issue, its text in `details`, and an id that
//! a client can quote to support.

use serde::Serialize;
use uuid::Uuid;

/// R4 `issue-severity`: error with 4xx, fatal with 5xx, information with success (G-9).
///
/// ```
/// use evanesce::{IssueCode, OperationOutcome, Severity};
///
/// let outcome = OperationOutcome::new(Severity::Error, IssueCode::NotFound, "There is no such row.");
/// assert!(outcome.to_json().contains(r#""severity":"error""#));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the standard's names")]
pub enum Severity {
    Fatal,
    Error,
    Warning,
    Information,
}

/// R4 `issue-type`, as far as it is used here, always in lower case (C8).
///
/// ```
/// let code = serde_json::to_value(evanesce::IssueCode::NotSupported)?;
/// assert_eq!(code, "not-supported");
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the standard's names")]
pub enum IssueCode {
    Structure,
    Invalid,
    NotSupported,
    NotFound,
    Deleted,
    TooLong,
    TooCostly,
    Processing,
    Security,
    Throttled,
    Transient,
    NoStore,
    Exception,
    Timeout,
    Duplicate,
    Login,
    Conflict,
    Expired,
    Forbidden,
}

/// An OperationOutcome with one issue.
///
/// ```
/// use evanesce::{IssueCode, OperationOutcome, Severity};
///
/// let outcome = OperationOutcome::new(Severity::Warning, IssueCode::Invalid, "One row has no id.");
/// assert!(outcome.to_json().contains("One row has no id."));
/// assert!(outcome.with_reference().to_json().contains("Reference id for support"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationOutcome {
    resource_type: &'static str,
    id: Uuid,
    issue: [OutcomeIssue; 1],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct OutcomeIssue {
    severity: Severity,
    code: IssueCode,
    details: IssueDetails,
    /// The same text again unless the severity is information, because clients show one or the
    /// other.
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostics: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct IssueDetails {
    text: String,
}

impl OperationOutcome {
    /// Creates an outcome with a fresh id and this text.
    pub fn new(severity: Severity, code: IssueCode, text: impl Into<String>) -> Self {
        let text = text.into();
        let diagnostics = (severity != Severity::Information).then(|| text.clone());
        let issue = OutcomeIssue { severity, code, details: IssueDetails { text }, diagnostics };
        Self { resource_type: "OperationOutcome", id: Uuid::new_v4(), issue: [issue] }
    }

    /// Adds `Reference id for support: [<id>].` to the text, as Soarian writes errors.
    pub fn with_reference(mut self) -> Self {
        let issue = &mut self.issue[0];
        for text in [Some(&mut issue.details.text), issue.diagnostics.as_mut()].into_iter().flatten() {
            *text = format!("{text} Reference id for support: [{}].", self.id);
        }
        self
    }

    /// Returns the outcome as JSON, on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and enums always serialize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_a_resource_with_the_same_id_twice() {
        let outcome =
            OperationOutcome::new(Severity::Error, IssueCode::NotFound, "Unknown.").with_reference();
        let json: serde_json::Value = serde_json::from_str(&outcome.to_json()).unwrap();
        assert_eq!(json["resourceType"], "OperationOutcome");
        assert_eq!(json["issue"][0]["severity"], "error");
        assert_eq!(json["issue"][0]["code"], "not-found");
        let id = json["id"].as_str().unwrap();
        let text = format!("Unknown. Reference id for support: [{id}].");
        assert_eq!(json["issue"][0]["details"]["text"], text);
        assert_eq!(json["issue"][0]["diagnostics"], text);
    }

    #[test]
    fn d_5_a_success_has_its_text_once() {
        let outcome = OperationOutcome::new(Severity::Information, IssueCode::Processing, "Done.");
        let json: serde_json::Value = serde_json::from_str(&outcome.to_json()).unwrap();
        let issue = serde_json::json!({"severity": "information", "code": "processing", "details": {"text": "Done."}});
        assert_eq!(json["issue"][0], issue);
    }
}
