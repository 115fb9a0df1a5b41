//! `evanesce keygen`: creates a key pair for a population application. The private key belongs to
//! the client alone. The server is given the public key.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::CliError;
use super::output::{OutputArgs, report_as};
use crate::smart::{ClientKey, SigningAlgorithm};

/// The names of the two files.
const PRIVATE: &str = "client-key.pem";
const PUBLIC: &str = "client-jwks.json";

/// The arguments of `evanesce keygen`.
#[derive(Debug, clap::Args)]
pub struct KeygenArgs {
    /// What the key signs with.
    #[arg(long, value_enum, ignore_case = true, default_value_t = SigningAlgorithm::Es384)]
    alg: SigningAlgorithm,
    /// What the key is called; by default its thumbprint (RFC 7638).
    #[arg(long, value_name = "KID", value_parser = kid)]
    kid: Option<String>,
    /// The folder for client-key.pem, the private key, and client-jwks.json, the public one.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Replace keys that are there: what they signed cannot be signed again.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Checks a key id, which gets into headers and logs.
pub fn kid(text: &str) -> Result<String, String> {
    let good = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    good.then(|| text.to_owned()).ok_or_else(|| "should be 1 to 128 visible ASCII characters".into())
}

/// Creates the pair and prints where it is.
pub fn run(args: KeygenArgs) -> Result<(), CliError> {
    let KeygenArgs { alg, kid, out, force, output } = args;
    let (private, public) = (out.join(PRIVATE), out.join(PUBLIC));
    if let Some(path) = [&private, &public].into_iter().find(|path| !force && path.exists()) {
        return Err(exists(path));
    }
    let (key, pem) = ClientKey::generate(alg, kid).map_err(CliError::failed)?;
    std::fs::create_dir_all(&out).map_err(|e| {
        CliError::usage(format!("cannot make the folder {}: {e}; use another --out", out.display()))
    })?;
    write(&private, &pem, 0o600, force)?;
    write(&public, &key.jwks(), 0o644, force)?;
    let (kid, private, public) = (key.kid(), private.display().to_string(), public.display().to_string());
    let sentence = format_args!(
        "kid      {kid}\nprivate  {private}  keep it: whoever has it is the client\npublic   {public}  give it to \
         the server's operator"
    );
    let document = json!({"kid": kid, "alg": alg.to_string(), "private": private, "public": public});
    report_as(&output, sentence, &document)
}

fn exists(path: &Path) -> CliError {
    CliError::failed(format!("{} is there already; use another --out, or --force", path.display()))
}

/// Writes a new file. With `force`, replaces an existing one.
fn write(path: &Path, text: &str, mode: u32, force: bool) -> Result<(), CliError> {
    let cannot = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => CliError::failed(format!("cannot write {}: {e}", path.display())),
    };
    if !force {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let written = file.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        return written.map_err(cannot);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let replace = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    replace().map(drop).map_err(cannot)
}
