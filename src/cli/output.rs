//! What commands print. Whoever reads it may stop reading: a list ends quietly then, and what a command
//! does is done all the same. An output that cannot be written, such as a file on a full disk, is an
//! error.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::CliError;
use crate::audit::AuditError;
use crate::receipts::ReceiptsError;
use crate::telemetry;

/// Prints a line.
pub fn print(line: impl Display) -> Result<(), CliError> {
    print_all([line])
}

/// Prints lines.
pub fn print_all(lines: impl IntoIterator<Item = impl Display>) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = lines.into_iter().try_for_each(|line| writeln!(out, "{line}"));
    finish(printed.map_err(Failure::Output), &mut out)
}

/// What becomes of the command when something was printed by others.
pub fn printed(printed: io::Result<()>) -> Result<(), CliError> {
    finish(printed.map_err(Failure::Output), &mut io::stdout())
}

/// Prints a line about what is done. If it cannot be printed, the error says that it is done.
pub fn report(line: impl Display) -> Result<(), CliError> {
    print(line).map_err(|error| CliError::failed(format!("it is done, but {}", error.message)))
}

/// Tells something on standard error; nobody is told if that cannot be written.
pub fn complain(text: impl Display) {
    telemetry::say(&format!("evanesce: {text}"));
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
