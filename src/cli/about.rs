//! What the program tells of itself: `evanesce completions` and `evanesce man`, and the exit codes
//! that its help ends with.

use std::io::Cursor;
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::output::{WalkError, report, write_to};
use super::{Cli, CliError};

/// The end of the help and of the manual page.
pub const AFTER_HELP: &str = "\
Exit codes:
  0    done
  1    it failed, or something is not well
  2    it could not begin: arguments, settings, no server, no data directory
  4    fsck: something is left that it does not mend
  70   serve: the store can promise nothing any more; start it again
  130  serve: a second signal stopped it at once

Environment:
  EVANESCE_SECTION__KEY  a setting, such as EVANESCE_STORAGE__DATA_DIR
  NO_COLOR               no colours; CLICOLOR_FORCE=1: colours also in a pipe
  RUST_LOG               what serve logs; the default is info";

/// The arguments of `evanesce completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evanesce completions bash > ~/.local/share/bash-completion/completions/evanesce
  evanesce completions fish > ~/.config/fish/completions/evanesce.fish")]
pub struct CompletionsArgs {
    /// Whose completions.
    #[arg(value_enum)]
    shell: Shell,
}

/// The arguments of `evanesce man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evanesce man | man -l -
  evanesce man --out /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The folder for the pages, one a sub-command. Default: the first page, to standard output.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub fn completions(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "evanesce", &mut text);
    printed(&text)
}

/// Prints the manual page, or writes all of them to a folder.
pub fn man(args: &ManArgs) -> Result<(), CliError> {
    let command = Cli::command().disable_help_subcommand(true);
    let Some(folder) = &args.out else {
        let mut text = Cursor::new(Vec::new());
        Man::new(command).render(&mut text).map_err(CliError::failed)?;
        return printed(text.get_ref());
    };
    let cannot = |error| CliError::failed(format!("cannot write the pages to {}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(cannot)?;
    clap_mangen::generate_to(without_help(command), folder).map_err(cannot)?;
    report(format_args!("the pages are in {0}; read them by `man -l {0}/evanesce.1`", folder.display()))
}

/// Removes the sub-command `help` everywhere: it needs no page.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

fn printed(text: &[u8]) -> Result<(), CliError> {
    write_to(None, |out| out.write_all(text).map_err(WalkError::Output))
}
