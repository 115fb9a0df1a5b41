//! What the commands that read a chain have in common: the data directory, and Bundles of
//! AuditEvents.

use std::io::{self, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::CliError;
use crate::config::Config;

/// Where the data directory is: as for `serve`.
#[derive(Debug, clap::Args)]
pub struct DataDirArgs {
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

impl DataDirArgs {
    /// Returns the data directory, which must exist.
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

/// Writes a Bundle of any length. Only one entry is in memory at a time.
pub struct BundleWriter<'a> {
    out: &'a mut dyn Write,
    before: &'static str,
}

impl<'a> BundleWriter<'a> {
    /// Begins a Bundle.
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

    /// Ends the Bundle.
    pub fn end(self) -> io::Result<()> {
        writeln!(self.out, "{}}}", if self.before == ",\n" { "\n]" } else { "" })
    }
}
