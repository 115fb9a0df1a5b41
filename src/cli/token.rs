//! `evanesce token`: gets an access token, for people who try a server with curl.

use std::path::{Path, PathBuf};

use super::output::{OutputArgs, print};
use super::{CliError, keygen};
use crate::client::{self, BackendClient, ClientErrorKind, ClientKey, SigningAlgorithm};
use crate::job::ClientId;
use crate::plain_file::{self, LinkPolicy, SETTINGS_BYTES};

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
    /// Its private key: PEM, as `evanesce keygen` makes it, or a JWK.
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
    /// The token endpoint, if the server's smart-configuration does not name it.
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// Speak plain http to other machines too. Whoever is on the network can read and change everything.
    #[arg(long)]
    insecure_http: bool,
}

/// Requests a token and prints it.
pub fn run(args: &TokenArgs) -> Result<(), CliError> {
    let key = read_key(&args.key, args.kid.clone())?;
    if let Some(alg) = args.alg.filter(|alg| *alg != key.alg()) {
        let (file, made_for) = (args.key.display(), key.alg());
        return Err(CliError::usage(format!(
            "cannot use the key {file}: it is for {made_for}, not for {alg}"
        )));
    }
    let mut client = BackendClient::new(args.client_id.as_str(), key);
    client.scope.clone_from(&args.scope);
    client.token_url.clone_from(&args.token_url);
    let answer = client::access_token(&args.url, &client, args.cacert.as_deref(), args.insecure_http);
    let answer = answer.map_err(|error| match error.kind() {
        ClientErrorKind::Unusable => CliError::usage(error),
        _ => CliError::failed(error),
    })?;
    if args.output.is_json() {
        print(&answer)
    } else {
        print(answer["access_token"].as_str().unwrap_or_default())
    }
}

/// Reads a client's private key.
pub fn read_key(file: &Path, kid: Option<String>) -> Result<ClientKey, CliError> {
    let cannot = |error: &dyn std::fmt::Display| {
        CliError::usage(format!("cannot use the key {}: {error}", file.display()))
    };
    let text = plain_file::read(file, LinkPolicy::Follow, SETTINGS_BYTES).map_err(|error| cannot(&error))?;
    ClientKey::from_text(&text, kid).map_err(|error| cannot(&error))
}
