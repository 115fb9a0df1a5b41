//! The environment variables that are settings: `EVANESCE_SECTION__KEY`. Other variables that begin
//! with `EVANESCE_` are ignored: Kubernetes sets `EVANESCE_PORT` and `EVANESCE_SERVICE_HOST` beside
//! a Service called `evanesce`.

use std::ffi::OsString;

use super::{Config, ConfigError};

const PREFIX: &str = "EVANESCE";

/// Separates a section from a key.
const SEPARATOR: &str = "__";

/// Variables by name.
pub type VariableMap = config::Map<String, String>;

/// Selects the variables that are settings.
///
/// # Errors
/// Fails if a variable names no setting, is not UTF-8, or has no valid value for its setting.
pub fn settings(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<VariableMap, ConfigError> {
    let mut settings = VariableMap::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| is_setting(name)).map(str::to_owned) else { continue };
        let wrong = |reason: String| ConfigError::Variable { name: name.clone(), reason };
        let value = value.into_string().map_err(|_| wrong("its value is not UTF-8".into()))?;
        check(&name, &value).map_err(|error| wrong(error.to_string()))?;
        settings.insert(name, value);
    }
    Ok(settings)
}

/// Returns whether a variable's name is that of a setting, in any case, as the parser accepts it.
fn is_setting(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let rest = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('_'));
    rest.is_some_and(|rest| rest.contains(SEPARATOR) && !rest.starts_with('_'))
}

/// Checks a variable on its own, because an error over all of them does not name its variable.
fn check(name: &str, value: &str) -> Result<(), config::ConfigError> {
    let alone = source(VariableMap::from_iter([(name.to_owned(), value.to_owned())]));
    config::Config::builder().add_source(alone).build()?.try_deserialize::<Config>().map(drop)
}

/// Returns the settings as a source for the parser.
pub fn source(settings: VariableMap) -> config::Environment {
    config::Environment::with_prefix(PREFIX)
        .prefix_separator("_")
        .separator(SEPARATOR)
        .try_parsing(true)
        .source(Some(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_section_and_a_key_make_a_setting() {
        for name in ["EVANESCE_EXPORT__WORKERS", "evanesce_export__workers", "EVANESCE_TENANTS__A__SOURCE__X"]
        {
            assert!(is_setting(name), "{name}");
        }
        for name in [
            "EVANESCE",
            "EVANESCE_",
            "EVANESCE__",
            "EVANESCE__EXPORT",
            "EVANESCE___EXPORT__WORKERS",
            "EVANESCE_PORT",
            "EVANESCE_PORT_8080_TCP_ADDR",
            "EVANESCE_SERVICE_HOST",
            "EVANESCES_EXPORT__WORKERS",
            "MY_EVANESCE_EXPORT__WORKERS",
            "",
        ] {
            assert!(!is_setting(name), "{name}");
        }
    }
}
