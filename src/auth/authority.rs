//! The authorization server of SMART Backend Services: it issues access tokens and verifies them.
//! It holds the applications, the signing keys, the memory of assertions, and the clients' keys. It
//! does not know HTTP.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;

use super::access_token::{self, AccessTokenClaims, TokenError, TokenIssuer};
use super::assertion::{AssertionError, ClientAssertion, ExpectedClaims, LONGEST_LIFE};
use super::client_keys::ClientKeyStore;
use super::folder::AuthFolder;
use super::known_tokens::KnownTokens;
use super::replay::{ReplayError, ReplayMemory};
use super::signing_keys::SigningKeys;
use super::{Application, Applications, Scopes, Watch};
use crate::Evanesce;
use crate::clock::Clock;
use crate::config::AuthConfig;
use crate::job::{ClientId, TenantId};
use crate::telemetry;

/// The longest time between two checks whether a key is due for rotation.
const LOOK: Duration = Duration::from_secs(60);

/// How often the file of applications is looked at, whatever the events say.
const POLL: Duration = Duration::from_secs(10);

/// When each client last got a token. Only registered applications get one, so there are no more entries
/// than applications that were in the file since the start.
type LastTokens = Mutex<HashMap<(TenantId, ClientId), Timestamp>>;

/// The authorization server of one instance.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let authority = Authority::open(&evanesce)?;
/// # Ok(())
/// # }
/// ```
pub struct Authority {
    applications: Option<Applications>,
    keys: Arc<SigningKeys>,
    known: KnownTokens,
    replay: ReplayMemory,
    client_keys: ClientKeyStore,
    settings: AuthConfig,
    clock: Clock,
    last_tokens: LastTokens,
    _watch: Option<Watch>,
    /// Dropping it ends the thread that rotates keys.
    _alive: Sender<()>,
}

/// Why the authority cannot start.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let folder = tempfile::tempdir()?;
/// let mut config = config::Config::default();
/// config.storage.data_dir = folder.path().join("exports");
/// config.auth.applications = Some(folder.path().join("nothing.toml"));
/// let evanesce = Evanesce::builder().config(config).exporter(example::Patients).start().await?;
/// assert!(matches!(Authority::open(&evanesce), Err(AuthorityError::Applications(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The folder of the data directory cannot be used.
    #[error("cannot {operation} the folder auth of the data directory: {error}")]
    Folder {
        /// The failed operation.
        operation: &'static str,
        /// The system's error.
        error: io::Error,
    },
    /// The file of certificate authorities cannot be read.
    #[error("configuration: auth.jwks_ca_file cannot be read: {0}")]
    Authorities(io::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread of the authority: {0}")]
    Thread(io::Error),
    /// The file of applications.
    #[error(transparent)]
    Applications(Box<dyn Error + Send + Sync>),
}

/// Why a client gets no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenDenied {
    /// Its assertion is not accepted.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The memory of assertions is full, or cannot be written.
    #[error("{0}")]
    Unavailable(ReplayError),
}

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// How long it is valid, in seconds.
    pub expires_in: u64,
}

impl Authority {
    /// Opens the authority of a running instance, which holds the lock of its data directory. Its
    /// applications are those of the file `auth.applications`, whose changes it follows. Without that file
    /// nobody gets a token.
    ///
    /// # Errors
    /// Fails if the folder in the data directory, or a file that the settings name, cannot be used.
    pub fn open(evanesce: &Evanesce) -> Result<Self, AuthorityError> {
        let config = evanesce.config();
        let Some(file) = &config.auth.applications else { return Self::of_applications(evanesce, None) };
        let tenants = Some(config.tenant_ids().into_iter().collect());
        let applications = Applications::open(file, tenants);
        let applications = applications.map_err(|error| AuthorityError::Applications(error.into()))?;
        let watch = Watch::start(applications.clone(), POLL, |_| {}).map_err(AuthorityError::Thread)?;
        Ok(Self { _watch: Some(watch), ..Self::of_applications(evanesce, Some(applications))? })
    }

    /// Opens the authority of a running instance with applications that the caller follows.
    pub(crate) fn of_applications(
        evanesce: &Evanesce,
        applications: Option<Applications>,
    ) -> Result<Self, AuthorityError> {
        let (settings, clock) = (evanesce.config().auth.clone(), evanesce.clock().clone());
        let fail = |operation| move |error| AuthorityError::Folder { operation, error };
        let folder = AuthFolder::open(&evanesce.config().storage.data_dir).map_err(fail("open"))?;
        // A token is valid for no longer than this after its key was retired.
        let grace = settings.token_lifetime.0 + settings.clock_skew.0;
        let keys = SigningKeys::open(folder.clone(), clock.clone(), settings.key_rotation.0, grace);
        let keys = Arc::new(keys.map_err(fail("read or make the keys in"))?);
        // From the earliest time at which an assertion is accepted to the latest at which it is
        // valid.
        let window = Duration::from_secs(LONGEST_LIFE.unsigned_abs()) + 2 * settings.clock_skew.0;
        let time = clock.clone();
        let now = move || time.now().as_second();
        let replay =
            ReplayMemory::open(folder, window, settings.max_replay_entries, now, evanesce.fatal().clone());
        let client_keys = ClientKeyStore::new(&settings).map_err(AuthorityError::Authorities)?;
        let (alive, end) = channel();
        let (rotated, look) = (Arc::downgrade(&keys), (settings.key_rotation.0 / 2).min(LOOK));
        let thread = std::thread::Builder::new().name("keys".into());
        thread.spawn(move || rotate(&rotated, look, &end)).map_err(AuthorityError::Thread)?;
        let replay = replay.map_err(fail("read or write the assertions in"))?;
        let known = KnownTokens::default();
        Ok(Self {
            applications,
            keys,
            known,
            replay,
            client_keys,
            settings,
            clock,
            last_tokens: LastTokens::default(),
            _watch: None,
            _alive: alive,
        })
    }

    /// Returns the application that signed an assertion. Each assertion is good for one token.
    /// Resolves when the use of the assertion is durable. `client` is the form field `client_id`.
    pub(crate) async fn authenticate(
        &self,
        issuer: &TokenIssuer,
        assertion: &str,
        client: Option<&str>,
    ) -> Result<Arc<Application>, TokenDenied> {
        let now = self.now();
        let skew = self.settings.clock_skew.0.as_secs().cast_signed();
        let audience = issuer.token_url();
        let assertion =
            ClientAssertion::read(assertion, &ExpectedClaims { audience: &audience, client, now, skew })?;
        let Some(application) = self.active(&issuer.tenant, &assertion.client) else {
            assertion.pretend();
            return Err(AssertionError::Unknown.into());
        };
        match self.client_keys.keys(&application.keys, &assertion.kid).await {
            Ok(keys) if assertion.is_signed_by(&application.keys, &keys) => {}
            Ok(_) => return Err(AssertionError::Unknown.into()),
            Err(error) => {
                tracing::warn!(client = %application.client_id, %error, "no keys of an application");
                assertion.pretend();
                return Err(AssertionError::Unknown.into());
            }
        }
        let claimed = self.replay.claim(
            &issuer.tenant,
            &assertion.client,
            &assertion.jti,
            assertion.exp.saturating_add(skew),
            now,
        );
        claimed.await.map_err(|error| match error {
            ReplayError::Used => AssertionError::Used.into(),
            ReplayError::Full | ReplayError::NotDurable => TokenDenied::Unavailable(error),
        })?;
        Ok(application)
    }

    /// Issues a token with these scopes.
    ///
    /// # Errors
    /// Fails if the library cannot sign.
    pub(crate) fn issue(
        &self,
        issuer: &TokenIssuer,
        client: &ClientId,
        scopes: &Scopes,
    ) -> Result<IssuedToken, jsonwebtoken::errors::Error> {
        let expires_in = self.settings.token_lifetime.0.as_secs();
        let token = access_token::issue(&self.keys, issuer, client, scopes, self.now(), expires_in)?;
        telemetry::token_issued();
        let of = (issuer.tenant.clone(), client.clone());
        self.last_tokens.lock().insert(of, self.clock.now());
        Ok(IssuedToken { token, expires_in })
    }

    /// Returns the claims of a token that is valid for this tenant. It does not check whether the
    /// application may still do anything; [`Authority::application`] does.
    pub(crate) fn verify(&self, issuer: &TokenIssuer, token: &str) -> Result<AccessTokenClaims, TokenError> {
        self.known.verify(&self.keys, issuer, token, self.now())
    }

    /// Returns an application that is registered and active now.
    pub(crate) fn application(&self, tenant: &TenantId, client: &ClientId) -> Option<Arc<Application>> {
        self.applications.as_ref()?.find(tenant, client)
    }

    /// Returns the applications, if there is a file of them.
    #[cfg(feature = "console")]
    pub(crate) fn applications(&self) -> Option<&Applications> {
        self.applications.as_ref()
    }

    /// Returns when a client last got a token from this process.
    #[cfg(feature = "console")]
    pub(crate) fn last_token(&self, tenant: &TenantId, client: &ClientId) -> Option<Timestamp> {
        self.last_tokens.lock().get(&(tenant.clone(), client.clone())).copied()
    }

    /// Returns the public keys of tokens, a JSON Web Key Set.
    pub(crate) fn jwks(&self) -> Value {
        self.keys.jwks()
    }

    fn active(&self, tenant: &TenantId, client: &str) -> Option<Arc<Application>> {
        self.application(tenant, &client.parse().ok()?)
    }

    fn now(&self) -> i64 {
        self.clock.now().as_second()
    }
}

/// Rotates keys until the authority is dropped.
fn rotate(keys: &Weak<SigningKeys>, look: Duration, end: &Receiver<()>) {
    while end.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {
        let Some(keys) = keys.upgrade() else { return };
        if let Err(error) = keys.rotate_if_due() {
            tracing::error!(%error, "the keys of access tokens could not be rotated; it is tried again");
        }
    }
}
