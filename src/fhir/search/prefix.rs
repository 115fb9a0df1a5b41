//! The prefixes of numbers, quantities and dates.

/// How a value of a resource must compare with the value of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
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
pub fn split(text: &str) -> (Prefix, &str) {
    let prefix = match text.get(..2) {
        Some("eq") => Prefix::Equal,
        Some("ne") => Prefix::NotEqual,
        Some("gt") => Prefix::Greater,
        Some("lt") => Prefix::Less,
        Some("ge") => Prefix::GreaterOrEqual,
        Some("le") => Prefix::LessOrEqual,
        Some("sa") => Prefix::StartsAfter,
        Some("eb") => Prefix::EndsBefore,
        Some("ap") => Prefix::Approximately,
        _ => return (Prefix::Equal, text),
    };
    (prefix, &text[2..])
}
