//! What `evanesce serve` says when it is ready: for programs in two lines or as one JSON object, and on a
//! terminal for people what is served, where operators look and which authentication is on.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use indicatif::HumanBytes;
use serde::Serialize;

use crate::Evanesce;
use crate::config::{AuthMode, Config};

/// How standard output says that the server is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReadyFormat {
    /// The lines `ready URL` and `operators URL`; on a terminal more for people.
    Text,
    /// One line with a JSON object.
    Json,
}

/// What a server says when it is ready.
#[derive(Debug, Serialize)]
pub struct ReadyReport {
    /// The base URL of the first tenant.
    ready: String,
    version: &'static str,
    pid: u32,
    data_dir: String,
    auth: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operators: Option<OperatorPlaces>,
    tenants: Vec<ServedTenant>,
}

/// Where operators look.
#[derive(Debug, Serialize)]
struct OperatorPlaces {
    url: String,
    #[cfg(feature = "console")]
    console: String,
    metrics: String,
    token_file: String,
}

/// A tenant and its source.
#[derive(Debug, Serialize)]
struct ServedTenant {
    tenant: String,
    base: String,
    source: String,
    files: usize,
    bytes: u64,
}

impl ReadyReport {
    /// Gathers what a running instance serves at `origin`, and to operators at `operators`.
    pub fn new(evanesce: &Evanesce, origin: &str, operators: Option<String>) -> Self {
        let config = evanesce.config();
        let base = |tenant: &str| format!("{origin}/r4/{tenant}");
        let served = evanesce.served_folders().iter().map(|served| ServedTenant {
            tenant: served.tenant.to_string(),
            base: base(served.tenant.as_str()),
            source: served.folder.display().to_string(),
            files: served.files,
            bytes: served.bytes,
        });
        let first = config.tenant_ids();
        Self {
            ready: base(first.first().expect("there is always a tenant").as_str()),
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            data_dir: config.storage.data_dir.display().to_string(),
            auth: config.auth.mode.as_str(),
            operators: operators.map(|url| OperatorPlaces::new(url, config)),
            tenants: served.collect(),
        }
    }

    /// Logs it in one line.
    pub fn log(&self) {
        let operators = self.operators.as_ref();
        tracing::info!(
            base = self.ready,
            tenants = self.tenants.len(),
            files = self.tenants.iter().map(|served| served.files).sum::<usize>(),
            bytes = self.tenants.iter().map(|served| served.bytes).sum::<u64>(),
            auth = self.auth,
            operators = operators.map(|places| &places.url),
            "ready"
        );
    }

    /// Prints it in one piece, because programs wait for its first line. The server does not wait for a
    /// reader, and goes on without one.
    pub fn print(&self, format: ReadyFormat) -> io::Result<()> {
        let text = match format {
            ReadyFormat::Json => format!("{}\n", serde_json::to_string(self)?),
            ReadyFormat::Text if io::stdout().is_terminal() => self.lines() + &self.for_people(),
            ReadyFormat::Text => self.lines(),
        };
        let write = move || {
            let mut out = io::stdout().lock();
            if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                tracing::warn!(%error, "standard output cannot be written: it does not say that the server is ready");
            }
        };
        std::thread::Builder::new().name("ready".into()).spawn(write).map(drop)
    }

    /// Returns the lines that programs wait for.
    fn lines(&self) -> String {
        let operators = self.operators.as_ref();
        let operators = operators.map_or_else(String::new, |places| format!("operators {}\n", places.url));
        format!("ready {}\n{operators}", self.ready)
    }

    /// Returns what people want to know besides.
    fn for_people(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<15} {value}");
        };
        for ServedTenant { tenant, source, files, bytes, .. } in &self.tenants {
            let files = if *files == 1 { "1 file".into() } else { format!("{files} files") };
            line("serves", format!("{tenant}: {files}, {} in {source}", HumanBytes(*bytes)));
        }
        line("data directory", self.data_dir.clone());
        if let Some(places) = &self.operators {
            #[cfg(feature = "console")]
            line("console", places.console.clone());
            line("metrics", places.metrics.clone());
            line("operator token", places.token_file.clone());
        }
        line(
            "authentication",
            if self.auth == AuthMode::None.as_str() {
                "NONE: WHOEVER CAN CONNECT MAY EXPORT ALL DATA (--auth smart asks for access tokens)".into()
            } else {
                format!("{}: clients need access tokens", self.auth)
            },
        );
        text
    }
}

impl OperatorPlaces {
    fn new(url: String, config: &Config) -> Self {
        Self {
            #[cfg(feature = "console")]
            console: format!("{url}/console"),
            metrics: format!("{url}/metrics"),
            token_file: super::operators::token_file(config).display().to_string(),
            url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(auth: AuthMode, operators: Option<&str>) -> ReadyReport {
        let served = ServedTenant {
            tenant: "default".into(),
            base: "http://127.0.0.1:8080/r4/default".into(),
            source: "data/sample".into(),
            files: 8,
            bytes: 5 << 20,
        };
        ReadyReport {
            ready: served.base.clone(),
            version: "0",
            pid: 1,
            data_dir: "evanesce-data".into(),
            auth: auth.as_str(),
            operators: operators.map(|url| OperatorPlaces::new(url.into(), &Config::default())),
            tenants: vec![served],
        }
    }

    #[test]
    fn programs_get_two_lines_and_people_what_is_served_and_which_authentication_is_on() {
        let report = report(AuthMode::None, Some("http://127.0.0.1:8081"));
        assert_eq!(
            report.lines(),
            "ready http://127.0.0.1:8080/r4/default\noperators http://127.0.0.1:8081\n"
        );
        let text = report.for_people();
        for expected in [
            "default: 8 files, 5.00 MiB in data/sample",
            "http://127.0.0.1:8081/metrics",
            "evanesce-data/operator-token",
            "NONE: WHOEVER CAN CONNECT",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn without_an_operators_listener_there_is_no_line_of_it() {
        let report = report(AuthMode::Smart, None);
        assert_eq!(report.lines(), "ready http://127.0.0.1:8080/r4/default\n");
        let text = report.for_people();
        assert!(text.contains("smart: clients need access tokens") && !text.contains("metrics"), "{text}");
        assert!(serde_json::to_value(&report).unwrap().get("operators").is_none());
    }
}
