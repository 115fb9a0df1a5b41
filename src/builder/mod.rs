//! Sets an instance up: settings, exporters and clock go in, a running [`Evanesce`] comes out.

mod error;
mod sources;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::System;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::actors::{Orchestrator, Services};
use crate::audit::{self, AuditLog};
use crate::clock::Clock;
use crate::config::{Config, FileEncryption};
use crate::erase::reconcile::{self, StartWitnesses};
use crate::erase::{DiskWitnesses, Eraser, HoldRegistry, LiveEvidence, ended_epochs};
use crate::evanesce::{Evanesce, RunningInstance};
use crate::export::{ByteRates, Exporter, OutputForm, PlanQueue, Pool, PoolThreads, Throttle, WriteLimits};
use crate::files::encrypted::{EncryptedFiles, NewFiles};
use crate::files::modes::close_folder;
use crate::files::{CommitRoom, Files, FilesError, LocalFiles};
use crate::hooks::Hooks;
use crate::job::{JobId, StateName, TenantId};
use crate::keys;
use crate::lock::DirLock;
use crate::receipts::{HeadWitness, ReceiptChain, ReceiptFile};
use crate::space::SpaceReservations;
use crate::standing::OwnFileBaseline;
use crate::store::{Committer, OtherWitnesses, SledStore, Store, StoreError};
use crate::telemetry::FatalHandler;
use crate::view::LocalView;

pub use error::StartError;
use sources::TenantExporters;

/// The name of the store's folder in the data directory.
const STORE: &str = "store";

/// Bytes that a start needs: the store writes what it has read, and a part of its log.
const START_BYTES: u64 = 2 << 20;

/// Sets an instance up.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// let folder = tempfile::tempdir()?;
/// let builder = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients);
/// let evanesce: Evanesce = builder.start().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Builder {
    config: Config,
    exporter: Option<Arc<dyn Exporter>>,
    own_exporters: BTreeMap<TenantId, Arc<dyn Exporter>>,
    clock: Clock,
    hooks: Hooks,
    fatal: FatalHandler,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            exporter: None,
            own_exporters: BTreeMap::new(),
            clock: Clock::system(),
            hooks: Hooks::default(),
            fatal: FatalHandler::exit(),
        }
    }

    /// Sets all settings at once. A data directory that was set before is overwritten.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let mut config = config::Config::default();
    /// config.storage.data_dir = tempfile::tempdir()?.path().join("exports");
    /// config.download.delete_grace = config::ConfigDuration(std::time::Duration::from_secs(1));
    /// let evanesce = Evanesce::builder().config(config).exporter(example::Patients).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the data directory, which belongs to one instance at a time. Default `evanesce-data`.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let folder = tempfile::tempdir()?;
    /// let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients).start().await?;
    /// assert_eq!(evanesce.config().storage.data_dir, folder.path());
    /// # Ok(())
    /// # }
    /// ```
    pub fn data_dir(mut self, data_dir: impl Into<PathBuf>) -> Self {
        self.config.storage.data_dir = data_dir.into();
        self
    }

    /// Sets what produces the bytes for all tenants that have no exporter of their own: those of
    /// the configuration, or whatever tenant there is a kick-off for if it names none. Default:
    /// the NDJSON folders of the configuration.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let folder = tempfile::tempdir()?;
    /// let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn exporter(mut self, exporter: impl Exporter + 'static) -> Self {
        self.exporter = Some(Arc::new(exporter));
        self
    }

    /// Sets what produces the bytes for one tenant, which need not be in the configuration. With it,
    /// the tenant `default` is there only if the configuration names it or it has an exporter.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let folder = tempfile::tempdir()?;
    /// let builder = Evanesce::builder().data_dir(folder.path());
    /// let builder = builder.exporter_for("north".parse()?, example::Patients);
    /// let evanesce = builder.exporter_for("south".parse()?, example::Patients).start().await?;
    /// assert_eq!(evanesce.tenants().len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn exporter_for(mut self, tenant: TenantId, exporter: impl Exporter + 'static) -> Self {
        self.own_exporters.insert(tenant, Arc::new(exporter));
        self
    }

    /// Sets the wall clock. Default: the system's.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let folder = tempfile::tempdir()?;
    /// let builder = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients);
    /// let evanesce = builder.clock(Clock::system()).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets what happens when the instance can promise nothing any more (a failed fsync, a panic
    /// in an actor). Default: the process exits with code 70, for its supervisor to restart
    /// it. A host that does something else must not go on using the instance.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let folder = tempfile::tempdir()?;
    /// let builder = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients);
    /// let evanesce = builder.on_fatal(|reason| eprintln!("not to be used any more: {reason}")).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_fatal(mut self, act: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.fatal = FatalHandler::new(act);
        self
    }

    /// Breakpoints and faults.
    #[cfg(feature = "breakpoints")]
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Starts the instance: takes the lock, opens and joins the witnesses, resumes what was
    /// interrupted. Works from any async runtime; the blocking part has a thread of its own.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let folder = tempfile::tempdir()?;
    /// let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start(self) -> Result<Evanesce, StartError> {
        let (started, outcome) = oneshot::channel();
        let spawned = std::thread::Builder::new().name("actors".into()).spawn(move || run(self, started));
        let thread = spawned.map_err(|error| StartError::System { operation: "start a thread", error })?;
        match outcome.await {
            Ok(Ok(running)) => Ok(Evanesce::new(running, thread)),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let error = io::Error::other("the actors' thread panicked");
                Err(StartError::System { operation: "start the actors", error })
            }
        }
    }

    /// Everything below the actors, and the jobs that have something to do. Blocks.
    fn open(self) -> Result<(Services, Vec<JobId>, Arc<DirLock>), StartError> {
        let Self { config, exporter, own_exporters, clock, hooks, fatal } = self;
        // Before anything is made: a folder that is not there is a likely mistake.
        let sources = TenantExporters::open(&config, exporter, own_exporters)?;
        let data_dir = config.storage.data_dir.clone();
        let local = Arc::new(LocalFiles::open(&data_dir, hooks.clone())?);
        let lock = DirLock::take(&data_dir).map_err(|error| StartError::System {
            operation: "take the lock of the data directory",
            error,
        })?;
        let lock = Arc::new(lock.ok_or_else(|| StartError::InUse(data_dir.clone()))?);
        close_folder(&data_dir);
        make_room(&*local)?;
        let keys = Arc::new(keys::open(&config, clock.clone(), hooks.clone())?);
        let new = match config.storage.encryption {
            FileEncryption::Aes256Gcm => NewFiles::Encrypted,
            FileEncryption::None => {
                tracing::warn!(
                    "storage.encryption is none: what is erased can be read from the medium until it is overwritten"
                );
                NewFiles::Plain
            }
        };
        let files: Arc<dyn Files> = Arc::new(EncryptedFiles::new(local, keys.clone(), new));
        let receipts = open_receipts(&config, &hooks)?;
        let audit = Arc::new(AuditLog::open(&data_dir, &config.audit, clock.clone())?);
        let view = Arc::new(LocalView::default());
        let evidence = LiveEvidence { files: files.clone(), receipts: receipts.clone(), view: view.clone() };
        let eraser = Arc::new(Eraser::new(files.clone(), HoldRegistry::of(evidence), hooks.clone()));
        let mut witnesses = Box::new(DiskWitnesses {
            files: files.clone(),
            receipts: receipts.clone(),
            eraser: eraser.clone(),
            audit: audit.clone(),
        });
        let store = open_store(&data_dir, &*files, &mut *witnesses)?.with_hooks(hooks.clone());
        let mut store: Box<dyn Store> = Box::new(store);
        // It makes folders: on a full disk not before there is some room again.
        let (exporters, served_folders) = sources.start(&config)?;
        if let Err(error) = files.restore_ballast() {
            tracing::warn!(%error, "there is no ballast: deletions may fail when the disk is full");
        }
        let log = data_dir.join(audit::FOLDER);
        let (now, retention) = (clock.now(), &config.retention);
        let heard = StartWitnesses { files: &*files, receipts: &*receipts, audit: &log, now, retention };
        let joined = reconcile::at_start(&mut *store, &heard, &hooks)?;
        if let Some((entry, head)) = &joined.gap {
            audit.record(audit::AuditedEvent::of_receipt(entry, *head));
        }

        // A crash may have come between the end of an epoch and its entry.
        let ended = ended_epochs(&keys, &*receipts, now);
        let heads = if ended.is_empty() { Vec::new() } else { receipts.append_each(&ended)? };
        for (entry, head) in ended.iter().zip(heads) {
            audit.record(audit::AuditedEvent::of_receipt(entry, head));
        }
        let on_disk = files.inventory()?;
        // An older file of keys may have those of erased jobs.
        let left = joined.jobs.iter().filter(|job| job.record.state.name() != StateName::Erased);
        let known: HashSet<_> = left.map(|job| job.record.id).collect();
        let places = [&on_disk.building, &on_disk.ready, &on_disk.trash];
        let is_known = |job| known.contains(&job) || places.iter().any(|jobs| jobs.contains(&job));
        let unknown = keys.destroy_unknown(is_known)?;
        if unknown > 0 {
            tracing::info!(unknown, "keys of jobs that were never made were destroyed");
        }
        let measured = files.clone();
        let measure = move || measured.free_bytes().map_err(|error| error.to_string());
        let space = Arc::new(SpaceReservations::new(&config, clock.clone(), &joined.jobs, measure));
        view.publish(joined.jobs.into_iter().map(crate::view::ViewChange::New));
        eraser.sweep_leftovers(&joined.leftovers)?;
        let system = |operation| move |error| StartError::System { operation, error };
        let committer = Committer::start(store, witnesses, view, hooks.clone(), fatal.clone())
            .map_err(system("start the committer"))?;
        let export = &config.export;
        let threads = PoolThreads {
            steady: export.workers,
            max_burst: export.max_burst_workers,
            max_replacements: export.max_replacements,
            nice: export.nice,
        };
        let pool = Pool::start(threads).map_err(system("start the workers"))?;
        let rates = ByteRates {
            all: export.max_bytes_per_second,
            tenant: export.max_bytes_per_second_per_tenant,
            job: export.max_bytes_per_second_per_job,
        };
        let rate_of = |id: &TenantId| (id.clone(), config.tenant(id).max_bytes_per_second);
        let own_rates = config.tenants.keys().map(rate_of).collect();
        let throttle = Arc::new(Throttle::new(rates, own_rates).with_hooks(hooks.clone()));
        let form = OutputForm { coding: export.coding(), checksums: export.checksums };
        let limits = WriteLimits { throttle, max_file_bytes: export.max_file_bytes, form };
        let plans = Arc::new(PlanQueue::new(export.max_replacements));
        let standing =
            OwnFileBaseline::note(&data_dir, &lock).map_err(system("look at the data directory"))?;
        audit.record(audit::AuditedEvent::Started);
        let services = Services {
            config,
            standing: Arc::new(standing),
            files,
            keys,
            eraser,
            audit,
            receipts,
            space,
            committer,
            exporters,
            served_folders,
            plans,
            pool,
            limits,
            clock,
            hooks,
            fatal,
        };
        Ok((services, joined.awake, lock))
    }
}

/// A start writes, the store most of all. Without room the ballast goes first, then the reserve.
fn make_room(files: &dyn Files) -> Result<(), FilesError> {
    let room = files.release_ballast(START_BYTES).unwrap_or_else(|error| {
        // The writes will tell.
        tracing::warn!(%error, "it is not known whether there is room for a start");
        CommitRoom::There
    });
    if room == CommitRoom::None && files.release_all()? {
        tracing::warn!(
            "there is no room: the server starts on its last reserve, so that deletions make some"
        );
    }
    Ok(())
}

/// Opens the receipts, unless a head that is kept elsewhere has seen more of them.
fn open_receipts(config: &Config, hooks: &Hooks) -> Result<Arc<dyn ReceiptChain>, StartError> {
    let receipts = ReceiptFile::open(&config.storage.data_dir)?.with_hooks(hooks.clone());
    let Some(witness) = config.receipts.witness.as_deref().map(HeadWitness::new) else {
        return Ok(Arc::new(receipts.signing()?));
    };
    witness.check(&receipts)?;
    let kept = receipts.signing()?.kept_by(&witness);
    Ok(Arc::new(kept.map_err(|error| StartError::System { operation: "start a thread", error })?))
}

/// Opens the store. Without room the files of what stands in `trash/` go before: they are deleted,
/// whatever the store knows of it.
fn open_store(
    data_dir: &Path,
    files: &dyn Files,
    witnesses: &mut dyn OtherWitnesses,
) -> Result<SledStore, StartError> {
    if !witnesses.make_room() {
        for job in files.inventory()?.trash {
            witnesses.give_room(job);
        }
    }
    let folder = data_dir.join(STORE);
    match SledStore::open(&folder) {
        // A quota was nearer than could be told.
        Err(StoreError::Full { .. }) if files.release_all()? => Ok(SledStore::open(&folder)?),
        opened => Ok(opened?),
    }
}

/// The body of the actors' thread.
fn run(builder: Builder, started: oneshot::Sender<Result<RunningInstance, StartError>>) {
    let (services, awake, lock) = match builder.open() {
        Ok(opened) => opened,
        Err(error) => {
            // Whoever started it is gone.
            let _ = started.send(Err(error));
            return;
        }
    };
    let services = Arc::new(services);
    let runner = System::new();
    let ((orchestrator, reaper), runtime) =
        runner.block_on(async { (Orchestrator::spawn(services.clone(), awake), Handle::current()) });
    let system = System::current();
    let running =
        RunningInstance { services: services.clone(), orchestrator, reaper, system, runtime, _lock: lock };
    if started.send(Ok(running)).is_err() {
        return;
    }
    if let Err(error) = runner.run() {
        services.fatal.raise(&format!("the actors' system ended: {error}"));
    }
}
