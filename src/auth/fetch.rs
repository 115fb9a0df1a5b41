//! Fetches the keys of an application from its URL (RG-2): https only, no redirects, with limits of
//! time and size, and never from an address of the server's own networks. The checked addresses are
//! the ones that are connected to, so a name cannot resolve differently afterwards.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use jsonwebtoken::jwk::JwkSet;
use ureq::config::Config;
use ureq::http::{HeaderMap, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::{PublicKeysError, public_keys};
use crate::config::AuthConfig;
use crate::plain_file::{self, LinkPolicy, SETTINGS_BYTES};

/// How long keys may be remembered at most, whatever `Cache-Control` says.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long keys are remembered without `Cache-Control`.
const USUAL: Duration = Duration::from_secs(300);

/// Fetches keys. Its methods block.
pub struct KeyFetcher {
    /// Tried in order. Each trusts other certificate authorities.
    agents: Vec<Agent>,
    max_bytes: usize,
}

/// Keys that were fetched.
#[derive(Debug)]
pub struct FetchedKeys {
    /// The keys.
    pub keys: JwkSet,
    /// How long they may be remembered.
    pub fresh_for: Duration,
}

/// Why keys could not be fetched, for the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The request failed.
    #[error("the keys could not be fetched: {0}")]
    Transport(Arc<Error>),
    /// The status is not 200.
    #[error("the keys were answered with the status {0}")]
    Status(u16),
    /// The answer has no usable key.
    #[error("the answer cannot be used: {0}")]
    Unusable(#[from] PublicKeysError),
    /// The answer is too long.
    #[error("the answer is longer than auth.jwks_max_bytes")]
    TooLong,
}

impl From<Error> for FetchError {
    fn from(error: Error) -> Self {
        Self::Transport(Arc::new(error))
    }
}

impl KeyFetcher {
    /// Creates a fetcher with the limits of the settings.
    ///
    /// # Errors
    /// Fails if the file of certificate authorities cannot be read.
    pub fn new(auth: &AuthConfig) -> io::Result<Self> {
        let agent = |roots| {
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            let tls = TlsConfig::builder()
                .unversioned_rustls_crypto_provider(Arc::new(provider))
                .root_certs(roots)
                .build();
            let config = Config::builder()
                .tls_config(tls)
                .https_only(!auth.jwks_allow_private_addresses)
                // A proxy would resolve names by itself.
                .proxy(None)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .http_status_as_error(false)
                .accept("application/json")
                .user_agent(concat!("evanesce/", env!("CARGO_PKG_VERSION")))
                .timeout_global(Some(auth.jwks_timeout.0))
                // Connections are not reused, so that each one is resolved and checked.
                .max_idle_connections(0)
                .build();
            let resolver = PublicResolver { any_address: auth.jwks_allow_private_addresses };
            Agent::with_parts(config, DefaultConnector::default(), resolver)
        };
        let mut agents = vec![agent(RootCerts::WebPki)];
        if let Some(file) = &auth.jwks_ca_file {
            agents.push(agent(authorities(file)?));
        }
        Ok(Self { agents, max_bytes: auth.jwks_max_bytes })
    }

    /// Fetches the keys at a URL.
    pub fn fetch(&self, url: &str) -> Result<FetchedKeys, FetchError> {
        let mut answer = Err(Error::HostNotFound);
        for agent in &self.agents {
            answer = agent.get(url).call();
            if !matches!(&answer, Err(error) if is_unknown_authority(error)) {
                break;
            }
        }
        let answer = answer?;
        if answer.status() != 200 {
            return Err(FetchError::Status(answer.status().as_u16()));
        }
        let fresh_for = fresh_for(answer.headers());
        let mut text = Vec::new();
        let mut body = answer.into_body().into_reader().take(self.max_bytes as u64 + 1);
        body.read_to_end(&mut text).map_err(|error| FetchError::from(Error::from(error)))?;
        if text.len() > self.max_bytes {
            return Err(FetchError::TooLong);
        }
        Ok(FetchedKeys { keys: public_keys(&text)?.keys, fresh_for })
    }
}

/// Reads the certificates of a PEM file. Whatever else is in it is passed over.
///
/// # Errors
/// Fails if the file cannot be read or has no certificate.
pub(crate) fn authorities(file: &Path) -> io::Result<RootCerts> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it has no PEM certificate");
    let text = plain_file::read(file, LinkPolicy::Follow, SETTINGS_BYTES)?;
    let certificates: Vec<_> = ureq::tls::parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(invalid());
    }
    Ok(RootCerts::from(certificates))
}

/// Returns whether other certificate authorities might vouch for the server.
fn is_unknown_authority(error: &Error) -> bool {
    let is_of_rustls = |error: &rustls::Error| {
        matches!(error, rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer))
    };
    match error {
        Error::Rustls(error) => is_of_rustls(error),
        Error::Io(error) => error.get_ref().and_then(|error| error.downcast_ref()).is_some_and(is_of_rustls),
        _ => false,
    }
}

/// Returns how long an answer may be remembered, never longer than its `Cache-Control` says (RG-2).
fn fresh_for(headers: &HeaderMap) -> Duration {
    let texts = |name| headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("no-store"));
    let mut fresh_for = None;
    for directive in texts(header::CACHE_CONTROL).flat_map(|text| text.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Duration::ZERO,
            "max-age" => {
                let seconds = value.trim().trim_matches('"').parse().unwrap_or(0);
                let said = Duration::from_secs(seconds);
                fresh_for = Some(fresh_for.map_or(said, |least: Duration| least.min(said)));
            }
            _ => {}
        }
    }
    let age = texts(header::AGE).next().map_or(0, |age| age.trim().parse().unwrap_or(u64::MAX));
    fresh_for.unwrap_or(USUAL).saturating_sub(Duration::from_secs(age)).min(LONGEST)
}

/// Resolves names to addresses that may be connected to.
#[derive(Debug)]
struct PublicResolver {
    any_address: bool,
}

impl Resolver for PublicResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| self.any_address || is_public(address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let refusal = "the name leads to no public address; see auth.jwks_allow_private_addresses";
            return Err(Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, refusal)));
        }
        Ok(allowed)
    }
}

/// Networks that are not public (RFC 6890 and its successors). IPv4 addresses within IPv6 ones are
/// checked as IPv4.
const NOT_PUBLIC_V4: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// Networks among the global unicast addresses of IPv6 that are not public.
const NOT_PUBLIC_V6: &[&str] = &["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16"];

/// Returns whether an address is public.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            // NAT64 (64:ff9b::/96) leads to any IPv4 address.
            let [first, second, .., high, low] = address.segments();
            if (first, second) == (0x64, 0xff9b) && address.segments()[2..6] == [0; 4] {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                return is_public_v4(Ipv4Addr::new(a, b, c, d));
            }
            if let Some(address) = address.to_ipv4_mapped() {
                return is_public_v4(address);
            }
            let global: Ipv6Net = "2000::/3".parse().expect("a constant that is a network");
            let is_in = |network: &&str| {
                let network: Ipv6Net = network.parse().expect("a constant that is a network");
                network.contains(&address)
            };
            global.contains(&address) && !NOT_PUBLIC_V6.iter().any(is_in)
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_in = |network: &&str| {
        let network: Ipv4Net = network.parse().expect("a constant that is a network");
        network.contains(&address)
    };
    !NOT_PUBLIC_V4.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_servers_own_networks_are_not_public() {
        for own in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "fec0::1",
        ] {
            assert!(!is_public(own.parse().unwrap()), "{own}");
        }
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn rg_2_keys_are_remembered_no_longer_than_cache_control_says() {
        let cases: [(&[(&str, &str)], u64); 12] = [
            (&[], 300),
            (&[("cache-control", "max-age=60")], 60),
            (&[("cache-control", "public, MAX-AGE=60")], 60),
            (&[("cache-control", "max-age=999999999")], 3600),
            (&[("cache-control", "max-age=0")], 0),
            (&[("cache-control", "no-store")], 0),
            (&[("cache-control", "max-age=60, no-cache")], 0),
            (&[("cache-control", "max-age=60"), ("cache-control", "no-store")], 0),
            (&[("cache-control", "max-age=60, max-age=10")], 10),
            (&[("cache-control", "max-age=many")], 0),
            (&[("cache-control", "max-age=60"), ("age", "50")], 10),
            (&[("cache-control", "max-age=60"), ("age", "70")], 0),
        ];
        for (fields, seconds) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(fresh_for(&headers), Duration::from_secs(seconds), "{fields:?}");
        }
    }
}
