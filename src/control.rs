//! The operator's door to a running server: a Unix socket in the data directory that only its
//! owner and root can open. One line of JSON asks, one line answers, and the connection ends.
//! Who asks is what the kernel says of the other end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use uuid::Uuid;

use crate::Evanesce;
use crate::audit::AuditedEvent;
use crate::job::JobId;

/// The name of the socket in the data directory.
const NAME: &str = "control.sock";

/// Longest question in bytes.
const LONGEST: u64 = 64 << 10;

/// Longest reason in bytes: it is kept as long as the receipts (P13).
const LONGEST_REASON: usize = 1000;

/// How long one question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a door at which nobody comes looks whether it is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What an operator can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// What the reaper has done and has before it.
    Status,
    /// All jobs, tombstones included.
    Jobs,
    /// Sweep and expire nothing until it is resumed.
    Pause {
        /// Why; it goes into the receipts.
        reason: String,
    },
    /// The end of a pause.
    Resume,
    /// The clock is right although it jumped.
    ConfirmClock,
    /// End a job, whosever it is, and have its files erased.
    Cancel {
        /// The job.
        job: JobId,
    },
    /// The job's files must stay.
    Hold {
        /// The job.
        job: JobId,
        /// Why; it goes into the receipts.
        reason: String,
    },
    /// The end of a hold.
    Release {
        /// The job.
        job: JobId,
    },
}

/// Who gives an order, and by which request.
pub struct Operator {
    /// As receipts have it.
    pub name: String,
    /// The same request sent again gets the same answer.
    pub request_id: String,
}

/// The answer, or why there is none.
pub type Answer = Result<Value, String>;

/// The socket; its name goes when it is dropped.
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Door {
    fn drop(&mut self) {
        // The next start removes it otherwise.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A socket's address holds about a hundred bytes: so it is addressed through its open
/// directory, however deep that is.
fn address(data_dir: &Path) -> io::Result<(File, PathBuf)> {
    let dir = File::open(data_dir)?;
    let path = format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd());
    Ok((dir, path.into()))
}

impl Door {
    /// Opens the door. The data directory must be locked by this process: what stands there is
    /// of one that is no more.
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

    /// Makes the socket again, if its name was removed.
    fn keep(&mut self) {
        if self.path.symlink_metadata().is_ok() {
            return;
        }
        let Some(opened) = self.path.parent().map(Self::bind) else { return };
        match opened {
            Ok(listener) => {
                tracing::warn!("the control socket was removed: it was made again");
                self.listener = listener;
            }
            // Without the data directory it has no place; the reaper tells of that.
            Err(error) => tracing::debug!(%error, "the control socket cannot be made again"),
        }
    }

    /// Answers whoever comes, for ever.
    pub async fn serve(mut self, evanesce: Evanesce) {
        loop {
            let Ok(came) = tokio::time::timeout(LOOK_EVERY, self.listener.accept()).await else {
                self.keep();
                continue;
            };
            match came {
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
    let operator = Operator { name, request_id: Uuid::new_v4().to_string() };
    let mut question = String::new();
    let mut limited = tokio::io::BufReader::new(&mut stream).take(LONGEST);
    limited.read_line(&mut question).await?;
    let answer = match serde_json::from_str(&question) {
        Ok(ask) => perform(ask, &operator, evanesce).await,
        Err(error) => Err(format!("the question cannot be understood: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    stream.shutdown().await
}

/// The user's name, or the number of one who has none.
fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// Does what an operator asks for.
///
/// # Errors
/// Why it was not done, for the operator.
pub async fn perform(ask: Ask, operator: &Operator, evanesce: &Evanesce) -> Answer {
    let by = &*operator.name;
    if let Ask::Pause { reason } | Ask::Hold { reason, .. } = &ask
        && reason.len() > LONGEST_REASON
    {
        return Err(format!("the reason is longer than {LONGEST_REASON} bytes; give a shorter one"));
    }
    let ordered = match ask {
        Ask::Status => {
            let status = evanesce.reaper_status().await.ok_or("the instance is going down")?;
            return serde_json::to_value(status).map_err(|e| e.to_string());
        }
        Ask::Jobs => return serde_json::to_value(evanesce.jobs().await).map_err(|e| e.to_string()),
        Ask::ConfirmClock => {
            let waited = evanesce.confirm_clock().await.ok_or("the instance is going down")?;
            if !waited {
                return Err("the clock is believed already".into());
            }
            let (action, by) = ("clock-confirm", by.into());
            evanesce.record(AuditedEvent::Admin { action, by, job: None, client: None });
            return Ok(Value::Null);
        }
        Ask::Cancel { job } => {
            // A user may have a name that no client can have.
            let by =
                by.parse().unwrap_or_else(|_| "operator".parse().expect("a constant that is a valid name"));
            let cancelled = evanesce.cancel_as(job, by, operator.request_id.clone()).await;
            cancelled.map_err(|refusal| refusal.to_string())?;
            let (action, by) = ("cancel", operator.name.clone());
            evanesce.record(AuditedEvent::Admin { action, by, job: Some(job), client: None });
            return Ok(Value::Null);
        }
        Ask::Pause { reason } => evanesce.pause_reaper(by, &reason).await,
        Ask::Resume => evanesce.resume_reaper(by).await,
        Ask::Hold { job, reason } => evanesce.hold(job, by, &reason).await,
        Ask::Release { job } => evanesce.release(job, by).await,
    };
    ordered.map(|()| Value::Null).map_err(|refusal| refusal.to_string())
}

/// Why a server could not be asked, or did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody is behind the door.
    #[error("no server runs on {0}, or it is another user's: {1}")]
    NoServer(PathBuf, io::Error),
    /// The conversation broke off.
    #[error("the server did not answer: {0}")]
    Broken(io::Error),
    /// It was refused.
    #[error("{0}")]
    Refused(String),
}

/// Asks the server that runs on this data directory. Blocks.
pub fn ask(data_dir: &Path, ask: &Ask) -> Result<Value, ControlError> {
    let connect = || {
        let (_dir, address) = address(data_dir)?;
        BlockingStream::connect(address)
    };
    let mut stream = connect().map_err(|error| ControlError::NoServer(data_dir.into(), error))?;
    let mut converse = || -> io::Result<Answer> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = serde_json::to_vec(ask)?;
        text.push(b'\n');
        stream.write_all(&text)?;
        let mut answer = String::new();
        BufReader::new(&mut stream).read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    };
    converse().map_err(ControlError::Broken)?.map_err(ControlError::Refused)
}
