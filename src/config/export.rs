//! `[export]`: how exports run, what they may hold and how much of it.

use serde::{Deserialize, Serialize};

use super::{ConfigDuration, ProtocolProfile};
use crate::job::ContentCoding;

/// `[export]`: how exports run.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["export.stored=zstd".into(), "export.compression_level=7".into()])?;
/// assert_eq!(config.export.coding(), Some((evanesce::ContentCoding::Zstd, 7)));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ExportConfig {
    /// Threads that write exports, one part of each job in turn. Default 2.
    pub workers: usize,
    /// The most additional threads at once. One is started for a job that no thread works for, so that
    /// it does not wait for a part of another job to end. 0 = none. Default 16.
    pub max_burst_workers: usize,
    /// Added to the nice value of each thread that writes exports, 0 to 19: other threads and
    /// processes go first. Linux only; elsewhere nothing is done.
    ///
    /// Where no I/O priority is set, Linux derives it from the nice value (best-effort class,
    /// level `(nice + 20) / 5`). It counts for what a thread reads and syncs itself, with an
    /// I/O scheduler that has priorities, such as BFQ. Default 0.
    pub nice: u8,
    /// Bytes a second that all exports together may write to the disk, after compression; the jobs
    /// that wait for their turn get equal shares. 0 = unlimited. Default 0.
    pub max_bytes_per_second: u64,
    /// Bytes a second that the exports of one tenant together may write; 0 = unlimited.
    /// Default 0.
    pub max_bytes_per_second_per_tenant: u64,
    /// Bytes a second that one export may write; 0 = unlimited. Default 0.
    pub max_bytes_per_second_per_job: u64,
    /// Size in bytes at which an output file is ended and a new one begun; one resource that
    /// is larger has a file of its own. At least 4096. Default 1 GiB.
    pub max_file_bytes: u64,
    /// The form in which output files are stored, whatever form they are served in. Each file is
    /// compressed once, while it is written. Default `plain`.
    pub stored: StoredForm,
    /// The compression level: 1 to 9 for gzip, 1 to 19 for zstd. Default: 6 for gzip, 3 for zstd.
    pub compression_level: Option<u8>,
    /// Whether the manifest has the SHA-256 of each file, which is computed while it is written.
    /// Default false.
    pub checksums: bool,
    /// Bytes to copy in one part, the unit of work and of resuming. A worker holds an eighth of it in
    /// memory while it writes output that is organized by Patient. At least 4096. Default 64 MiB.
    pub part_bytes: u64,
    /// Jobs that may be queued or running; a kick-off above that gets 429. Default 1000.
    pub max_active_jobs: usize,
    /// Jobs of one client that may be queued or running; a kick-off above that gets 429 with
    /// links to them. 0 = no such limit. Default 100.
    pub max_active_jobs_per_client: usize,
    /// Finished jobs of one client that are kept, complete or failed; a kick-off that could make
    /// more of them gets 429 with links to some. They count until they are deleted or expire. 0 = no
    /// such limit. Default 1000.
    pub max_finished_jobs_per_client: usize,
    /// Jobs of one client of which anything is known, deleted and expired ones included until
    /// `retention.tombstones`; a kick-off above that gets 429. Each takes about a kilobyte of memory. 0
    /// = no such limit. Default 100000.
    pub max_known_jobs_per_client: usize,
    /// Files that one export may have; one with more fails. The manifest names all of them. 0 = no
    /// such limit. Default 20000.
    pub max_files: usize,
    /// Jobs of one tenant that may be queued or running; a kick-off above that gets 429. 0 = no
    /// such limit. Default 0.
    pub max_active_jobs_per_tenant: usize,
    /// Which resources outside of patient compartments, such as Organizations and Practitioners,
    /// go with Patient-level and Group exports. Default `referenced`.
    pub references: ReferencePolicy,
    /// Which Devices do so. Default: `by-patient`, but in the profile `soarian` `by-reference`.
    pub devices: Option<DevicePolicy>,
    /// How long a cancelled writer has before its file is taken away. Default `5s`.
    pub cancel_deadline: ConfigDuration,
    /// Threads that may be started in place of stuck ones, in all. Default 8.
    pub max_replacements: usize,
}

/// The form of files on disk.
///
/// ```
/// use evanesce::config::{Config, StoredForm};
///
/// let config = Config::load(None, &["export.stored=gzip".into()])?;
/// assert_eq!(config.export.stored, StoredForm::Gzip);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StoredForm {
    /// As plain text.
    Plain,
    /// Compressed with gzip.
    Gzip,
    /// Compressed with Zstandard.
    Zstd,
}

/// Which resources outside of compartments are exported with patients.
///
/// ```
/// use evanesce::config::{Config, ReferencePolicy};
///
/// let config = Config::load(None, &["export.references=all".into()])?;
/// assert_eq!(config.export.references, ReferencePolicy::All);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ReferencePolicy {
    /// Resources that an exported resource refers to, directly or through others.
    Referenced,
    /// All of them.
    All,
    /// None.
    None,
}

/// Which Devices are exported with patients. R4 has them in no compartment, but clients of US Core
/// expect a patient's Devices.
///
/// ```
/// use evanesce::config::{Config, DevicePolicy, ProtocolProfile};
///
/// let config = Config::load(None, &[])?;
/// assert_eq!(config.export.devices(ProtocolProfile::Standard), DevicePolicy::ByPatient);
/// assert_eq!(config.export.devices(ProtocolProfile::Soarian), DevicePolicy::ByReference);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DevicePolicy {
    /// Devices whose `Device.patient` is exported. For others `references` decides.
    ByPatient,
    /// `references` decides, but a Device whose `Device.patient` is not exported is left out.
    ByReference,
}

impl ExportConfig {
    /// Returns which Devices are exported with patients under the rules of a profile.
    pub fn devices(&self, profile: ProtocolProfile) -> DevicePolicy {
        self.devices.unwrap_or(match profile {
            ProtocolProfile::Standard => DevicePolicy::ByPatient,
            ProtocolProfile::Soarian => DevicePolicy::ByReference,
        })
    }

    /// Returns the coding of new files and its level, or `None` for plain text.
    pub fn coding(&self) -> Option<(ContentCoding, u8)> {
        let (coding, default) = match self.stored {
            StoredForm::Plain => return None,
            StoredForm::Gzip => (ContentCoding::Gzip, 6),
            StoredForm::Zstd => (ContentCoding::Zstd, 3),
        };
        Some((coding, self.compression_level.unwrap_or(default)))
    }
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            workers: 2,
            max_burst_workers: 16,
            nice: 0,
            max_bytes_per_second: 0,
            max_bytes_per_second_per_tenant: 0,
            max_bytes_per_second_per_job: 0,
            max_file_bytes: 1 << 30,
            stored: StoredForm::Plain,
            compression_level: None,
            checksums: false,
            part_bytes: 64 << 20,
            max_active_jobs: 1000,
            max_active_jobs_per_client: 100,
            max_finished_jobs_per_client: 1000,
            max_known_jobs_per_client: 100_000,
            max_files: 20_000,
            max_active_jobs_per_tenant: 0,
            references: ReferencePolicy::Referenced,
            devices: None,
            cancel_deadline: ConfigDuration::seconds(5),
            max_replacements: 8,
        }
    }
}
