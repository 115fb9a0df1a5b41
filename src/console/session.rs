//! Who is signed in. A session is a random id in a cookie; the server keeps only its hash, in memory, so a
//! restart signs everybody out. It ends when it was idle for too long, and after its lifetime in any case.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// The most sessions at once. One more ends the one that has been idle for longest.
const MOST_SESSIONS: usize = 64;

/// The hash of a session's id.
pub type SessionKey = [u8; 32];

/// The sessions of operators.
pub struct SessionTable {
    idle: Duration,
    lifetime: Duration,
    sessions: Mutex<HashMap<SessionKey, SessionEntry>>,
}

struct SessionEntry {
    csrf: Arc<str>,
    began: Instant,
    used: Instant,
}

/// A session that a request belongs to.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// Which one it is.
    pub key: SessionKey,
    /// The token that each of its forms carries.
    csrf: Arc<str>,
}

impl OpenSession {
    /// Returns the token that each of its forms carries.
    pub fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Returns whether a form carries the token. The comparison takes the same time whatever differs.
    pub fn is_csrf(&self, given: &str) -> bool {
        verify_slices_are_equal(self.csrf.as_bytes(), given.as_bytes()).is_ok()
    }
}

impl SessionTable {
    /// Creates a table whose sessions end after being idle for `idle`, and `lifetime` after they began.
    pub fn new(idle: Duration, lifetime: Duration) -> Self {
        Self { idle, lifetime, sessions: Mutex::default() }
    }

    /// Begins a session and returns its id; `None` if there are no random bytes.
    pub fn open(&self, now: Instant) -> Option<String> {
        let (id, csrf) = (random_text()?, random_text()?.into());
        let mut sessions = self.sessions.lock();
        sessions.retain(|_, session| self.is_current(session, now));
        while sessions.len() >= MOST_SESSIONS {
            let idlest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
            idlest.and_then(|key| sessions.remove(&key));
        }
        sessions.insert(key_of(&id), SessionEntry { csrf, began: now, used: now });
        Some(id)
    }

    /// Returns the session with this id, which begins to be idle now.
    pub fn touch(&self, id: &str, now: Instant) -> Option<OpenSession> {
        let key = key_of(id);
        let mut sessions = self.sessions.lock();
        let session = sessions.get_mut(&key).filter(|session| self.is_current(session, now))?;
        session.used = now;
        Some(OpenSession { key, csrf: session.csrf.clone() })
    }

    /// Returns whether a session goes on. Whoever asks does not keep it from becoming idle.
    pub fn is_open(&self, key: &SessionKey, now: Instant) -> bool {
        self.sessions.lock().get(key).is_some_and(|session| self.is_current(session, now))
    }

    /// Ends a session.
    pub fn end(&self, key: &SessionKey) {
        self.sessions.lock().remove(key);
    }

    fn is_current(&self, session: &SessionEntry, now: Instant) -> bool {
        now.saturating_duration_since(session.used) < self.idle
            && now.saturating_duration_since(session.began) < self.lifetime
    }
}

/// Returns the key of an id. A lookup by it takes no time that tells of ids.
fn key_of(id: &str) -> SessionKey {
    Sha256::digest(id.as_bytes()).into()
}

/// Returns 256 random bits in hexadecimal digits.
fn random_text() -> Option<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_session_ends_when_it_was_idle_for_too_long_and_after_its_lifetime() {
        let table = SessionTable::new(10 * SECOND, 25 * SECOND);
        let began = Instant::now();
        let id = table.open(began).unwrap();
        let session = table.touch(&id, began + 9 * SECOND).unwrap();
        assert!(table.touch(&id, began + 18 * SECOND).is_some(), "it was used meanwhile");
        assert!(table.touch(&id, began + 24 * SECOND).is_some());
        assert!(!table.is_open(&session.key, began + 25 * SECOND), "its lifetime is over");
        assert!(table.touch(&id, began + 25 * SECOND).is_none());

        let idle = table.open(began).unwrap();
        let session = table.touch(&idle, began).unwrap();
        assert!(table.is_open(&session.key, began + 9 * SECOND), "looking does not renew it");
        assert!(!table.is_open(&session.key, began + 10 * SECOND));
    }

    #[test]
    fn only_the_id_of_an_open_session_is_one() {
        let table = SessionTable::new(10 * SECOND, 10 * SECOND);
        let now = Instant::now();
        let (first, second) = (table.open(now).unwrap(), table.open(now).unwrap());
        let session = table.touch(&first, now).unwrap();
        let other = table.touch(&second, now).unwrap();
        assert!(session.is_csrf(session.csrf()) && !session.is_csrf(other.csrf()) && !session.is_csrf(""));
        for wrong in ["", &first[1..], &first.to_uppercase(), &hex::encode(session.key)] {
            assert!(table.touch(wrong, now).is_none(), "{wrong}");
        }
        table.end(&session.key);
        assert!(table.touch(&first, now).is_none() && table.touch(&second, now).is_some());
    }

    #[test]
    fn p13_one_session_too_many_ends_the_one_that_was_idle_for_longest() {
        let table = SessionTable::new(1000 * SECOND, 1000 * SECOND);
        let began = Instant::now();
        let at = |n: usize| began + u32::try_from(n).unwrap() * SECOND;
        let ids: Vec<_> = (0..MOST_SESSIONS).map(|n| table.open(at(n)).unwrap()).collect();
        assert!(table.touch(&ids[0], at(100)).is_some());
        let last = table.open(at(101)).unwrap();
        assert_eq!(table.sessions.lock().len(), MOST_SESSIONS);
        assert!(table.touch(&ids[1], at(101)).is_none(), "it was idle for longest");
        for id in [&ids[0], &ids[2], &last] {
            assert!(table.touch(id, at(101)).is_some());
        }
    }
}
