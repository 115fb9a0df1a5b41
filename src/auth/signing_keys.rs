//! The keys that sign access tokens. One key signs. Older keys verify until their last token has
//! expired, and are then erased. They are stored in `auth/keys.json`: whoever has that file can
//! make tokens.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{DecodingKey, EncodingKey};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::folder::AuthFolder;
use crate::clock::{Clock, after};
use crate::plain_file::{self, LinkPolicy};

const NAME: &str = "keys.json";

/// Largest file in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Bytes of a P-384 coordinate.
const COORDINATE: usize = 48;

/// The signing keys of an instance.
pub struct SigningKeys {
    folder: AuthFolder,
    clock: Clock,
    /// How long a key signs.
    rotation: Duration,
    /// How long it verifies after that.
    grace: Duration,
    /// The last key signs.
    keys: RwLock<Arc<Vec<SigningKey>>>,
    rotating: Mutex<()>,
}

/// A key pair (P-384).
#[derive(Clone)]
pub struct SigningKey {
    stored: StoredKey,
    /// The signing half.
    pub encoding: EncodingKey,
    /// The verifying half.
    pub decoding: DecodingKey,
    public: Vec<u8>,
}

/// A key pair as it is stored in the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    kid: String,
    /// PKCS #8, base64.
    pkcs8: String,
    created: Timestamp,
    /// When the next key began to sign.
    retired: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: Vec<StoredKey>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.stored.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    fn generate(now: Timestamp) -> io::Result<Self> {
        let unspecified = |_| io::Error::other("no key could be generated");
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = STANDARD.encode(pkcs8.map_err(unspecified)?.as_ref());
        Self::of(StoredKey { kid: Uuid::new_v4().to_string(), pkcs8, created: now, retired: None })
    }

    fn of(stored: StoredKey) -> io::Result<Self> {
        let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "a key is not a PKCS #8 key on P-384");
        let pkcs8 = STANDARD.decode(&stored.pkcs8).map_err(|error| invalid(error.to_string()))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &pkcs8);
        let pair = pair.map_err(|error| invalid(error.to_string()))?;
        let public = pair.public_key().as_ref().to_vec();
        let (encoding, decoding) = (EncodingKey::from_ec_der(&pkcs8), DecodingKey::from_ec_der(&public));
        Ok(Self { stored, encoding, decoding, public })
    }

    /// Returns the key id in the header of tokens.
    pub fn kid(&self) -> &str {
        &self.stored.kid
    }

    fn jwk(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let (x, y) = self.public[1..].split_at(COORDINATE);
        json!({
            "kty": "EC", "crv": "P-384", "use": "sig", "alg": "ES384", "kid": self.kid(),
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}

impl SigningKeys {
    /// Reads the keys of a folder and creates one if needed. `rotation` is how long a key signs.
    /// `grace` is how long it verifies after that, at least the lifetime of its tokens.
    pub fn open(folder: AuthFolder, clock: Clock, rotation: Duration, grace: Duration) -> io::Result<Self> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{NAME}: {error}"));
        let stored = match plain_file::read(&folder.path(NAME), LinkPolicy::Refuse, MAX_BYTES) {
            // The message of serde_json has a place and no content.
            Ok(text) => serde_json::from_slice::<KeyFile>(&text).map_err(|e| invalid(e.to_string()))?.keys,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(invalid(error.to_string())),
        };
        let keys: io::Result<Vec<_>> = stored.into_iter().map(SigningKey::of).collect();
        let keys = RwLock::new(Arc::new(keys?));
        let opened = Self { folder, clock, rotation, grace, keys, rotating: Mutex::new(()) };
        opened.rotate_if_due()?;
        Ok(opened)
    }

    /// Creates a new key if the signing one is old, and erases keys whose last token has expired. A
    /// key signs only once it is durable.
    pub fn rotate_if_due(&self) -> io::Result<()> {
        let _one_at_a_time = self.rotating.lock();
        let now = self.clock.now();
        let old = self.keys.read().clone();
        let mut keys: Vec<_> = old.iter().filter(|key| self.verifies(key, now)).cloned().collect();
        let signs =
            |key: &SigningKey| key.stored.retired.is_none() && after(key.stored.created, self.rotation) > now;
        if !keys.last().is_some_and(signs) {
            keys.iter_mut().for_each(|key| key.stored.retired = key.stored.retired.or(Some(now)));
            keys.push(SigningKey::generate(now)?);
        } else if keys.len() == old.len() {
            return Ok(());
        }
        let file = KeyFile { keys: keys.iter().map(|key| key.stored.clone()).collect() };
        self.folder.replace(NAME, &serde_json::to_vec(&file)?)?;
        tracing::info!(keys = keys.len(), "the keys of access tokens were rotated");
        *self.keys.write() = Arc::new(keys);
        Ok(())
    }

    /// Returns the key that signs.
    pub fn signing(&self) -> SigningKey {
        let keys = self.keys.read().clone();
        keys.last().expect("a key is made when they are opened, and only older ones are erased").clone()
    }

    /// Returns the key with this id, if its tokens may still be valid.
    pub fn find(&self, kid: &str) -> Option<SigningKey> {
        let now = self.clock.now();
        let keys = self.keys.read().clone();
        keys.iter().find(|key| key.kid() == kid).filter(|key| self.verifies(key, now)).cloned()
    }

    /// Returns all public keys whose tokens may still be valid, as a JSON Web Key Set.
    pub fn jwks(&self) -> Value {
        let now = self.clock.now();
        let keys = self.keys.read().clone();
        let keys: Vec<_> = keys.iter().filter(|key| self.verifies(key, now)).map(SigningKey::jwk).collect();
        json!({"keys": keys})
    }

    /// Returns whether unexpired tokens of the key may exist.
    fn verifies(&self, key: &SigningKey, now: Timestamp) -> bool {
        key.stored.retired.is_none_or(|at| after(at, self.grace) > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Setup {
        folder: tempfile::TempDir,
        now: Arc<Mutex<Timestamp>>,
    }

    impl Setup {
        fn new() -> Self {
            let now = Arc::new(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap()));
            Self { folder: tempfile::tempdir().unwrap(), now }
        }

        fn open(&self) -> io::Result<SigningKeys> {
            let now = self.now.clone();
            let clock = Clock::new(move || *now.lock());
            let folder = AuthFolder::open(self.folder.path())?;
            SigningKeys::open(folder, clock, Duration::from_secs(1000), Duration::from_secs(300))
        }

        fn wait(&self, seconds: u64) {
            let mut now = self.now.lock();
            *now = after(*now, Duration::from_secs(seconds));
        }

        fn file(&self) -> String {
            std::fs::read_to_string(self.folder.path().join("auth/keys.json")).unwrap()
        }
    }

    #[test]
    fn a_key_signs_until_it_is_old_verifies_until_its_tokens_are_and_is_erased_then() {
        let setup = Setup::new();
        let keys = setup.open().unwrap();
        let first = keys.signing().kid().to_owned();
        setup.wait(999);
        keys.rotate_if_due().unwrap();
        assert_eq!(keys.signing().kid(), first);
        setup.wait(1);
        keys.rotate_if_due().unwrap();
        let second = keys.signing().kid().to_owned();
        assert_ne!(second, first);
        assert!(keys.find(&first).is_some() && keys.find(&second).is_some());
        assert_eq!(keys.jwks()["keys"].as_array().unwrap().len(), 2);
        setup.wait(299);
        keys.rotate_if_due().unwrap();
        assert!(keys.find(&first).is_some());
        setup.wait(1);
        assert!(keys.find(&first).is_none(), "whether or not it is erased already");
        keys.rotate_if_due().unwrap();
        assert!(!setup.file().contains(&first) && setup.file().contains(&second));
        assert_eq!(keys.jwks()["keys"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn keys_outlive_the_process_and_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let setup = Setup::new();
        let first = setup.open().unwrap().signing().kid().to_owned();
        assert_eq!(setup.open().unwrap().signing().kid(), first);
        for (path, mode) in [("auth", 0o700), ("auth/keys.json", 0o600)] {
            let metadata = std::fs::metadata(setup.folder.path().join(path)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
        }
        setup.wait(5000);
        assert_ne!(setup.open().unwrap().signing().kid(), first, "it grew old meanwhile");
        std::fs::write(setup.folder.path().join("auth/keys.json"), "{").unwrap();
        assert!(setup.open().is_err());
    }

    #[test]
    fn nobody_else_reads_a_private_key_in_what_is_printed() {
        let key = SigningKey::generate(Timestamp::UNIX_EPOCH).unwrap();
        assert!(!format!("{key:?}").contains(&key.stored.pkcs8));
        assert!(key.jwk().get("d").is_none());
    }
}
