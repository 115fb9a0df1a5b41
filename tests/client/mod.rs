//! `evanesce export`: the real program against the real server, through a proxy that cuts, and against
//! servers that follow a script.

mod auth;
mod bounds;
mod cuts;
mod ending;
mod exports;
mod folders;
mod hostile;
mod keys;
mod library;
mod links;
mod proxy;
mod scripted;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::*;

use keys::ClientKeys;
use proxy::Proxy;
use scripted::{Asked, ScriptedServer, answer, json_answer};

/// The output folder of an export, which there is not yet.
pub struct OutFolder(TempDir);

impl OutFolder {
    pub fn new() -> Self {
        Self(temporary_folder())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("out")
    }

    /// The command that exports from `base` into it.
    pub fn command(&self, base: &str, arguments: &[&str]) -> Command {
        let mut command = evanesce_command();
        command.args(["export", base, "--out"]).arg(self.path()).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Exports to the end.
    pub fn export(&self, base: &str, arguments: &[&str]) -> Ended {
        Ended::of(
            self.command(base, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
        )
    }

    /// Starts an export that somebody else ends.
    pub fn start(&self, base: &str, arguments: &[&str]) -> Child {
        self.command(base, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The names in it, but for the state.
    pub fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.path()).unwrap().map(|it| it.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&self.read("manifest.json")).unwrap()
    }

    /// All lines of the output, sorted.
    pub fn lines(&self) -> Vec<String> {
        let files = self.manifest()["output"].as_array().unwrap().clone();
        let mut lines = Vec::new();
        for file in files {
            let text = String::from_utf8(self.read(file["file"].as_str().unwrap())).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines.sort();
        lines
    }

    /// How many bytes of unfinished files are there.
    pub fn part_bytes(&self) -> u64 {
        let Ok(names) = std::fs::read_dir(self.path()) else { return 0 };
        let parts = names.map(|it| it.unwrap()).filter(|it| it.path().extension() == Some("part".as_ref()));
        parts.map(|it| it.metadata().map_or(0, |file| file.len())).sum()
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Waits for the end of a process.
    pub fn of(mut child: Child) -> Self {
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        });
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let status = eventually("the end of the client", || child.try_wait().unwrap());
        Self { code: status.code(), stdout: reader.join().unwrap(), stderr: errors.join().unwrap() }
    }

    /// It went well.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// It failed with this code, and said this.
    pub fn failed(self, code: i32, said: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(self.stderr.contains(said), "{said}: {self:#?}");
        let last = self.stderr.trim_end().lines().last().unwrap_or_default();
        assert!(last.starts_with("evanesce: "), "one sentence, last: {self:#?}");
        self
    }
}

/// All lines of an export that is downloaded without the client, sorted.
pub fn lines_of(server: &Server, path: &str) -> Vec<String> {
    let (polling, manifest) = server.export(path);
    let mut lines = Vec::new();
    for file in manifest["output"].as_array().unwrap() {
        let answer = get(file["url"].as_str().unwrap());
        lines.extend(String::from_utf8(answer.body).unwrap().lines().map(str::to_owned));
    }
    delete(&polling);
    lines.sort();
    lines
}

/// The size of the one file of [`random_source`].
pub const RANDOM_BYTES: u64 = 12 << 20;

/// A source with one file that compresses to half of its size.
pub fn random_source() -> &'static Path {
    static SOURCE: OnceLock<TempDir> = OnceLock::new();
    let folder = SOURCE.get_or_init(|| {
        let folder = temporary_folder();
        let mut state = 1_u64;
        let mut text = String::new();
        while (text.len() as u64) < RANDOM_BYTES {
            text.push_str("{\"resourceType\":\"Media\",\"data\":\"");
            for _ in 0..4096 {
                // A linear congruential generator is random enough for a compressor.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(&format!("{:08x}", state >> 32));
            }
            text.push_str("\"}\n");
        }
        std::fs::write(folder.path().join("Media.ndjson"), text).unwrap();
        folder
    });
    folder.path()
}

/// Types and counts of a manifest that the client wrote.
pub fn counts(manifest: &Value) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for file in manifest["output"].as_array().unwrap() {
        let resource_type = file["type"].as_str().unwrap().to_owned();
        *counts.entry(resource_type).or_default() += file["count"].as_u64().unwrap();
    }
    counts
}
