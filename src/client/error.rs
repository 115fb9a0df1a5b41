//! Why an export fails, as a sentence for people and a kind for programs. Whatever a server says is
//! shortened and stripped of control characters before it gets into a sentence.

use std::fmt;
use std::io;
use std::path::Path;

/// What kind of thing went wrong.
///
/// ```
/// use evanesce::client::{ClientErrorKind, ExportOptions, SilentProgress, StopSignal, export};
///
/// let options = ExportOptions::new("not a URL", "/nowhere");
/// let error = export(options, SilentProgress, &StopSignal::new()).unwrap_err();
/// assert_eq!(error.kind(), ClientErrorKind::Unusable);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// The options cannot be used, or the output folder holds something else.
    Unusable,
    /// The server cannot be reached, or what answers is no FHIR Bulk Data server.
    Server,
    /// The server refuses the client: no token, a bad one, or one that allows too little.
    Unauthorized,
    /// The server refused the export, the export failed, or it is gone.
    Export,
    /// The output folder cannot be written, because its disk is full for instance.
    Disk,
    /// A file is not what the manifest says: its count, size or checksum differs.
    Differs,
    /// A time limit has passed.
    TimedOut,
    /// All files are there, but the server could not be asked to delete the export.
    NotDeleted,
    /// The export was stopped by its [`StopSignal`](super::StopSignal).
    Interrupted,
}

/// Why an export failed: a sentence that says what happened and what to do.
///
/// ```
/// # use evanesce::client::{ExportOptions, SilentProgress, StopSignal, export};
/// let error = export(ExportOptions::new("ftp://h", "out"), SilentProgress, &StopSignal::new()).unwrap_err();
/// assert!(error.to_string().contains("http"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientError {
    kind: ClientErrorKind,
    message: String,
}

impl ClientError {
    pub(super) fn new(kind: ClientErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn unusable(message: impl Into<String>) -> Self {
        Self::new(ClientErrorKind::Unusable, message)
    }

    pub(super) fn server(message: impl Into<String>) -> Self {
        Self::new(ClientErrorKind::Server, message)
    }

    /// Returns the error of a file or folder that cannot be read or written.
    pub(super) fn disk(doing: &str, path: &Path, error: &io::Error) -> Self {
        let path = path.display();
        Self::new(
            ClientErrorKind::Disk,
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
                    "cannot {doing} {path}: there is no room left; make room and run the same command again, \
                     which goes on where this one stopped"
                ),
                _ => format!("cannot {doing} {path}: {error}; is that a folder that this user can write?"),
            },
        )
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ClientErrorKind {
        self.kind
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ClientError {}

/// Why one attempt failed.
#[derive(Debug)]
pub enum AttemptError {
    /// Another attempt may succeed, after the time that the server names if it does.
    Transient(ClientError, Option<std::time::Duration>),
    /// No other attempt can succeed.
    Final(ClientError),
}

impl From<ClientError> for AttemptError {
    fn from(error: ClientError) -> Self {
        Self::Final(error)
    }
}

impl AttemptError {
    /// Returns the error, whether another attempt may succeed or not.
    pub fn into_error(self) -> ClientError {
        match self {
            Self::Transient(error, _) | Self::Final(error) => error,
        }
    }
}
