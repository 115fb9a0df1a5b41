//! Where each setting was given: the layers of [`Config::load`], looked at one by one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::environment::{self, VariableMap};
use super::{ConfigError, parts_of_set};

/// Where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingOrigin {
    /// Nowhere.
    Default,
    /// In the file of settings.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
    /// By a flag.
    Flag,
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file) => write!(f, "file {}", file.display()),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// The settings that are given somewhere, by their names (`section.key`).
#[derive(Debug, Default)]
pub struct SettingOrigins(BTreeMap<String, SettingOrigin>);

impl SettingOrigins {
    /// Looks where settings are given: in a file, the environment and `section.key=value` texts.
    ///
    /// # Errors
    /// Fails if one of them cannot be read.
    pub fn find(file: Option<&Path>, sets: &[String]) -> Result<Self, ConfigError> {
        Self::find_in(file, &environment::settings(std::env::vars_os())?, sets)
    }

    pub(super) fn find_in(
        file: Option<&Path>,
        environment: &VariableMap,
        sets: &[String],
    ) -> Result<Self, ConfigError> {
        let mut origins = BTreeMap::new();
        if let Some(file) = file {
            let source = config::File::from(file).format(config::FileFormat::Toml);
            for name in names(config::Config::builder().add_source(source).build()?)? {
                origins.insert(name, SettingOrigin::File(file.into()));
            }
        }
        for (variable, value) in environment {
            let alone = VariableMap::from_iter([(variable.clone(), value.clone())]);
            for name in names(config::Config::builder().add_source(environment::source(alone)).build()?)? {
                origins.insert(name, SettingOrigin::Variable(variable.clone()));
            }
        }
        for set in sets {
            let (key, value) = parts_of_set(set)?;
            for name in names(config::Config::builder().set_override(key, value)?.build()?)? {
                origins.insert(name, SettingOrigin::Flag);
            }
        }
        Ok(Self(origins))
    }

    /// Returns where a setting was given.
    pub fn of(&self, name: &str) -> SettingOrigin {
        self.0.get(name).cloned().unwrap_or(SettingOrigin::Default)
    }

    /// Returns how many settings are given somewhere.
    pub fn given(&self) -> usize {
        self.0.len()
    }
}

/// Returns the names of what is set.
fn names(layer: config::Config) -> Result<Vec<String>, ConfigError> {
    let mut names = Vec::new();
    leaves("", &layer.try_deserialize::<Value>()?, &mut |name, _| names.push(name.to_owned()));
    Ok(names)
}

/// Visits all settings in a tree of sections, in the order of their names. A name of a tenant with dots is
/// in quotes, as TOML has it.
pub fn leaves(name: &str, value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    let Value::Object(section) = value else { return visit(name, value) };
    for (key, value) in section {
        let dot = if name.is_empty() { "" } else { "." };
        let quote = if key.contains('.') { "'" } else { "" };
        leaves(&format!("{name}{dot}{quote}{key}{quote}"), value, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_comes_from_the_last_layer_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("evanesce.toml");
        std::fs::write(&file, "[export]\nworkers = 3\nnice = 4\n[tenants.a.source]\nfolder = 'f'").unwrap();
        let variables = [("EVANESCE_EXPORT__NICE", "5"), ("EVANESCE_EXPORT__PART_BYTES", "6000")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sets = ["export.part_bytes=7000".into(), "limits.exempt=::1,127.0.0.1".into()];
        let origins = SettingOrigins::find_in(Some(&file), &VariableMap::from(variables), &sets).unwrap();
        let variable = SettingOrigin::Variable("EVANESCE_EXPORT__NICE".into());
        for (name, origin) in [
            ("export.workers", SettingOrigin::File(file.clone())),
            ("tenants.a.source.folder", SettingOrigin::File(file.clone())),
            ("export.nice", variable),
            ("export.part_bytes", SettingOrigin::Flag),
            ("limits.exempt", SettingOrigin::Flag),
            ("export.stored", SettingOrigin::Default),
        ] {
            assert_eq!(origins.of(name), origin, "{name}");
        }
        assert_eq!(origins.given(), 5);
    }
}
