//! `[tls]`: the server's certificate, and the rule that nothing leaves for a network without TLS.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Config, ConfigError};

/// `[tls]`: TLS 1.2 and 1.3 (G-2). The files are read again when they change; a pair that cannot
/// be used is refused and the one before it stays in use.
///
/// ```
/// use evanesce::config::Config;
///
/// let certificate_alone = ["tls.certificate=server.pem".into()];
/// assert!(Config::load(None, &certificate_alone).is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate and those between it and its root, PEM. Default: none, plain HTTP.
    pub certificate: Option<PathBuf>,
    /// The private key of the certificate, PEM. Default: none.
    pub key: Option<PathBuf>,
    /// The roots of clients' certificates, PEM. Clients without a certificate from one of them are
    /// refused. Default: none, clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

impl Config {
    /// Refuses to serve a network without TLS, the server's own or that of a proxy before it.
    pub(super) fn check_transport(&self) -> Result<(), ConfigError> {
        let TlsConfig { certificate, key, client_ca } = &self.tls;
        let alone = |key, other| {
            let reason = format!("is missing; {other} needs it");
            Err(ConfigError::Value { key, reason })
        };
        match (certificate, key) {
            (Some(_), None) => return alone("tls.key", "tls.certificate"),
            (None, Some(_)) => return alone("tls.certificate", "tls.key"),
            (None, None) if client_ca.is_some() => return alone("tls.certificate", "tls.client_ca"),
            _ => {}
        }
        let listen = self.server.listen;
        let ends_at_proxy = !self.server.trusted_proxies.is_empty();
        if !listen.ip().is_loopback() && certificate.is_none() && !ends_at_proxy {
            let reason = format!(
                "is {listen}: others on the network could read along; give tls.certificate and tls.key, or \
                 name in server.trusted_proxies the proxy where TLS ends, or listen on 127.0.0.1"
            );
            return Err(ConfigError::Value { key: "server.listen", reason });
        }
        Ok(())
    }
}
