//! `_typeFilter`: selects the resources of a type by a FHIR search.
//!
//! A filter is compiled once and then applied to one line of NDJSON after the other. Each line is
//! parsed once, whatever the number of filters, and the job's token is checked before each
//! comparison (P13). The meaning of search parameters comes from the published definitions of R4
//! and from R4's search page. What cannot be evaluated exactly is refused with the reason: no part
//! of a filter is ignored.
//!
//! Where the standard leaves a choice: codes compare without case unless they are of the type
//! `code`, and systems with case. Numbers in resources are points, whatever their digits. `ge` and
//! `le` accept overlaps. Units are not converted. References are not resolved, so their type is
//! known only from the reference itself.

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

use std::collections::HashMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ResourceType;
use super::quoted::quoted;
use crate::cancel::{CancelToken, TokenFired};
use crate::fhir::reference::BaseUrls;
use criterion::SearchCriterion;
use read::WantedElements;

pub use error::{ErrorKind, FilterError};
pub use parameters::{ParameterKind, parameters};

/// A compiled `Type?search`; in JSON its text. Two are the same if their texts are. Clones share
/// what was compiled.
///
/// ```
/// use evanesce::TypeFilter;
///
/// assert_eq!(TypeFilter::parse("Observation?status=final").unwrap().as_str(), "Observation?status=final");
/// assert_eq!(TypeFilter::parse("Observation?status=final").unwrap().search(), "status=final");
/// assert!(TypeFilter::parse("Observation?nonsense=x").is_err());
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TypeFilter(Arc<ParsedFilter>);

#[derive(Debug)]
struct ParsedFilter {
    text: String,
    resource_type: ResourceType,
    /// All of them must match.
    criteria: Vec<SearchCriterion>,
    wanted: WantedElements,
}

impl PartialEq for TypeFilter {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for TypeFilter {}

impl From<TypeFilter> for String {
    fn from(filter: TypeFilter) -> Self {
        filter.as_str().into()
    }
}

impl TryFrom<String> for TypeFilter {
    type Error = FilterError;

    fn try_from(text: String) -> Result<Self, FilterError> {
        Self::parse(&text)
    }
}

impl TypeFilter {
    /// Parses a filter. `text` is what the client sent, percent-decoded once, such as
    /// `Observation?status=final`. It is a query of its own, so an `&` within a value is still
    /// `%26` here. A `%` that begins no escape stands for itself.
    ///
    /// # Errors
    /// Fails with what is wrong and what would be right, for the client.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        const EXAMPLE: &str = "give a filter such as Observation?status=final";
        let Some((name, search)) = text.split_once('?') else {
            return Err(FilterError::invalid(format!("{} has no ?; {EXAMPLE}.", quoted(text))));
        };
        let Some(resource_type) = ResourceType::of(name) else {
            return Err(FilterError::invalid(format!(
                "{} is not a resource type of FHIR R4; names are case-sensitive.",
                quoted(name)
            )));
        };
        let mut criteria = Vec::new();
        for pair in search.split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(FilterError::invalid(format!("{} has no =; {EXAMPLE}.", quoted(pair))));
            };
            criteria.push(SearchCriterion::parse(resource_type, &decoded(name)?, &decoded(value)?)?);
        }
        if criteria.is_empty() {
            return Err(FilterError::invalid(format!(
                "{} says nothing after its ?; {EXAMPLE}.",
                quoted(text)
            )));
        }
        let mut wanted = WantedElements::default();
        criteria.iter().for_each(|criterion| criterion.want(&mut wanted));
        Ok(Self(Arc::new(ParsedFilter { text: text.into(), resource_type, criteria, wanted })))
    }

    /// Parses the search of a filter for `resource_type`, such as `status=final`.
    ///
    /// # Errors
    /// As [`TypeFilter::parse`].
    pub fn of_type(resource_type: ResourceType, search: &str) -> Result<Self, FilterError> {
        Self::parse(&format!("{}?{search}", resource_type.as_str()))
    }

    /// Returns the type whose resources it filters.
    pub fn resource_type(&self) -> ResourceType {
        self.0.resource_type
    }

    /// Returns the text that it was read from.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Returns the text behind the `?`.
    pub fn search(&self) -> &str {
        self.0.text.split_once('?').map_or("", |(_, search)| search)
    }

    /// Returns how many values the filter compares, at least 1.
    #[cfg(feature = "server")]
    pub(crate) fn values(&self) -> usize {
        self.0.criteria.iter().map(SearchCriterion::values).sum()
    }

    /// Returns whether the resource of this line (JSON of the filter's type) matches. `bases` are
    /// those of the source, for absolute references (K-12). A malformed line does not match; it is
    /// read only up to the last element that matters.
    pub fn matches(&self, line: &[u8], bases: &BaseUrls) -> bool {
        let cancel = CancelToken::new();
        self.matches_line(line, SearchContext { bases, cancel: &cancel }).is_ok_and(|matches| matches)
    }

    fn matches_line(&self, line: &[u8], search: SearchContext<'_>) -> Result<bool, TokenFired> {
        let resource = self.0.wanted.read(line, search.cancel)?;
        let matches = resource.is_some_and(|resource| self.accepts(&resource, search));
        search.cancel.check().map(|()| matches)
    }

    fn accepts(&self, resource: &Value, search: SearchContext<'_>) -> bool {
        self.0.criteria.iter().all(|it| it.matches(resource, search))
    }
}

/// The context of a search. Once the job is over, every `any` ends at its next item with a
/// meaningless result: the caller checks the token again.
#[derive(Debug, Clone, Copy)]
struct SearchContext<'a> {
    /// The base URLs of the source.
    bases: &'a BaseUrls,
    cancel: &'a CancelToken,
}

impl SearchContext<'_> {
    /// Returns whether some item passes the test.
    fn any<T>(self, items: impl IntoIterator<Item = T>, mut test: impl FnMut(T) -> bool) -> bool {
        items.into_iter().any(|item| self.cancel.is_cancelled() || test(item))
    }
}

/// The filters of a request, by resource type.
#[derive(Debug, Clone, Default)]
pub struct TypeFilters {
    of_types: HashMap<ResourceType, OfType>,
}

/// The filters of one type.
#[derive(Debug, Clone, Default)]
struct OfType {
    /// The elements that any of them compares.
    wanted: WantedElements,
    /// One filter of each set must match.
    sets: Vec<Vec<TypeFilter>>,
}

impl TypeFilters {
    /// Combines sets of filters. Filters of one type in a set are alternatives. A line must match
    /// every set that has filters of its type.
    pub fn new(sets: impl IntoIterator<Item = Vec<TypeFilter>>) -> Self {
        let mut of_types: HashMap<ResourceType, OfType> = HashMap::new();
        for set in sets {
            let mut alternatives: HashMap<ResourceType, Vec<TypeFilter>> = HashMap::new();
            for filter in set {
                alternatives.entry(filter.resource_type()).or_default().push(filter);
            }
            for (resource_type, filters) in alternatives {
                let of_type = of_types.entry(resource_type).or_default();
                let criteria = filters.iter().flat_map(|filter| &filter.0.criteria);
                criteria.for_each(|criterion| criterion.want(&mut of_type.wanted));
                of_type.sets.push(filters);
            }
        }
        Self { of_types }
    }

    /// Returns whether resources of that type are filtered.
    pub fn filters(&self, resource_type: ResourceType) -> bool {
        self.of_types.contains_key(&resource_type)
    }

    /// Returns whether the resource of this line is exported: no filter is for its type, or it
    /// matches as [`TypeFilters::new`] says. The line is parsed once, as for
    /// [`TypeFilter::matches`].
    ///
    /// # Errors
    /// Fails if the token has fired, which is checked before each comparison.
    pub fn matches(
        &self,
        resource_type: ResourceType,
        line: &[u8],
        bases: &BaseUrls,
        cancel: &CancelToken,
    ) -> Result<bool, TokenFired> {
        cancel.check()?;
        let Some(OfType { wanted, sets }) = self.of_types.get(&resource_type) else { return Ok(true) };
        let search = SearchContext { bases, cancel };
        if let Some(resource) = wanted.read(line, cancel)? {
            let matches = sets.iter().all(|set| search.any(set, |filter| filter.accepts(&resource, search)));
            return cancel.check().map(|()| matches);
        }
        // What one filter cannot read, the others need not try.
        for set in sets {
            let mut is_in_set = false;
            for filter in set {
                is_in_set = is_in_set || filter.matches_line(line, search)?;
            }
            if !is_in_set {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Splits a value into its filters, which are separated by commas (K-6). A comma separates only if
/// something like a type's name and a `?` follow, so a misspelt name is refused and not taken for a
/// value.
#[cfg(feature = "server")]
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

#[cfg(feature = "server")]
fn begins_with_type(text: &str) -> bool {
    let name = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text[name..].starts_with('?')
}

fn decoded(text: &str) -> Result<String, FilterError> {
    let decoded = percent_decode_str(text).decode_utf8();
    let bad = |_| FilterError::invalid(format!("{} has escapes that are not UTF-8.", quoted(text)));
    decoded.map(String::from).map_err(bad)
}
