//! Downloads: a file that is open for reading. Each is registered under the lock that a publication takes,
//! *then* the state is looked at, *then* the file is opened through the job's directory handle (P4). When the
//! job ends and the grace is over, the file is taken away from whoever reads it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Evanesce, JobAbsent, JobOwner, JobSnapshot};
use crate::files::{DirPlace, FilesError, OpenOutput, ReadAt};
use crate::hooks::HookStep;
use crate::job::{JobId, OutputFile};
use crate::view::{DownloadTicket, JobLookup};

/// The longest that a mark's publication may come after the rename of its directory, whose
/// syncs may queue behind other bytes; a file that is missing for longer is lost.
const PUBLICATION: Duration = Duration::from_secs(5);

/// The most bytes that [`OpenFile::read_at`] returns at once (P13).
const MAX_READ: usize = 1 << 20;

/// Why a file is not opened.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let refused = evanesce.open_file(&"me".parse::<ClientId>()?.into(), job, "../request.json").await;
/// assert_eq!(refused.err(), Some(OpenFileError::UnknownFile));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenFileError {
    /// The job is not shown.
    #[error(transparent)]
    Job(#[from] JobAbsent),
    /// The job has no such file, or it may not be had yet.
    #[error("the job has no such file")]
    UnknownFile,
    /// The file is there, but cannot be opened. The log says why.
    #[error("the file cannot be opened")]
    Unreadable,
}

/// A file of an export that is open for reading, as plain text in whatever form it is stored. It counts as a
/// download until it is dropped: while it is open the file stays, unless the job is deleted and
/// `download.delete_grace` passes.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let owner = "me".parse::<ClientId>()?.into();
/// let name = evanesce.job(&owner, job).await?.manifest(0)?.files[0].name.clone();
/// let file = evanesce.open_file(&owner, job, &name).await?;
/// let mut text = Vec::new();
/// while (text.len() as u64) < file.file().bytes {
///     text.extend(file.read_at(text.len() as u64, 64 << 10).await?);
/// }
/// assert!(text.ends_with(b"}\n"));
/// # Ok(())
/// # }
/// ```
pub struct OpenFile {
    file: OutputFile,
    download: Download<Arc<dyn ReadAt>>,
}

impl OpenFile {
    /// Returns what the manifest says of the file.
    pub fn file(&self) -> &OutputFile {
        &self.file
    }

    /// Returns the text from `offset` on: at most `length` bytes and at most 1 MiB, nothing at the end of the
    /// file. Reads of one handle line up. A read whose future is dropped is finished all the same.
    ///
    /// # Errors
    /// The file cannot be read; or, as [`io::ErrorKind::ConnectionAborted`], the job was deleted, and the time
    /// that its downloads were given is over.
    pub async fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let read = move |file: &mut Arc<dyn ReadAt>| {
            let mut buffer = vec![0; length.min(MAX_READ)];
            let filled = file.read_full_at(&mut buffer, offset)?;
            buffer.truncate(filled);
            Ok(buffer)
        };
        self.download.read(read).await
    }
}

/// A download that is registered, of a file that is not open yet.
pub(crate) struct RegisteredDownload<'a> {
    evanesce: &'a Evanesce,
    owner: &'a JobOwner,
    job: JobSnapshot,
    file: OutputFile,
    ticket: DownloadTicket,
}

impl Evanesce {
    /// Opens a file of a job of `owner`: one of a complete job, or of one that runs and was allowed partial
    /// manifests. `name` is [`OutputFile::name`].
    ///
    /// # Errors
    /// The job is not there or somebody else's; it has no such file; or the file cannot be opened.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// let owner = "me".parse::<ClientId>()?.into();
    /// let name = evanesce.job(&owner, job).await?.manifest(0)?.files[0].name.clone();
    /// let file = evanesce.open_file(&owner, job, &name).await?;
    /// assert_eq!(file.read_at(0, 16).await?, br#"{"resourceType":"#);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open_file(
        &self,
        owner: &JobOwner,
        job: JobId,
        name: &str,
    ) -> Result<OpenFile, OpenFileError> {
        let registered = self.register_download(owner, job, name).await?;
        let file = registered.file.clone();
        let download = registered.open(|opened| Ok(opened.text())).await?;
        Ok(OpenFile { file, download })
    }

    /// Registers a download, and only then looks whether there is such a file: it stays until the download is
    /// over.
    pub(crate) async fn register_download<'a>(
        &'a self,
        owner: &'a JobOwner,
        job: JobId,
        name: &str,
    ) -> Result<RegisteredDownload<'a>, OpenFileError> {
        let services = self.services();
        let (lookup, ticket) = self.view().begin_download(&owner.tenant, &owner.client, job).await;
        let job = self.shown(lookup)?;
        let ticket = ticket.ok_or(OpenFileError::UnknownFile)?;
        services.hooks.reach(HookStep::DownloadRegistered);
        // F-10: the name is compared, never joined to a path.
        let file = job.0.file(name).ok_or(OpenFileError::UnknownFile)?;
        Ok(RegisteredDownload { evanesce: self, owner, job, file, ticket })
    }

    /// Why a file could not be opened that the job had a moment ago.
    async fn explain(
        &self,
        owner: &JobOwner,
        job: JobId,
        file: &OutputFile,
        error: &FilesError,
    ) -> OpenFileError {
        if error.is_missing() {
            // A mark moves the directory to `trash/` before it is published, which is moments away.
            let gone = async {
                let mut changes = self.view().changes();
                loop {
                    match self.view().lookup(&owner.tenant, &owner.client, job).await {
                        // It failed: what it had written is gone.
                        JobLookup::Found(found) if found.file(&file.name).is_none() => {
                            return OpenFileError::UnknownFile;
                        }
                        JobLookup::Found(_) => changes.next().await,
                        JobLookup::Deleted => return JobAbsent::Deleted.into(),
                        JobLookup::Unknown => return JobAbsent::Unknown.into(),
                    }
                }
            };
            if let Some(reason) = self.within(PUBLICATION, gone).await {
                return reason;
            }
        }
        tracing::error!(%job, %error, "a file of a complete job cannot be opened");
        OpenFileError::Unreadable
    }
}

impl RegisteredDownload<'_> {
    /// Returns the job, as it was when the download was registered.
    #[cfg(feature = "server")]
    pub fn job(&self) -> &JobSnapshot {
        &self.job
    }

    /// Returns what the job's record says of the file.
    #[cfg(feature = "server")]
    pub fn file(&self) -> &OutputFile {
        &self.file
    }

    /// Opens the file through the handle of the job's directory, and makes of it what is going to be read.
    pub async fn open<R: Send + 'static>(
        self,
        prepare: impl FnOnce(OpenOutput) -> Result<R, FilesError> + Send + 'static,
    ) -> Result<Download<R>, OpenFileError> {
        let Self { evanesce, owner, job, file, ticket } = self;
        let (files, record, job) = (evanesce.services().files.clone(), file.clone(), job.id());
        let open = move || {
            let open = |place| OpenOutput::open(&*files.open(job, place)?, &record);
            // Of an export that still runs, which may be complete at any moment (ST-9).
            let opened = match open(DirPlace::Ready) {
                Err(error) if error.is_missing() => {
                    open(DirPlace::Building).or_else(|_| open(DirPlace::Ready))
                }
                opened => opened,
            };
            opened.and_then(prepare)
        };
        let opened = match evanesce.blocking_pool().spawn_blocking(open).await {
            Ok(opened) => opened,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        match opened {
            Ok(reader) => {
                evanesce.services().hooks.reach(HookStep::DownloadOpened);
                Ok(Download::new(reader, ticket, evanesce))
            }
            Err(error) => {
                drop(ticket);
                Err(evanesce.explain(owner, job, &file, &error).await)
            }
        }
    }
}

/// What a download holds.
struct HeldReader<R> {
    /// Let go of first: when the ticket says that the download is over, the file is closed.
    reader: R,
    _ticket: DownloadTicket,
}

/// An open download. Whoever does not read holds nothing back: when it is cut, the file is taken away from
/// it whether or not somebody asks for more.
pub(crate) struct Download<R> {
    held: Arc<Mutex<Option<HeldReader<R>>>>,
    cut: CancellationToken,
    blocking_pool: Handle,
    /// Ends the watch over it.
    _over: DropGuard,
}

impl<R: Send + 'static> Download<R> {
    fn new(reader: R, ticket: DownloadTicket, evanesce: &Evanesce) -> Self {
        let cut = ticket.cut().clone();
        let held = Arc::new(Mutex::new(Some(HeldReader { reader, _ticket: ticket })));
        let over = CancellationToken::new();
        let (watched, is_cut, is_over) = (held.clone(), cut.clone(), over.clone());
        evanesce.runtime().spawn(async move {
            tokio::select! {
                () = is_cut.cancelled() => {
                    let taken = watched.lock().await.take();
                    // The last descriptor of a large file takes its time to close.
                    tokio::task::spawn_blocking(move || drop(taken));
                }
                () = is_over.cancelled() => {}
            }
        });
        Self { held, cut, blocking_pool: evanesce.blocking_pool(), _over: over.drop_guard() }
    }

    /// Fires when the download is cut.
    #[cfg(feature = "server")]
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Reads, where it may block. What was read of a download that was cut meanwhile is thrown away.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut R) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let deleted = || io::Error::new(io::ErrorKind::ConnectionAborted, "the export was deleted");
        let mut held = self.held.clone().lock_owned().await;
        let cut = self.cut.clone();
        let reading = move || {
            let outcome = read(&mut held.as_mut().ok_or_else(deleted)?.reader);
            if cut.is_cancelled() {
                held.take();
                return Err(deleted());
            }
            outcome
        };
        self.blocking_pool.spawn_blocking(reading).await.map_err(io::Error::other)?
    }
}
