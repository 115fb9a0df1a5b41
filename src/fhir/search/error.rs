//! Why a filter is refused: what was wrong and what would be right.

use std::fmt;

use super::super::quoted::quoted;

/// Whether a filter is wrong, or right and beyond this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It is no search of FHIR R4, or one that a `_typeFilter` must not be.
    Invalid,
    /// FHIR R4 has it, or might; this server does not.
    Unsupported,
}

/// A filter that is refused. Its text is for the client that sent the filter, and for nobody
/// else (P12).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct FilterError {
    kind: ErrorKind,
    text: String,
}

impl FilterError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, text: text.into() }
    }

    pub(super) fn unsupported(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, text: text.into() }
    }

    /// A value of the parameter `code` that is none.
    pub(super) fn bad_value(code: &str, value: &str, reason: impl fmt::Display) -> Self {
        Self::invalid(format!("{code} has the value {}: {reason}.", quoted(value)))
    }
}
