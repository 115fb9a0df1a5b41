//! Runs the commands of a page as a reader would: bash, the real program, a folder and a home of its
//! own, and ports that nobody else has.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::page::{CodeBlock, ManualPage, project};
use crate::support::{PATIENCE, temporary_folder};

/// Why a block is not run. `internet`: it fetches something; `root`: it changes the system; `machine`: it
/// needs another machine or service; `build`: it builds the project itself, which takes minutes.
pub const SKIP_REASONS: [&str; 4] = ["internet", "root", "machine", "build"];

/// The ports of the pages, for each of which a free one is taken.
const PORTS: [&str; 6] = ["8080", "8081", "8090", "8091", "8443", "4318"];

/// What is done with a block of code.
#[derive(Debug, PartialEq, Eq)]
pub enum BlockUse<'a> {
    /// Run to its end.
    Run,
    /// The same, when the servers have been stopped.
    RunStopped,
    /// Started; what follows waits until it says that it is ready.
    Background,
    /// Not run, for this reason.
    Skip(&'a str),
    /// Shown only.
    Show,
}

impl CodeBlock {
    pub fn usage(&self) -> Result<BlockUse<'_>, String> {
        let words: Vec<_> = self.info.as_deref().unwrap_or_default().split_whitespace().collect();
        match words[..] {
            ["sh"] => Ok(BlockUse::Run),
            ["sh", "stopped"] => Ok(BlockUse::RunStopped),
            ["sh", "background"] => Ok(BlockUse::Background),
            ["sh", word] => {
                let reason = word.strip_prefix("skip=").filter(|reason| SKIP_REASONS.contains(reason));
                reason.map(BlockUse::Skip).ok_or_else(|| format!("{word}: it is not one of {SKIP_REASONS:?}"))
            }
            [
                "rust" | "rust,ignore" | "text" | "console" | "json" | "python" | "toml" | "yaml" | "ini"
                | "nginx" | "http" | "dockerfile",
            ] => Ok(BlockUse::Show),
            _ => Err("its info string is none of those that are known".into()),
        }
    }
}

/// What bash reads first.
const PROLOGUE: &str = r#"
set -eEuo pipefail
trap 'echo "${BASH_SOURCE[0]#"$blocks"/*/}:$LINENO: this command failed" >&2' ERR
servers=()
# Starts block $1 in the background and waits for its line `ready ...`.
in_background() {
  touch "$1.out" "$1.err"
  ( trap - ERR; source "$1" ) >"$1.out" 2>"$1.err" &
  servers+=($!)
  until grep -q '^ready ' "$1.out"; do
    kill -0 $! 2>/dev/null || { echo "${1#"$blocks"/*/}: it ended before it was ready" >&2; cat "$1.err" >&2; return 1; }
    sleep 0.02
  done
}
# Stops what runs in the background, and waits for its end.
stop_servers() {
  for server in "${servers[@]}"; do
    kill -TERM $(cat "/proc/$server/task/$server/children") || true
    wait "$server" || true
  done
  servers=()
}
"#;

/// Runs a page. Returns how many blocks were skipped for which reason; the error says which line failed.
pub fn run(page: &ManualPage) -> Result<BTreeMap<String, usize>, String> {
    let (mut script, mut skipped) = (PROLOGUE.to_string(), BTreeMap::new());
    let home = temporary_folder();
    let folder = home.path().join("work");
    let blocks = home.path().join("blocks");
    let ports = ports();
    let swap = |text: &str| {
        let text = text
            .replace("cargo run --release -- ", "evanesce ")
            .replace("target/release/evanesce", "evanesce");
        PORTS.iter().zip(&ports).fold(text, |text, (port, free)| text.replace(port, free))
    };
    for (number, block) in page.blocks.iter().enumerate() {
        let how = block.usage().map_err(|fault| format!("{}:{}: {fault}", page.name, block.line))?;
        // A file of the page's name, with the block on its own lines, so that bash names them.
        let file = blocks.join(number.to_string()).join(&page.name);
        let quoted = format!("\"$blocks/{number}/{}\"", page.name);
        match how {
            BlockUse::Run => writeln!(script, "source {quoted}"),
            BlockUse::RunStopped => writeln!(script, "stop_servers\nsource {quoted}"),
            BlockUse::Background => writeln!(script, "in_background {quoted}"),
            BlockUse::Skip(reason) => {
                *skipped.entry(reason.to_string()).or_default() += 1;
                continue;
            }
            BlockUse::Show => continue,
        }
        .unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "\n".repeat(block.line - 1) + &swap(&block.text)).unwrap();
    }
    if script == PROLOGUE {
        return Ok(skipped);
    }
    script.push_str("stop_servers\n");
    furnish(&folder, home.path());
    let output = std::fs::File::create(home.path().join("output")).unwrap();
    let mut command = bash(&script, &folder, home.path(), &ports);
    command.env("blocks", &blocks).stdout(output.try_clone().unwrap()).stderr(output);
    let status = run_to_end(command);
    if status.is_some_and(|status| status.success()) {
        return Ok(skipped);
    }
    let output = std::fs::read(home.path().join("output")).unwrap();
    let end = status.map_or_else(|| "it does not come to its end".into(), |status| status.to_string());
    Err(format!("{}: {end}\n{}", page.name, String::from_utf8_lossy(&output)))
}

/// Makes what a reader has: the project's data, scripts and pages, and the program.
fn furnish(folder: &Path, home: &Path) {
    for new in [folder, &home.join("bin"), &home.join("tmp")] {
        std::fs::create_dir_all(new).unwrap();
    }
    for name in ["data", "scripts", "docs", "packaging"] {
        symlink(project().join(name), folder.join(name)).unwrap();
    }
    symlink(env!("CARGO_BIN_EXE_evanesce"), home.join("bin/evanesce")).unwrap();
}

fn bash(script: &str, folder: &Path, home: &Path, ports: &[String]) -> Command {
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("EVANESCE_")) {
        command.env_remove(name);
    }
    // Whoever calls another machine finds nobody.
    for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(proxy, "http://127.0.0.1:9");
    }
    command
        .env("no_proxy", "127.0.0.1,localhost")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("PATH", format!("{}:{path}", home.join("bin").display()))
        .env("HOME", home)
        .env("TMPDIR", home.join("tmp"))
        // As on a machine of one's own, where the default ports are free and there is some room.
        .env("EVANESCE_SERVER__LISTEN", format!("127.0.0.1:{}", ports[0]))
        .env("EVANESCE_ADMIN__LISTEN", format!("127.0.0.1:{}", ports[1]))
        .env("EVANESCE_STORAGE__MIN_FREE", "1048576")
        .process_group(0);
    command
}

/// Runs a command to its end, and ends what it leaves behind. `None` if it takes too long.
fn run_to_end(mut command: Command) -> Option<ExitStatus> {
    let mut child = command.spawn().expect("bash");
    let until = Instant::now() + 3 * PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > until => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let group = rustix::process::Pid::from_child(&child);
    // Nobody may be left.
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    child.wait().unwrap();
    status
}

/// Whether a port can stand for one of a page: the ports are replaced one after another, and one that has
/// another's digits in it would be replaced in its turn.
fn can_stand_in(port: &str) -> bool {
    !PORTS.iter().any(|of_page| port.contains(of_page))
}

/// Takes a free port for each of `PORTS`. They are below those that the system gives to others who ask
/// for any, and each is taken once in this process.
fn ports() -> Vec<String> {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap();
    let (first, last) = (10_000, 30_000);
    let mut at = next.unwrap_or_else(|| first + (std::process::id() * 37 % 20_000) as u16);
    let mut free = Vec::new();
    while free.len() < PORTS.len() {
        at = if at >= last { first } else { at + 1 };
        let port = at.to_string();
        if can_stand_in(&port) && TcpListener::bind(("127.0.0.1", at)).is_ok() {
            free.push(port);
        }
    }
    *next = Some(at);
    free
}

#[test]
fn a_port_with_the_digits_of_another_one_stands_for_none() {
    assert!(!can_stand_in("18081") && !can_stand_in("24318") && can_stand_in("18082"));
}
