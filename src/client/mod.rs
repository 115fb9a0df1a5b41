//! A client of FHIR Bulk Data servers: it kicks an export off, waits, loads the files several at once
//! and verifies them, and has the server delete its own. `evanesce export` is made of it.
//!
//! The contract:
//! - **Nothing half-written looks whole.** A file has its name when it is verified against what the
//!   manifest says of it (count, size, SHA-256) and durable; `manifest.json` comes last, and after a DELETE the
//!   receipt of it, if the server has one.
//! - **The same call goes on** where one was cut off, killed or stopped: with the same export at the
//!   server, with the parts of files that are there (`Range`), and without the files that are whole.
//! - **Links that expire are renewed** by asking for the manifest again, which must list the same files
//!   (F-9).
//! - **Nothing is overwritten**: a folder that holds anything else is refused.
//! - **The token stays with the server**: it goes to the origin of the base URL, to others only if the
//!   manifest demands it or the caller trusts them, and never along a redirect to a stranger (F-1, F-6).
//! - **A hostile server is bounded** (P13): names of files are made here; JSON has at most 32 MiB, an
//!   export 100,000 files, a request 5 redirects; silence, failures and the whole have time limits; its
//!   words are shortened and cannot control a terminal.

mod content;
mod download;
mod error;
mod folder;
mod http;
mod links;
mod loading;
mod manifest;
mod options;
mod progress;
mod receipt;
mod request;
mod server_job;
mod session;
mod stop;
mod summary;
mod tokens;
mod transport;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;

pub use crate::smart::{ClientKey, ClientKeyError, SigningAlgorithm};
pub use error::{ClientError, ClientErrorKind};
pub use options::{BackendClient, Credentials, ExportOptions, ParameterHandling, StopPolicy};
pub use progress::{ExportEvent, ExportProgress, SilentProgress};
pub use stop::StopSignal;
pub use summary::ExportSummary;
pub use tokens::access_token;

use folder::{ExportStage, ExportState, OutFolder};
use http::HttpClient;
use links::FileLinks;
use receipt::RECEIPT;
use session::ExportSession;

/// The most files that are loaded at once.
const MOST_PARALLEL: usize = 64;

/// The longest time that the whole may be given: a year.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Exports into a folder. Blocks until all is there, the server was asked to delete the export if that is
/// wanted, or the export failed.
///
/// # Errors
/// Fails with a sentence that says what happened and what to do. What is in the folder by then serves the
/// next call with the same options.
///
/// # Cancellation
/// When `stop` is raised, the server is asked to cancel the export ([`StopPolicy::Cancel`]); the error
/// says what it answered.
///
/// ```no_run
/// use evanesce::client::{ExportOptions, SilentProgress, StopSignal, export};
///
/// let options = ExportOptions::new("http://127.0.0.1:8080/r4/default", "export");
/// let summary = export(options, SilentProgress, &StopSignal::new())?;
/// println!("{} resources", summary.resources);
/// # Ok::<_, evanesce::client::ClientError>(())
/// ```
pub fn export(
    options: ExportOptions,
    progress: impl ExportProgress,
    stop: &StopSignal,
) -> Result<ExportSummary, ClientError> {
    let began = Instant::now();
    if !(1..=MOST_PARALLEL).contains(&options.parallel) {
        return Err(ClientError::unusable(format!("files can be loaded 1 to {MOST_PARALLEL} at once")));
    }
    let base = request::base(&options.base)?;
    let session = Arc::new(ExportSession {
        http: HttpClient::new(&options, &base)?,
        progress: Box::new(progress),
        stop: stop.clone(),
        abandon: StopSignal::new(),
        deadline: began + options.timeout.min(LONGEST_TIMEOUT),
        patience: options.patience,
        leave_errors: options.leave_errors,
    });
    let folder = Arc::new(OutFolder::open(&options.out, &request::fingerprint(&options, &base))?);
    let run = ExportRun { options, base, session, folder };
    let mut summary = run.run().or_else(|error| run.end_early(error))?;
    summary.seconds = began.elapsed().as_secs_f64();
    Ok(summary)
}

/// An export with all that it needs.
struct ExportRun {
    options: ExportOptions,
    base: Url,
    session: Arc<ExportSession>,
    folder: Arc<OutFolder>,
}

impl ExportRun {
    fn run(&self) -> Result<ExportSummary, ClientError> {
        let mut summary = ExportSummary { out: self.options.out.clone(), ..ExportSummary::default() };
        match self.state()? {
            Some(state) if state.stage == ExportStage::KickedOff => {
                let status_url = status_url(&state)?;
                self.session.tell(ExportEvent::Resumed { status_url: status_url.as_str() });
                self.load(&status_url, &mut summary)?;
            }
            Some(_) => summary.was_complete = true,
            None => {
                let status_url = self.begin()?;
                self.load(&status_url, &mut summary)?;
            }
        }
        self.delete_after(&mut summary)?;
        Ok(summary)
    }

    /// Returns the export that the folder has, unless it is over or unwanted.
    fn state(&self) -> Result<Option<ExportState>, ClientError> {
        let state = self.folder.state();
        let is_over = state.as_ref().is_some_and(|state| state.stage == ExportStage::Over);
        if state.is_some() && (is_over || self.options.restart) {
            self.folder.clear()?;
        }
        Ok(self.folder.state())
    }

    fn begin(&self) -> Result<Url, ClientError> {
        let request = request::kickoff(&self.options, &self.base)?;
        let status_url = server_job::kick_off(&self.session, &request, self.options.handling)?;
        self.folder.begin(status_url.as_str()).map_err(|error| self.give_back(&status_url, &error))?;
        self.session.tell(ExportEvent::KickedOff { status_url: status_url.as_str() });
        Ok(status_url)
    }

    /// Has an export cancelled that cannot be remembered: nobody would find it again.
    fn give_back(&self, status_url: &Url, error: &ClientError) -> ClientError {
        let end = match server_job::cancel(&self.session, status_url) {
            Ok(answer) => format!("the new export was cancelled ({answer})"),
            Err(reason) => format!("the new export may go on at the server ({reason})"),
        };
        ClientError::new(error.kind(), format!("{end}: {error}"))
    }

    fn load(&self, status_url: &Url, summary: &mut ExportSummary) -> Result<(), ClientError> {
        let Self { session, folder, .. } = self;
        let plan = Arc::new(server_job::wait_complete(session, status_url)?);
        session.tell(ExportEvent::Manifest { files: plan.files.len(), bytes: plan.bytes() });
        match folder.state().and_then(|state| state.plan) {
            Some(known) => plan.check_same(&known)?,
            None => folder.update(|state| state.plan = Some(plan.fingerprint()))?,
        }
        let began = Instant::now();
        let links = Arc::new(FileLinks::new(status_url.clone(), plan.clone()));
        let contents = loading::load_all(session, folder, &links, plan.files.len(), self.options.parallel)?;
        summary.load_seconds = began.elapsed().as_secs_f64();
        summary.count(&plan, &contents);
        folder.write_manifest(&summary::manifest_text(&plan, &contents))?;
        folder.update(|state| state.stage = ExportStage::Complete)
    }

    /// Asks the server to delete a complete export, if that is wanted and was not done.
    fn delete_after(&self, summary: &mut ExportSummary) -> Result<(), ClientError> {
        let Some(state) = self.folder.state() else { return Ok(()) };
        if !self.options.delete_after {
            return Ok(());
        }
        let status_url = status_url(&state)?;
        if state.stage == ExportStage::Deleted {
            return self.keep_receipt(&status_url, state.receipt, summary);
        }
        let answer = server_job::delete(&self.session, &status_url).map_err(|error| {
            let message = format!(
                "all files are loaded and verified, but {error}; the same command sends the DELETE again"
            );
            let kind = match error.kind() {
                ClientErrorKind::Interrupted => ClientErrorKind::Interrupted,
                _ => ClientErrorKind::NotDeleted,
            };
            ClientError::new(kind, message)
        })?;
        let receipt = answer.receipt.map(String::from);
        self.folder.update(|state| {
            (state.stage, state.receipt) = (ExportStage::Deleted, receipt.clone());
        })?;
        self.session.tell(ExportEvent::Deleted { answer: &answer.sentence });
        summary.deleted = Some(answer.sentence);
        self.keep_receipt(&status_url, receipt, summary)
    }

    /// Waits for the receipt of the DELETE, checks it and keeps it beside the files. The DELETE stands whatever
    /// becomes of it: without a key of the caller's own, a receipt that does not come is only told.
    fn keep_receipt(
        &self,
        status_url: &Url,
        link: Option<String>,
        summary: &mut ExportSummary,
    ) -> Result<(), ClientError> {
        let (Some(link), session) = (link, &self.session) else {
            return match self.options.receipt_key {
                Some(_) if !self.folder.join(RECEIPT).exists() => Err(ClientError::new(
                    ClientErrorKind::NotDeleted,
                    "the server took the DELETE and offers no receipt of it",
                )),
                _ => Ok(()),
            };
        };
        let fetched = transport::parse_url(&link, None).map_err(ClientError::server);
        let fetched = fetched.and_then(|url| receipt::fetch(session, &url)).and_then(|text| {
            let own = self.options.receipt_key;
            receipt::check(session, &self.base, status_url, &text, own).map(|checked| (text, checked))
        });
        let (text, checked) = match fetched {
            Ok(kept) => kept,
            Err(error) if error.kind() == ClientErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let message = format!("the server took the DELETE, but {error}; the same command asks again");
                if self.options.receipt_key.is_some() || error.kind() == ClientErrorKind::Differs {
                    let kind = match error.kind() {
                        ClientErrorKind::Differs => ClientErrorKind::Differs,
                        _ => ClientErrorKind::NotDeleted,
                    };
                    return Err(ClientError::new(kind, message));
                }
                summary.receipt = Some(format!("not there: {message}"));
                return Ok(());
            }
        };
        self.folder.write_receipt(&text)?;
        self.folder.update(|state| state.receipt = None)?;
        summary.receipt = Some(format!("{RECEIPT}, {checked}"));
        Ok(())
    }

    /// Does what is still to be done when the export fails or is stopped.
    fn end_early(&self, error: ClientError) -> Result<ExportSummary, ClientError> {
        let state = self.folder.state().filter(|state| state.stage == ExportStage::KickedOff);
        match (error.kind(), state) {
            (ClientErrorKind::Interrupted, Some(state)) => Err(self.interrupted(&state)),
            // Nothing of it can be loaded any more: the same command begins another one.
            (ClientErrorKind::Export, Some(state)) if state.plan.is_none() => {
                self.folder.clear()?;
                Err(error)
            }
            _ => Err(error),
        }
    }

    fn interrupted(&self, state: &ExportState) -> ClientError {
        let error = |message| ClientError::new(ClientErrorKind::Interrupted, message);
        if self.options.on_stop == StopPolicy::Keep {
            return error(
                "stopped; the export goes on at the server, and the same command goes on with it".into(),
            );
        }
        let cancelled = status_url(state).and_then(|url| server_job::cancel(&self.session, &url));
        match cancelled {
            Ok(answer) => {
                // What cannot be written now is not true later either: the server has the export no more.
                let _ = self.folder.remove_parts();
                let _ = self.folder.update(|state| state.stage = ExportStage::Over);
                self.session.tell(ExportEvent::Deleted { answer: &answer });
                error(format!("stopped, and the export was cancelled: {answer}"))
            }
            Err(reason) => error(format!(
                "stopped, but the export may go on at the server: {reason}; the same command goes on with it"
            )),
        }
    }
}

fn status_url(state: &ExportState) -> Result<Url, ClientError> {
    transport::parse_url(&state.status_url, None).map_err(|wrong| {
        ClientError::unusable(format!("the folder remembers a polling URL that {wrong}; use another --out"))
    })
}
