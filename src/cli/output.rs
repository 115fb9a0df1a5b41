//! What commands print. The reader may go away: a list then ends quietly, and a command still does
//! its work. An output that cannot be written, such as a file on a full disk, is an error.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::CliError;
use crate::audit::AuditError;
use crate::receipts::ReceiptsError;
use crate::telemetry;

/// How a command prints what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people: names, sizes and ages in columns.
    Table,
    /// For programs: one JSON document, or one JSON object a line.
    Json,
}

/// The option of all commands that print something.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct OutputArgs {
    /// How the answer is printed.
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    /// The same as --output json, as earlier versions had it.
    #[arg(long, hide = true, conflicts_with = "output")]
    json: bool,
}

impl OutputArgs {
    /// Returns whether a program reads the answer.
    pub fn is_json(&self) -> bool {
        self.json || self.output == OutputFormat::Json
    }

    /// Returns whether nothing was asked for.
    pub fn is_default(&self) -> bool {
        !self.is_json()
    }
}

/// Prints one JSON document on a line.
pub fn print_json(document: &impl Serialize) -> Result<(), CliError> {
    print(serde_json::to_string(document).map_err(CliError::failed)?)
}

/// Prints a line.
pub fn print(line: impl Display) -> Result<(), CliError> {
    print_all([line])
}

/// Prints lines.
pub fn print_all(lines: impl IntoIterator<Item = impl Display>) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = lines.into_iter().try_for_each(|line| writeln!(out, "{line}"));
    finish(printed.map_err(WalkError::Output), &mut out)
}

/// Prints lines as they come. Breaks if the reader has gone away: nothing else would end a command
/// that prints for ever.
pub fn print_live(lines: &[String]) -> Result<ControlFlow<()>, CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(WalkError::Output(error).into()),
        Ok(()) => Ok(ControlFlow::Continue(())),
    }
}

/// Turns the result of printing by others into the command's.
pub fn printed(printed: io::Result<()>) -> Result<(), CliError> {
    finish(printed.map_err(WalkError::Output), &mut io::stdout())
}

/// Prints a line about what was done. If that fails, the error says that it was done.
pub fn report(line: impl Display) -> Result<(), CliError> {
    print(line).map_err(|error| CliError::failed(format!("it is done, but {}", error.message)))
}

/// Tells what was done: people by a sentence, programs by a document. If that fails, the error says that it
/// was done.
pub fn report_as(output: &OutputArgs, sentence: impl Display, document: &Value) -> Result<(), CliError> {
    if output.is_json() { report(document) } else { report(sentence) }
}

/// Prints to standard error. A failure is ignored.
pub fn complain(text: impl Display) {
    telemetry::say(&format!("evanesce: {text}"));
}

/// Shows somebody on standard error what is about to be done. A failure is ignored.
pub fn tell(text: impl Display) {
    telemetry::say(&text.to_string());
}

/// Why a command that reads a chain ends early.
pub enum WalkError {
    /// The chain is broken, or its file cannot be read.
    Chain(String),
    /// The output cannot be written.
    Output(io::Error),
}

impl From<ReceiptsError> for WalkError {
    fn from(error: ReceiptsError) -> Self {
        Self::Chain(error.to_string())
    }
}

impl From<AuditError> for WalkError {
    fn from(error: AuditError) -> Self {
        Self::Chain(error.to_string())
    }
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<WalkError> for CliError {
    fn from(failure: WalkError) -> Self {
        match failure {
            WalkError::Chain(error) => Self::failed(error),
            WalkError::Output(error) => Self::failed(format!("cannot write the output: {error}")),
        }
    }
}

/// Flushes the output, also after an error. The reader may have gone away.
pub fn finish(done: Result<(), WalkError>, out: &mut impl Write) -> Result<(), CliError> {
    match done.and_then(|()| Ok(out.flush()?)) {
        Err(WalkError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(failure) => {
            // The first failure counts.
            let _ = out.flush();
            Err(failure.into())
        }
        Ok(()) => Ok(()),
    }
}

/// Writes with `write` to a new file that only its owner can read, or to standard output. A file
/// that could not be written to its end is removed, because half an export would pass for a whole
/// one.
pub fn write_to(
    path: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), WalkError>,
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

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use crate::cli::Cli;

    /// The commands that have no `--output json`, and why.
    const WITHOUT: [(&str, &str); 7] = [
        ("audit export", "--format says how events are written"),
        ("completions", "a script for a shell"),
        ("config docs", "tables for the manual"),
        ("demo", "a tour for people"),
        ("man", "pages for people"),
        ("receipts export", "--format says how entries are written"),
        ("serve", "--ready-format json"),
    ];

    /// Adds the commands that can be called and have no `--output json`.
    fn without_json(command: &Command, path: &str, found: &mut Vec<String>) {
        if !command.is_subcommand_required_set() {
            let output = command.get_arguments().find(|one| one.get_long() == Some("output"));
            let values = output.map(|one| one.get_possible_values()).unwrap_or_default();
            let is_short = output.is_some_and(|one| one.get_short() == Some('o'));
            if !is_short || !values.iter().any(|value| value.matches("json", false)) {
                found.push(path.to_owned());
            }
        }
        for sub in command.get_subcommands() {
            without_json(sub, format!("{path} {}", sub.get_name()).trim(), found);
        }
    }

    #[test]
    fn every_command_answers_a_script_in_json_but_those_that_have_a_reason() {
        let mut found = Vec::new();
        without_json(&Cli::command(), "", &mut found);
        found.sort();
        assert_eq!(found, WITHOUT.map(|(command, _)| command));
    }
}
