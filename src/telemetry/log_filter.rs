//! What is logged: a filter that can be changed while the server runs. Of other crates at most `info` is
//! logged unless the filter names them, because their more verbose lines may hold what a client sent (P12).

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::reload;
use tracing_subscriber::{EnvFilter, Registry};

use super::log_level::{self, LogFilterError};

/// The filter without `RUST_LOG`.
const DEFAULT: &str = "info";

/// Put before each filter, which may say otherwise. It hides malformed requests that the HTTP library
/// rejects.
const ALWAYS: &str = "actix_http=off,actix_server=warn";

/// The longest filter in bytes (P13).
const LONGEST: usize = 1000;

/// The targets of this program's own lines and spans.
const OWN: &str = "evanesce";

/// A filter as the subscriber holds it.
pub(super) type BoxedFilter = Box<dyn Filter<Registry> + Send + Sync>;

/// Sets up the first filter, from `RUST_LOG`, for the layer that writes log lines. It comes into force with
/// [`set_log_level`](super::log_level::set_log_level). An invalid one is replaced by the default, and what
/// is wrong with it is returned.
pub(super) fn first_filter() -> (reload::Layer<BoxedFilter, Registry>, Option<LogFilterError>) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let (text, wrong) = match wanted.map(|text| parse(&text).map(|_| text)) {
        None => (DEFAULT.to_owned(), None),
        Some(Ok(text)) => (text, None),
        Some(Err(wrong)) => (DEFAULT.to_owned(), Some(wrong)),
    };
    // What passes while the subscriber is set up is what the crate `log` passes on for ever.
    let (layer, handle) = reload::Layer::new(Box::new(LevelFilter::TRACE) as BoxedFilter);
    let change = move |text: &str| handle.reload(parse(text)?).map_err(|_| LogFilterError::NotOurs);
    log_level::set_up(text, Box::new(change));
    (layer, wrong)
}

/// Parses a filter as `RUST_LOG` has it.
fn parse(text: &str) -> Result<BoxedFilter, LogFilterError> {
    if text.len() > LONGEST {
        return Err(LogFilterError::TooLong(LONGEST));
    }
    let wrong = |reason: String| LogFilterError::Invalid(text.into(), reason);
    if text.trim().is_empty() {
        return Err(wrong("it is empty".into()));
    }
    // The parser would take it for a target of which everything is logged, and of the rest nothing.
    let is_word = |directive: &&str| {
        let has_level = directive.contains(['=', '[']) && !directive.ends_with('=');
        !has_level && directive.parse::<LevelFilter>().is_err()
    };
    if let Some(word) = text.split(',').map(str::trim).find(is_word) {
        return Err(wrong(format!("{word:?} is no level")));
    }
    let filter = EnvFilter::builder().parse(format!("{ALWAYS},{text}"));
    let filter = filter.map_err(|error| wrong(error.to_string()))?;
    let named = named_targets(text);
    let is_meant =
        move |target: &str| is_below(target, OWN) || named.iter().any(|named| is_below(target, named));
    let is_capped = filter_fn(move |line| *line.level() <= LevelFilter::INFO || is_meant(line.target()));
    Ok(filter.and(is_capped).boxed())
}

/// Returns the targets that a filter names.
fn named_targets(text: &str) -> Vec<String> {
    let names = text.split(',').filter_map(|directive| directive.split(['=', '[']).next());
    let names = names.map(str::trim).filter(|name| !name.is_empty() && name.parse::<LevelFilter>().is_err());
    names.map(str::to_owned).collect()
}

/// Returns whether a target is a module or one below it.
fn is_below(target: &str, module: &str) -> bool {
    target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter_is_refused_with_what_would_be_one() {
        for text in ["loud", "evanesce=loud", "evanesce=", "[", "a=b=c", "", "  "] {
            match parse(text) {
                Err(error) => assert!(error.to_string().contains("such as"), "{error}"),
                Ok(_) => panic!("{text:?} should be refused"),
            }
        }
        for text in
            ["debug", "off", "evanesce::erase=trace,info", "INFO", "evanesce[job]=debug", "sled=debug"]
        {
            assert!(parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn p13_a_filter_has_a_longest_length() {
        let of_length = |length: usize| format!("info,{}=info", "a".repeat(length - 10));
        assert!(parse(&of_length(LONGEST)).is_ok());
        assert!(matches!(parse(&of_length(LONGEST + 1)), Err(LogFilterError::TooLong(LONGEST))));
    }

    #[test]
    fn only_a_crate_that_is_named_may_say_more_than_info() {
        assert_eq!(named_targets("debug,h2=trace, sled::io[x]=debug,[span]=trace"), ["h2", "sled::io"]);
        assert!(is_below("h2::frame", "h2") && is_below("h2", "h2"));
        assert!(!is_below("h2x", "h2") && !is_below("evanesce_other", OWN));
    }
}
