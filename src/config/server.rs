//! `[server]`: where and how to listen, and which proxies are believed.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::settings::without_slash;
use super::{ConfigDuration, NetworkSet};

/// `[server]`: where and how to listen.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["server.public_url=https://fhir.example.org/".into()])?;
/// assert_eq!(config.server.public_url.as_deref(), Some("https://fhir.example.org"));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address to listen on; port 0 takes a free one. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// The scheme, host and port of the URLs that clients are given, such as
    /// `https://fhir.example.org`. Default: the address listened on.
    #[serde(deserialize_with = "without_slash")]
    pub public_url: Option<String>,
    /// Proxies that are trusted about the clients behind them. Header fields of anybody else change
    /// neither its address nor its URLs. Networks such as `10.0.0.0/8,192.0.2.7`. Default: none.
    pub trusted_proxies: NetworkSet,
    /// The fields that these proxies set on each request, replacing what the client sent. Default
    /// `x-forwarded`.
    pub proxy_fields: ProxyFields,
    /// How long browsers must use only TLS with this host, sent to TLS clients
    /// (`Strict-Transport-Security`). `0s` = not sent. Default `365days`.
    pub hsts_max_age: ConfigDuration,
    /// Threads that answer requests. Default 2.
    pub workers: usize,
    /// How long a stopping server waits for answers to finish. Default `30s`.
    pub shutdown_grace: ConfigDuration,
    /// Longest URL in bytes; longer ones get 414. Default 8192.
    pub max_url_bytes: usize,
    /// Longest body of a POST in bytes; longer ones get 413. Default 1 MiB.
    pub max_body_bytes: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            trusted_proxies: NetworkSet::default(),
            proxy_fields: ProxyFields::XForwarded,
            hsts_max_age: ConfigDuration::seconds(365 * 24 * 3600),
            workers: 2,
            shutdown_grace: ConfigDuration::seconds(30),
            max_url_bytes: 8192,
            max_body_bytes: 1 << 20,
        }
    }
}

/// The fields in which proxies describe their clients. The other fields are never read: a client
/// may send them, and most proxies forward them unchanged.
///
/// ```
/// use evanesce::config::{Config, ProxyFields};
///
/// let config = Config::load(None, &["server.proxy_fields=forwarded".into()])?;
/// assert_eq!(config.server.proxy_fields, ProxyFields::Forwarded);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProxyFields {
    /// `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}
