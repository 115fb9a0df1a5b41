//! Names at the borders: job, tenant and client ids as types of their own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not the name it should be.
///
/// ```
/// assert!("no spaces".parse::<evanesce::ClientId>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}")]
pub struct InvalidName {
    what: &'static str,
}

/// The id of one export job: a random UUID, written in lower case with hyphens.
///
/// ```
/// use evanesce::JobId;
///
/// let job = JobId::random();
/// assert_eq!(job.to_string().parse::<JobId>()?, job);
/// # Ok::<_, evanesce::InvalidName>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// Returns a new random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Returns the 16 bytes of the id, as used in keys of the store.
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Creates the id from the bytes that [`as_bytes`](Self::as_bytes) returned.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl InvalidName {
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = InvalidName;

    /// Accepts only the canonical form, so that one job has one URL and one directory name.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = InvalidName { what: "job id (a UUID in lower case)" };
        let uuid = Uuid::try_parse(text).map_err(|_| invalid.clone())?;
        let id = Self(uuid);
        if id.to_string() == text { Ok(id) } else { Err(invalid) }
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                let is_path = text.bytes().all(|byte| byte == b'.');
                if (1..=128).contains(&text.len()) && text.chars().all(good) && !is_path {
                    Ok(Self(text))
                } else {
                    Err(InvalidName { what: $what })
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The tenant whose data a job exports: the `{tenant}` of `/r4/{tenant}` (G-1).
    /// 1 to 128 characters of `A-Z a-z 0-9 - _ .`, not dots alone.
    ///
    /// ```
    /// assert_eq!("north".parse::<evanesce::TenantId>()?.as_str(), "north");
    /// assert!("north/../south".parse::<evanesce::TenantId>().is_err());
    /// # Ok::<_, evanesce::InvalidName>(())
    /// ```
    TenantId,
    "tenant (1 to 128 characters of A-Z a-z 0-9 - _ ., not dots alone)"
);

name_type!(
    /// The client that kicked a job off and alone may see and delete it (P10).
    /// 1 to 128 characters of `A-Z a-z 0-9 - _ .`, not dots alone.
    ///
    /// ```
    /// assert_eq!("my-client".parse::<evanesce::ClientId>()?.to_string(), "my-client");
    /// # Ok::<_, evanesce::InvalidName>(())
    /// ```
    ClientId,
    "client id (1 to 128 characters of A-Z a-z 0-9 - _ ., not dots alone)"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_has_one_spelling() {
        let id = JobId::random();
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        let upper = id.to_string().to_uppercase();
        let braced = format!("{{{id}}}");
        let simple = id.to_string().replace('-', "");
        for bad in [upper.as_str(), &braced, &simple, "", "..", "../x"] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_refuse_what_could_be_a_path_or_a_line() {
        for bad in ["", ".", "..", "a/b", "a b", "a\nb", "é", &"x".repeat(129)] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad:?}");
        }
        assert!("default".parse::<TenantId>().is_ok());
    }
}
