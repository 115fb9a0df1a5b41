//! Writes lines of the source to the output: filtered, with absolute URLs (O-4), and cut down to the
//! elements that are asked for. Lines of types that [`LineWriter::change`] does not name go out as they
//! are, many at a time. The plan lists single lines with attachments (O-4) or deletions (MF-6), which are
//! always looked at.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::deleted;
use super::line_narrowing::LineNarrowing;
use crate::export::{CancelToken, ExportError, PartWriter};
use crate::fhir::elements::Elements;
use crate::fhir::reference::BaseUrls;
use crate::fhir::search::TypeFilter;
use crate::fhir::{ResourceType, attachment};
use crate::job::{ExportRequest, ProofSigner};

/// What a part's content says of its lines, beside what the request says of those of all parts.
/// Plans of earlier versions repeat that here; it is passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartLines {
    /// Those below which references in the source were relative when it was planned.
    #[serde(
        alias = "source_url",
        deserialize_with = "one_or_more",
        skip_serializing_if = "BaseUrls::is_empty"
    )]
    pub bases: BaseUrls,
    /// Of each Bundle in the part, in their order: which of its deletions are told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Vec<u32>>,
}

/// Reads bases; plans of earlier versions have one.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BaseUrls, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum StoredBases {
        One(String),
        More(BaseUrls),
    }
    Ok(match StoredBases::deserialize(deserializer)? {
        StoredBases::One(url) => BaseUrls::new([url]),
        StoredBases::More(bases) => bases,
    })
}

/// What is done with lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineOptions {
    /// The base URL that clients see, for attachments (O-4); empty leaves them as they are.
    pub base_url: String,
    /// What URLs of Binaries are proved with.
    pub handout: Option<ProofSigner>,
    /// Those below which references in the source are relative.
    pub bases: BaseUrls,
    /// `_typeFilter`.
    pub type_filters: Vec<TypeFilter>,
    /// What the export may hold of types of which it may not hold all.
    pub restrictions: Vec<TypeFilter>,
    /// `_elements`.
    pub elements: Elements,
}

impl LineOptions {
    /// What a request says of its lines; `bases` are those of the source.
    pub fn of(request: &ExportRequest, bases: &BaseUrls) -> Self {
        let asked = request.parameters();
        Self {
            base_url: request.kickoff.base_url.clone(),
            handout: request.handout.clone(),
            bases: bases.clone(),
            type_filters: asked.type_filters.clone(),
            restrictions: request.access.restrictions().cloned().collect(),
            elements: asked.elements.clone(),
        }
    }

    /// Returns the bytes that a URL of a Binary gets longer, at the most; 0 if it stays as it is.
    pub fn url_growth(&self) -> u64 {
        match self.base_url.as_str() {
            "" => 0,
            base_url => {
                let proof = self.handout.as_ref().map_or(0, |_| ProofSigner::QUERY_BYTES);
                in_json(base_url).len() as u64 + 1 + proof
            }
        }
    }
}

/// The options, ready for use.
pub struct LineWriter {
    /// The base URL that clients see, as it stands in a JSON string.
    base_url: String,
    handout: Option<ProofSigner>,
    bases: BaseUrls,
    narrow: LineNarrowing,
    told: std::vec::IntoIter<Vec<u32>>,
    cancel: CancelToken,
}

impl LineWriter {
    /// Makes the options ready for a job whose token is `cancel`.
    pub fn new(options: LineOptions, cancel: &CancelToken) -> Self {
        let LineOptions { base_url, handout, bases, type_filters, restrictions, elements } = options;
        // What a client looks for it may name as it knows the server.
        let known = bases.and(&base_url);
        let narrow = LineNarrowing::new(type_filters, restrictions, elements, known);
        let (base_url, told, cancel) = (in_json(&base_url), Vec::new().into_iter(), cancel.clone());
        Self { base_url, handout, bases, narrow, told, cancel }
    }

    /// Returns what is done with the lines of a part that is being written.
    ///
    /// # Errors
    /// Those of [`PartWriter::request`].
    pub fn of_part(part: PartLines, out: &PartWriter, cancel: &CancelToken) -> Result<Self, ExportError> {
        let PartLines { bases, told } = part;
        let lines = Self::new(LineOptions::of(&*out.request()?, &bases), cancel);
        Ok(Self { told: told.into_iter(), ..lines })
    }

    /// Returns whether lines of that type may go out other than they are, or not at all, apart from
    /// those that the plan gives by themselves.
    pub fn change(&self, resource_type: ResourceType) -> bool {
        self.narrow.change(resource_type)
    }

    /// Returns the bytes that a line of that type may get longer, URLs of Binaries apart.
    pub fn growth(&self, resource_type: ResourceType) -> u64 {
        self.narrow.growth(resource_type)
    }

    /// Returns the token of the job.
    pub fn cancel(&self) -> &CancelToken {
        &self.cancel
    }

    /// Writes what becomes of one line, given without its line break.
    ///
    /// # Errors
    /// Those of the writer, [`ExportError::Cancelled`] above all.
    pub fn write(
        &mut self,
        resource_type: ResourceType,
        line: &[u8],
        out: &mut PartWriter,
    ) -> Result<(), ExportError> {
        if resource_type == ResourceType::BUNDLE {
            let entries = self.told.next().unwrap_or_default();
            return deleted::write(line, &entries, &self.bases, &self.cancel, out);
        }
        if !self.narrow.keeps(resource_type, line, &self.cancel)? {
            return Ok(());
        }
        let line = self.with_absolute_urls(resource_type, line)?;
        self.narrow.write(resource_type, &line, &self.cancel, out)
    }

    /// Makes the URLs of Binaries in attachments absolute (O-4, K-11), with a proof if one is needed.
    fn with_absolute_urls<'l>(
        &self,
        of_type: ResourceType,
        line: &'l [u8],
    ) -> Result<Cow<'l, [u8]>, ExportError> {
        if self.base_url.is_empty() {
            return Ok(Cow::Borrowed(line));
        }
        let mut urls = Vec::new();
        attachment::binaries(line, &self.bases, &self.cancel, |place, id| {
            let proof = self.handout.as_ref().map(|handout| handout.query(of_type.as_str(), id));
            let url = ["\"", &self.base_url, "/Binary/", id, &proof.unwrap_or_default(), "\""].concat();
            urls.push((place, url));
        })?;
        let (mut changed, mut done) = (Vec::new(), 0);
        for (place, url) in urls {
            self.cancel.append(&line[done..place.start], &mut changed)?;
            changed.extend_from_slice(url.as_bytes());
            done = place.end;
        }
        if done == 0 {
            return Ok(Cow::Borrowed(line));
        }
        self.cancel.append(&line[done..], &mut changed)?;
        Ok(Cow::Owned(changed))
    }
}

/// Returns the text as it stands between the quotes of a JSON string.
fn in_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p11_a_part_of_an_earlier_version_which_repeats_the_request_is_read() {
        let old = r#"{"base_url":"https://h","source_url":"https://s","type_filters":["Patient?active=true"],
            "restrictions":["Patient?_id=1"],"elements":["name"],"told":[[1,2]]}"#;
        let part: PartLines = serde_json::from_str(old).unwrap();
        assert_eq!(part, PartLines { bases: BaseUrls::new(["https://s"]), told: vec![vec![1, 2]] });
        assert_eq!(serde_json::from_str::<PartLines>("{}").unwrap(), PartLines::default());
    }

    fn changed(base_url: &str, line: &str) -> String {
        changed_with(base_url, None, line)
    }

    fn changed_with(base_url: &str, handout: Option<ProofSigner>, line: &str) -> String {
        let options = LineOptions {
            base_url: base_url.into(),
            handout,
            bases: BaseUrls::new(["https://s/r4"]),
            ..LineOptions::default()
        };
        let growth = options.url_growth() as usize;
        let lines = LineWriter::new(options, &CancelToken::new());
        let text = lines.with_absolute_urls(ResourceType::PATIENT, line.as_bytes()).unwrap().into_owned();
        let text = String::from_utf8(text).unwrap();
        assert!(text.len() <= line.len() + 2 * growth, "{text}");
        text
    }

    #[test]
    fn o_4_urls_of_binaries_become_absolute_and_nothing_else_changes() {
        let line = r#"{"id":"a\/b" , "url":"Binary/1","x":{"url" : "https:\/\/s\/r4\/Binary\/2/_history/3"},"y":"é"}"#;
        let expected =
            r#"{"id":"a\/b" , "url":"https://h/r4/Binary/1","x":{"url" : "https://h/r4/Binary/2"},"y":"é"}"#;
        assert_eq!(changed("https://h/r4", line), expected);
        assert_eq!(changed("https://h/r4", expected), expected);
        assert_eq!(changed("", line), line);
        assert_eq!(changed("https://h/\"", r#"{"url":"Binary/1"}"#), r#"{"url":"https://h/\"/Binary/1"}"#);
    }

    #[test]
    fn o_4_urls_of_binaries_have_a_proof_for_the_type_that_refers_to_them_if_one_is_needed() {
        let handout = ProofSigner::new("t".parse().unwrap(), crate::job::JobId::random());
        let line = r#"{"a":{"url":"Binary/1"},"url":"Binary/2"}"#;
        let (one, two) = (handout.query("Patient", "1"), handout.query("Patient", "2"));
        let expected =
            format!(r#"{{"a":{{"url":"https://h/Binary/1{one}"}},"url":"https://h/Binary/2{two}"}}"#);
        assert_eq!(changed_with("https://h", Some(handout.clone()), line), expected);
        assert_eq!(changed_with("", Some(handout), line), line);
    }
}
