//! Sources that `evanesce generate` makes.

use std::path::Path;
use std::process::Command;

/// What `evanesce generate` says that it made.
pub struct Generated {
    pub resources: u64,
    /// 0 without `--mess`.
    pub broken_lines: u64,
}

/// Runs `evanesce generate`: so many patients of the set `seed`, into an empty folder.
pub fn generate(folder: &Path, patients: u32, seed: u64, arguments: &[&str]) -> Generated {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evanesce"));
    command.args(["generate", "--patients", &patients.to_string(), "--seed", &seed.to_string(), "--out"]);
    let output = command.arg(folder).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let number =
        |what: &str| text.lines().find_map(|line| line.split_once(what)?.0.parse().ok()).unwrap_or_default();
    Generated { resources: number(" resources, "), broken_lines: number(" broken lines") }
}
