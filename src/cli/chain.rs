//! What the commands share that read chains in a data directory: where it is, why they end early,
//! and how AuditEvents are bundled.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::CliError;
use crate::audit::AuditError;
use crate::config::Config;
use crate::receipts::ReceiptsError;

/// Where the data directory is: as for `serve`.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Where exports are kept [storage.data_dir].
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// One setting; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", global = true)]
    sets: Vec<String>,
}

impl Place {
    /// The data directory, which must be there.
    pub fn data_dir(&self) -> Result<PathBuf, CliError> {
        let mut sets = self.sets.clone();
        sets.extend(self.data_dir.as_ref().map(|dir| format!("storage.data_dir={}", dir.display())));
        let config = Config::load(self.config.as_deref(), &sets).map_err(CliError::usage)?;
        let data_dir = config.storage.data_dir;
        if data_dir.is_dir() {
            return Ok(data_dir);
        }
        let reason = format!("there is no data directory {}; use --data-dir", data_dir.display());
        Err(CliError::usage(reason))
    }
}

/// Why a command that walks over a chain ends early.
pub enum Failure {
    /// The chain, or the file that it is in.
    Chain(String),
    /// What the command writes to.
    Output(io::Error),
}

impl From<ReceiptsError> for Failure {
    fn from(error: ReceiptsError) -> Self {
        Self::Chain(error.to_string())
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Self::Chain(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Chain(error) => Self::failed(error),
            Failure::Output(error) => Self::failed(format!("cannot write the output: {error}")),
        }
    }
}

/// Flushes what is there, also before an error. Whoever reads the output may stop reading.
pub fn finish(done: Result<(), Failure>, out: &mut impl Write) -> Result<(), CliError> {
    match done.and_then(|()| Ok(out.flush()?)) {
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(failure) => {
            // The failure is what counts.
            let _ = out.flush();
            Err(failure.into())
        }
        Ok(()) => Ok(()),
    }
}

/// Writes with `write` to a new file, which only its owner can read, or to standard output. A file
/// that could not be written to its end is removed: half of an export would be taken for all of it.
pub fn write_to(
    path: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), CliError> {
    let Some(path) = path else {
        let mut out = BufWriter::new(io::stdout().lock());
        let done = write(&mut out);
        return finish(done, &mut out);
    };
    let cannot = |e: io::Error| CliError::usage(format!("cannot write {}: {e}", path.display()));
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut out = BufWriter::new(options.map_err(cannot)?);
    let done = write(&mut out);
    let done = finish(done, &mut out).and_then(|()| sync(out).map_err(CliError::failed));
    if done.is_err() {
        std::fs::remove_file(path).map_err(cannot)?;
    }
    done
}

fn sync(out: BufWriter<File>) -> io::Result<()> {
    out.into_inner()?.sync_all()
}

/// A Bundle of any length: only one of its entries is in memory at a time.
pub struct Bundle<'a> {
    out: &'a mut dyn Write,
    before: &'static str,
}

impl<'a> Bundle<'a> {
    /// Begins one.
    pub fn begin(out: &'a mut dyn Write) -> io::Result<Self> {
        let now = Timestamp::now();
        write!(out, r#"{{"resourceType":"Bundle","type":"collection","timestamp":"{now}""#)?;
        Ok(Self { out, before: ",\"entry\":[\n" })
    }

    /// Adds a resource, whose id is a UUID.
    pub fn add(&mut self, id: &str, resource: &RawValue) -> io::Result<()> {
        write!(self.out, r#"{}{{"fullUrl":"urn:uuid:{id}","resource":{resource}}}"#, self.before)?;
        self.before = ",\n";
        Ok(())
    }

    /// Ends it.
    pub fn end(self) -> io::Result<()> {
        writeln!(self.out, "{}}}", if self.before == ",\n" { "\n]" } else { "" })
    }
}
