//! How often may be asked: by address, by client, and at the token endpoint, each with a budget of
//! its own that fills up again steadily (G-11). What a flood of addresses can take of the memory is
//! bounded: above a number of keys, those that come new share one budget.

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

/// The most keys of which one limit keeps a budget, about 100 bytes each.
const MAX_KEYS: usize = 1 << 16;

/// How often full budgets are forgotten, at most.
const TIDY: Duration = Duration::from_secs(5);

/// A second's requests, so many times, may come at once.
const BURST_SECONDS: u32 = 10;

/// Seconds after which a download may find a place.
const DOWNLOAD_RETRY: u64 = 5;

/// The limits of requests.
pub struct RequestLimits {
    exempt: NetworkSet,
    by_address: Option<KeyedLimit<IpAddr>>,
    by_client: Option<KeyedLimit<ClientId>>,
    tokens: Option<KeyedLimit<IpAddr>>,
    max_downloads: usize,
    downloads: Arc<AtomicUsize>,
}

impl RequestLimits {
    /// Limits whose budgets are full.
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

    /// A request of this client's address came.
    ///
    /// # Errors
    /// 429 `throttled`.
    pub fn admit(&self, client: &ForwardedClient) -> Result<(), ApiError> {
        self.check_address(self.by_address.as_ref(), client)
    }

    /// A request of this client came, which is known by its token.
    ///
    /// # Errors
    /// 429 `throttled`.
    pub fn admit_client(&self, client: &ClientId) -> Result<(), ApiError> {
        self.by_client.as_ref().map_or(Ok(()), |limit| limit.check(client.clone()))
    }

    /// A request for a token came from this address.
    ///
    /// # Errors
    /// 429 `throttled`.
    pub fn admit_token_request(&self, client: &ForwardedClient) -> Result<(), ApiError> {
        self.check_address(self.tokens.as_ref(), client)
    }

    /// A download begins, and holds memory until what is given is dropped.
    ///
    /// # Errors
    /// 429 `throttled`.
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

/// See [`RequestLimits::admit_download`].
pub struct OpenDownload(Arc<AtomicUsize>);

impl Drop for OpenDownload {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What counts as one address: of IPv6 the first 64 bits, for whoever has one has all the others.
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// The budgets of one limit. Without a key: that of all who have none of their own.
struct KeyedLimit<K: Hash + Eq + Clone> {
    name: &'static str,
    budgets: RateLimiter<Option<K>, DashMapStateStore<Option<K>>, DefaultClock>,
    max_keys: usize,
    tidied: Mutex<Instant>,
}

impl<K: Hash + Eq + Clone> KeyedLimit<K> {
    /// `None` if it is 0.
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

    /// Forgets budgets that are full: they are as those that are not there.
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
