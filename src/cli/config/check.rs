//! `evanesce config check`: what is wrong with the settings, and what is dangerous about them. It reads
//! files that they name, makes nothing and changes nothing. What a start would refuse is wrong.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};
use serde_json::json;

use super::super::output::{OutputArgs, complain, print};
use super::super::settings::SettingsArgs;
use super::super::{CliError, follow};
use crate::auth::KeyFetcher;
use crate::config::{AuthMode, Config, ConfigDuration, LimitsConfig, RetentionConfig};
use crate::source::NdjsonFolder;
use crate::transport::check_certificate;

/// The ballast, which exports must leave alone: with less room than this, deletions have none.
const LEAST_FREE: u64 = 64 << 20;

/// The arguments of `evanesce config check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// As JSON: `wrong` and `dangerous`, lists of sentences.
    #[command(flatten)]
    output: OutputArgs,
}

/// What is found.
#[derive(Debug, Default)]
struct SettingFindings {
    /// A start would fail.
    wrong: Vec<String>,
    /// A start succeeds, and somebody should know.
    dangerous: Vec<String>,
}

/// Checks the settings. Exit code 2 if a start with them would fail.
pub fn run(args: &CheckArgs) -> Result<(), CliError> {
    let config = args.settings.load()?;
    let given = args.settings.origins()?.given();
    let mut findings = SettingFindings::default();
    findings.look_at_paths(&config);
    findings.look_at_access(&config);
    findings.look_at_limits(&config);
    findings.look_at_retention(&config);
    let file = args.settings.config.as_deref();
    file.into_iter().for_each(|file| findings.look_at_modes("--config", file, 0o022, "change"));
    let SettingFindings { wrong, dangerous } = findings;
    if args.output.is_json() {
        print(json!({ "wrong": wrong, "dangerous": dangerous }))?;
    } else {
        dangerous.iter().for_each(|text| complain(format_args!("dangerous: {text}")));
    }
    if let [first, ..] = &wrong[..] {
        let (count, all) = (wrong.len(), wrong.join("\nevanesce: "));
        return Err(CliError::usage(if args.output.is_json() {
            first.clone()
        } else if count == 1 {
            all
        } else {
            format!("{count} settings are wrong:\nevanesce: {all}")
        }));
    }
    if args.output.is_json() {
        return Ok(());
    }
    let warnings = match dangerous.len() {
        0 => "",
        1 => "; see the warning",
        _ => "; see the warnings",
    };
    print(format_args!(
        "a server can start with these settings: {given} given, all others by default{warnings}"
    ))
}

impl SettingFindings {
    /// Looks at what the settings name on disk.
    fn look_at_paths(&mut self, config: &Config) {
        for tenant in config.tenant_ids() {
            let folder = config.tenant(&tenant).source.folder;
            let own = config.tenants.get(&tenant).is_some_and(|own| own.source.folder.is_some());
            let key = if own { format!("tenants.{tenant}.source.folder") } else { "source.folder".into() };
            if let Err(error) = NdjsonFolder::open(&folder) {
                self.wrong(format!("{key}: {error}; name a folder of FHIR NDJSON files"));
            }
            if is_same(&folder, &config.storage.data_dir) {
                self.wrong(format!("{key} and storage.data_dir are the same folder; use two"));
            }
        }
        self.look_at_data_dir(&config.storage.data_dir);
        if let Err(error) = check_certificate(config) {
            self.wrong(error.to_string());
        }
        if let Err(error) = follow::open(config) {
            self.wrong(error.message);
        }
        if let Err(error) = KeyFetcher::new(&config.auth) {
            self.wrong(format!("auth.jwks_ca_file cannot be read: {error}"));
        }
        for (key, file, others, may) in [
            ("tls.key", &config.tls.key, 0o077, "read or change"),
            ("admin.token_file", &config.admin.token_file, 0o077, "read or change"),
            ("auth.applications", &config.auth.applications, 0o022, "change"),
        ] {
            file.iter().for_each(|file| self.look_at_modes(key, file, others, may));
        }
    }

    fn look_at_data_dir(&mut self, data_dir: &Path) {
        let existing = data_dir.ancestors().find(|folder| folder.exists() || folder.as_os_str().is_empty());
        let existing = existing.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !existing.is_dir() {
            return self.wrong(format!("storage.data_dir: {} is not a directory", existing.display()));
        }
        if let Err(error) = access(existing, Access::WRITE_OK | Access::EXEC_OK) {
            let error = io::Error::from(error);
            self.wrong(format!(
                "storage.data_dir: {} cannot be written by this user: {error}",
                existing.display()
            ));
        }
    }

    /// Warns of a file that more users can touch than should.
    fn look_at_modes(&mut self, key: &str, file: &Path, others: u32, may: &str) {
        let mode = std::fs::metadata(file).map(|file| file.permissions().mode());
        if mode.is_ok_and(|mode| mode & others != 0) {
            let file = file.display();
            self.dangerous(format!(
                "{key}: other users may {may} {file}; chmod go-{} {file}",
                if others == 0o022 { "w" } else { "rwx" }
            ));
        }
    }

    /// Looks at who may come in.
    fn look_at_access(&mut self, config: &Config) {
        let (auth, server) = (&config.auth, &config.server);
        if auth.mode == AuthMode::None {
            self.dangerous(format!(
                "auth.mode is none: whoever can connect to {} may export all data; use auth.mode=smart with \
                 auth.applications, or let a proxy authenticate",
                server.listen
            ));
        } else if auth.applications.is_none() {
            self.dangerous("auth.applications is not set: nobody can get an access token".into());
        }
        if auth.jwks_allow_private_addresses {
            self.dangerous(
                "auth.jwks_allow_private_addresses is true: whoever registers an application can have the server \
                 call machines of its own network"
                    .into(),
            );
        }
        let proxies = &server.trusted_proxies;
        if server.public_url.is_none() && (!proxies.is_empty() || server.listen.ip().is_unspecified()) {
            self.dangerous("server.public_url is not set: clients are given URLs with what proxies say, or none that work".into());
        }
        if has_every_address(|address| proxies.contains(address)) {
            self.dangerous("server.trusted_proxies has every address: each client can say who it is".into());
        }
        if has_every_address(|address| config.limits.exempt.contains(address)) {
            self.dangerous("limits.exempt has every address: nobody is limited by address".into());
        }
        if !config.audit.enabled {
            self.dangerous(
                "audit.enabled is false: nobody can tell who did what, and a deletion that a restored store has \
                 forgotten has one witness less"
                    .into(),
            );
        }
        if !config.admin.enabled {
            self.dangerous("admin.enabled is false: there are no metrics, and no console".into());
        }
    }

    /// Looks at limits that are switched off.
    fn look_at_limits(&mut self, config: &Config) {
        let LimitsConfig { head_timeout, body_timeout, write_timeout, .. } = config.limits;
        let limits = &config.limits;
        for (key, is_off) in [
            ("limits.connections_per_address", limits.connections_per_address == 0),
            ("limits.downloads", limits.downloads == 0),
            ("limits.head_timeout", head_timeout.0.is_zero()),
            ("limits.body_timeout", body_timeout.0.is_zero()),
            ("limits.write_timeout", write_timeout.0.is_zero()),
        ] {
            if is_off {
                self.dangerous(format!("{key} is switched off: one client can take what all others need"));
            }
        }
        if config.storage.min_free < LEAST_FREE {
            self.dangerous(format!(
                "storage.min_free is {}: exports can fill the disk, and deletions need 64 MiB",
                config.storage.min_free
            ));
        }
    }

    /// Looks at how long things are kept.
    fn look_at_retention(&mut self, config: &Config) {
        let retention = &config.retention;
        let month = ConfigDuration(Duration::from_secs(30 * 24 * 3600));
        if retention.completed > month {
            self.dangerous(format!(
                "retention.completed is {:?}: files with patient data stay so long unless somebody deletes them",
                retention.completed
            ));
        }
        if retention.receipts < RetentionConfig::default().receipts {
            self.dangerous(format!(
                "retention.receipts is {:?}: HIPAA demands six years of documentation (45 CFR 164.316)",
                retention.receipts
            ));
        }
    }

    fn wrong(&mut self, text: String) {
        self.wrong.push(text);
    }

    fn dangerous(&mut self, text: String) {
        self.dangerous.push(text);
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Returns whether a set has addresses that no network but that of all has in common.
fn has_every_address(contains: impl Fn(IpAddr) -> bool) -> bool {
    [[8, 8, 8, 8], [203, 0, 113, 9], [1, 1, 1, 1]].into_iter().all(|address| contains(IpAddr::from(address)))
}
