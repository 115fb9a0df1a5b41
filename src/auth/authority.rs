//! Who gives access tokens and knows which are good (SMART Backend Services): the
//! applications, the keys that sign, the memory of assertions, and the keys of the clients. It
//! knows nothing of HTTP.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::Value;

use super::access_token::{self, Claims, Issuer, TokenError};
use super::assertion::{Assertion, AssertionError, Expected, LONGEST_LIFE};
use super::client_keys::ClientKeyStore;
use super::folder::Folder;
use super::known_tokens::KnownTokens;
use super::replay::{Replay, ReplayError};
use super::signing_keys::SigningKeys;
use super::{Application, Applications, Scopes};
use crate::Evanesce;
use crate::clock::Clock;
use crate::config::Auth;
use crate::job::{ClientId, TenantId};
use crate::telemetry;

/// How often it is looked at whether a key is old, at the least.
const LOOK: Duration = Duration::from_secs(60);

/// See the module.
pub struct Authority {
    applications: Option<Applications>,
    keys: Arc<SigningKeys>,
    known: KnownTokens,
    replay: Replay,
    client_keys: ClientKeyStore,
    settings: Auth,
    clock: Clock,
    /// Dropped with it, which ends the thread that rotates keys.
    _alive: Sender<()>,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The folder of the data directory.
    #[error("cannot {operation} the folder auth of the data directory: {error}")]
    Folder {
        /// What was tried.
        operation: &'static str,
        /// What went wrong.
        error: io::Error,
    },
    /// The file of certificate authorities.
    #[error("configuration: auth.jwks_ca_file cannot be read: {0}")]
    Authorities(io::Error),
    /// A thread.
    #[error("cannot start the thread that rotates keys: {0}")]
    Thread(io::Error),
}

/// Why a client gets no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Its assertion is not taken.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The memory of assertions is full, or cannot be written.
    #[error("{0}")]
    Unavailable(ReplayError),
}

/// A token that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// How long it is good, in seconds.
    pub expires_in: u64,
}

impl Authority {
    /// An authority over the data directory and with the settings of a running instance, which
    /// holds the lock of that directory. Without applications nobody gets a token.
    ///
    /// # Errors
    /// Its folder in the data directory, or a file that the settings name, cannot be used.
    pub fn open(evanesce: &Evanesce, applications: Option<Applications>) -> Result<Self, AuthorityError> {
        let (settings, clock) = (evanesce.config().auth.clone(), evanesce.clock().clone());
        let fail = |operation| move |error| AuthorityError::Folder { operation, error };
        let folder = Folder::open(&evanesce.config().storage.data_dir).map_err(fail("open"))?;
        // A token is good for no longer than that after its key was retired.
        let grace = settings.token_lifetime.0 + settings.clock_skew.0;
        let keys = SigningKeys::open(folder.clone(), clock.clone(), settings.key_rotation.0, grace);
        let keys = Arc::new(keys.map_err(fail("read or make the keys in"))?);
        // From the earliest that an assertion can be taken to the latest that it is good.
        let window = Duration::from_secs(LONGEST_LIFE.unsigned_abs()) + 2 * settings.clock_skew.0;
        let time = clock.clone();
        let now = move || time.now().as_second();
        let replay = Replay::open(folder, window, settings.max_replay_entries, now, evanesce.fatal().clone());
        let client_keys = ClientKeyStore::new(&settings).map_err(AuthorityError::Authorities)?;
        let (alive, end) = channel();
        let (rotated, look) = (Arc::downgrade(&keys), (settings.key_rotation.0 / 2).min(LOOK));
        let thread = std::thread::Builder::new().name("keys".into());
        thread.spawn(move || rotate(&rotated, look, &end)).map_err(AuthorityError::Thread)?;
        let replay = replay.map_err(fail("read or write the assertions in"))?;
        let known = KnownTokens::default();
        Ok(Self { applications, keys, known, replay, client_keys, settings, clock, _alive: alive })
    }

    /// The application that made an assertion, for which there may be one token. Resolves when it
    /// is durable that the assertion was used. `client` is the form field `client_id`.
    pub async fn authenticate(
        &self,
        issuer: &Issuer,
        assertion: &str,
        client: Option<&str>,
    ) -> Result<Arc<Application>, Denied> {
        let now = self.now();
        let skew = self.settings.clock_skew.0.as_secs().cast_signed();
        let audience = issuer.token_url();
        let assertion = Assertion::read(assertion, &Expected { audience: &audience, client, now, skew })?;
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
            ReplayError::Full | ReplayError::NotDurable => Denied::Unavailable(error),
        })?;
        Ok(application)
    }

    /// A token with these scopes.
    ///
    /// # Errors
    /// The library could not sign.
    pub fn issue(
        &self,
        issuer: &Issuer,
        client: &ClientId,
        scopes: &Scopes,
    ) -> Result<Issued, jsonwebtoken::errors::Error> {
        let expires_in = self.settings.token_lifetime.0.as_secs();
        let token = access_token::issue(&self.keys, issuer, client, scopes, self.now(), expires_in)?;
        telemetry::token_issued();
        Ok(Issued { token, expires_in })
    }

    /// What a token says, if it is good for this tenant. Whether its application still may do
    /// anything is another question: [`Authority::application`].
    pub fn verify(&self, issuer: &Issuer, token: &str) -> Result<Claims, TokenError> {
        self.known.verify(&self.keys, issuer, token, self.now())
    }

    /// An application that is defined and active now.
    pub fn application(&self, tenant: &TenantId, client: &ClientId) -> Option<Arc<Application>> {
        self.applications.as_ref()?.find(tenant, client)
    }

    /// The public keys of tokens, a JSON Web Key Set.
    pub fn jwks(&self) -> Value {
        self.keys.jwks()
    }

    fn active(&self, tenant: &TenantId, client: &str) -> Option<Arc<Application>> {
        self.application(tenant, &client.parse().ok()?)
    }

    fn now(&self) -> i64 {
        self.clock.now().as_second()
    }
}

/// The body of the thread that rotates keys, until the authority is gone.
fn rotate(keys: &Weak<SigningKeys>, look: Duration, end: &Receiver<()>) {
    while end.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {
        let Some(keys) = keys.upgrade() else { return };
        if let Err(error) = keys.rotate_if_due() {
            tracing::error!(%error, "the keys of access tokens could not be rotated; it is tried again");
        }
    }
}
