//! `[admin]`: the operator's listener.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::{ConfigDuration, ConfigError};

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
    /// Further names that the console and the operators' listener answer for, such as that of a proxy with
    /// TLS in front of them; the names of loopback always count. Default: none.
    #[serde(deserialize_with = "names")]
    pub hosts: Vec<String>,
    /// How long a session of the console may be idle. Default `1h`.
    pub session_idle: ConfigDuration,
    /// How long a session of the console may last. Default `12h`.
    pub session_lifetime: ConfigDuration,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: None,
            token_file: None,
            hosts: Vec::new(),
            session_idle: ConfigDuration::seconds(3600),
            session_lifetime: ConfigDuration::seconds(12 * 3600),
        }
    }
}

impl AdminConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let no_name = self.hosts.iter().find(|name| !is_host(name));
        if let Some(name) = no_name {
            let reason = format!("has {name:?}, which is no host; use a name such as console.example.org");
            return Err(ConfigError::Value { key: "admin.hosts", reason });
        }
        let Some(listen) = self.listen.filter(|listen| !listen.ip().is_loopback()) else { return Ok(()) };
        let reason = format!(
            "is {listen}: operators are served on loopback only; use 127.0.0.1 or [::1], and a tunnel or a \
             proxy with TLS in front of it"
        );
        Err(ConfigError::Value { key: "admin.listen", reason })
    }
}

/// Reads a list of names, as in a file, or a text with commas, as in a flag or a variable.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NameTexts {
        List(Vec<String>),
        Text(String),
    }
    Ok(match NameTexts::deserialize(deserializer)? {
        NameTexts::List(names) => names,
        NameTexts::Text(text) => {
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        }
    })
}

fn is_host(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn hosts_are_names_without_scheme_port_or_path() {
        let hosts = |text: &str| Config::load(None, &[format!("admin.hosts={text}")]);
        let names = hosts("console.example.org, Other.example").unwrap().admin.hosts;
        assert_eq!(names, ["console.example.org", "Other.example"]);
        assert!(hosts("").unwrap().admin.hosts.is_empty());
        for wrong in ["https://x.example", "x.example:8443", "x.example/console", "*", "a b"] {
            let error = hosts(wrong).unwrap_err().to_string();
            assert!(
                error.contains("admin.hosts") && error.contains("such as console.example.org"),
                "{error}"
            );
        }
    }
}
