//! The public keys of applications: in the file of applications, in a key file, which is read again
//! when it changes, or at a URL, whose keys are remembered as long as their `Cache-Control` allows
//! (RG-2). Concurrent requests for the keys of one URL share one fetch.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use parking_lot::Mutex;

use super::fetch::{FetchError, FetchedKeys, KeyFetcher};
use super::{ClientKeys, PublicKeysError, public_keys};
use crate::config::AuthConfig;
use crate::plain_file::{self, LinkPolicy, SETTINGS_BYTES};
use crate::telemetry;

/// The least time between two fetches of a URL for an unknown key id.
const REFETCH: Duration = Duration::from_secs(60);

/// The least time between two fetches of a URL when the first one failed.
const RETRY: Duration = Duration::from_secs(5);

/// Why the keys of an application are not available, for the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeysError {
    /// The key file cannot be read.
    #[error("the file of keys cannot be read: {0}")]
    Unreadable(Arc<io::Error>),
    /// The key file has no usable key.
    #[error("the file of keys cannot be used: {0}")]
    Unusable(#[from] PublicKeysError),
    /// The keys cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// A cache of the applications' public keys.
pub struct ClientKeyStore {
    fetcher: Arc<KeyFetcher>,
    files: Mutex<HashMap<PathBuf, (FileVersion, Arc<JwkSet>)>>,
    urls: Mutex<HashMap<String, CachedUrl>>,
    max_urls: usize,
}

/// Distinguishes versions of a file.
type FileVersion = (u64, u64, u64, i64, i64);

/// A remembered URL.
struct CachedUrl {
    used: Instant,
    remembered: Arc<KeyCache>,
}

/// What is remembered of a URL.
#[derive(Default)]
struct KeyCache {
    last: Mutex<Option<LastFetch>>,
    /// Locked during a fetch.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

/// The results of the last fetches of a URL.
#[derive(Clone)]
struct LastFetch {
    tried: Instant,
    /// When the keys were fetched, and how long they are fresh.
    keys: Option<(Arc<JwkSet>, Instant, Duration)>,
    /// The error of the last fetch.
    error: Option<FetchError>,
}

impl ClientKeyStore {
    /// Creates an empty store.
    ///
    /// # Errors
    /// Fails if the file of certificate authorities cannot be read.
    pub fn new(auth: &AuthConfig) -> io::Result<Self> {
        let fetcher = Arc::new(KeyFetcher::new(auth)?);
        Ok(Self { fetcher, files: Mutex::default(), urls: Mutex::default(), max_urls: auth.max_jwks_cache })
    }

    /// Returns the keys of an application, which should include `kid`. A fetch goes on even if the
    /// future is dropped.
    pub async fn keys(&self, keys: &ClientKeys, kid: &str) -> Result<Arc<JwkSet>, KeysError> {
        match keys {
            ClientKeys::Inline(keys) => Ok(Arc::new(keys.clone())),
            ClientKeys::File(path) => self.of_file(path),
            ClientKeys::Url(url) => Ok(self.of_url(url, kid).await?),
        }
    }

    /// Blocks for a look at the file, which is local and small.
    fn of_file(&self, path: &Path) -> Result<Arc<JwkSet>, KeysError> {
        let unreadable = |error| KeysError::Unreadable(Arc::new(error));
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        let version =
            (metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec());
        if let Some((known, keys)) = self.files.lock().get(path)
            && *known == version
        {
            return Ok(keys.clone());
        }
        let text = plain_file::read(path, LinkPolicy::Follow, SETTINGS_BYTES).map_err(unreadable)?;
        let keys = Arc::new(public_keys(&text)?.keys);
        self.files.lock().insert(path.into(), (version, Arc::clone(&keys)));
        Ok(keys)
    }

    async fn of_url(&self, url: &str, kid: &str) -> Result<Arc<JwkSet>, FetchError> {
        let came = Instant::now();
        let remembered = self.remembered(url);
        if let Some(keys) = remembered.keys(kid, came) {
            return keys;
        }
        let fetching = remembered.fetching.clone().lock_owned().await;
        if let Some(keys) = remembered.keys(kid, came) {
            return keys;
        }
        let (fetcher, url) = (self.fetcher.clone(), url.to_owned());
        // The lock moves into the fetch: a later request waits for it and shares its result.
        let fetched = tokio::task::spawn_blocking(move || {
            let _fetching = fetching;
            remembered.fetch(&fetcher, &url)
        });
        fetched.await.unwrap_or_else(|_| Err(ureq::Error::ConnectionFailed.into()))
    }

    /// Returns the entry of a URL. If there are too many, the least recently used one is forgotten.
    fn remembered(&self, url: &str) -> Arc<KeyCache> {
        let mut urls = self.urls.lock();
        let used = Instant::now();
        if let Some(slot) = urls.get_mut(url) {
            slot.used = used;
            return slot.remembered.clone();
        }
        if urls.len() >= self.max_urls
            && let Some(oldest) = urls.iter().min_by_key(|(_, slot)| slot.used).map(|(url, _)| url.clone())
        {
            urls.remove(&oldest);
        }
        let remembered = Arc::<KeyCache>::default();
        urls.insert(url.into(), CachedUrl { used, remembered: remembered.clone() });
        remembered
    }
}

impl KeyCache {
    /// Returns what a request that came at `came` gets without another fetch, or `None` if it needs
    /// one.
    fn keys(&self, kid: &str, came: Instant) -> Option<Result<Arc<JwkSet>, FetchError>> {
        let last = self.last.lock().clone()?;
        // The request waited for a fetch that another one began.
        let is_new = last.tried >= came;
        let since_try = came.saturating_duration_since(last.tried);
        let is_fresh = |at: Instant, fresh_for| came.saturating_duration_since(at) < fresh_for;
        match (last.keys, last.error) {
            (Some((keys, _, _)), None) if is_new => Some(Ok(keys)),
            (Some((keys, at, fresh_for)), _) if is_fresh(at, fresh_for) => {
                let suffices = keys.find(kid).is_some() || is_new || since_try < REFETCH;
                suffices.then_some(Ok(keys))
            }
            (_, Some(error)) => (is_new || since_try < RETRY).then_some(Err(error)),
            (_, None) => None,
        }
    }

    /// Fetches the keys and remembers them. If the fetch fails, fresh keys stay.
    fn fetch(&self, fetcher: &KeyFetcher, url: &str) -> Result<Arc<JwkSet>, FetchError> {
        let tried = Instant::now();
        let fetched = fetcher.fetch(url);
        telemetry::jwks_fetched(if fetched.is_ok() { "fetched" } else { "failed" });
        let mut last = self.last.lock();
        match fetched {
            Ok(FetchedKeys { keys, fresh_for }) => {
                let keys = Arc::new(keys);
                *last = Some(LastFetch { tried, keys: Some((keys.clone(), tried, fresh_for)), error: None });
                Ok(keys)
            }
            Err(error) => {
                let known = last.take().and_then(|last| last.keys);
                let known = known.filter(|(_, at, fresh_for)| at.elapsed() < *fresh_for);
                *last = Some(LastFetch { tried, keys: known.clone(), error: Some(error.clone()) });
                known.map(|(keys, ..)| keys).ok_or(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What a request gets so many seconds after the last fetch; `None` is another fetch.
    fn after(last: &LastFetch, kid: &str, passed: u64) -> Option<bool> {
        let remembered = KeyCache { last: Mutex::new(Some(last.clone())), ..KeyCache::default() };
        remembered.keys(kid, last.tried + seconds(passed)).map(|keys| keys.is_ok())
    }

    #[test]
    fn rg_2_keys_are_fetched_again_when_they_are_old_or_a_minute_old_and_lack_a_key() {
        let set = r#"{"keys":[{"kty":"oct","kid":"known","k":"AA"}]}"#;
        let set: Arc<JwkSet> = Arc::new(serde_json::from_str(set).unwrap());
        let began = Instant::now();
        let keys = Some((set, began, seconds(300)));
        let good = LastFetch { tried: began, keys: keys.clone(), error: None };
        assert_eq!([1, 299, 300].map(|passed| after(&good, "known", passed)), [Some(true), Some(true), None]);
        assert_eq!([1, 59, 60].map(|passed| after(&good, "new", passed)), [Some(true), Some(true), None]);
        // A fetch for an unknown key failed: those that are fresh stay.
        let tried = began + seconds(100);
        let stale = LastFetch { tried, keys, error: Some(FetchError::TooLong) };
        assert_eq!([1, 199].map(|passed| after(&stale, "known", passed)), [Some(true), Some(true)]);
        assert_eq!([200, 204].map(|passed| after(&stale, "known", passed)), [None, None]);
        assert_eq!([1, 59, 60].map(|passed| after(&stale, "new", passed)), [Some(true), Some(true), None]);
        let failed = LastFetch { tried, keys: None, error: Some(FetchError::TooLong) };
        assert_eq!(
            [0, 1, 4, 5].map(|p| after(&failed, "known", p)),
            [Some(false), Some(false), Some(false), None]
        );
    }

    #[test]
    fn of_too_many_urls_the_one_used_longest_ago_is_forgotten() {
        let auth = AuthConfig { max_jwks_cache: 2, ..AuthConfig::default() };
        let store = ClientKeyStore::new(&auth).unwrap();
        let (a, b) = (store.remembered("a"), store.remembered("b"));
        assert!(Arc::ptr_eq(&a, &store.remembered("a")));
        store.remembered("c");
        assert_eq!(store.urls.lock().len(), 2);
        assert!(Arc::ptr_eq(&a, &store.remembered("a")) && !Arc::ptr_eq(&b, &store.remembered("b")));
    }
}
