//! `evanesce demo`
use super::CliError;
/// x
#[derive(Debug, clap::Args)]
pub struct Args {}
/// x
pub fn run(_args: &Args) -> Result<(), CliError> {
    Ok(())
}
