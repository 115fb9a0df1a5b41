//! The prefixes of numbers, quantities and dates.

/// How a value of a resource must compare with the value of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchPrefix {
    /// Within the precision of the search.
    Equal,
    /// Not within it.
    NotEqual,
    /// Reaches above it.
    Greater,
    /// Reaches below it.
    Less,
    /// Overlaps it, or reaches above it.
    GreaterOrEqual,
    /// Overlaps it, or reaches below it.
    LessOrEqual,
    /// Lies entirely above it.
    StartsAfter,
    /// Lies entirely below it.
    EndsBefore,
    /// Lies near it.
    Approximately,
}

/// Splits off the prefix, which is `eq` if there is none.
pub fn split(text: &str) -> (SearchPrefix, &str) {
    let prefix = match text.get(..2) {
        Some("eq") => SearchPrefix::Equal,
        Some("ne") => SearchPrefix::NotEqual,
        Some("gt") => SearchPrefix::Greater,
        Some("lt") => SearchPrefix::Less,
        Some("ge") => SearchPrefix::GreaterOrEqual,
        Some("le") => SearchPrefix::LessOrEqual,
        Some("sa") => SearchPrefix::StartsAfter,
        Some("eb") => SearchPrefix::EndsBefore,
        Some("ap") => SearchPrefix::Approximately,
        _ => return (SearchPrefix::Equal, text),
    };
    (prefix, &text[2..])
}
