//! Reads only those elements of a line that a filter compares. It skips all others, and stops after
//! the last one that is wanted. Long lines are read with checks of the job's token, and at most
//! [`MOST_HELD`] bytes of a resource are held (P13).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::place::PathStep;
use crate::cancel::{AT_ONCE, CancelToken, TokenFired};

/// Longest text in bytes that is compared, R4's limit for a string. A longer text exists
/// (`:missing=false`), but matches nothing.
const LONGEST_TEXT: usize = 1 << 20;

/// Most memory in bytes for the wanted elements of one resource. A resource with more cannot be
/// read.
const MOST_HELD: usize = 512 << 20;

/// Memory in bytes of a value, and of an object in addition: a node of its map.
const VALUE_BYTES: usize = size_of::<Value>();
const OBJECT_BYTES: usize = 640;

/// The wanted elements of an object, or of each object of an array.
#[derive(Debug, Clone, Default)]
pub struct WantedElements {
    /// Whether the whole element is wanted.
    whole: bool,
    members: Vec<(String, WantedElements)>,
}

impl WantedElements {
    /// Adds the elements on a path and at its end.
    pub fn add(&mut self, steps: &[PathStep]) {
        let mut end = self;
        for step in steps {
            match step {
                PathStep::Member(name) => end = end.member(name),
                PathStep::Where { member, .. } => end.member(member).whole = true,
                // Everything at the end of a path is wanted.
                PathStep::RefersTo(_) => {}
            }
        }
        end.whole = true;
    }

    fn member(&mut self, name: &str) -> &mut Self {
        let at = self.members.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.members.push((name.into(), Self::default()));
            self.members.len() - 1
        });
        &mut self.members[at].1
    }

    /// Reads the wanted elements of a resource's line, or returns `None` if the line is malformed
    /// up to the last of them. If a root element is duplicated, the first one counts.
    ///
    /// # Errors
    /// Fails if the token has fired.
    pub fn read(&self, line: &[u8], cancel: &CancelToken) -> Result<Option<Value>, TokenFired> {
        let (mut found, room) = (Map::new(), Cell::new(MOST_HELD));
        let root = ResourceReader { wanted: self, room: &room, found: &mut found };
        let is_read = if line.len() <= AT_ONCE {
            serde_json::Deserializer::from_slice(line).deserialize_map(root).is_ok()
        } else {
            serde_json::Deserializer::from_reader(cancel.reader(line)).deserialize_map(root).is_ok()
        };
        cancel.check()?;
        Ok((is_read || found.len() == self.members.len()).then_some(Value::Object(found)))
    }
}

/// Reads a resource. Stops with an error as soon as everything has been found.
struct ResourceReader<'w> {
    wanted: &'w WantedElements,
    room: &'w Cell<usize>,
    found: &'w mut Map<String, Value>,
}

impl<'de> Visitor<'de> for ResourceReader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resource")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_key_seed(KeyReader(self.wanted))? {
            let Some((name, wanted)) = member else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(ElementReader { wanted, room: self.room })?;
            self.found.entry(name).or_insert(value);
            if self.found.len() == self.wanted.members.len() {
                return Err(A::Error::custom("all has been found"));
            }
        }
        Ok(())
    }
}

/// Reads a key and returns the wanted member of that name.
struct KeyReader<'w>(&'w WantedElements);

static WHOLE: WantedElements = WantedElements { whole: true, members: Vec::new() };

impl<'de, 'w> DeserializeSeed<'de> for KeyReader<'w> {
    type Value = Option<(String, &'w WantedElements)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'w> Visitor<'_> for KeyReader<'w> {
    type Value = Option<(String, &'w WantedElements)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        if self.0.whole {
            return Ok(Some((name.into(), &WHOLE)));
        }
        let mut members = self.0.members.iter();
        Ok(members.find(|(known, _)| known == name).map(|(known, wanted)| (known.clone(), wanted)))
    }
}

/// Reads an element. A value that is neither an object nor an array has no members: if it is not
/// wanted as a whole, it is skipped.
struct ElementReader<'w> {
    wanted: &'w WantedElements,
    /// Bytes that may still be held.
    room: &'w Cell<usize>,
}

impl ElementReader<'_> {
    fn hold<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let room = self.room.get().checked_sub(VALUE_BYTES + bytes);
        self.room.set(room.ok_or_else(|| E::custom("more is wanted of it than can be held"))?);
        Ok(())
    }

    fn scalar<E: Error>(&self, value: impl Into<Value>) -> Result<Value, E> {
        self.hold(0)?;
        Ok(if self.wanted.whole { value.into() } else { Value::Null })
    }
}

impl<'de> DeserializeSeed<'de> for ElementReader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ElementReader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.hold(OBJECT_BYTES)?;
        let mut found = Map::new();
        while let Some(member) = map.next_key_seed(KeyReader(self.wanted))? {
            match member {
                Some((name, wanted)) => {
                    self.hold(name.len())?;
                    found.insert(name, map.next_value_seed(ElementReader { wanted, room: self.room })?);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.hold(0)?;
        let mut items = Vec::new();
        while let Some(item) =
            seq.next_element_seed(ElementReader { wanted: self.wanted, room: self.room })?
        {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.scalar(())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        self.scalar(truth)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.scalar(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        self.scalar(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        self.scalar(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        if !self.wanted.whole {
            return self.scalar(());
        }
        if text.len() > LONGEST_TEXT {
            self.hold(0)?;
            return Ok(Value::Object(Map::new()));
        }
        self.hold(text.len())?;
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(ways: &[&str]) -> WantedElements {
        let mut wanted = WantedElements::default();
        for way in ways {
            wanted.add(&way.split('.').map(|name| PathStep::Member(name.into())).collect::<Vec<_>>());
        }
        wanted
    }

    fn read_of(ways: &[&str], line: &[u8]) -> Option<Value> {
        wanted(ways).read(line, &CancelToken::new()).unwrap()
    }

    #[test]
    fn only_what_is_wanted_is_read() {
        let line = br#"{"id":"x","a":[{"b":1,"c":{"d":2}},7,null,{"b":[3]}],"e":{"f":4},"\u0067":5}"#;
        for (ways, read) in [
            (&["id"][..], json!({"id": "x"})),
            (&["a.b"], json!({"a": [{"b": 1}, null, null, {"b": [3]}]})),
            (&["a.c.d", "e"], json!({"a": [{"c": {"d": 2}}, null, null, {}], "e": {"f": 4}})),
            (&["a.b", "a"], json!({"a": [{"b": 1, "c": {"d": 2}}, 7, null, {"b": [3]}]})),
            (&["g"], json!({"g": 5})),
            (&["h"], json!({})),
            (&["id.x"], json!({"id": null})),
        ] {
            assert_eq!(read_of(ways, line), Some(read), "{ways:?}");
        }
    }

    #[test]
    fn a_line_is_read_to_the_last_element_that_is_wanted() {
        assert_eq!(read_of(&["a"], br#"{"a":1,"b":"#), Some(json!({"a": 1})));
        assert_eq!(read_of(&["a"], br#"{"a":1,"a":2}"#), read_of(&["a", "b"], br#"{"a":1,"a":2}"#));
        for line in [&br#"{"b":1,"a":"#[..], b"[1]", b"", b"7", br#"{"b":"#, b"{\"b\":1\xff}"] {
            assert_eq!(read_of(&["a"], line), None);
        }
        let deep = format!(r#"{{"b":{}{},"a":1}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(read_of(&["a"], deep.as_bytes()), Some(json!({"a": 1})));
    }

    #[test]
    fn p13_a_long_line_is_read_as_a_short_one_is_and_with_a_look_at_each_stride() {
        let blanks = " ".repeat(AT_ONCE);
        let value = r#"{"b":[1,-2,3.5,"x",true,null],"c":{"d":"y"}}"#;
        let (short, long) =
            (format!(r#"{{"z":[],"a":{value}}}"#), format!(r#"{{"z":[{blanks}],"a":{value}}}"#));
        for ways in [&["a"][..], &["a.b"], &["a.c.d", "z"], &["nothing"]] {
            assert_eq!(read_of(ways, long.as_bytes()), read_of(ways, short.as_bytes()), "{ways:?}");
        }
        let cancel = CancelToken::at_look(5);
        assert_eq!(wanted(&["a"]).read(long.as_bytes(), &cancel), Err(TokenFired));
        assert!(cancel.looks() < 8, "{} looks, some of them after the token fired", cancel.looks());
    }

    #[test]
    fn p13_a_text_that_is_longer_than_a_string_may_be_is_there_and_is_nothing_that_is_sought() {
        let line = |length| format!(r#"{{"a":"{}"}}"#, "x".repeat(length));
        let read = |length| read_of(&["a"], line(length).as_bytes()).unwrap()["a"].take();
        assert_eq!(read(LONGEST_TEXT), json!("x".repeat(LONGEST_TEXT)));
        assert_eq!(read(LONGEST_TEXT + 1), json!({}));
    }

    #[test]
    fn p13_no_more_is_held_of_a_resource_than_was_said() {
        let line = |objects: usize| format!(r#"{{"a":[{}]}}"#, vec!["{}"; objects].join(","));
        let most = (MOST_HELD - VALUE_BYTES) / (VALUE_BYTES + OBJECT_BYTES);
        assert!(read_of(&["a"], line(most).as_bytes()).is_some());
        assert_eq!(read_of(&["a"], line(most + 1).as_bytes()), None);
        assert!(read_of(&["b"], line(most + 1).as_bytes()).is_some(), "only what is wanted counts");
    }
}
