//! A line of the log: one AuditEvent. The last details of its entity bind it to the line before:
//! `chain-count`, `chain-previous` and, at the very end, `chain-hash`, the SHA-256 over the digits of
//! `chain-previous` and the bytes of the line up to `,{"type":"chain-hash"`. A walk accepts only lines
//! that end, byte for byte, as they should.

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::AuditedEvent;
use super::describe::{KIND, describe};
use crate::chain::ChainHead;
use crate::fhir::audit_event::AuditEvent;

/// The most bytes of a line. A longer one is not ours.
pub const MAX_BYTES: u64 = 1 << 20;

/// The text between the hashed part and the hash.
const BEFORE_HASH: &str = r#",{"type":"chain-hash","valueString":""#;

/// The text after the hash.
const AFTER_HASH: &str = "\"}]}]}\n";

/// The end of an AuditEvent without its hash.
const OPEN_END: &str = "]}]}";

/// The number of digits of a hash.
const DIGITS: usize = 64;

const COUNT: &str = "chain-count";
const PREVIOUS: &str = "chain-previous";

/// Returns the line of an event after `end`, and the new end of the chain.
pub fn line(end: ChainHead, event: &AuditedEvent, recorded: Timestamp) -> (String, ChainHead) {
    let mut description = describe(event);
    let count = end.count + 1;
    description.details.extend([(COUNT, count.to_string()), (PREVIOUS, end.hash.to_string())]);
    let event = AuditEvent::new(Uuid::new_v4().to_string(), recorded, description);
    let mut text = serde_json::to_string(&event).expect("an event has string keys only");
    assert!(text.ends_with(OPEN_END), "an event ends with its details");
    text.truncate(text.len() - OPEN_END.len());
    let head = end.behind(&text);
    text.push_str(BEFORE_HASH);
    text.push_str(&head.hash.to_string());
    text.push_str(AFTER_HASH);
    (text, head)
}

/// Checks the line after `end`. Returns the new end of the chain, or what is wrong.
pub fn check(end: ChainHead, line: &str) -> Result<ChainHead, &'static str> {
    const NO_LINE: &str = "it is not a line of an audit log";
    let rest = line.strip_suffix(AFTER_HASH).ok_or(NO_LINE)?;
    let (rest, hash) = rest.split_at_checked(rest.len().saturating_sub(DIGITS)).ok_or(NO_LINE)?;
    let body = rest.strip_suffix(BEFORE_HASH).ok_or(NO_LINE)?;
    let count = end.count + 1;
    let link = format!(
        r#"{{"type":"{COUNT}","valueString":"{count}"}},{{"type":"{PREVIOUS}","valueString":"{}"}}"#,
        end.hash
    );
    if !body.ends_with(&link) {
        return Err("it does not follow from the line before");
    }
    let head = end.behind(body);
    if head.hash.to_string() != hash {
        return Err("its content is not what its hash says");
    }
    Ok(head)
}

/// The facts of a line that the commands and the witness ask for. They are not checked.
#[derive(Debug, Deserialize)]
pub struct LineFacts {
    recorded: Timestamp,
    #[cfg(feature = "cli")]
    agent: Vec<AgentElement>,
    entity: Vec<EntityElement>,
}

#[cfg(feature = "cli")]
#[derive(Debug, Deserialize)]
struct AgentElement {
    who: ReferenceElement,
}

#[derive(Debug, Deserialize)]
struct EntityElement {
    what: Option<ReferenceElement>,
    detail: Vec<DetailElement>,
}

#[derive(Debug, Deserialize)]
struct ReferenceElement {
    identifier: Option<IdentifierElement>,
}

#[derive(Debug, Deserialize)]
struct IdentifierElement {
    value: String,
}

#[derive(Debug, Deserialize)]
struct DetailElement {
    #[serde(rename = "type")]
    name: String,
    #[serde(rename = "valueString")]
    value: String,
}

impl LineFacts {
    /// Parses a line. Returns `None` if it is not an event.
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// Returns when it was recorded.
    pub fn recorded(&self) -> Timestamp {
        self.recorded
    }

    /// Returns the name of its kind.
    pub fn kind(&self) -> &str {
        self.detail(KIND).unwrap_or_default()
    }

    /// Returns the detail of that name.
    pub fn detail(&self, name: &str) -> Option<&str> {
        let details = self.entity.iter().flat_map(|entity| &entity.detail);
        details.into_iter().find(|detail| detail.name == name).map(|detail| detail.value.as_str())
    }

    /// Returns whether the event concerns a client or an operator of this name, who asked for it, owns
    /// the job, or is its subject.
    #[cfg(feature = "cli")]
    pub fn concerns(&self, name: &str) -> bool {
        let asked = self.agent.iter().filter_map(|agent| agent.who.identifier.as_ref());
        let mut asked = asked.map(|identifier| identifier.value.as_str());
        asked.any(|id| id == name) || ["owner", "client"].iter().any(|key| self.detail(key) == Some(name))
    }

    /// Returns the job that it is about, as `urn:uuid:<id>`.
    pub fn job(&self) -> Option<&str> {
        let what = self.entity.iter().find_map(|entity| entity.what.as_ref());
        what.and_then(|what| what.identifier.as_ref()).map(|identifier| identifier.value.as_str())
    }

    /// Returns the head that two details name: a count and a hash.
    pub fn head(&self, [count, hash]: [&str; 2]) -> Option<ChainHead> {
        Some(ChainHead { count: self.detail(count)?.parse().ok()?, hash: self.detail(hash)?.parse().ok()? })
    }

    /// Returns the end of the chain before the line, as the line states it.
    pub fn behind(&self) -> Option<ChainHead> {
        let head = self.head([COUNT, PREVIOUS])?;
        Some(ChainHead { count: head.count.checked_sub(1)?, ..head })
    }
}
