//! A cache of verified tokens. Verifying a signature takes several times as long as answering a
//! status request, and a client sends one token many times. Verified tokens are remembered by a
//! hash of all their bytes. What can change is checked each time: whether the key still exists, and
//! whether the token has expired.

use std::collections::HashMap;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::access_token::{self, AccessTokenClaims, TokenError, TokenIssuer};
use super::signing_keys::SigningKeys;

/// The most tokens to remember, some hundred bytes each.
const MOST: usize = 10_000;

/// The verified tokens.
#[derive(Default)]
pub struct KnownTokens(Mutex<HashMap<[u8; 32], KnownToken>>);

#[derive(Clone)]
struct KnownToken {
    kid: String,
    claims: AccessTokenClaims,
}

impl KnownTokens {
    /// Returns the claims of a token that `issuer` issued and that is valid at `now`, in seconds of
    /// Unix time.
    ///
    /// # Errors
    /// Fails with [`TokenError::Expired`] only if the signature and the issuer are right.
    pub fn verify(
        &self,
        keys: &SigningKeys,
        issuer: &TokenIssuer,
        token: &str,
        now: i64,
    ) -> Result<AccessTokenClaims, TokenError> {
        let id = Sha256::digest(token).into();
        let known = self.0.lock().get(&id).cloned();
        let claims = match known {
            Some(KnownToken { kid, claims }) => {
                let is_ours = claims.iss == issuer.url && claims.tenant == issuer.tenant;
                if !is_ours || keys.find(&kid).is_none() {
                    return Err(TokenError::Invalid);
                }
                claims
            }
            None => {
                let (kid, claims) = access_token::read(keys, issuer, token)?;
                self.remember(id, KnownToken { kid, claims: claims.clone() }, now);
                claims
            }
        };
        if claims.exp <= now { Err(TokenError::Expired) } else { Ok(claims) }
    }

    fn remember(&self, id: [u8; 32], token: KnownToken, now: i64) {
        let mut known = self.0.lock();
        if known.len() >= MOST {
            known.retain(|_, known| known.claims.exp > now);
        }
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(id, token);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::folder::AuthFolder;
    use super::*;
    use crate::clock::{Clock, after};

    fn issuer(tenant: &str) -> TokenIssuer {
        TokenIssuer { tenant: tenant.parse().unwrap(), url: format!("https://h/r4/{tenant}") }
    }

    #[test]
    fn a_token_that_is_known_is_looked_at_again() {
        let data_dir = tempfile::tempdir().unwrap();
        let folder = AuthFolder::open(data_dir.path()).unwrap();
        let now = Arc::new(Mutex::new(jiff::Timestamp::now()));
        let time = now.clone();
        let clock = Clock::new(move || *time.lock());
        let (rotation, grace) = (Duration::from_secs(600), Duration::from_secs(300));
        let keys = SigningKeys::open(folder, clock, rotation, grace).unwrap();
        let (client, scopes) = ("acme".parse().unwrap(), "system/*.rs".parse().unwrap());
        let tokens = KnownTokens::default();
        let token = access_token::issue(&keys, &issuer("a"), &client, &scopes, 1000, 100_000).unwrap();
        let verify = |tenant: &str, token: &str, now| {
            tokens.verify(&keys, &issuer(tenant), token, now).map(|claims| claims.client_id)
        };
        assert_eq!(verify("b", &token, 1000), Err(TokenError::Invalid), "before it is known");
        for _ in 0..2 {
            assert_eq!(verify("a", &token, 1000), Ok(client.clone()));
        }
        assert_eq!(verify("b", &token, 1000), Err(TokenError::Invalid), "of another tenant");
        assert_eq!(verify("a", &token, 101_000), Err(TokenError::Expired));
        assert_eq!(verify("a", &format!("{token}x"), 1000), Err(TokenError::Invalid));
        // The key grows old and is gone.
        for seconds in [600, 300] {
            assert_eq!(verify("a", &token, 1000), Ok(client.clone()));
            let next = after(*now.lock(), Duration::from_secs(seconds));
            *now.lock() = next;
            keys.rotate_if_due().unwrap();
        }
        assert_eq!(verify("a", &token, 1000), Err(TokenError::Invalid), "its key is gone");
    }

    #[test]
    fn not_more_are_remembered_than_may_be() {
        let tokens = KnownTokens::default();
        let claims = AccessTokenClaims {
            iss: String::new(),
            aud: String::new(),
            sub: "a".parse().unwrap(),
            client_id: "a".parse().unwrap(),
            tenant: "t".parse().unwrap(),
            scope: String::new(),
            iat: 0,
            exp: 10,
            jti: String::new(),
        };
        for n in 0..=MOST as u64 {
            let known = KnownToken { kid: String::new(), claims: claims.clone() };
            tokens.remember(Sha256::digest(n.to_le_bytes()).into(), known, 5);
        }
        assert_eq!(tokens.0.lock().len(), 1);
    }
}
