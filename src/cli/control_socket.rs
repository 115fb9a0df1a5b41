//! The control socket: a Unix socket in the data directory that only its owner and root can open.
//! One line of JSON asks, one line answers, and the connection ends. The operator is who the
//! kernel says is at the other end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, User};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use uuid::Uuid;

use crate::Evanesce;
use crate::control::{OperatorIdentity, OperatorRequest, OperatorResponse, perform};

/// The name of the socket in the data directory.
const NAME: &str = "control.sock";

/// Longest request in bytes.
const MAX_REQUEST: u64 = 64 << 10;

/// How long one request and its response may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often an idle listener checks that its socket still has its name.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The listening socket. Dropping it removes its name.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // If this fails, the next start removes it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Returns the data directory, open, and the socket's address through it. A socket's address
/// holds about a hundred bytes, and the data directory may lie deeper than that.
fn address(data_dir: &Path) -> io::Result<(File, PathBuf)> {
    let dir = File::open(data_dir)?;
    let path = format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd());
    Ok((dir, path.into()))
}

impl ControlSocket {
    /// Binds the socket. The data directory must be locked by this process, so a socket that is
    /// there already belongs to a process that has ended.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(NAME);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = Self::bind(data_dir)?;
        Ok(Self { listener, path })
    }

    fn bind(data_dir: &Path) -> io::Result<UnixListener> {
        let (_dir, address) = address(data_dir)?;
        let listener = UnixListener::bind(address)?;
        std::fs::set_permissions(data_dir.join(NAME), std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// Binds the socket again if its name was removed.
    fn rebind(&mut self) {
        if self.path.symlink_metadata().is_ok() {
            return;
        }
        let Some(opened) = self.path.parent().map(Self::bind) else { return };
        match opened {
            Ok(listener) => {
                tracing::warn!("the control socket was removed: it was made again");
                self.listener = listener;
            }
            // Without the data directory there is no place for it; the reaper reports that.
            Err(error) => tracing::debug!(%error, "the control socket cannot be made again"),
        }
    }

    /// Answers operators for ever.
    pub async fn serve(mut self, evanesce: Evanesce) {
        loop {
            let Ok(accepted) = tokio::time::timeout(CHECK_INTERVAL, self.listener.accept()).await else {
                self.rebind();
                continue;
            };
            match accepted {
                Ok((stream, _)) => {
                    let evanesce = evanesce.clone();
                    actix_web::rt::spawn(async move {
                        let answered = tokio::time::timeout(PATIENCE, converse(stream, &evanesce)).await;
                        if let Ok(Err(error)) = answered {
                            tracing::warn!(%error, "an operator could not be answered");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "an operator could not be let in");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn converse(mut stream: UnixStream, evanesce: &Evanesce) -> io::Result<()> {
    let name = name_of(Uid::from_raw(stream.peer_cred()?.uid()));
    let operator = OperatorIdentity { name, request_id: Uuid::new_v4().to_string() };
    let mut line = String::new();
    let mut limited = tokio::io::BufReader::new(&mut stream).take(MAX_REQUEST);
    limited.read_line(&mut line).await?;
    let response = match serde_json::from_str(&line) {
        Ok(request) => perform(request, &operator, evanesce).await,
        Err(error) => Err(format!("the request cannot be understood: {error}")),
    };
    let mut text = serde_json::to_vec(&response)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    stream.shutdown().await
}

/// Returns the name of a user, or its number if it has no name.
fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// Why a server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No server listens.
    #[error(
        "no server runs on {0} ({1}); start one with `evanesce serve --data-dir {0}`, or name the data directory \
         of the one that runs with --data-dir"
    )]
    NoServer(String, io::Error),
    /// The socket is not for this user.
    #[error("the server on {0} is another user's ({1}); give the order as that user or as root")]
    AnotherUsers(String, io::Error),
    /// The conversation broke off.
    #[error("the server did not answer: {0}; its log may say why")]
    Broken(io::Error),
    /// The server refused.
    #[error("{0}")]
    Refused(String),
}

/// Sends a request to the server that runs on this data directory, and returns its response. Blocks.
///
/// # Errors
/// Fails if no server runs there, if it does not answer within 30 seconds, or if it refuses.
pub fn send(data_dir: &Path, request: &OperatorRequest) -> Result<Value, ControlError> {
    let connect = || {
        let (_dir, address) = address(data_dir)?;
        BlockingStream::connect(address)
    };
    let mut stream = connect().map_err(|error| {
        let place = data_dir.display().to_string();
        match error.kind() {
            io::ErrorKind::PermissionDenied => ControlError::AnotherUsers(place, error),
            _ => ControlError::NoServer(place, error),
        }
    })?;
    let mut converse = || -> io::Result<OperatorResponse> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        stream.write_all(&text)?;
        let mut line = String::new();
        BufReader::new(&mut stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    converse().map_err(ControlError::Broken)?.map_err(ControlError::Refused)
}
