//! `evanesce serve`: the server process.

#[cfg(feature = "breakpoints")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Server;
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::control_socket::ControlSocket;
use super::operators::OperatorListener;
use super::ready::{ReadyFormat, ReadyReport};
use super::settings::SettingsArgs;
use super::{CliError, follow};
use crate::Evanesce;
use crate::auth::{Applications, Authority};
use crate::config::{AuthMode, Config};
use crate::http::{AllowedHosts, Api};
use crate::telemetry::{self, LogFormat, ProcessLog};
use crate::transport::Transport;

/// How often the samples of histograms are moved into their buckets.
const UPKEEP: Duration = Duration::from_secs(10);

/// The arguments of `evanesce serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// How standard output says that the server is ready.
    #[arg(long, value_enum, default_value_t = ReadyFormat::Text)]
    ready_format: ReadyFormat,
    /// Kill the process, hold it or panic at a step: STEP[:N]=kill|hold|panic.
    #[cfg(feature = "breakpoints")]
    #[arg(long = "breakpoint")]
    breakpoints: Vec<crate::hooks::Breakpoint>,
    /// Let system calls fail: [FIRST>]CALL:ERRNO:N[:AFTER].
    #[cfg(feature = "breakpoints")]
    #[arg(long = "fault")]
    faults: Vec<crate::hooks::FaultPlan>,
    /// While this file is there, exports stand still once each has written as many bytes as it says.
    #[cfg(feature = "breakpoints")]
    #[arg(long)]
    brake: Option<PathBuf>,
}

/// Serves until a signal comes.
pub fn run(args: ServeArgs) -> Result<(), CliError> {
    let mut log = ProcessLog::open(args.log_format)
        .map_err(|error| CliError::usage(format!("the log cannot be written: {error}")))?;
    let mut config = args.settings.load()?;
    log.begin(&config.telemetry).map_err(CliError::usage)?;
    // Memory may hold patient data, which must not land in a core file.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)
        .map_err(|e| CliError::usage(format!("cannot switch core dumps off: {e}")))?;
    // Files of libraries, such as sled's, are only for the owner as well.
    umask(Mode::RWXG | Mode::RWXO);
    // Connections, downloads and source files each take a descriptor.
    let files = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    // Raises the limit of the file size as far as allowed. Larger outputs are split.
    let size = getrlimit(Resource::Fsize);
    if let Err(error) = setrlimit(Resource::Fsize, Rlimit { current: size.maximum, ..size }) {
        tracing::warn!(%error, "the limit of the size of files could not be raised");
    }
    if let Some(bytes) = getrlimit(Resource::Fsize).current {
        tracing::warn!(
            bytes,
            "files cannot be larger (RLIMIT_FSIZE): when the store is, it can write no more"
        );
        config.export.max_file_bytes = config.export.max_file_bytes.min(bytes);
    }
    actix_web::rt::System::new().block_on(serve(args, config))
}

async fn serve(args: ServeArgs, config: Config) -> Result<(), CliError> {
    // A write beyond the limit of the file size must fail and not end the process.
    let _too_large =
        signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map_err(CliError::failed)?;
    // Daemons are told so to read their files again. Whoever has none to read goes on all the same.
    let _reload = signal(SignalKind::hangup()).map_err(CliError::failed)?;
    let metrics = telemetry::init_metrics().map_err(CliError::failed)?;
    let applications = follow::open(&config)?;
    let transport = Transport::bind(&config).map_err(CliError::usage)?;
    // After the clients' listener: that may have been given the operators' default port.
    let operators = OperatorListener::listen(&config)?;
    let ready_format = args.ready_format;
    let builder = Evanesce::builder().config(config.clone());
    #[cfg(feature = "breakpoints")]
    let builder =
        builder.hooks(crate::hooks::Hooks::new(args.breakpoints, args.faults).with_brake(args.brake));
    #[cfg(not(feature = "breakpoints"))]
    drop(args);
    let evanesce = builder.start().await.map_err(CliError::usage)?;
    if let Some(applications) = applications.clone() {
        follow::start(applications, &config.auth, &evanesce).map_err(CliError::failed)?;
    }
    let control_socket = ControlSocket::open(&config.storage.data_dir)
        .map_err(|e| CliError::usage(format!("cannot make the control socket: {e}")))?;
    let control_socket = actix_web::rt::spawn(control_socket.serve(evanesce.clone()));
    let origin = transport.origin();
    warn_of_urls(&config);
    let api = Api::new(evanesce.clone(), config.server.public_url.as_ref().unwrap_or(&origin));
    let api = if config.server.public_url.is_none() { api.following_proxies() } else { api };
    actix_web::rt::spawn(keep_metrics_small(metrics.clone()));
    let api = api.with_metrics(metrics);
    let api = match authority(&evanesce, &config, &origin, applications)? {
        Some(authority) => api.with_authority(Arc::new(authority)),
        None => api.answering_for(
            AllowedHosts::loopback().or_of(config.server.public_url.as_ref().unwrap_or(&origin)),
        ),
    };

    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::failed)?;
    let grace = config.server.shutdown_grace.0;
    let server = transport.serve(api.clone(), config.server.workers, grace).map_err(CliError::failed)?;
    let handle = server.handle();
    let operators_url = operators.as_ref().map(|operators| operators.url.clone());
    if let Some(url) = operators_url.clone() {
        evanesce.note_operators(url);
    }
    let operators = operators.map(|operators| operators.serve(api, &config)).transpose()?;
    let (operators, live_pages) = operators.unzip();
    let operators_handle = operators.as_ref().map(Server::handle);
    let serving = actix_web::rt::spawn(server);
    let serving_operators = operators.map(actix_web::rt::spawn);
    let report = ReadyReport::new(&evanesce, &origin, operators_url);
    report.log();
    report.print(ready_format).map_err(CliError::failed)?;
    tell_supervisor(NotifyState::Ready);

    any_signal(&mut terminate, &mut interrupt).await;
    tell_supervisor(NotifyState::Stopping);
    tracing::info!(
        "stopping: answers are finished, exports go on at the next start; a second signal stops at once"
    );
    let stopping = async {
        let until = Instant::now() + grace;
        live_pages.iter().for_each(CancellationToken::cancel);
        handle.stop(true).await;
        if let Some(handle) = operators_handle {
            handle.stop(true).await;
        }
        // Before the lock is let go of: the next server may be at the control_socket at once.
        control_socket.abort();
        let _ = control_socket.await;
        evanesce.stop(until.saturating_duration_since(Instant::now())).await;
    };
    tokio::select! {
        () = stopping => {}
        () = any_signal(&mut terminate, &mut interrupt) => {
            telemetry::flush_logs();
            std::process::exit(130)
        }
    }
    if let Some(serving) = serving_operators {
        serving.await.map_err(CliError::failed)?.map_err(CliError::failed)?;
    }
    match serving.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(CliError::failed(error)),
        Err(panic) => Err(CliError::failed(panic)),
    }
}

/// Opens the authority that issues access tokens. Without authentication there is none.
fn authority(
    evanesce: &Evanesce,
    config: &Config,
    origin: &str,
    applications: Option<Applications>,
) -> Result<Option<Authority>, CliError> {
    let auth = &config.auth;
    if auth.mode == AuthMode::None {
        tracing::warn!(
            "auth.mode is none: WHOEVER CAN CONNECT TO {origin} MAY EXPORT ALL DATA; use auth.mode=smart with \
             auth.applications, or let a proxy authenticate"
        );
        return Ok(None);
    }
    if applications.is_none() {
        tracing::warn!(
            "auth.applications is not set: nobody can get an access token; name a file of applications, \
             or use --auth none on loopback"
        );
    }
    Authority::of_applications(evanesce, applications).map(Some).map_err(CliError::usage)
}

/// Moves the samples of histograms into their buckets, because nobody may scrape them.
async fn keep_metrics_small(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}

/// Warns of settings that give clients unusable URLs.
fn warn_of_urls(config: &Config) {
    let server = &config.server;
    if server.public_url.is_some() {
        return;
    }
    if !server.trusted_proxies.is_empty() {
        tracing::warn!(
            "without server.public_url, clients are given URLs with the host that the trusted proxies tell: \
             these must set its field on each request, or clients can"
        );
    } else if server.listen.ip().is_unspecified() {
        tracing::warn!("clients cannot use URLs with this address; set server.public_url");
    }
}

async fn any_signal(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Tells systemd, if it waits for that (`Type=notify`): `NOTIFY_SOCKET` is set then.
fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor cannot be told of the server's state (NOTIFY_SOCKET)");
    }
}
