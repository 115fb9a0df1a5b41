//! `[admin]`: the operator's listener.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[admin]`: the listener for operators, beside the one for clients.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["admin.listen=127.0.0.1:9081".into()])?;
/// assert_eq!(config.admin.listen, Some(([127, 0, 0, 1], 9081).into()));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Whether operators are served. Default true.
    pub enabled: bool,
    /// Address to listen on, a loopback one; port 0 takes a free one. One that is set and taken is an
    /// error. Default: `127.0.0.1:8081`, or a free port if another program has that one.
    pub listen: Option<SocketAddr>,
    /// The file with the token that operators send. Default: `operator-token` in the data
    /// directory, which is made at the first start.
    pub token_file: Option<PathBuf>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { enabled: true, listen: None, token_file: None }
    }
}

impl AdminConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Some(listen) = self.listen.filter(|listen| !listen.ip().is_loopback()) else { return Ok(()) };
        let reason = format!(
            "is {listen}: operators are served on loopback only; use 127.0.0.1 or [::1], and a tunnel or a \
             proxy with TLS in front of it"
        );
        Err(ConfigError::Value { key: "admin.listen", reason })
    }
}
