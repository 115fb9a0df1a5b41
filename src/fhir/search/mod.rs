//! `_typeFilter`: which resources of a type are exported, as a FHIR search says it.
//!
//! A filter is compiled once, at the kick-off, and then asked for one line of NDJSON after the
//! other. What the search parameters mean is read from the published definitions of R4 and from
//! R4's search page. Whatever cannot be evaluated exactly is refused with the reason: nothing of
//! a filter is ever ignored.
//!
//! Where the standard leaves a choice: codes compare without case unless they are of the type
//! `code`, and systems with it; numbers of resources are points, whatever their digits; `ge` and
//! `le` take what overlaps; units are not converted; references are not resolved, so that a type
//! is known only from what the reference itself says.

mod criterion;
mod date;
mod error;
mod escape;
mod expression;
mod number;
mod parameters;
mod place;
mod prefix;
mod quantity;
mod read;
mod reference;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod uri;

use percent_encoding::percent_decode_str;

use super::ResourceType;
use super::quoted::quoted;
use criterion::Criterion;
use read::Wanted;

pub use error::{ErrorKind, FilterError};
pub use parameters::{Kind, parameters};

/// One compiled `Type?search`.
#[derive(Debug, Clone)]
pub struct TypeFilter {
    resource_type: ResourceType,
    /// All of them must hold.
    criteria: Vec<Criterion>,
    wanted: Wanted,
}

impl TypeFilter {
    /// Reads a filter. `text` is what the client sent, percent-decoded once, such as
    /// `Observation?status=final`. It is a query of its own, so that an `&` within a value is
    /// still `%26` here; a `%` that begins no escape stands for itself.
    ///
    /// # Errors
    /// What was wrong and what would be right, for the client.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        const EXAMPLE: &str = "give a filter such as Observation?status=final";
        let Some((name, search)) = text.split_once('?') else {
            return Err(FilterError::invalid(format!("{} has no ?; {EXAMPLE}.", quoted(text))));
        };
        let Some(resource_type) = ResourceType::of(name) else {
            return Err(FilterError::invalid(format!(
                "{} is no resource type of FHIR R4; names are case-sensitive.",
                quoted(name)
            )));
        };
        let mut criteria = Vec::new();
        for pair in search.split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(FilterError::invalid(format!("{} has no =; {EXAMPLE}.", quoted(pair))));
            };
            criteria.push(Criterion::parse(resource_type, &decoded(name)?, &decoded(value)?)?);
        }
        if criteria.is_empty() {
            return Err(FilterError::invalid(format!(
                "{} says nothing after its ?; {EXAMPLE}.",
                quoted(text)
            )));
        }
        let mut wanted = Wanted::default();
        criteria.iter().for_each(|criterion| criterion.want(&mut wanted));
        Ok(Self { resource_type, criteria, wanted })
    }

    /// How many values it compares with, 1 at the least.
    pub fn values(&self) -> usize {
        self.criteria.iter().map(Criterion::values).sum()
    }

    /// The type whose resources it filters.
    pub fn resource_type(&self) -> ResourceType {
        self.resource_type
    }

    /// Whether the resource of this line (JSON of the filter's type) matches. `base_url` is the
    /// source's own base, for absolute references (K-12). A line that cannot be read does not
    /// match; it is read no further than to the last element that matters.
    pub fn matches(&self, line: &[u8], base_url: Option<&str>) -> bool {
        self.wanted
            .read(line)
            .is_some_and(|resource| self.criteria.iter().all(|it| it.matches(&resource, base_url)))
    }
}

/// All filters of a request.
#[derive(Debug, Clone, Default)]
pub struct TypeFilters {
    filters: Vec<TypeFilter>,
}

impl TypeFilters {
    /// The filters together: those of one type are alternatives.
    pub fn new(filters: impl IntoIterator<Item = TypeFilter>) -> Self {
        Self { filters: filters.into_iter().collect() }
    }

    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether resources of that type are filtered.
    pub fn filters(&self, resource_type: ResourceType) -> bool {
        self.of(resource_type).next().is_some()
    }

    /// Whether the resource of this line is exported: it matches a filter of its type, or there
    /// is none. See [`TypeFilter::matches`].
    pub fn matches(&self, resource_type: ResourceType, line: &[u8], base_url: Option<&str>) -> bool {
        !self.filters(resource_type) || self.of(resource_type).any(|filter| filter.matches(line, base_url))
    }

    fn of(&self, resource_type: ResourceType) -> impl Iterator<Item = &TypeFilter> {
        self.filters.iter().filter(move |filter| filter.resource_type == resource_type)
    }
}

/// The filters of a value that may hold several, with commas between them (K-6). A comma is a
/// border only where the name of a type and a `?` follow: whatever looks like one, so that a
/// name that is misspelt is refused and not taken for a value.
pub fn split(value: &str) -> Vec<&str> {
    let mut filters = Vec::new();
    let mut rest = value;
    let mut from = 0;
    while let Some(comma) = rest[from..].find(',').map(|at| from + at) {
        let (filter, next) = (&rest[..comma], &rest[comma + 1..]);
        let backslashes = filter.bytes().rev().take_while(|byte| *byte == b'\\').count();
        if begins_with_type(next) && backslashes % 2 == 0 {
            filters.push(filter);
            (rest, from) = (next, 0);
        } else {
            from = comma + 1;
        }
    }
    filters.push(rest);
    filters
}

fn begins_with_type(text: &str) -> bool {
    let name = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text[name..].starts_with('?')
}

fn decoded(text: &str) -> Result<String, FilterError> {
    let decoded = percent_decode_str(text).decode_utf8();
    let bad = |_| FilterError::invalid(format!("{} has escapes that are not UTF-8.", quoted(text)));
    decoded.map(String::from).map_err(bad)
}
