//! Admission of connections, by counts of open ones in total and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::{LimitsConfig, NetworkSet};
use crate::http::household;
use crate::telemetry;

/// The most connections, unless the settings allow more.
const MOST: usize = 10_000;

/// The numbers of open connections and their limits.
pub struct ConnectionAdmission {
    most: usize,
    most_by_address: usize,
    uncounted: [NetworkSet; 2],
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl ConnectionAdmission {
    /// Creates an admission. The limit of open files allows `descriptors` connections.
    pub fn new(limits: &LimitsConfig, proxies: NetworkSet, descriptors: usize) -> Self {
        let most = match limits.connections {
            0 => descriptors.min(MOST),
            most => most,
        };
        if most > descriptors {
            tracing::warn!(
                connections = most,
                descriptors,
                "limits.connections is more than the limit of open files leaves: exports and downloads may \
                 fail for want of one; raise the limit (ulimit -n, LimitNOFILE)"
            );
        }
        let uncounted = [limits.exempt.clone(), proxies];
        let most_by_address = limits.connections_per_address;
        Self { most, most_by_address, uncounted, open: Mutex::default() }
    }

    /// Admits a connection from `peer`.
    ///
    /// # Errors
    /// Fails with the exhausted limit, `all` or `address`.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionPermit, &'static str> {
        let is_counted = !self.uncounted.iter().any(|networks| networks.contains(peer));
        let address = Some(household(peer)).filter(|_| is_counted && self.most_by_address > 0);
        let mut open = self.open.lock();
        if open.all >= self.most {
            return Err("all");
        }
        if let Some(address) = address {
            let count = open.by_address.entry(address).or_default();
            if *count >= self.most_by_address {
                return Err("address");
            }
            *count += 1;
        }
        open.all += 1;
        telemetry::connections(open.all);
        Ok(ConnectionPermit { admission: self.clone(), address })
    }
}

/// Counts a connection as open until it is dropped.
pub struct ConnectionPermit {
    admission: Arc<ConnectionAdmission>,
    address: Option<IpAddr>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        open.all -= 1;
        telemetry::connections(open.all);
        let Some(address) = self.address else { return };
        if let Some(count) = open.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, per_address: usize) -> Arc<ConnectionAdmission> {
        let limits =
            LimitsConfig { connections, connections_per_address: per_address, ..LimitsConfig::default() };
        let proxies = serde_json::from_str("[\"10.0.0.1\"]").unwrap();
        Arc::new(ConnectionAdmission::new(&limits, proxies, 1000))
    }

    fn from(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let admission = admission(10, 2);
        let mut places: Vec<_> = (0..2).map(|_| admission.admit(from("192.0.2.7")).unwrap()).collect();
        assert_eq!(admission.admit(from("192.0.2.7")).err(), Some("address"));
        assert_eq!(admission.admit(from("::ffff:192.0.2.7")).err(), Some("address"));
        places.push(admission.admit(from("192.0.2.8")).unwrap());
        places.push(admission.admit(from("2001:db8::1")).unwrap());
        places.push(admission.admit(from("2001:db8::2")).unwrap());
        assert_eq!(admission.admit(from("2001:db8::3")).err(), Some("address"), "of one /64");
        places.remove(0);
        places.push(admission.admit(from("192.0.2.7")).unwrap());
        drop(places);
        let open = admission.open.lock();
        assert_eq!((open.all, open.by_address.len()), (0, 0));
    }

    #[test]
    fn proxies_and_the_exempt_are_counted_in_all_alone() {
        let admission = admission(5, 1);
        let mut places = Vec::new();
        for peer in ["10.0.0.1", "10.0.0.1", "127.0.0.1", "127.0.0.1", "::1"] {
            places.push(admission.admit(from(peer)).unwrap());
        }
        assert_eq!(admission.admit(from("::1")).err(), Some("all"));
        assert_eq!(admission.admit(from("192.0.2.7")).err(), Some("all"));
        places.pop();
        places.push(admission.admit(from("192.0.2.7")).unwrap());
    }

    #[test]
    fn by_default_there_are_no_more_connections_than_descriptors() {
        for (connections, expected) in [(0, 1000), (1200, 1200)] {
            let admission = admission(connections, 0);
            let places: Vec<_> = (0..2000).map_while(|_| admission.admit(from("192.0.2.7")).ok()).collect();
            assert_eq!(places.len(), expected);
        }
        let admission =
            Arc::new(ConnectionAdmission::new(&LimitsConfig::default(), NetworkSet::default(), usize::MAX));
        assert_eq!(admission.most, MOST);
    }
}
