//! `evanesce export`: exports from a FHIR Bulk Data server into a folder. Exit codes beyond those of all
//! commands: 3 the server cannot be reached or is none, 4 it refuses the client, 5 it refused the export
//! or the export failed, 6 the folder cannot be written, 7 a file is not what the manifest says, 8 a time
//! limit passed, 9 all is loaded but the export was not deleted, 130 stopped by Ctrl-C.

mod display;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;

use super::output::{OutputArgs, print, report};
use super::{CliError, keygen, token};
use crate::client::{
    self, BackendClient, ClientError, ClientErrorKind, Credentials, ExportOptions, ExportSummary,
    ParameterHandling, StopPolicy, StopSignal,
};
use crate::fhir::{Level, instant};
use crate::receipts::ReceiptKey;

/// The variable that an access token may be in.
const TOKEN_VARIABLE: &str = "EVANESCE_TOKEN";

/// The arguments of `evanesce export`. The same command goes on with an export that was cut off, killed or
/// stopped.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The base URL of the FHIR server, such as https://fhir.example.org/r4/default.
    #[arg(value_name = "URL")]
    base: String,
    /// The folder for the files: a new or an empty one, or that of the export that goes on.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Export all patients, not the whole system.
    #[arg(long, conflicts_with = "group", help_heading = "What to export")]
    patient: bool,
    /// Export the members of a Group.
    #[arg(long, value_name = "ID", help_heading = "What to export")]
    group: Option<String>,
    /// Resource types, such as Patient,Observation; may repeat.
    #[arg(long = "type", value_name = "TYPES", help_heading = "What to export")]
    types: Vec<String>,
    /// Only what changed after this instant, such as 2024-01-31T08:30:00Z.
    #[arg(long, value_name = "INSTANT", value_parser = read_instant, help_heading = "What to export")]
    since: Option<String>,
    /// Only what changed before this instant.
    #[arg(long, value_name = "INSTANT", value_parser = read_instant, help_heading = "What to export")]
    until: Option<String>,
    /// Only these elements, such as Patient.name,identifier; may repeat.
    #[arg(long, value_name = "ELEMENTS", help_heading = "What to export")]
    elements: Vec<String>,
    /// Of a type only what this search finds, such as "Observation?status=final"; may repeat.
    #[arg(long, value_name = "SEARCH", help_heading = "What to export")]
    type_filter: Vec<String>,
    /// The format of the files.
    #[arg(long, value_name = "FORMAT", help_heading = "What to export")]
    output_format: Option<String>,
    /// Provenances to export along, such as LatestProvenanceResources; may repeat.
    #[arg(long, value_name = "VALUE", help_heading = "What to export")]
    include_associated_data: Vec<String>,
    /// Only this patient, such as Patient/123; may repeat. The kick-off becomes a POST.
    #[arg(long, value_name = "REFERENCE", help_heading = "What to export")]
    patient_ref: Vec<String>,
    /// Any other parameter of the kick-off; may repeat.
    #[arg(long, value_name = "NAME=VALUE", value_parser = read_parameter, help_heading = "What to export")]
    param: Vec<(String, String)>,
    /// What the server may do about parameters that it does not support.
    #[arg(long, value_enum, value_name = "HANDLING", help_heading = "What to export")]
    prefer: Option<PreferredHandling>,

    /// The name that the client is registered with (SMART Backend Services).
    #[arg(long, value_name = "ID", requires = "key", help_heading = "Who asks")]
    client_id: Option<String>,
    /// Its private key: PEM, as `evanesce keygen` makes it, or a JWK.
    #[arg(long, value_name = "FILE", requires = "client_id", help_heading = "Who asks")]
    key: Option<PathBuf>,
    /// What the key is called; by default its thumbprint (RFC 7638).
    #[arg(long, value_name = "KID", value_parser = keygen::kid, requires = "key", help_heading = "Who asks")]
    kid: Option<String>,
    /// What the access token should allow.
    #[arg(long, value_name = "SCOPES", default_value = "system/*.rs", help_heading = "Who asks")]
    scope: String,
    /// The token endpoint, if the server's smart-configuration does not name it.
    #[arg(long, value_name = "URL", requires = "key", help_heading = "Who asks")]
    token_url: Option<String>,
    /// An access token. Others on this machine can see it: better use EVANESCE_TOKEN or --token-file.
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["key", "token_file"], help_heading = "Who asks")]
    token: Option<String>,
    /// A file with an access token. It is read anew when the server refuses the token.
    #[arg(long, value_name = "FILE", conflicts_with = "key", help_heading = "Who asks")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities to trust, in place of the usual ones.
    #[arg(long, value_name = "FILE", help_heading = "Who asks")]
    ca: Option<PathBuf>,
    /// Another server that may have the access token, by any URL of it; may repeat.
    #[arg(long, value_name = "URL", help_heading = "Who asks")]
    trust: Vec<String>,
    /// Speak plain http to other machines too. Whoever is on the network can read and change everything.
    #[arg(long, help_heading = "Who asks")]
    insecure_http: bool,

    /// How many files are loaded at once.
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "How")]
    parallel: usize,
    /// Do not load the files in which the server says what it left out or ignored.
    #[arg(long, help_heading = "How")]
    no_errors: bool,
    /// Have the server delete the export when all files are loaded and verified.
    #[arg(long, help_heading = "How")]
    delete_after: bool,
    /// The server's public key, 64 hexadecimal digits: a receipt of the DELETE must come and hold with it.
    #[arg(long, value_name = "KEY", requires = "delete_after", help_heading = "How")]
    receipt_key: Option<ReceiptKey>,
    /// On Ctrl-C, leave the export to the server instead of cancelling it.
    #[arg(long, help_heading = "How")]
    keep_on_interrupt: bool,
    /// Throw away what --out has of this export, and begin another one.
    #[arg(long, help_heading = "How")]
    restart: bool,
    /// How long the same thing may fail, again and again, before the export is given up.
    #[arg(long, value_name = "DURATION", default_value = "5min", value_parser = humantime::parse_duration, help_heading = "How")]
    patience: Duration,
    /// How long the whole may take.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration, help_heading = "How")]
    timeout: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

/// The handling of `Prefer` (K-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PreferredHandling {
    /// Ignore them, and say so in an error file.
    Lenient,
    /// Refuse the export.
    Strict,
}

/// Checks an instant, which the server would refuse only later.
fn read_instant(text: &str) -> Result<String, String> {
    instant::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn read_parameter(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.into(), value.into())).ok_or_else(|| "should be NAME=VALUE".into())
}

/// Exports, and prints a summary.
pub fn run(args: ExportArgs) -> Result<(), CliError> {
    let is_json = args.output.is_json();
    let options = options(args)?;
    let stop = StopSignal::new();
    stop_on_interrupt(stop.clone())?;
    let summary = client::export(options, display::ProgressDisplay::new(), &stop).map_err(explained)?;
    if is_json { print(summary_json(&summary)) } else { report(display::summary(&summary)) }
}

fn summary_json(summary: &ExportSummary) -> serde_json::Value {
    let mut value = json!(summary);
    value["bytesPerSecond"] = json!(summary.bytes_per_second());
    value
}

fn options(args: ExportArgs) -> Result<ExportOptions, CliError> {
    let credentials = credentials(&args)?;
    let mut options = ExportOptions::new(args.base, args.out);
    options.level = match args.group {
        Some(id) => Level::Group { id },
        None if args.patient || !args.patient_ref.is_empty() => Level::Patient,
        None => Level::System,
    };
    let named = |name: &'static str, values: Vec<String>| {
        values.into_iter().map(move |value| (name.to_owned(), value))
    };
    options.parameters = named("_type", args.types)
        .chain(named("_since", args.since.into_iter().collect()))
        .chain(named("_until", args.until.into_iter().collect()))
        .chain(named("_elements", args.elements))
        .chain(named("_typeFilter", args.type_filter))
        .chain(named("_outputFormat", args.output_format.into_iter().collect()))
        .chain(named("includeAssociatedData", args.include_associated_data))
        .chain(args.param)
        .collect();
    options.patients = args.patient_ref;
    options.handling = match args.prefer {
        None => ParameterHandling::Unsaid,
        Some(PreferredHandling::Lenient) => ParameterHandling::Lenient,
        Some(PreferredHandling::Strict) => ParameterHandling::Strict,
    };
    options.credentials = credentials;
    options.authorities = args.ca;
    options.trusted = args.trust;
    options.insecure_http = args.insecure_http;
    options.parallel = args.parallel;
    options.restart = args.restart;
    options.leave_errors = args.no_errors;
    options.delete_after = args.delete_after;
    options.receipt_key = args.receipt_key;
    options.on_stop = if args.keep_on_interrupt { StopPolicy::Keep } else { StopPolicy::Cancel };
    options.patience = args.patience;
    options.timeout = args.timeout;
    Ok(options)
}

fn credentials(args: &ExportArgs) -> Result<Credentials, CliError> {
    if let (Some(client_id), Some(file)) = (&args.client_id, &args.key) {
        let key = token::read_key(file, args.kid.clone())?;
        let mut client = BackendClient::new(client_id, key);
        client.scope.clone_from(&args.scope);
        client.token_url.clone_from(&args.token_url);
        return Ok(Credentials::Backend(Box::new(client)));
    }
    if let Some(token) = &args.token {
        return Ok(Credentials::Token(token.clone()));
    }
    if let Some(file) = &args.token_file {
        return Ok(Credentials::TokenFile(file.clone()));
    }
    let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    Ok(token.map_or(Credentials::None, Credentials::Token))
}

/// Raises the signal at the first Ctrl-C, and leaves at the second.
fn stop_on_interrupt(stop: StopSignal) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(CliError::usage)?;
    let mut interrupts = {
        let _guard = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(CliError::usage)?
    };
    let wait = move || {
        runtime.block_on(async {
            interrupts.recv().await;
            stop.stop();
            interrupts.recv().await;
        });
        std::process::exit(130);
    };
    std::thread::Builder::new().name("interrupt".into()).spawn(wait).map(drop).map_err(CliError::usage)
}

fn explained(error: ClientError) -> CliError {
    let code = match error.kind() {
        ClientErrorKind::Unusable => 2,
        ClientErrorKind::Server => 3,
        ClientErrorKind::Unauthorized => 4,
        ClientErrorKind::Export => 5,
        ClientErrorKind::Disk => 6,
        ClientErrorKind::Differs => 7,
        ClientErrorKind::TimedOut => 8,
        ClientErrorKind::NotDeleted => 9,
        ClientErrorKind::Interrupted => 130,
    };
    CliError { code, message: error.to_string() }
}
