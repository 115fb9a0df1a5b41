//! TLS 1.2 and 1.3 (G-2) with a certificate that can be replaced. The files are read again when
//! their folders change, and now and then anyway. Files that cannot be used are refused, and the
//! certificate before stays. New connections use the new certificate, and open connections keep
//! theirs.

mod validity;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::{Mutex, RwLock};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, crypto};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::TransportError;
use crate::config;
use crate::plain_file::{self, LinkPolicy, SETTINGS_BYTES};
use crate::telemetry;

/// How often the files are read without a hint.
const POLL: Duration = Duration::from_secs(60);

/// How long to wait for further hints: a pair is rarely replaced in one step.
const SETTLE: Duration = Duration::from_millis(100);

/// How early, in seconds, the log warns that the certificate expires. It repeats the warning each
/// day.
const SOON: i64 = 21 * DAY;
const DAY: i64 = 24 * 3600;

/// The certificate in use, which follows its files.
pub struct TlsReloader {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    expires: RwLock<Option<Timestamp>>,
    /// What was read last, whether it could be used or not.
    seen: Mutex<TlsContents>,
}

/// The paths of the files.
struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// The contents of the files.
#[derive(PartialEq, Eq)]
struct TlsContents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl TlsReloader {
    /// Reads the files of the settings. Returns `None` if the settings name none.
    ///
    /// # Errors
    /// Fails if a file cannot be read or used, or if the key does not belong to the certificate.
    pub fn load(settings: &config::TlsConfig) -> Result<Option<Self>, TransportError> {
        let (Some(certificate), Some(key)) = (settings.certificate.clone(), settings.key.clone()) else {
            return Ok(None);
        };
        let files = TlsFiles { certificate, key, client_ca: settings.client_ca.clone() };
        let seen = files.read()?;
        let (config, expires) = files.parse(&seen)?;
        let (current, expires) = (RwLock::new(config), RwLock::new(expires));
        let tls = Self { files, current, expires, seen: Mutex::new(seen) };
        tls.tell_expiry();
        Ok(Some(tls))
    }

    /// Returns an acceptor with the current certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.current.read().clone().into()
    }

    /// Follows the files. Never returns.
    pub async fn keep_current(self: Arc<Self>) {
        let hint = Arc::new(Notify::new());
        let _watcher = self.watch(hint.clone());
        let mut told = Timestamp::now();
        loop {
            // The files may have changed since they were loaded, when nobody watched yet.
            self.reload();
            if Timestamp::now().as_second() - told.as_second() >= DAY {
                told = Timestamp::now();
                self.tell_expiry();
            }
            if tokio::time::timeout(POLL, hint.notified()).await.is_ok() {
                tokio::time::sleep(SETTLE).await;
            }
        }
    }

    /// Takes over what the files hold, if it is new and can be used.
    fn reload(&self) {
        let mut seen = self.seen.lock();
        let taken = match self.files.read() {
            Ok(read) if read == *seen => return,
            Ok(read) => {
                *seen = read;
                self.files.parse(&seen)
            }
            Err(error) => Err(error),
        };
        match taken {
            Ok((config, expires)) => {
                *self.current.write() = config;
                *self.expires.write() = expires;
                telemetry::certificate_read("taken");
                tracing::info!("new connections get the new certificate");
                self.tell_expiry();
            }
            Err(error) => {
                telemetry::certificate_read("refused");
                tracing::error!(%error, "the new certificate cannot be used: the one before it stays in use");
            }
        }
    }

    fn watch(&self, hint: Arc<Notify>) -> Option<RecommendedWatcher> {
        let told = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                hint.notify_one();
            }
        };
        let start = || {
            let mut watcher = notify::recommended_watcher(told)?;
            let TlsFiles { certificate, key, client_ca } = &self.files;
            for file in [Some(certificate), Some(key), client_ca.as_ref()].into_iter().flatten() {
                watcher.watch(folder(file), RecursiveMode::NonRecursive)?;
            }
            Ok::<_, notify::Error>(watcher)
        };
        start()
            .inspect_err(
                |error| tracing::warn!(%error, "cannot watch the certificate; it is read each minute"),
            )
            .ok()
    }

    fn tell_expiry(&self) {
        let Some(expires) = *self.expires.read() else { return };
        telemetry::certificate_expires(expires.as_second());
        let left = expires.as_second() - Timestamp::now().as_second();
        if left < 0 {
            tracing::warn!(%expires, "the certificate has expired, clients refuse it; replace the files");
        } else if left < SOON {
            tracing::warn!(%expires, "the certificate expires soon; replace the files");
        }
    }
}

/// Returns the folder of a file.
fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl TlsFiles {
    fn read(&self) -> Result<TlsContents, TransportError> {
        let read = |key, path: &Path| {
            plain_file::read(path, LinkPolicy::Follow, SETTINGS_BYTES)
                .map_err(|error| refused(key, path, format!("cannot be read: {error}")))
        };
        Ok(TlsContents {
            certificate: read("tls.certificate", &self.certificate)?,
            key: read("tls.key", &self.key)?,
            client_ca: self.client_ca.as_deref().map(|path| read("tls.client_ca", path)).transpose()?,
        })
    }

    /// Parses the files. Also returns when the certificate expires, if that can be read.
    fn parse(
        &self,
        contents: &TlsContents,
    ) -> Result<(Arc<ServerConfig>, Option<Timestamp>), TransportError> {
        let chain = certificates("tls.certificate", &self.certificate, &contents.certificate)?;
        let expires = chain.first().and_then(|first| validity::not_after(first));
        // Nothing of a key may get into a log, so the error does not say what is wrong with it.
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| refused("tls.key", &self.key, "is not a private key in PEM".into()))?;
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| refused("tls.certificate", &self.certificate, error.to_string()))?;
        let builder = match (&self.client_ca, &contents.client_ca) {
            (Some(path), Some(roots)) => {
                let mut store = RootCertStore::empty();
                for root in certificates("tls.client_ca", path, roots)? {
                    store.add(root).map_err(|error| refused("tls.client_ca", path, error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(store.into(), provider).build();
                let verifier = verifier.map_err(|error| refused("tls.client_ca", path, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let reason = format!("is not the key of tls.certificate, or of no kind that is used: {error}");
            refused("tls.key", &self.key, reason)
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((Arc::new(config), expires))
    }
}

/// Returns the certificates of a file, at least one.
fn certificates(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| refused(key, path, format!("is not PEM: {error}")))?;
    if read.is_empty() {
        return Err(refused(key, path, "has no certificate as PEM (-----BEGIN CERTIFICATE-----)".into()));
    }
    Ok(read)
}

fn refused(key: &'static str, path: &Path, reason: String) -> TransportError {
    TransportError::Certificate { key, path: path.into(), reason }
}
