//! A server whose system calls are watched, or made to fail, by strace.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Need, Server, Setup, eventually, skip};

/// Whether strace can be had, and may trace; says so loudly if not.
pub fn can_trace(what: &str) -> bool {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            skip(Need::Strace, what, &String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(e) => {
            skip(Need::Strace, what, &e.to_string());
            false
        }
    }
}

/// The server under strace. `-D` leaves the server our child: we kill it and see its exit code.
pub fn start_traced(setup: &Setup, options: &[&str]) -> Server {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-y", "-s", "64", "-o"]).arg(trace_file(setup)).args(options);
    setup.launch(setup.below(strace))
}

/// Has strace watch, and disturb, a server that is running, from here on: `when=N` counts by
/// thread, so that the calls of a start would be in the way. strace ends with the server.
pub fn disturb(setup: &Setup, server: &Server, path: &str, inject: &str) -> bool {
    let call = inject.split([':', '=']).nth(1).unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-p", &server.child.id().to_string(), "-o"]).arg(trace_file(setup));
    command.arg("-P").arg(setup.data_dir().join(path));
    command.args(["-e", &format!("trace={call}"), "-e", inject]);
    let mut strace = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(strace.stderr.take().unwrap());
    // It may have something to say of the path before.
    while !said.contains("attached") && stderr.read_line(&mut said).unwrap() > 0 {}
    let attached = said.contains("attached");
    if !attached {
        skip(Need::Strace, "a disturbed server", &said);
    }
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()).and_then(|_| strace.wait()));
    attached
}

fn trace_file(setup: &Setup) -> PathBuf {
    setup.folder.path().join("trace")
}

/// One system call: its text, its result, and the lines of the trace on which it began and ended.
#[derive(Debug)]
pub struct Call {
    pub text: String,
    pub result: String,
    pub begin: usize,
    pub end: usize,
}

impl Call {
    pub fn is(&self, name: &str, path: &Path) -> bool {
        self.text.starts_with(&format!("{name}(")) && self.text.contains(&format!("<{}>", path.display()))
    }

    pub fn succeeded(&self) -> bool {
        self.result.starts_with('0')
    }
}

/// All calls of a server that has ended, those of several threads put together again.
pub fn trace(setup: &Setup) -> Vec<Call> {
    let text = eventually("the end of the trace", || {
        let text = std::fs::read_to_string(trace_file(setup)).unwrap_or_default();
        let last = text.lines().last().unwrap_or_default();
        (text.ends_with('\n') && last.contains("+++")).then_some(text)
    });
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: Vec<(&str, usize)> = Vec::new();
    for (line, text) in text.lines().enumerate() {
        let (thread, text) = text.split_once(' ').unwrap();
        let text = text.trim_start();
        if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
            unfinished.push((thread, calls.len()));
            calls.push(Call { text: begun.into(), result: String::new(), begin: line, end: usize::MAX });
        } else if text.starts_with("<... ") {
            // One that was under way when strace came has no beginning.
            let Some(position) = unfinished.iter().position(|(waiting, _)| *waiting == thread) else {
                continue;
            };
            let call = &mut calls[unfinished.remove(position).1];
            call.end = line;
            let (rest, result) = text.rsplit_once(" = ").unwrap();
            call.text += rest.split_once("resumed>").unwrap().1;
            call.result = result.into();
        } else if let Some((text, result)) = text.rsplit_once(" = ") {
            calls.push(Call { text: text.into(), result: result.into(), begin: line, end: line });
        }
    }
    calls
}
