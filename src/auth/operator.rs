//! The operators' token: a file that only the server's user can read. Whoever can read it may see
//! and end every job.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;

use crate::plain_file::{self, LinkPolicy};

/// The file name in the data directory if the settings name none.
#[cfg(feature = "cli")]
pub const TOKEN_FILE: &str = "operator-token";

/// Largest file in bytes.
const MAX_BYTES: u64 = 1 << 16;

/// Least length of a token.
const SHORTEST: usize = 32;

/// The token that an operator must send.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// let path = tempfile::tempdir()?.path().join("operator-token");
/// let token = OperatorToken::open(&path).err();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OperatorToken(String);

impl OperatorToken {
    /// Reads the token from a file. If there is no file, creates one with a random token of 256
    /// bits.
    ///
    /// # Errors
    /// Fails if the file cannot be read or created, or has fewer than 32 characters.
    pub fn open(path: &Path) -> io::Result<Self> {
        let token = match plain_file::read_text(path, LinkPolicy::Follow, MAX_BYTES) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path)?,
            Err(error) => return Err(error),
        };
        if token.len() < SHORTEST {
            let reason = format!("it has fewer than {SHORTEST} characters; remove it, and one is made");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        if std::fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "others can read the operator's token; chmod 600 it");
        }
        Ok(Self(token))
    }

    /// A file that a crash cut short is refused at the next start and never believed.
    fn make(path: &Path) -> io::Result<String> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| io::Error::other("no random bytes are available"))?;
        let token = hex::encode(bytes);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(token)
    }

    /// Compares `given` with the token, in constant time.
    pub(crate) fn is(&self, given: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), given.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_the_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TOKEN_FILE);
        let made = OperatorToken::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), 64);
        assert!(made.is(text.trim()) && OperatorToken::open(&path).unwrap().is(text.trim()));
        for other in ["", &text.trim()[1..], &text.to_uppercase(), "0"] {
            assert!(!made.is(other), "{other}");
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(OperatorToken::open(&path).is_err());
    }
}
