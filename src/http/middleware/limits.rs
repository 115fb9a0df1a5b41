//! The limits on requests, by address, by client, and at the token endpoint, each with a budget that fills
//! up again steadily (G-11). A flood of addresses takes a bounded amount of memory: above a number of
//! keys, new ones share one budget.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use crate::config::{LimitsConfig as Settings, NetworkSet};
use crate::http::ApiError;
use crate::http::middleware::forwarded::ForwardedClient;
use crate::job::ClientId;
use crate::telemetry;

/// The most keys for which a limit keeps a budget, about 100 bytes each.
const MAX_KEYS: usize = 1 << 16;

/// The shortest time between two removals of full budgets.
const TIDY: Duration = Duration::from_secs(5);

/// The seconds whose requests may come at once.
const BURST_SECONDS: u32 = 10;

/// Seconds after which a download may find a place.
const DOWNLOAD_RETRY: u64 = 5;

/// The limits on requests and downloads.
pub struct RequestLimits {
    exempt: NetworkSet,
    by_address: Option<KeyedLimit<IpAddr>>,
    by_client: Option<KeyedLimit<ClientId>>,
    tokens: Option<KeyedLimit<IpAddr>>,
    max_downloads: usize,
    downloads: Arc<AtomicUsize>,
}

impl RequestLimits {
    /// Returns limits whose budgets are full.
    pub fn new(settings: &Settings) -> Self {
        let token_requests = NonZeroU32::new(settings.token_requests_per_minute_per_address);
        Self {
            exempt: settings.exempt.clone(),
            by_address: KeyedLimit::per_second("address", settings.requests_per_second_per_address),
            by_client: KeyedLimit::per_second("client", settings.requests_per_second_per_client),
            tokens: token_requests.map(|n| KeyedLimit::new("token", Quota::per_minute(n), MAX_KEYS)),
            max_downloads: settings.downloads,
            downloads: Arc::default(),
        }
    }

    /// Admits a request from this client's address.
    ///
    /// # Errors
    /// Fails with 429 `throttled` beyond the limit.
    pub fn admit(&self, client: &ForwardedClient) -> Result<(), ApiError> {
        self.check_address(self.by_address.as_ref(), client)
    }

    /// Admits a request of this client, which is known by its token.
    ///
    /// # Errors
    /// Fails with 429 `throttled` beyond the limit.
    pub fn admit_client(&self, client: &ClientId) -> Result<(), ApiError> {
        self.by_client.as_ref().map_or(Ok(()), |limit| limit.check(client.clone()))
    }

    /// Admits a request for a token from this client's address.
    ///
    /// # Errors
    /// Fails with 429 `throttled` beyond the limit.
    pub fn admit_token_request(&self, client: &ForwardedClient) -> Result<(), ApiError> {
        self.check_address(self.tokens.as_ref(), client)
    }

    /// Admits a download, which holds memory until the returned guard is dropped.
    ///
    /// # Errors
    /// Fails with 429 `throttled` beyond the limit.
    pub fn admit_download(&self) -> Result<OpenDownload, ApiError> {
        let open = OpenDownload(self.downloads.clone());
        let before = open.0.fetch_add(1, Ordering::Relaxed);
        if self.max_downloads > 0 && before >= self.max_downloads {
            telemetry::throttled("downloads");
            return Err(ApiError::too_many_downloads(DOWNLOAD_RETRY));
        }
        Ok(open)
    }

    fn check_address(
        &self,
        limit: Option<&KeyedLimit<IpAddr>>,
        client: &ForwardedClient,
    ) -> Result<(), ApiError> {
        match limit {
            Some(limit) if !client.is_in(&self.exempt) => limit.check(household(client.address.0)),
            _ => Ok(()),
        }
    }
}

/// A download that counts until this is dropped.
pub struct OpenDownload(Arc<AtomicUsize>);

impl Drop for OpenDownload {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns what counts as one address: of IPv6 the first 64 bits, since whoever has one such address has
/// all the others.
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// The budgets of one limit. All clients without a budget of their own share that of `None`.
struct KeyedLimit<K: Hash + Eq + Clone> {
    name: &'static str,
    budgets: RateLimiter<Option<K>, DashMapStateStore<Option<K>>, DefaultClock>,
    max_keys: usize,
    tidied: Mutex<Instant>,
}

impl<K: Hash + Eq + Clone> KeyedLimit<K> {
    /// Returns a limit of so many requests; `None` for 0, which is unlimited.
    fn per_second(name: &'static str, requests: u32) -> Option<Self> {
        let rate = NonZeroU32::new(requests)?;
        let burst = rate.saturating_mul(const { NonZeroU32::new(BURST_SECONDS).expect("it is not 0") });
        Some(Self::new(name, Quota::per_second(rate).allow_burst(burst), MAX_KEYS))
    }

    fn new(name: &'static str, quota: Quota, max_keys: usize) -> Self {
        let budgets = RateLimiter::dashmap(quota);
        Self { name, budgets, max_keys, tidied: Mutex::new(Instant::now()) }
    }

    fn check(&self, key: K) -> Result<(), ApiError> {
        self.tidy();
        let key = Some(key).filter(|_| self.budgets.len() < self.max_keys);
        self.budgets.check_key(&key).map_err(|wait| {
            telemetry::throttled(self.name);
            let wait = wait.wait_time_from(DefaultClock::default().now());
            ApiError::too_many_requests(wait.as_secs() + 1)
        })
    }

    /// Forgets full budgets, which say no more than absent ones.
    fn tidy(&self) {
        let Some(mut tidied) = self.tidied.try_lock() else { return };
        if tidied.elapsed() >= TIDY {
            *tidied = Instant::now();
            self.budgets.retain_recent();
            self.budgets.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ClientAddress;

    fn settings() -> Settings {
        Settings {
            requests_per_second_per_address: 2,
            requests_per_second_per_client: 3,
            token_requests_per_minute_per_address: 4,
            ..Settings::default()
        }
    }

    fn address(text: &str) -> ForwardedClient {
        let address = ClientAddress(text.parse().unwrap());
        ForwardedClient { address, has_own_address: true, is_https: None, origin: None }
    }

    /// How many are admitted at once.
    fn burst(mut admit: impl FnMut() -> Result<(), ApiError>) -> usize {
        (0..1000).take_while(|_| admit().is_ok()).count()
    }

    #[test]
    fn each_address_and_each_client_has_a_budget_of_its_own() {
        let limits = RequestLimits::new(&settings());
        for one in ["192.0.2.7", "192.0.2.8", "2001:db8::1", "2001:db8:0:1::1"] {
            let admitted = burst(|| limits.admit(&address(one)));
            // The budget may fill up a little meanwhile.
            assert!((20..=21).contains(&admitted), "{one}: {admitted}");
        }
        assert!(limits.admit(&address("2001:db8::ffff")).is_err(), "of the same /64");
        assert!(limits.admit(&address("::ffff:192.0.2.7")).is_err(), "the same address");
        for client in ["a", "b"] {
            let client = client.parse().unwrap();
            assert!((30..=31).contains(&burst(|| limits.admit_client(&client))));
        }
        assert!((4..=5).contains(&burst(|| limits.admit_token_request(&address("192.0.2.9")))));
        assert!(limits.admit(&address("192.0.2.9")).is_ok(), "a limit of its own");
    }

    #[test]
    fn who_is_exempt_and_what_is_0_is_not_limited() {
        let limits = RequestLimits::new(&settings());
        assert_eq!(burst(|| limits.admit(&address("127.0.0.1"))), 1000);
        assert_eq!(burst(|| limits.admit_token_request(&address("::1"))), 1000);
        let proxy = ForwardedClient { has_own_address: false, ..address("127.0.0.1") };
        assert!((20..=21).contains(&burst(|| limits.admit(&proxy))), "it speaks for others");
        assert!((4..=5).contains(&burst(|| limits.admit_token_request(&proxy))));
        let off = RequestLimits::new(&Settings {
            requests_per_second_per_address: 0,
            requests_per_second_per_client: 0,
            token_requests_per_minute_per_address: 0,
            ..settings()
        });
        assert_eq!(burst(|| off.admit(&address("192.0.2.7"))), 1000);
        assert_eq!(burst(|| off.admit_client(&"a".parse().unwrap())), 1000);
        assert_eq!(burst(|| off.admit_token_request(&address("192.0.2.7"))), 1000);
    }

    #[test]
    fn who_comes_when_there_are_too_many_addresses_shares_one_budget() {
        let quota = Quota::per_minute(NonZeroU32::new(3).unwrap());
        let limit = KeyedLimit::new("address", quota, 10);
        let admitted = (0..1000_u32).filter(|n| limit.check(IpAddr::from(n.to_be_bytes())).is_ok()).count();
        assert_eq!(admitted, 10 + 3 - usize::from(limit.budgets.len() == 10));
        assert!(limit.budgets.len() <= 11, "{}", limit.budgets.len());
    }

    #[test]
    fn a_budget_that_is_full_again_is_forgotten() {
        let limit = KeyedLimit::per_second("address", 1000).unwrap();
        limit.check(1).unwrap();
        assert_eq!(limit.budgets.len(), 1);
        std::thread::sleep(Duration::from_millis(20));
        *limit.tidied.lock() = Instant::now() - TIDY;
        limit.tidy();
        assert_eq!(limit.budgets.len(), 0);
    }

    #[test]
    fn the_refusal_says_when_to_come_again() {
        let limit = KeyedLimit::new("token", Quota::per_minute(NonZeroU32::new(1).unwrap()), 10);
        limit.check(1).unwrap();
        let refusal = actix_web::ResponseError::error_response(&limit.check(1).unwrap_err());
        assert_eq!(refusal.status(), 429);
        let wait: u64 = refusal.headers().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
        assert!((59..=61).contains(&wait), "{wait}");
    }
}
