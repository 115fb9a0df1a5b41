//! `evanesce config docs`: the tables of the manual that are made of the code, and the pages that have
//! them between `<!-- settings -->` or `<!-- metrics -->` and the same with a slash.

use std::path::{Path, PathBuf};

use super::super::CliError;
use super::super::output::{print, report};
use super::reference::sections;
use crate::telemetry::METRIC_GROUPS;

/// The arguments of `evanesce config docs`.
#[derive(Debug, clap::Args)]
pub struct DocsArgs {
    /// Fail if the tables in these pages are not what the code says.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "write")]
    check: Vec<PathBuf>,
    /// Bring the tables in these pages up to date.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    write: Vec<PathBuf>,
}

/// Prints the tables, or looks after those in pages.
pub fn run(args: &DocsArgs) -> Result<(), CliError> {
    if args.check.is_empty() && args.write.is_empty() {
        return print(format_args!("{}\n{}", settings_tables(), metrics_tables()));
    }
    for page in &args.check {
        let (text, current) = read(page)?;
        if text != current {
            let page = page.display();
            let reason = format!("{page} is not what the code says; evanesce config docs --write {page}");
            return Err(CliError::failed(reason));
        }
    }
    for page in &args.write {
        let (text, current) = read(page)?;
        if text != current {
            std::fs::write(page, current)
                .map_err(|error| CliError::failed(format!("cannot write {}: {error}", page.display())))?;
            report(format_args!("{} is up to date now", page.display()))?;
        }
    }
    Ok(())
}

/// Reads a page. Returns its text, and what it should be.
fn read(page: &Path) -> Result<(String, String), CliError> {
    let text = std::fs::read_to_string(page)
        .map_err(|error| CliError::usage(format!("cannot read {}: {error}", page.display())))?;
    let tables = [("settings", settings_tables()), ("metrics", metrics_tables())];
    let mut current = text.clone();
    let mut found = false;
    for (name, table) in tables {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let Some(from) = current.find(&begin).map(|at| at + begin.len()) else { continue };
        let Some(length) = current[from..].find(&end) else { continue };
        current.replace_range(from..from + length, &format!("\n{table}\n"));
        found = true;
    }
    if !found {
        let reason = format!(
            "{} has no place for a table: a line <!-- settings --> or <!-- metrics -->, and <!-- /settings --> or \
             <!-- /metrics --> below it",
            page.display()
        );
        return Err(CliError::usage(reason));
    }
    Ok((text, current))
}

fn settings_tables() -> String {
    let tables = sections().into_iter().map(|section| {
        let rows = section.settings.into_iter().map(|setting| {
            let takes = cell(&setting.takes);
            format!(
                "| `{}` | {takes} | {} | {} |\n",
                setting.name,
                cell(&setting.default),
                cell(&setting.meaning)
            )
        });
        let rows: String = rows.collect();
        format!(
            "## {}\n\n{}\n\n| setting | takes | default | meaning |\n|---|---|---|---|\n{rows}",
            section.name, section.about
        )
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn metrics_tables() -> String {
    let tables = METRIC_GROUPS.iter().map(|(title, metrics)| {
        let rows = metrics.iter().map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            format!(
                "| `{}` | {} | {} | {} |\n",
                metric.name,
                metric.kind,
                labels.join(", "),
                cell(metric.help)
            )
        });
        let rows: String = rows.collect();
        format!("## {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n{rows}")
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// Escapes what would end a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
