//! A search for Groups: its parameters, which Groups it finds, and its pages.

use serde_json::value::RawValue;

use crate::export::{ExportError, GroupName};
use crate::fhir::quoted;
use crate::fhir::reference::BaseUrls;
use crate::fhir::search::TypeFilter;
use crate::http::ApiError;
use crate::http::input::reading;
use crate::job::bounds::check_items;

/// The Groups of a page if `_count` does not say how many.
const COUNT: usize = 20;

/// The most Groups of a page.
const LARGEST_COUNT: usize = 100;

/// The bytes of Groups after which a page is full: a Group may have many members.
const PAGE_BYTES: usize = 4 << 20;

/// The conditions of a search.
pub struct GroupSearch {
    /// Each list has the id among its items.
    ids: Vec<Vec<String>>,
    /// Each list has an item with which the name begins; in lower case.
    names: Vec<Vec<String>>,
    /// The filter of each `identifier`.
    identifiers: Vec<TypeFilter>,
    count: usize,
    /// The id after which the page begins.
    after: Option<String>,
}

/// A page of what a search found.
pub struct GroupPage {
    /// The number of Groups on all pages.
    pub total: usize,
    /// Ids and resources.
    pub groups: Vec<(String, Box<RawValue>)>,
    /// The id after which the next page begins, if there is one.
    pub next_after: Option<String>,
}

/// The most values of `_id`, `identifier` and `name` in one search: each is compared with each Group
/// (P13).
const MAX_VALUES: usize = 100;

impl GroupSearch {
    /// Reads the parameters of a search.
    ///
    /// # Errors
    /// Fails with 400: `invalid` for a value that makes no sense, `not-supported` for one that is given
    /// twice, `too-costly` for too many values (P13).
    pub fn of(parameters: &[(String, String)]) -> Result<Self, ApiError> {
        let (mut ids, mut names, mut identifiers) = (Vec::new(), Vec::new(), Vec::new());
        let (mut count, mut after, mut total) = (None, None, None);
        for (name, value) in parameters {
            match name.as_str() {
                "_id" => ids.push(alternatives(name, value)?),
                "name" => names.push(alternatives(name, &value.to_lowercase())?),
                "identifier" => identifiers.push(read_identifier(value)?),
                "_total" if total.is_none() => total = Some(check_total(value)?),
                "_count" if count.is_none() => count = Some(read_count(value)?),
                "_after" if after.is_none() => after = Some(value.clone()),
                _ => return Err(ApiError::unsupported_parameter(format!("{name} may be given only once."))),
            }
        }
        let own = ids.iter().chain(&names).map(Vec::len).sum::<usize>();
        let of_identifiers = parameters.iter().filter(|(name, _)| name == "identifier");
        let of_identifiers = of_identifiers.map(|(_, value)| value.split(',').count()).sum::<usize>();
        check_items("the search", own + of_identifiers, MAX_VALUES)?;
        let count = count.unwrap_or(COUNT).min(LARGEST_COUNT);
        Ok(Self { ids, names, identifiers, count, after })
    }

    /// Returns whether the search finds a Group.
    pub fn finds(&self, group: &GroupName) -> bool {
        let name = group.name.as_deref().unwrap_or_default().to_lowercase();
        self.ids.iter().all(|ids| ids.contains(&group.id))
            && self.names.iter().all(|names| names.iter().any(|beginning| name.starts_with(beginning)))
            && self.identifiers.iter().all(|filter| matches(filter, group))
    }

    /// Returns the page of `found`, which is in the order of the ids.
    pub fn page(
        &self,
        found: &[GroupName],
        read: impl Fn(&str) -> Result<Option<Vec<u8>>, ExportError>,
    ) -> Result<GroupPage, ExportError> {
        let (before, rest): (Vec<_>, Vec<_>) =
            found.iter().partition(|group| self.after.as_ref().is_some_and(|after| group.id <= *after));
        let (total, mut bytes) = (before.len() + rest.len(), 0);
        let mut page = GroupPage { total, groups: Vec::new(), next_after: None };
        let (mut rest, mut last) = (rest.into_iter().peekable(), None);
        for group in rest.by_ref().take(self.count) {
            last = Some(&group.id);
            // A Group that was removed meanwhile is left out.
            let text = read(&group.id)?.and_then(|text| String::from_utf8(text).ok());
            let Some(resource) = text.and_then(|text| RawValue::from_string(text).ok()) else { continue };
            bytes += resource.get().len();
            page.groups.push((group.id.clone(), resource));
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        if rest.peek().is_some() {
            page.next_after = last.cloned();
        }
        Ok(page)
    }
}

/// Returns the items of a list. A comma after a backslash belongs to its item.
fn alternatives(name: &str, value: &str) -> Result<Vec<String>, ApiError> {
    let mut items = vec![String::new()];
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            ',' => items.push(String::new()),
            '\\' => items.last_mut().into_iter().for_each(|item| item.extend(characters.next())),
            _ => items.last_mut().into_iter().for_each(|item| item.push(character)),
        }
    }
    if items.iter().any(String::is_empty) {
        return Err(ApiError::invalid(format!("{name} has an empty item; give a value, or leave it out.")));
    }
    Ok(items)
}

/// Reads an `identifier` as `_typeFilter` does: `value`, `system|value`, `|value`, `system|`, or a list.
fn read_identifier(value: &str) -> Result<TypeFilter, ApiError> {
    TypeFilter::parse(&format!("Group?identifier={}", reading::encoded(value))).map_err(|error| {
        let text = format!("identifier: {error}");
        ApiError::invalid(text)
    })
}

fn matches(filter: &TypeFilter, group: &GroupName) -> bool {
    let identifier = group.identifier.as_deref();
    identifier.is_some_and(|identifier| filter.matches(heading(identifier).as_bytes(), &BaseUrls::NONE))
}

/// Returns a Group that has nothing but its identifiers.
fn heading(identifier: &str) -> String {
    format!(r#"{{"resourceType":"Group","identifier":{identifier}}}"#)
}

/// Checks `_total`; the total is accurate in any case.
fn check_total(value: &str) -> Result<(), ApiError> {
    if ["none", "estimate", "accurate"].contains(&value) {
        return Ok(());
    }
    let value = quoted(value);
    Err(ApiError::invalid(format!("There is no _total {value}; use accurate, estimate or none.")))
}

fn read_count(value: &str) -> Result<usize, ApiError> {
    let count = value.parse::<u32>().map(|count| count as usize);
    count.map_err(|_| {
        let value = quoted(value);
        ApiError::invalid(format!("_count {value} is not a number; give one from 0 to {LARGEST_COUNT}."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(ids: &[&str]) -> Vec<GroupName> {
        let identifier =
            |id: &str| Some(format!(r#"[{{"system":"urn:s","value":"{id}"}},{{"value":"x|{id}"}}]"#));
        let group = |id: &&str| GroupName {
            id: (*id).into(),
            name: Some(format!("The {id}")),
            identifier: identifier(id).filter(|_| *id != "z"),
        };
        ids.iter().map(group).collect()
    }

    fn page(parameters: &[(&str, &str)], length: usize) -> (usize, Vec<String>, Option<String>) {
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect();
        let read = |id: &str| Ok((id != "gone").then(|| format!("\"{}\"", "x".repeat(length)).into_bytes()));
        let search = GroupSearch::of(&parameters).unwrap();
        let mut found = groups(&["a", "b", "c, d", "gone", "z"]);
        found.retain(|group| search.finds(group));
        let page = search.page(&found, read).unwrap();
        (page.total, page.groups.into_iter().map(|(id, _)| id).collect(), page.next_after)
    }

    #[test]
    fn pages_follow_one_another_by_the_last_id() {
        assert_eq!(page(&[("_count", "2")], 9), (5, vec!["a".into(), "b".into()], Some("b".into())));
        assert_eq!(
            page(&[("_count", "2"), ("_after", "b")], 9),
            (5, vec!["c, d".into()], Some("gone".into())),
            "what is gone is left out"
        );
        assert_eq!(page(&[("_count", "2"), ("_after", "gone")], 9), (5, vec!["z".into()], None));
        assert_eq!(page(&[("_count", "0")], 9), (5, vec![], None));
        let (total, ids, next) = page(&[], PAGE_BYTES);
        assert_eq!((total, ids.len(), next), (5, 1, Some("a".into())), "a page is bounded by its bytes");
    }

    #[test]
    fn ids_and_names_are_lists_and_all_of_them_hold() {
        let ids = |parameters: &[(&str, &str)]| page(parameters, 9).1;
        assert_eq!(ids(&[("_id", "z,a,nobody")]), ["a", "z"]);
        assert_eq!(ids(&[("_id", "c\\, d")]), ["c, d"]);
        assert_eq!(ids(&[("name", "tHe Z,the b")]), ["b", "z"]);
        assert_eq!(ids(&[("name", "z")]), [""; 0], "a name begins so");
        assert_eq!(ids(&[("_id", "a"), ("_id", "b")]), [""; 0]);
        let many = |by: &str, n: usize| {
            GroupSearch::of(&[(by.into(), vec!["x"; n].join(",")), ("name".into(), "y".into())])
        };
        for by in ["_id", "identifier"] {
            assert!(many(by, MAX_VALUES - 1).is_ok() && many(by, MAX_VALUES).is_err(), "P13");
        }
        for (identifier, expected) in [
            ("a", &["a"][..]),
            ("urn:s|a", &["a"]),
            ("a,b", &["a", "b"]),
            ("urn:s|", &["a", "b", "c, d"]),
            ("|x\\|b", &["b"]),
            ("c\\, d", &["c, d"]),
            ("|a", &[]),
            ("urn:t|a", &[]),
            ("z", &[]),
        ] {
            assert_eq!(ids(&[("identifier", identifier)]), expected, "{identifier}");
        }
        assert_eq!(ids(&[("identifier", "urn:s|"), ("identifier", "b"), ("_total", "none")]), ["b"]);
        for (name, value) in [
            ("_id", ""),
            ("name", "a,"),
            ("_count", "-1"),
            ("_count", "x"),
            ("_total", "all"),
            ("identifier", ""),
            ("identifier", "a|b|c"),
            ("identifier", "|"),
        ] {
            assert!(GroupSearch::of(&[(name.into(), value.into())]).is_err(), "{name}={value}");
        }
    }
}
