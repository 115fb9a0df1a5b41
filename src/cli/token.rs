//! `evanesce token`: gets an access token, for people who try a server with curl. It does what a
//! client of SMART Backend Services does: discovery, assertion, token request.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::output::{OutputArgs, print};
use super::{CliError, keygen};
use crate::auth::client::{self, ClientKey, SigningAlgorithm};
use crate::fhir::quoted;
use crate::job::ClientId;

/// How long each of the two requests may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest answer in bytes.
const LONGEST: u64 = 1 << 20;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The arguments of `evanesce token`. The token alone goes to standard output, and with --output json all of
/// the answer: what it allows and how long. curl -H "Authorization: Bearer $(evanesce token ...)" ...
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// The base URL of the server, such as https://fhir.example.org/r4/default.
    #[arg(long, value_name = "BASE")]
    url: String,
    /// The name that the client is registered with.
    #[arg(long, value_name = "ID")]
    client_id: ClientId,
    /// Its private key (PEM), such as `evanesce keygen` makes.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the key is called; by default its thumbprint (RFC 7638).
    #[arg(long, value_name = "KID", value_parser = keygen::kid)]
    kid: Option<String>,
    /// What the key must sign with; by default what it is made for.
    #[arg(long, value_enum, ignore_case = true)]
    alg: Option<SigningAlgorithm>,
    /// What the token should allow.
    #[arg(long, value_name = "SCOPES", default_value = "system/*.rs")]
    scope: String,
    #[command(flatten)]
    output: OutputArgs,
    /// Certificates (PEM) of the authorities to trust, in place of the usual ones.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
}

/// Requests a token and prints it.
pub fn run(args: &TokenArgs) -> Result<(), CliError> {
    let key = key(args)?;
    let agent = agent(args.cacert.as_deref())?;
    let endpoint = discover(&agent, args.url.trim_end_matches('/'))?;
    let expires = client::expires(Timestamp::now());
    let assertion = key.assertion(args.client_id.as_str(), &endpoint, expires).map_err(CliError::failed)?;
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", args.scope.as_str()),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &assertion),
    ];
    let answer = agent.post(&endpoint).header("Accept", "application/json").send_form(form);
    let (status, answer) = read(&endpoint, answer)?;
    if status != 200 {
        return Err(refused(status, &answer));
    }
    let token = answer["access_token"].as_str().filter(|token| is_one_line(token));
    let token = token.ok_or_else(|| CliError::failed(format!("{endpoint} answered 200 without a token")))?;
    if args.output.is_json() { print(&answer) } else { print(token) }
}

/// Returns whether the token fits in a header field and prints safely on a terminal.
fn is_one_line(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn key(args: &TokenArgs) -> Result<ClientKey, CliError> {
    let cannot = |error: &dyn std::fmt::Display| {
        CliError::usage(format!("cannot use the key {}: {error}", args.key.display()))
    };
    let pem = std::fs::read(&args.key).map_err(|error| cannot(&error))?;
    let key = ClientKey::from_pem(&pem, args.kid.clone()).map_err(|error| cannot(&error))?;
    match args.alg {
        Some(alg) if alg != key.alg() => Err(cannot(&format!("it is for {}, not for {alg}", key.alg()))),
        _ => Ok(key),
    }
}

fn agent(cacert: Option<&Path>) -> Result<Agent, CliError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    if let Some(file) = cacert {
        tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(file)?)));
    }
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        // An assertion must go to its audience and nowhere else.
        .max_redirects(0)
        .max_redirects_will_error(false);
    Ok(config.build().into())
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, CliError> {
    let cannot = |error: &dyn std::fmt::Display| {
        CliError::usage(format!("cannot use the certificates {}: {error}", file.display()))
    };
    let pem = std::fs::read(file).map_err(|error| cannot(&error))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| cannot(&error))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(cannot(&"there is none in the file"));
    }
    Ok(certificates)
}

/// Returns the token endpoint that the server announces.
fn discover(agent: &Agent, base: &str) -> Result<String, CliError> {
    if !base.starts_with("https://") && !base.starts_with("http://") {
        return Err(CliError::usage(format!(
            "{base} is not a URL such as https://fhir.example.org/r4/default"
        )));
    }
    let url = format!("{base}/.well-known/smart-configuration");
    let answer = agent.get(&url).header("Accept", "application/json").call();
    let (status, answer) = read(&url, answer)?;
    if status != 200 {
        return Err(CliError::failed(format!(
            "{url} answered {status}; is {base} the base URL of a server?"
        )));
    }
    let endpoint = answer["token_endpoint"].as_str();
    let endpoint = endpoint.ok_or_else(|| CliError::failed(format!("{url} names no token_endpoint")))?;
    let secure = endpoint.starts_with("https://");
    if !secure && (base.starts_with("https://") || !endpoint.starts_with("http://")) {
        let endpoint = quoted(endpoint);
        return Err(CliError::failed(format!("{url} names {endpoint} as token_endpoint, which is not safe")));
    }
    Ok(endpoint.to_owned())
}

/// Returns the status and the JSON of an answer; a body that is not JSON becomes null.
fn read(url: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<(u16, Value), CliError> {
    let failed = |error| CliError::failed(format!("{url}: {error}"));
    let mut answer = answer.map_err(failed)?;
    let body = answer.body_mut().with_config().limit(LONGEST).read_to_vec().map_err(failed)?;
    Ok((answer.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
}

/// Formats the server's error so that it cannot control a terminal.
fn refused(status: u16, answer: &Value) -> CliError {
    let text = |key: &str| answer[key].as_str().map(quoted);
    let message = match (text("error"), text("error_description")) {
        (Some(error), Some(description)) => format!("{error}: {description}"),
        (Some(error), None) => error,
        (None, _) => "without saying why".into(),
    };
    CliError::failed(format!("no token ({status}): {message}"))
}
