//! Sets of addresses, as operators write them: `127.0.0.0/8,::1`, or a list of such texts.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A set of addresses. An address without a prefix length stands for itself. An IPv4 address that
/// is mapped into IPv6 counts as IPv4.
///
/// ```
/// use evanesce::config::{Config, NetworkSet};
///
/// let config = Config::load(None, &["server.trusted_proxies=10.0.0.0/8,192.0.2.7".into()])?;
/// let proxies: &NetworkSet = &config.server.trusted_proxies;
/// assert!(proxies.contains("10.1.2.3".parse().unwrap()) && !proxies.contains("192.0.2.8".parse().unwrap()));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetworkSet(Vec<IpNet>);

impl NetworkSet {
    /// Returns the loopback addresses.
    pub fn loopback() -> Self {
        Self(vec![
            IpNet::new_assert(IpAddr::from([127, 0, 0, 0]), 8),
            IpNet::new_assert(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), 128),
        ])
    }

    /// Returns whether the address is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for NetworkSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NetworksVisitor)
    }
}

/// Parses a list of texts, as in a file, or a text with commas, as in a flag or a variable.
struct NetworksVisitor;

impl<'de> Visitor<'de> for NetworksVisitor {
    type Value = NetworkSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("networks such as 10.0.0.0/8")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<NetworkSet, E> {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.map(network).collect::<Result<_, _>>().map(NetworkSet)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<NetworkSet, A::Error> {
        let mut networks = Vec::new();
        while let Some(text) = texts.next_element::<String>()? {
            networks.push(network(&text)?);
        }
        Ok(NetworkSet(networks))
    }
}

fn network<E: Error>(text: &str) -> Result<IpNet, E> {
    let address = || text.parse().map(|address: IpAddr| IpNet::from(address.to_canonical()));
    text.parse::<IpNet>().or_else(|_| address()).map_err(|_| {
        E::custom(format!("{text:?} is not a network such as 10.0.0.0/8, 192.0.2.7 or fd00::/8"))
    })
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for NetworkSet {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "networks".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "array", "format": "networks" })
    }
}
