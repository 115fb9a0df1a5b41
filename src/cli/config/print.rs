//! `evanesce config print`: the settings in force, each with where it was given. What is printed as TOML
//! is a file of settings.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use toml_edit::ser::ValueSerializer;

use super::super::CliError;
use super::super::output::{print, print_all};
use super::super::settings::SettingsArgs;
use crate::config::{Config, SettingOrigins, leaves};

/// The arguments of `evanesce config print`.
#[derive(Debug, clap::Args)]
pub struct PrintArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How they are printed.
    #[arg(long, short, value_enum, default_value_t = SettingsFormat::Toml)]
    output: SettingsFormat,
}

/// A format of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SettingsFormat {
    /// A file of settings, with comments that say where each was given.
    Toml,
    /// A JSON object: name, value and origin of each setting.
    Json,
}

/// Prints the settings in force.
pub fn run(args: &PrintArgs) -> Result<(), CliError> {
    let (config, origins) = (args.settings.load()?, args.settings.origins()?);
    match args.output {
        SettingsFormat::Toml => print_all(toml(&config, &origins)?),
        SettingsFormat::Json => print(as_json(&config, &origins)?),
    }
}

fn tree(config: &Config) -> Result<Value, CliError> {
    serde_json::to_value(config).map_err(CliError::failed)
}

fn as_json(config: &Config, origins: &SettingOrigins) -> Result<Value, CliError> {
    let mut settings = BTreeMap::new();
    leaves("", &tree(config)?, &mut |name, value| {
        let given = json!({ "value": redacted(value), "from": origins.of(name).to_string() });
        settings.insert(name.to_owned(), given);
    });
    Ok(json!(settings))
}

/// Returns the sections of a TOML file. A setting that has no value is a comment.
fn toml(config: &Config, origins: &SettingOrigins) -> Result<Vec<String>, CliError> {
    let mut sections = BTreeMap::<String, String>::new();
    let mut failure = None;
    leaves("", &tree(config)?, &mut |name, value| {
        let Some((section, key)) = name.rsplit_once('.') else { return };
        let line = match redacted(value).serialize(ValueSerializer::new()) {
            _ if value.is_null() => format!("# {key} is not set"),
            Ok(value) => format!("{:<50} # {}", format!("{key} = {value}"), origins.of(name)),
            Err(error) => return failure = Some(error),
        };
        let lines = sections.entry(section.into()).or_insert_with(|| format!("[{section}]\n"));
        lines.push_str(&line);
        lines.push('\n');
    });
    failure.map_or(Ok(sections.into_values().collect()), |error| Err(CliError::failed(error)))
}

/// Returns a value without the names and passwords that a URL may have.
fn redacted(value: &Value) -> Value {
    let Value::String(text) = value else { return value.clone() };
    let Some((scheme, rest)) = text.split_once("://") else { return value.clone() };
    let host = rest.find('/').unwrap_or(rest.len());
    match rest[..host].rfind('@') {
        Some(at) => json!(format!("{scheme}://***{}", &rest[at..])),
        None => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_a_file_of_the_same_settings_without_secrets() {
        let sets = [
            "tenants.0a-b.source.folder=f",
            "tenants.0a-b.max_bytes=7",
            "server.trusted_proxies=10.0.0.0/8",
            "export.stored=zstd",
        ];
        let sets = sets.map(String::from);
        let config = Config::load(None, &sets).unwrap();
        let origins = SettingOrigins::find(None, &sets).unwrap();
        let text = toml(&config, &origins).unwrap().join("\n");
        assert!(text.contains("\nstored = \"zstd\"") && text.contains("# public_url is not set"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("printed.toml");
        std::fs::write(&file, &text).unwrap();
        assert_eq!(Config::load(Some(&file), &[]).unwrap(), config, "{text}");
        let secret = json!("https://me:secret@h.example:1/r4");
        assert_eq!(redacted(&secret), json!("https://***@h.example:1/r4"));
        assert_eq!(redacted(&json!("https://h.example/a@b")), json!("https://h.example/a@b"));
    }
}
