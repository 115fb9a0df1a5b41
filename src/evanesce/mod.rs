//! The embedding API: a running instance with its own thread and its own actix system, usable from any async
//! runtime (DESIGN section 5). It is the one door: whatever HTTP, the control socket and `evanesce serve` do,
//! they do through it, and so can a host without them. What only they need is `pub(crate)` here.

mod capabilities;
mod download;
#[cfg(feature = "console")]
mod evidence;
mod jobs;
mod life;
mod orders;
mod overview;
mod pages;
mod progress;
mod proofs;
mod source;
#[cfg(feature = "console")]
mod usage;
mod watch;

use std::pin::pin;
use std::sync::Arc;
#[cfg(feature = "server")]
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix::{Addr, System};
use futures_util::future::{Either, select};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::actors::{HaltExports, Orchestrator, Reaper, Services};
use crate::audit::{self, AuditedEvent};
use crate::builder::Builder;
use crate::clock::Clock;
use crate::config::Config;
use crate::job::{JobId, TenantId};
use crate::lock::DirLock;
#[cfg(feature = "cli")]
use crate::source::ServedFolder;
use crate::telemetry::FatalHandler;
use crate::view::PublishedView;

pub use capabilities::ExportCapabilities;
pub(crate) use download::Download;
pub use download::{OpenFile, OpenFileError};
#[cfg(feature = "console")]
pub(crate) use evidence::{PromiseEvidence, RecentActivity};
pub use jobs::{JobAbsent, JobOwner, JobSnapshot};
pub use life::{CancelError, CancelledJob, Submission};
pub use orders::Readiness;
#[cfg(feature = "server")]
pub(crate) use overview::JobDetail;
pub use overview::JobOverview;
#[cfg(feature = "console")]
pub(crate) use overview::{JobDossier, ListedJob};
pub use pages::{ManifestPage, PageAbsent};
pub use progress::JobProgress;
pub use proofs::ProofAbsent;
pub use source::SourceReadError;
#[cfg(feature = "console")]
pub(crate) use usage::{InstanceUsage, MarkedJob};
pub use watch::{CompletionError, JobWatch};

/// The tenant of exports that are submitted by the host itself.
const DEFAULT_TENANT: &str = "default";

/// The actors and what they work with.
pub(crate) struct RunningInstance {
    pub(crate) services: Arc<Services>,
    pub(crate) orchestrator: Addr<Orchestrator>,
    pub(crate) reaper: Addr<Reaper>,
    pub(crate) system: System,
    /// The runtime of the actors.
    pub(crate) runtime: Handle,
    /// Held as long as the instance lives.
    pub(crate) _lock: Arc<DirLock>,
}

struct InstanceCore {
    running: RunningInstance,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The URL of the operators' listener, once there is one.
    #[cfg(feature = "server")]
    operators: OnceLock<String>,
    /// Fires when nothing is published any more.
    stopped: CancellationToken,
}

/// A running instance. Clones are handles on the same one; dropping the last one stops it as
/// [`Evanesce::stop`] does.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// let folder = tempfile::tempdir()?;
/// let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients).start().await?;
/// let job = evanesce.submit(Kickoff::system(), "me".parse()?).await?;
/// assert_eq!(evanesce.wait_finished(job).await.map(|state| state.name()), Some(StateName::Complete));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Evanesce(Arc<InstanceCore>);

impl Evanesce {
    pub(crate) fn new(running: RunningInstance, thread: JoinHandle<()>) -> Self {
        Self(Arc::new(InstanceCore {
            running,
            thread: Mutex::new(Some(thread)),
            #[cfg(feature = "server")]
            operators: OnceLock::new(),
            stopped: CancellationToken::new(),
        }))
    }

    /// Begins to set an instance up.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let folder = tempfile::tempdir()?;
    /// let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients).start().await?;
    /// assert!(evanesce.readiness().await.is_ready);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Stops the instance: exports stop between two writes and go on at the next start; what
    /// was submitted to the store is committed; the lock is released. Resolves when all of
    /// that is done, after `grace` at the latest for workers that do not stop. Dropping the future gives up
    /// the waiting, not the stop. Whoever still waits for a job hears that there is nothing to wait for.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// evanesce.stop(std::time::Duration::from_secs(5)).await;
    /// assert!(evanesce.reaper_status().await.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stop(&self, grace: Duration) {
        let inner = self.0.clone();
        let (done, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            inner.stop(grace);
            let _ = done.send(());
        });
        let _ = stopped.await;
    }

    /// Returns the settings.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// assert_eq!(evanesce.config().export.workers, config::Config::default().export.workers);
    /// # Ok(())
    /// # }
    /// ```
    pub fn config(&self) -> &Config {
        &self.services().config
    }

    /// Returns the wall time, by the clock that the instance was given.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let clock = Clock::new(|| jiff::Timestamp::UNIX_EPOCH);
    /// let folder = tempfile::tempdir()?;
    /// let builder = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients);
    /// assert_eq!(builder.clock(clock).start().await?.now(), jiff::Timestamp::UNIX_EPOCH);
    /// # Ok(())
    /// # }
    /// ```
    pub fn now(&self) -> Timestamp {
        self.services().clock.now()
    }

    /// Returns the folders that the built-in exporter reads, as they were at the start.
    #[cfg(feature = "cli")]
    pub(crate) fn served_folders(&self) -> &[ServedFolder] {
        &self.services().served_folders
    }

    /// Notes where operators are served.
    #[cfg(feature = "cli")]
    pub(crate) fn note_operators(&self, url: String) {
        // There is one listener.
        let _ = self.0.operators.set(url);
    }

    /// Returns where operators are served, if they are.
    #[cfg(feature = "server")]
    pub(crate) fn operators_url(&self) -> Option<&str> {
        self.0.operators.get().map(String::as_str)
    }

    /// Returns the wall clock.
    #[cfg(feature = "server")]
    pub(crate) fn clock(&self) -> &Clock {
        &self.services().clock
    }

    /// Returns what is called when the instance can promise nothing any more.
    #[cfg(feature = "server")]
    pub(crate) fn fatal(&self) -> &FatalHandler {
        &self.services().fatal
    }

    /// Records what somebody did, or was refused.
    #[cfg(feature = "server")]
    pub(crate) fn record(&self, event: audit::RequestEvent) {
        self.services().audit.record(event);
    }

    /// Records the start of a download, and its end when the record is dropped ([`audit::AuditedDownload`]).
    #[cfg(feature = "server")]
    pub(crate) fn record_download(
        &self,
        caller: audit::AuditedCaller,
        job: JobId,
        file: &str,
        length: Option<u64>,
    ) -> audit::AuditedDownload {
        self.services().audit.download(caller, job, file, length)
    }

    /// Returns how long to wait until there may be room for another export of a tenant, after
    /// [`SubmitError::NoRoom`](crate::SubmitError::NoRoom). Between 30 seconds and an hour.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// assert!(evanesce.room_expected_in(&"default".parse()?) > std::time::Duration::ZERO);
    /// # Ok(())
    /// # }
    /// ```
    pub fn room_expected_in(&self, tenant: &TenantId) -> Duration {
        self.services().space.retry_after(tenant)
    }

    /// Returns what readers see.
    fn view(&self) -> &dyn PublishedView {
        self.services().view()
    }

    fn services(&self) -> &Services {
        &self.0.running.services
    }

    /// Returns the runtime of the actors, which has no time for what blocks.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.running.runtime
    }

    /// Returns the runtime for calls that block: the caller's, so that the actors do not wait for them.
    fn blocking_pool(&self) -> Handle {
        Handle::try_current().unwrap_or_else(|_| self.runtime().clone())
    }

    /// Waits for `what` at most so long, whatever runtime the caller has; `None` if that was too short.
    async fn within<T>(&self, patience: Duration, what: impl Future<Output = T>) -> Option<T> {
        let timer = self.runtime().spawn(async move { tokio::time::sleep(patience).await });
        let end = timer.abort_handle();
        match select(pin!(what), timer).await {
            Either::Left((done, _)) => {
                end.abort();
                Some(done)
            }
            Either::Right(_) => None,
        }
    }
}

impl InstanceCore {
    fn stop(&self, grace: Duration) {
        // Kept until the end: whoever else stops it waits for that too.
        let mut running = self.thread.lock();
        let Some(thread) = running.take() else { return };
        let RunningInstance { services, orchestrator, system, .. } = &self.running;
        // Before anybody waits for it to be idle: an actor may be about to queue a job's parts.
        services.pool.close();
        orchestrator.do_send(HaltExports);
        services.exporters.stop();
        if !services.pool.wait_idle(grace) {
            tracing::warn!("workers did not stop in time; their parts run again at the next start");
        }
        // Whoever waits for a job waits in vain from here on.
        self.stopped.cancel();
        system.stop();
        // A task that hangs, in a source that does not answer, must not hold up the end.
        let until = Instant::now() + grace;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        services.committer.close();
        services.audit.record(AuditedEvent::Stopped);
        services.audit.close();
    }
}

impl Drop for InstanceCore {
    fn drop(&mut self) {
        let grace = self.running.services.config.export.cancel_deadline.0;
        self.stop(grace);
    }
}
