//! `[auth]`: who may. The population applications, and what becomes of their jobs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[auth]`: who may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The file of population applications (TOML), which is read anew when it changes. Default:
    /// none.
    pub applications: Option<PathBuf>,
    /// What becomes of the queued and running jobs of an application that is deactivated or
    /// removed while the server runs. Default `keep`.
    pub on_deactivation: OnDeactivation,
}

/// What becomes of the jobs of an application that may do nothing any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDeactivation {
    /// They go on, and what they wrote expires.
    #[default]
    Keep,
    /// They are cancelled, and what they wrote is erased; their receipts say `revoked`.
    Cancel,
}

impl Auth {
    /// Refuses what no server could work with.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.applications.is_none() && self.on_deactivation == OnDeactivation::Cancel {
            let reason = "is cancel, but there are no applications: set auth.applications".into();
            return Err(ConfigError::Value { key: "auth.on_deactivation", reason });
        }
        if self.applications.as_ref().is_some_and(|path| path.file_name().is_none()) {
            let reason = "should name a file, such as /etc/evanesce/applications.toml".into();
            return Err(ConfigError::Value { key: "auth.applications", reason });
        }
        Ok(())
    }
}
