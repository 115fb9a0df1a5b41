//! `[auth]`: who may get an access token, how long it lives, and what happens to the jobs of
//! applications that are deactivated. The applications themselves are in a file of their own
//! ([`crate::auth::Registry`]).

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigDuration, ConfigError, ServerConfig};

/// `[auth]`: access tokens and the clients that may have them.
///
/// ```
/// use evanesce::config::{AuthMode, Config};
///
/// let config = Config::load(None, &["auth.applications=/etc/evanesce/applications.toml".into()])?;
/// assert_eq!(config.auth.mode, AuthMode::Smart);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// How clients say who they are. Default `smart`.
    pub mode: AuthMode,
    /// The file of population applications (TOML), which is read anew when it changes. Default:
    /// none, so that nobody can get a token.
    pub applications: Option<PathBuf>,
    /// What becomes of the queued and running jobs of an application that is deactivated or
    /// removed. Default `keep`.
    pub on_deactivation: OnDeactivation,
    /// How long an access token is good, at most 300 seconds. Default `5min`.
    pub token_lifetime: ConfigDuration,
    /// How long a key signs access tokens before another one replaces it. The old one is erased
    /// when its tokens have expired. Not less than `token_lifetime`. Default `30days`.
    pub key_rotation: ConfigDuration,
    /// How far the clocks of clients may be wrong, at most 5 minutes. Default `60s`.
    pub clock_skew: ConfigDuration,
    /// The most assertions that are remembered, so that none is accepted twice. No token is issued
    /// while there are so many. About 100 bytes of memory each. Default 1 000 000.
    pub max_replay_entries: usize,
    /// How long the fetch of a client's keys (`jwks_url`) may take. Default `5s`.
    pub jwks_timeout: ConfigDuration,
    /// The most bytes that a client's keys may have. Default 64 KiB.
    pub jwks_max_bytes: usize,
    /// Whether a `jwks_url` may lead into the networks of the server itself (loopback, private,
    /// link-local and shared addresses), and be plain http. Default false.
    pub jwks_allow_private_addresses: bool,
    /// A PEM file of certificate authorities that are trusted beside the public ones when keys are
    /// fetched. Default: none.
    pub jwks_ca_file: Option<PathBuf>,
    /// The most `jwks_url`s whose keys are remembered. Default 1000.
    pub max_jwks_cache: usize,
}

/// How clients authenticate.
///
/// ```
/// assert_eq!(evanesce::config::AuthMode::None.as_str(), "none");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// SMART Backend Services: with an access token, which they get for a signed assertion.
    Smart,
    /// Not at all: everybody who connects is the one built-in client. Only on loopback.
    None,
}

impl AuthMode {
    /// Returns the name of the mode.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smart => "smart",
            Self::None => "none",
        }
    }
}

/// What happens to the jobs of an application that is no longer active.
///
/// ```
/// use evanesce::config::{Config, OnDeactivation};
///
/// let config = Config::load(None, &["auth.applications=apps.toml".into(), "auth.on_deactivation=cancel".into()])?;
/// assert_eq!(config.auth.on_deactivation, OnDeactivation::Cancel);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OnDeactivation {
    /// They go on, and their files expire.
    Keep,
    /// They are cancelled and their files erased, at once or, if the application went while no
    /// server ran, at the start. Their receipts say `revoked` and name nobody who asked. Finished
    /// exports expire as usual.
    Cancel,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            mode: AuthMode::Smart,
            applications: None,
            on_deactivation: OnDeactivation::Keep,
            token_lifetime: ConfigDuration::seconds(300),
            key_rotation: ConfigDuration::seconds(30 * 24 * 3600),
            clock_skew: ConfigDuration::seconds(60),
            max_replay_entries: 1_000_000,
            jwks_timeout: ConfigDuration::seconds(5),
            jwks_max_bytes: 64 << 10,
            jwks_allow_private_addresses: false,
            jwks_ca_file: None,
            max_jwks_cache: 1000,
        }
    }
}

impl AuthConfig {
    /// Refuses values that would let tokens live too long, or let strangers in.
    pub(super) fn check(&self, server: &ServerConfig) -> Result<(), ConfigError> {
        let refuse = |key, reason| Err(ConfigError::Value { key, reason });
        if self.applications.is_none() && self.on_deactivation == OnDeactivation::Cancel {
            let reason = "is cancel, but there are no applications: set auth.applications".into();
            return refuse("auth.on_deactivation", reason);
        }
        if self.applications.as_ref().is_some_and(|path| path.file_name().is_none()) {
            let reason = "should name a file, such as /etc/evanesce/applications.toml".into();
            return refuse("auth.applications", reason);
        }
        // Without authentication whoever can connect is the one built-in client.
        if self.mode == AuthMode::None && !server.listen.ip().is_loopback() {
            return refuse(
                "auth.mode",
                format!(
                    "is none, and server.listen is {}: without authentication the server listens on loopback \
                     only; use auth.mode=smart with auth.applications, or listen on 127.0.0.1 or [::1] with a \
                     proxy that authenticates in front of it",
                    server.listen
                ),
            );
        }
        let times = [
            ("auth.token_lifetime", self.token_lifetime, 1, 300),
            ("auth.key_rotation", self.key_rotation, self.token_lifetime.0.as_secs(), u64::MAX),
            ("auth.clock_skew", self.clock_skew, 0, 300),
            ("auth.jwks_timeout", self.jwks_timeout, 1, 60),
        ];
        for (key, time, least, most) in times {
            let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
            if !(least..=most).contains(&time.0) {
                let most = if most.as_secs() == u64::MAX { "ever".into() } else { format!("{most:?}") };
                return refuse(key, format!("is {time:?}, should be {least:?} to {most}"));
            }
        }
        let numbers = [
            ("auth.max_replay_entries", self.max_replay_entries, 1),
            ("auth.jwks_max_bytes", self.jwks_max_bytes, 1024),
            ("auth.max_jwks_cache", self.max_jwks_cache, 1),
        ];
        for (key, number, least) in numbers {
            if number < least {
                return refuse(key, format!("is {number}, should be at least {least}"));
            }
        }
        Ok(())
    }
}
