//! What the manual says of each setting, from the code: its name, what it takes, its default, and what
//! its doc comment says.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::config::Config;

/// A section of the settings.
pub struct SectionReference {
    /// Its name, such as `server` or `tenants.NAME`.
    pub name: String,
    /// What it is about.
    pub about: String,
    pub settings: Vec<SettingReference>,
}

/// A setting.
pub struct SettingReference {
    /// Its name, such as `server.listen`.
    pub name: String,
    /// What it takes: a type or the values, and the unit.
    pub takes: String,
    pub default: String,
    pub meaning: String,
    /// The default as the code has it.
    #[cfg(test)]
    value: Value,
}

/// Returns all settings.
pub fn sections() -> Vec<SectionReference> {
    let inlined = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    let schema = inlined.into_generator().into_root_schema_for::<Config>().to_value();
    properties(&schema).iter().map(|(name, section)| self::section(name, section)).collect()
}

fn section(name: &str, schema: &Value) -> SectionReference {
    let about = description(schema);
    let about = about.split_once("]`: ").map_or(about.as_str(), |(_, about)| about);
    let about = format!("{}{}", about[..1].to_uppercase(), &about[1..]);
    // A map of sections.
    let each = schema.get("additionalProperties").filter(|each| each.is_object());
    let name = if each.is_some() { format!("{name}.NAME") } else { name.to_owned() };
    let mut settings = Vec::new();
    collect(&name, each.unwrap_or(schema), &mut settings);
    SectionReference { name, about, settings }
}

fn collect(name: &str, schema: &Value, settings: &mut Vec<SettingReference>) {
    for (key, property) in properties(schema) {
        let name = format!("{name}.{key}");
        match property.get("properties") {
            Some(_) => collect(&name, property, settings),
            None => settings.push(setting(name, key, property)),
        }
    }
}

fn setting(name: String, key: &str, schema: &Value) -> SettingReference {
    let description = description(schema);
    let (meaning, default) = description.rsplit_once("Default").unwrap_or((&description, " none"));
    let (default, why) = default.trim_start_matches(':').split_once(": ").unwrap_or((default, ""));
    let default = default.trim_matches([':', ' ', '.']).to_owned();
    let is_plain = default.parse::<u64>().is_ok() || default.parse::<bool>().is_ok();
    let default = if is_plain { format!("`{default}`") } else { default };
    let why = if why.is_empty() { String::new() } else { format!("{}.", why.trim_end_matches('.')) };
    let values = values(schema);
    let takes = match &values[..] {
        [] => kind(key, schema),
        values => values.iter().map(|(value, _)| format!("`{value}`")).collect::<Vec<_>>().join(", "),
    };
    let explained = values.iter().map(|(value, about)| format!("`{value}`: {about}"));
    let meaning: Vec<_> = [meaning.trim().to_owned(), why].into_iter().chain(explained).collect();
    let meaning = meaning.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    SettingReference {
        name,
        takes,
        default,
        meaning,
        #[cfg(test)]
        value: schema.get("default").cloned().unwrap_or_default(),
    }
}

fn properties(schema: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    schema.get("properties").and_then(Value::as_object).unwrap_or(&NONE)
}

/// Returns the text of a doc comment on one line, up to its first example.
fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split("```").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the values of an enumeration, each with what it means.
fn values(schema: &Value) -> Vec<(String, String)> {
    let options = ["oneOf", "anyOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    options
        .flat_map(|option| match option.get("const").and_then(Value::as_str) {
            Some(value) => vec![(value.to_owned(), description(option))],
            None => values(option),
        })
        .collect()
}

/// Returns the type of a value, and its unit.
fn kind(key: &str, schema: &Value) -> String {
    let is = |name: &str| match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|one| one == name),
        Some(one) => one == name,
        None => false,
    };
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    match (format, key) {
        ("duration" | "networks", _) => format.into(),
        _ if is("boolean") => "`true`, `false`".into(),
        _ if is("integer") && key.contains("bytes_per_second") => "bytes a second".into(),
        _ if is("integer") && (key.contains("bytes") || key == "min_free") => "bytes".into(),
        _ if is("integer") && key.contains("per_second") => "a second".into(),
        _ if is("integer") && key.contains("per_minute") => "a minute".into(),
        _ if is("integer") => "number".into(),
        (_, "listen") => "address".into(),
        (_, "hosts") => "names".into(),
        _ if key.contains("url") || key.contains("endpoint") => "URL".into(),
        _ => "path".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigDuration;

    /// Whether the words of a doc comment mean this value.
    fn means(words: &str, value: &Value) -> bool {
        let words = words.trim_matches('`');
        let first = words.split('`').next().unwrap();
        match value {
            Value::Bool(value) => words == value.to_string(),
            Value::Number(value) => {
                let (number, unit) =
                    words.split_once(' ').filter(|(_, unit)| unit.ends_with("iB")).unwrap_or((words, ""));
                let number: u64 = number.replace(' ', "").parse().unwrap();
                let shift = match unit {
                    "GiB" => 30,
                    "MiB" => 20,
                    "KiB" => 10,
                    _ => 0,
                };
                value.as_u64() == Some(number << shift)
            }
            Value::String(value) => {
                let duration = |text: &str| serde_json::from_value::<ConfigDuration>(text.into());
                first == value
                    || matches!((duration(first), duration(value)), (Ok(one), Ok(other)) if one == other)
            }
            Value::Array(values) => words == "loopback" || (words == "none" && values.is_empty()),
            _ => !words.is_empty(),
        }
    }

    #[test]
    fn the_doc_comment_of_each_setting_says_what_it_means_and_the_default_that_the_code_has() {
        let mut wrong = Vec::new();
        for section in sections() {
            assert!(section.about.len() > 10 && !section.settings.is_empty(), "{}", section.name);
            for setting in section.settings {
                if setting.meaning.len() < 10 || !means(&setting.default, &setting.value) {
                    wrong.push(format!("{}: {:?}, is {}", setting.name, setting.default, setting.value));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(
            means("1 GiB", &(1u64 << 30).into()) && !means("2", &3.into()) && !means("`24h`", &"23h".into())
        );
    }

    #[test]
    fn values_types_and_units_are_named() {
        let all: Vec<_> = sections().into_iter().flat_map(|section| section.settings).collect();
        for (name, takes) in [
            ("server.listen", "address"),
            ("server.public_url", "URL"),
            ("storage.min_free", "bytes"),
            ("export.max_bytes_per_second", "bytes a second"),
            ("export.stored", "`plain`, `gzip`, `zstd`"),
            ("export.devices", "`by-patient`, `by-reference`"),
            ("retention.completed", "duration"),
            ("limits.exempt", "networks"),
            ("tenants.NAME.source.folder", "path"),
            ("tenants.NAME.patient_export", "`true`, `false`"),
        ] {
            let setting = all.iter().find(|setting| setting.name == name).expect(name);
            assert_eq!(setting.takes, takes, "{name}");
        }
    }
}
