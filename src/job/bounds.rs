//! How much one request may ask for (P13). The bounds leave every honest client room. A request beyond
//! them is refused and never cut. They determine what a job costs in memory and on disk beside its
//! output; `docs/bounds.md` adds it up.

use super::ExportRequest;

/// The most parameters of a kick-off, repetitions included.
#[cfg(feature = "server")]
pub const MAX_PARAMETERS: usize = 12_000;

/// The most names in `_type`, repetitions included. R4 has 148 types.
pub const MAX_TYPES: usize = 1_000;

/// The most filters of `_typeFilter`. Each is evaluated for each line of its type.
pub const MAX_FILTERS: usize = 500;

/// The most values of all filters of `_typeFilter` together.
#[cfg(feature = "server")]
pub const MAX_VALUES: usize = 10_000;

/// The most bytes of all filters of `_typeFilter` together.
pub const MAX_FILTER_BYTES: usize = 256 << 10;

/// The most items of `_elements`, repetitions included.
pub const MAX_ELEMENTS: usize = 1_000;

/// The most references in `patient`, repetitions included.
pub const MAX_PATIENTS: usize = 10_000;

/// The most values of `includeAssociatedData`, repetitions included.
#[cfg(feature = "server")]
pub const MAX_ASSOCIATED: usize = 100;

/// How many ignored parts of a lenient kick-off are reported one by one. The rest is counted.
pub const MAX_NOTICES: usize = 100;

/// The most bytes of the report of one of them.
#[cfg(feature = "server")]
pub const MAX_NOTICE_BYTES: usize = 1_000;

/// The most bytes of the kick-off URL, and of the base URL.
pub const MAX_URL_BYTES: usize = 16 << 10;

/// The most bytes of all texts of a request together. A request over HTTP has fewer.
pub const MAX_TEXT_BYTES: usize = 1536 << 10;

/// A request asks for more than it may. The text is for the client.
///
/// ```
/// use evanesce::{ExportRequest, Kickoff, Level, Parameters};
///
/// let patients = (0..100_000).map(|n| format!("patient-{n}")).collect();
/// let kickoff = Kickoff { parameters: Parameters { patients, ..Parameters::default() }, ..Kickoff::new(Level::Patient) };
/// let request = ExportRequest::new("default".parse()?, "me".parse()?, kickoff, jiff::Timestamp::now());
/// assert!(request.check_bounds().is_err());
/// # Ok::<_, evanesce::InvalidName>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} has more than {most} {unit}; ask for less in one export, or for several exports.")]
pub struct BoundExceeded {
    /// The parameter, or the part of the request, with the bound.
    pub what: &'static str,
    /// The bound.
    pub most: usize,
    /// What is counted.
    pub unit: &'static str,
}

/// Checks the number of items of a list.
///
/// # Errors
/// If there are more than `most`.
pub fn check_items(what: &'static str, items: usize, most: usize) -> Result<(), BoundExceeded> {
    check(what, items, most, "values")
}

/// Checks a number of bytes.
///
/// # Errors
/// If there are more than `most`.
pub fn check_bytes(what: &'static str, bytes: usize, most: usize) -> Result<(), BoundExceeded> {
    check(what, bytes, most, "bytes")
}

fn check(what: &'static str, found: usize, most: usize, unit: &'static str) -> Result<(), BoundExceeded> {
    if found <= most { Ok(()) } else { Err(BoundExceeded { what, most, unit }) }
}

impl ExportRequest {
    /// Checks the request against its bounds. Requests over HTTP were checked before; a host's own were
    /// not.
    ///
    /// # Errors
    /// Fails with the first bound that the request exceeds.
    pub fn check_bounds(&self) -> Result<(), BoundExceeded> {
        let asked = self.parameters();
        let bytes = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        check_items("_type", asked.types.len(), MAX_TYPES)?;
        check_items("_typeFilter", asked.type_filters.len(), MAX_FILTERS)?;
        let filter_bytes = asked.type_filters.iter().map(|filter| filter.as_str().len()).sum();
        check_bytes("_typeFilter", filter_bytes, MAX_FILTER_BYTES)?;
        check_items("_elements", asked.elements.items().len(), MAX_ELEMENTS)?;
        check_items("patient", asked.patients.len(), MAX_PATIENTS)?;
        // One more says how many there are beside.
        check_items("ignored", asked.ignored.len(), MAX_NOTICES + 1)?;
        check_bytes("the kick-off URL", self.kickoff.url.len(), MAX_URL_BYTES)?;
        check_bytes("the base URL", self.kickoff.base_url.len(), MAX_URL_BYTES)?;
        let types: usize = asked.types.iter().map(|it| it.as_str().len()).sum();
        let lists = [asked.elements.items(), &asked.patients, &asked.ignored].into_iter();
        let group = match self.level() {
            super::Level::Group { id } => id.len(),
            super::Level::System | super::Level::Patient => 0,
        };
        let all = types + filter_bytes + lists.map(bytes).sum::<usize>() + group + self.access.bytes();
        check_bytes("the request", all, MAX_TEXT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::fhir::ResourceType;
    use crate::fhir::search::TypeFilter;
    use crate::job::{ExportAccess, Kickoff, Level, Parameters};

    #[test]
    fn p13_a_request_is_taken_at_each_bound_and_refused_beyond_it() {
        let request = || {
            let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
            ExportRequest::new(tenant, owner, Kickoff::new(Level::Patient), Timestamp::UNIX_EPOCH)
        };
        let texts = |count: usize| vec!["x".to_string(); count];
        type Fill = fn(&mut ExportRequest, Vec<String>);
        let lists: [(&str, usize, Fill); 5] = [
            ("_type", MAX_TYPES, |it, texts| {
                it.kickoff.parameters.types = vec![ResourceType::PATIENT; texts.len()];
            }),
            ("_typeFilter", MAX_FILTERS, |it, texts| {
                it.kickoff.parameters.type_filters =
                    vec![TypeFilter::parse("Patient?name=x").unwrap(); texts.len()];
            }),
            ("_elements", MAX_ELEMENTS, |it, texts| {
                let items = ResourceType::all().flat_map(|of_type| {
                    let elements =
                        ["id", "meta", "implicitRules", "language", "text", "contained", "extension"];
                    elements.map(|element| format!("{}.{element}", of_type.as_str()))
                });
                let is_there = |item: &String| Parameters::default().with_elements(&[item]).is_ok();
                let items: Vec<_> = items.filter(is_there).take(texts.len()).collect();
                let parameters = std::mem::take(&mut it.kickoff.parameters);
                it.kickoff.parameters = parameters.with_elements(&items).unwrap();
            }),
            ("patient", MAX_PATIENTS, |it, texts| it.kickoff.parameters.patients = texts),
            ("ignored", MAX_NOTICES + 1, |it, texts| it.kickoff.parameters.ignored = texts),
        ];
        for (what, most, fill) in lists {
            let mut asked = request();
            fill(&mut asked, texts(most));
            assert_eq!(asked.check_bounds(), Ok(()), "{what}");
            fill(&mut asked, texts(most + 1));
            assert_eq!(asked.check_bounds(), Err(BoundExceeded { what, most, unit: "values" }));
        }
        let text = |bytes: usize| vec!["x".repeat(bytes)];
        let bytes: [(&str, usize, Fill); 4] = [
            ("_typeFilter", MAX_FILTER_BYTES, |it, texts| {
                let text = texts.concat().replacen(&"x".repeat("Patient?name=".len()), "Patient?name=", 1);
                it.kickoff.parameters.type_filters = vec![TypeFilter::parse(&text).unwrap()];
            }),
            ("the kick-off URL", MAX_URL_BYTES, |it, texts| it.kickoff.url = texts.concat()),
            ("the base URL", MAX_URL_BYTES, |it, texts| it.kickoff.base_url = texts.concat()),
            ("the request", MAX_TEXT_BYTES, |it, texts| {
                let search = texts.concat()["Patient".len()..].replacen("xxxxx", "name=", 1);
                it.access = ExportAccess::of_types([(ResourceType::PATIENT, vec![search])].into()).unwrap();
            }),
        ];
        for (what, most, fill) in bytes {
            let mut asked = request();
            fill(&mut asked, text(most));
            assert_eq!(asked.check_bounds(), Ok(()), "{what}");
            fill(&mut asked, text(most + 1));
            assert_eq!(asked.check_bounds(), Err(BoundExceeded { what, most, unit: "bytes" }));
        }
    }
}
