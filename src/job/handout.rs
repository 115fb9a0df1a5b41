//! Signed URLs of Binaries. An authenticated client may read what attachments in its own exports refer
//! to, and no other Binary (O-4, G-4). A proof is made with a secret of the job, which is kept in the
//! job's directory and goes with it: the proofs of an erased job are worthless.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{InvalidName, JobId, TenantId};

/// Signs the URLs of Binaries for one job.
///
/// ```
/// let handout = evanesce::ProofSigner::new("default".parse()?, evanesce::JobId::random());
/// let query = handout.query("DocumentReference", "scan-1");
/// assert!(query.starts_with("?request="));
/// let (_, proof) = query.split_once("&proof=").expect("it has one");
/// assert!(handout.proves("DocumentReference", "scan-1", proof));
/// # Ok::<_, evanesce::InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofSigner {
    tenant: TenantId,
    job: JobId,
    secret: ProofSecret,
}

/// 256 random bits, serialized as hexadecimal digits and never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct ProofSecret([u8; 32]);

impl ProofSigner {
    /// The length of [`ProofSigner::query`] in bytes.
    pub(crate) const QUERY_BYTES: u64 = ("?request=".len() + 36 + "&proof=".len() + 64) as u64;

    /// Creates the signer of a job, with a secret of its own.
    pub fn new(tenant: TenantId, job: JobId) -> Self {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the system has random bytes");
        Self { tenant, job, secret: ProofSecret(secret) }
    }

    /// Returns the query for the URL of a Binary that a resource of the type `of_type` refers to:
    /// `?request={job}&proof={HMAC-SHA-256}`. Its characters need no escapes in a URL or a JSON string.
    pub fn query(&self, of_type: &str, id: &str) -> String {
        let proof = self.signed(of_type, id).finalize().into_bytes();
        format!("?request={}&proof={}", self.job, hex::encode(proof))
    }

    /// Returns whether `proof` is that of a Binary's URL in a resource of the type `of_type`. Takes
    /// constant time.
    pub fn proves(&self, of_type: &str, id: &str, proof: &str) -> bool {
        let Ok(proof) = hex::decode(proof) else { return false };
        self.signed(of_type, id).verify_slice(&proof).is_ok()
    }

    /// Returns the authentication code of what was handed out. Names of tenants and types and ids have no
    /// zero byte, so no two signed texts are alike.
    fn signed(&self, of_type: &str, id: &str) -> Hmac<Sha256> {
        let mut code = Hmac::new_from_slice(&self.secret.0).expect("a key of HMAC may have any length");
        code.update(format!("evanesce Binary\0{}\0{of_type}\0{id}", self.tenant).as_bytes());
        code
    }
}

impl fmt::Debug for ProofSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl From<ProofSecret> for String {
    fn from(secret: ProofSecret) -> Self {
        hex::encode(secret.0)
    }
}

impl TryFrom<String> for ProofSecret {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(InvalidName::new("secret (64 hexadecimal digits)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof_in(query: &str) -> &str {
        query.split_once("&proof=").unwrap().1
    }

    #[test]
    fn o_4_a_proof_is_of_one_job_one_type_and_one_id() {
        let (tenant, job): (TenantId, _) = ("t".parse().unwrap(), JobId::random());
        let handout = ProofSigner::new(tenant.clone(), job);
        let query = handout.query("Media", "b-1");
        assert_eq!(query.len() as u64, ProofSigner::QUERY_BYTES);
        assert!(query.starts_with(&format!("?request={job}&proof=")), "{query}");
        let proof = proof_in(&query);
        assert!(handout.proves("Media", "b-1", proof));
        for (of_type, id) in [("Media", "b-2"), ("Patient", "b-1"), ("Media", ""), ("Media\0b-1", "")] {
            assert!(!handout.proves(of_type, id, proof), "{of_type:?} {id:?}");
        }
        for proof in ["", "00", &proof[2..], &format!("{proof}00"), "nonsense"] {
            assert!(!handout.proves("Media", "b-1", proof), "{proof}");
        }
        let others = [
            ProofSigner::new(tenant.clone(), job),
            ProofSigner { tenant: "u".parse().unwrap(), ..handout.clone() },
        ];
        for other in others {
            assert!(!other.proves("Media", "b-1", proof));
        }
    }

    /// The vector was made by `openssl dgst -sha256 -mac HMAC`: URLs that were given out stay good when the
    /// library is another.
    #[test]
    fn o_4_a_proof_is_hmac_sha_256_as_others_compute_it() {
        let job = "00000000-0000-4000-8000-000000000000".parse().unwrap();
        let secret = ProofSecret(std::array::from_fn(|n| n as u8));
        let handout = ProofSigner { tenant: "t".parse().unwrap(), job, secret };
        let proof = "27cbfa935523cf43f01f2eb37fdef79711e77bd1c2bcbb17079e2ff6b28b7623";
        assert_eq!(proof_in(&handout.query("Media", "b-1")), proof);
    }

    #[test]
    fn p12_a_secret_is_written_down_with_the_request_and_shown_nowhere() {
        let handout = ProofSigner::new("t".parse().unwrap(), JobId::random());
        let text = serde_json::to_string(&handout).unwrap();
        let read: ProofSigner = serde_json::from_str(&text).unwrap();
        assert_eq!(read, handout);
        let secret = String::from(handout.secret.clone());
        assert!(text.contains(&secret) && !format!("{handout:?}").contains(&secret[..8]));
        for bad in ["", "00", "zz"] {
            assert!(serde_json::from_str::<ProofSigner>(&text.replace(&secret, bad)).is_err());
        }
    }
}
