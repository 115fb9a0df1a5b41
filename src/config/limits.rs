//! `[limits]`: how much of the server one client, or all clients together, may use.

use serde::{Deserialize, Serialize};

use super::networks::NetworkSet;
use super::{Config, ConfigDuration, ConfigError};

/// `[limits]`: connections, requests, and how long a client may take over each step (G-11).
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["limits.downloads=8".into()])?;
/// assert_eq!(config.limits.downloads, 8);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Addresses whose connections and requests are not counted by address, such as those of monitors.
    /// Default: loopback.
    pub exempt: NetworkSet,
    /// The most open connections. More are closed unanswered. 0 = as many as the limit of open files
    /// leaves, at most 10000. Default 0.
    pub connections: usize,
    /// The most open connections of one address (for IPv6, of one /64). Trusted proxies have no limit.
    /// 0 = no limit. Default 100.
    pub connections_per_address: usize,
    /// Requests per second of one address (for IPv6, of one /64) in the long run. Those of ten seconds
    /// may come at once; more get 429. 0 = no limit. Default 50.
    pub requests_per_second_per_address: u32,
    /// Requests per second of one client from all addresses, with the same burst. 0 = no limit. Default
    /// 100.
    pub requests_per_second_per_client: u32,
    /// Requests per minute of one address at the token endpoint. Those of a minute may come at once. 0
    /// = no limit. Default 60.
    pub token_requests_per_minute_per_address: u32,
    /// The most open downloads. More get 429. Each holds up to 2 MiB. 0 = no limit. Default 256.
    pub downloads: usize,
    /// How long a client may take over a TLS handshake, and over the head of a request. `0s` = as
    /// long as it likes. Default `10s`.
    pub head_timeout: ConfigDuration,
    /// How long the body of a request may take to arrive. `0s` = as long as it likes. Default `30s`.
    pub body_timeout: ConfigDuration,
    /// How long a connection may be idle between two requests. `0s` = each connection is closed after
    /// its answer. It should be longer than that of load balancers in front (mostly 60 seconds),
    /// which otherwise send requests on connections that are just being closed. Default `75s`.
    pub keep_alive: ConfigDuration,
    /// How long a client may read nothing of an answer before the connection is cut. `0s` = as long as
    /// it likes. Default `30s`.
    pub write_timeout: ConfigDuration,
    /// Connections that may wait to be accepted. Default 1024.
    pub backlog: i32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            exempt: NetworkSet::loopback(),
            connections: 0,
            connections_per_address: 100,
            requests_per_second_per_address: 50,
            requests_per_second_per_client: 100,
            token_requests_per_minute_per_address: 60,
            downloads: 256,
            head_timeout: ConfigDuration::seconds(10),
            body_timeout: ConfigDuration::seconds(30),
            keep_alive: ConfigDuration::seconds(75),
            write_timeout: ConfigDuration::seconds(30),
            backlog: 1024,
        }
    }
}

impl Config {
    /// Refuses limits that would let nobody in.
    pub(super) fn check_limits(&self) -> Result<(), ConfigError> {
        if self.limits.backlog < 1 {
            let reason = format!("is {}, should be at least 1", self.limits.backlog);
            return Err(ConfigError::Value { key: "limits.backlog", reason });
        }
        Ok(())
    }
}
