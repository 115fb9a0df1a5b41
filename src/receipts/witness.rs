//! A signed tree head that is kept elsewhere, where no backup of the data directory goes back with it. A start
//! whose receipts do not go through it has an older history than somebody has seen: it is refused, because it
//! would serve what was erased since. A file is written by a thread of its own, so that no deletion waits for it.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::heads::{SignedTreeHead, last_head};
use super::{ReceiptChain, ReceiptsError};
use crate::plain_file;

/// How long an orderly stop waits for the last head to be written.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Where a head is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadWitness {
    /// A file, which the server writes.
    File(PathBuf),
    /// A URL, which is only read.
    Url(String),
}

/// Why a start is refused.
#[derive(Debug, thiserror::Error)]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub enum WitnessError {
    /// The witness says nothing.
    #[error(
        "cannot read the tree head that {witness} keeps (receipts.witness): {error}; make it readable, or start \
         without receipts.witness if you know that this data directory is the newest one"
    )]
    Unreadable {
        /// Where the head is.
        witness: String,
        /// What went wrong.
        error: io::Error,
    },
    /// The receipts are not those of the head.
    #[error(
        "these receipts end at, or have another, entry {found} and do not go through entry {expected} that {witness} has seen \
         ({hash}): this data directory is older, and would serve what was erased since; put back what it lacks with \
         `evanesce receipts replay --from FILE`, where FILE is a newer copy of receipts.ndjson, and start again"
    )]
    Behind {
        /// Where the head is.
        witness: String,
        /// The entry that it has seen.
        expected: u64,
        /// Its hash.
        hash: String,
        /// The entry that is there, or the last one.
        found: u64,
    },
    /// The receipts cannot be read.
    #[error(transparent)]
    Receipts(#[from] ReceiptsError),
}

impl fmt::Display for HeadWitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

impl HeadWitness {
    /// Takes the value of `receipts.witness`.
    pub fn new(value: &str) -> Self {
        let is_url = ["https://", "http://"].iter().any(|scheme| value.starts_with(scheme));
        if is_url { Self::Url(value.into()) } else { Self::File(value.into()) }
    }

    /// Returns the newest head that is kept. `None` if there is none yet. Blocks.
    ///
    /// # Errors
    /// Fails if it cannot be read, or is no head. A file whose folder is not there is on a device that is not
    /// there.
    pub fn newest(&self) -> Result<Option<SignedTreeHead>, WitnessError> {
        let newest = match self {
            Self::File(path) => newest_in(path),
            Self::Url(url) => fetch::newest_at(url),
        };
        newest.map_err(|error| WitnessError::Unreadable { witness: self.to_string(), error })
    }

    /// Checks that the receipts go through the newest head that is kept, or that they tell of what they lack.
    ///
    /// # Errors
    /// [`WitnessError::Behind`] if they do not.
    pub fn check(&self, receipts: &dyn ReceiptChain) -> Result<(), WitnessError> {
        let Some(head) = self.newest()? else {
            tracing::warn!(witness = %self, "receipts.witness has no tree head yet: an older data directory would not be told");
            return Ok(());
        };
        let expected = head.chain();
        match receipts.missing(expected)? {
            Some(found) if !receipts.tells_gap(expected) => {
                let (witness, hash) = (self.to_string(), expected.hash.to_string());
                Err(WitnessError::Behind { witness, expected: expected.count, hash, found: found.count })
            }
            _ => Ok(()),
        }
    }

    /// Returns what writes heads there. `None` for a URL.
    ///
    /// # Errors
    /// Fails if there is no thread to be had.
    pub fn keeper(&self) -> io::Result<Option<HeadKeeper>> {
        let Self::File(path) = self else { return Ok(None) };
        HeadKeeper::start(path.clone()).map(Some)
    }
}

fn newest_in(path: &Path) -> io::Result<Option<SignedTreeHead>> {
    match last_head(path)? {
        (None, 0) if !folder_of(path).is_dir() => Err(io::ErrorKind::NotFound.into()),
        (None, bytes) if bytes > 0 => Err(no_head()),
        (head, _) => Ok(head),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn no_head() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its last line is not a signed tree head")
}

/// Writes heads to a file. Only the newest counts: one that is overtaken is never written.
pub struct HeadKeeper(Arc<KeptHead>);

#[derive(Default)]
struct KeptHead {
    state: Mutex<KeeperState>,
    changed: Condvar,
}

#[derive(Default)]
struct KeeperState {
    newest: Option<SignedTreeHead>,
    is_writing: bool,
    is_over: bool,
}

impl HeadKeeper {
    fn start(path: PathBuf) -> io::Result<Self> {
        let kept = Arc::new(KeptHead::default());
        let writer = kept.clone();
        std::thread::Builder::new().name("head-witness".into()).spawn(move || writer.write_to(&path))?;
        Ok(Self(kept))
    }

    /// Has a head written. Does not block.
    pub fn keep(&self, head: &SignedTreeHead) {
        self.0.state.lock().newest = Some(head.clone());
        self.0.changed.notify_all();
    }
}

impl Drop for HeadKeeper {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_over = true;
        self.0.changed.notify_all();
        let is_busy = |state: &mut KeeperState| state.is_writing || state.newest.is_some();
        let _ = self.0.changed.wait_while_for(&mut state, is_busy, LAST_WRITE);
    }
}

impl KeptHead {
    fn write_to(&self, path: &Path) {
        let mut state = self.state.lock();
        loop {
            self.changed.wait_while(&mut state, |state| state.newest.is_none() && !state.is_over);
            let Some(head) = state.newest.take() else { return };
            state.is_writing = true;
            drop(state);
            if let Err(error) = write(path, &head) {
                tracing::error!(%error, witness = %path.display(), "a tree head could not be kept by receipts.witness; the next one includes it");
            }
            state = self.state.lock();
            state.is_writing = false;
            self.changed.notify_all();
        }
    }
}

fn write(path: &Path, head: &SignedTreeHead) -> io::Result<()> {
    let mut line = serde_json::to_vec(head)?;
    line.push(b'\n');
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = plain_file::replace_with(OpenOptions::new().write(true).mode(0o644), Path::new(&new))?;
    file.write_all(&line)?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

#[cfg(feature = "server")]
mod fetch {
    use std::io::{self, Read};
    use std::sync::Arc;
    use std::time::Duration;

    use ureq::tls::{RootCerts, TlsConfig};
    use ureq::{Agent, Error};

    use super::{SignedTreeHead, no_head};

    /// The most bytes of heads that are read.
    const MOST_BYTES: u64 = 64 << 20;

    /// How long an answer may take.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Returns the last head at a URL. `None` if it answers that there is nothing.
    pub fn newest_at(url: &str) -> io::Result<Option<SignedTreeHead>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(RootCerts::WebPki)
            .build();
        let agent: Agent =
            Agent::config_builder().tls_config(tls).timeout_global(Some(PATIENCE)).build().into();
        let answer = match agent.get(url).call() {
            Ok(answer) => answer,
            Err(Error::StatusCode(404)) => return Ok(None),
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut text = String::new();
        answer.into_body().into_reader().take(MOST_BYTES).read_to_string(&mut text)?;
        let last = text.lines().rfind(|line| !line.trim().is_empty()).ok_or_else(no_head)?;
        serde_json::from_str(last).map(Some).map_err(|_| no_head())
    }
}

#[cfg(not(feature = "server"))]
mod fetch {
    use std::io;

    use super::SignedTreeHead;

    /// Fails: a library without the feature `server` has no client of HTTP.
    pub fn newest_at(_url: &str) -> io::Result<Option<SignedTreeHead>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a URL needs the feature `server`; name a file"))
    }
}
