//! Why a filter is refused: what is wrong and what would be right.

use std::fmt;

use super::super::quoted::quoted;

/// Whether a filter is wrong, or beyond this server.
///
/// ```
/// use evanesce::{FilterErrorKind, TypeFilter};
///
/// let kind = |text| TypeFilter::parse(text).unwrap_err().kind();
/// assert_eq!(kind("Patient"), FilterErrorKind::Invalid);
/// assert_eq!(kind("Patient?nonsense=1"), FilterErrorKind::Unsupported);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It is not a search of FHIR R4, or not allowed in a `_typeFilter`.
    Invalid,
    /// FHIR R4 may have it, but this server does not.
    Unsupported,
}

/// A refused filter. The text is only for the client that sent the filter (P12).
///
/// ```
/// let error = evanesce::TypeFilter::parse("Patient").unwrap_err();
/// assert!(error.to_string().contains("Observation?status=final"), "it says what would be right");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct FilterError {
    kind: ErrorKind,
    text: String,
}

impl FilterError {
    /// Returns whether the filter is wrong or unsupported.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, text: text.into() }
    }

    pub(super) fn unsupported(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, text: text.into() }
    }

    /// Refuses a value of the parameter `code`.
    pub(super) fn bad_value(code: &str, value: &str, reason: impl fmt::Display) -> Self {
        Self::invalid(format!("{code} has the value {}: {reason}.", quoted(value)))
    }
}
