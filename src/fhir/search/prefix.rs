//! The prefixes of numbers, quantities and dates.

/// How a value of a resource is to lie to the one that is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// Within the precision of what is sought.
    Equal,
    /// Not so.
    NotEqual,
    /// Reaches above it.
    Greater,
    /// Reaches below it.
    Less,
    /// Reaches it, or above it.
    GreaterOrEqual,
    /// Reaches it, or below it.
    LessOrEqual,
    /// All of it is above.
    StartsAfter,
    /// All of it is below.
    EndsBefore,
    /// Near it.
    Approximately,
}

/// The prefix, `eq` if there is none, and the rest.
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
