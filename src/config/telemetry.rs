//! `[telemetry]`: what is told about the server's work to other programs.

use serde::{Deserialize, Serialize};

use super::settings::without_slash;
use super::{ConfigError, after_scheme};

/// `[telemetry]`: spans for an OpenTelemetry collector.
///
/// ```
/// use evanesce::config::Config;
///
/// assert_eq!(Config::default().telemetry.otlp_endpoint, None);
/// let no_url = ["telemetry.otlp_endpoint=collector:4318".into()];
/// assert!(Config::load(None, &no_url).is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// The URL of an OpenTelemetry collector that takes OTLP over HTTP, such as
    /// `http://127.0.0.1:4318`; spans are posted to `/v1/traces` below it. Needs a program that was
    /// built with the feature `otlp`. Default: that of `OTEL_EXPORTER_OTLP_ENDPOINT`, or none, and no
    /// spans are sent.
    #[serde(deserialize_with = "without_slash")]
    pub otlp_endpoint: Option<String>,
}

impl TelemetryConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.check_for(cfg!(feature = "otlp"))
    }

    fn check_for(&self, has_otlp: bool) -> Result<(), ConfigError> {
        let Some(url) = &self.otlp_endpoint else { return Ok(()) };
        let wrong =
            |reason: &str| Err(ConfigError::Value { key: "telemetry.otlp_endpoint", reason: reason.into() });
        if !has_otlp {
            return wrong(
                "is set, but this program was built without spans; build it with `cargo build --features otlp`, \
                 or remove the setting",
            );
        }
        if after_scheme(url).is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', ' '])) {
            return wrong("should be the URL of a collector, such as http://127.0.0.1:4318");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_refused_by_a_program_that_sends_no_spans() {
        let to = |url: &str| TelemetryConfig { otlp_endpoint: Some(url.into()) };
        let error = to("http://127.0.0.1:4318").check_for(false).unwrap_err().to_string();
        assert!(error.contains("telemetry.otlp_endpoint") && error.contains("--features otlp"), "{error}");
        assert!(TelemetryConfig::default().check_for(false).is_ok());
        for (url, is_right) in [
            ("http://127.0.0.1:4318", true),
            ("https://collector.example.org/otlp", true),
            ("127.0.0.1:4318", false),
            ("http://", false),
            ("http://host/?a=b", false),
        ] {
            assert_eq!(to(url).check_for(true).is_ok(), is_right, "{url}");
        }
    }
}
