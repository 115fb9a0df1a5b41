//! Reads of a line only what a filter looks at: all other elements are passed over, and what
//! comes after the last one that is wanted is not looked at.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::place::Step;

/// The elements that are wanted of an object, or of each object of an array.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Whether all of it is.
    whole: bool,
    members: Vec<(String, Wanted)>,
}

impl Wanted {
    /// Adds what stands on a way and at its end.
    pub fn add(&mut self, steps: &[Step]) {
        let mut end = self;
        for step in steps {
            match step {
                Step::Member(name) => end = end.member(name),
                Step::Where { member, .. } => end.member(member).whole = true,
                // At the end of a way there is nothing that is not wanted.
                Step::RefersTo(_) => {}
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

    /// The wanted elements of a resource's line; `None` if it cannot be read so far.
    pub fn read(&self, line: &[u8]) -> Option<Value> {
        let mut found = Map::new();
        let root = Root { wanted: self, found: &mut found };
        let read = serde_json::Deserializer::from_slice(line).deserialize_map(root);
        (read.is_ok() || found.len() == self.members.len()).then_some(Value::Object(found))
    }
}

/// Reads a resource. Ends with an error as soon as all has been found.
struct Root<'w> {
    wanted: &'w Wanted,
    found: &'w mut Map<String, Value>,
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resource")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_key_seed(Key(self.wanted))? {
            let Some((name, wanted)) = member else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.found.insert(name.into(), map.next_value_seed(wanted)?);
            if self.found.len() == self.wanted.members.len() {
                return Err(A::Error::custom("all has been found"));
            }
        }
        Ok(())
    }
}

/// Reads a key: the wanted member of that name.
struct Key<'w>(&'w Wanted);

impl<'de, 'w> DeserializeSeed<'de> for Key<'w> {
    type Value = Option<(&'w str, &'w Wanted)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'w> Visitor<'_> for Key<'w> {
    type Value = Option<(&'w str, &'w Wanted)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let mut members = self.0.members.iter();
        Ok(members.find(|(known, _)| known == name).map(|(known, wanted)| (known.as_str(), wanted)))
    }
}

impl<'de> DeserializeSeed<'de> for &Wanted {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.whole {
            return Value::deserialize(deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

/// What is neither an object nor an array has no members, and so nothing that is wanted.
impl<'de> Visitor<'de> for &Wanted {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some(member) = map.next_key_seed(Key(self))? {
            match member {
                Some((name, wanted)) => {
                    found.insert(name.into(), map.next_value_seed(wanted)?);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(ways: &[&str]) -> Wanted {
        let mut wanted = Wanted::default();
        for way in ways {
            wanted.add(&way.split('.').map(|name| Step::Member(name.into())).collect::<Vec<_>>());
        }
        wanted
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
            assert_eq!(wanted(ways).read(line), Some(read), "{ways:?}");
        }
    }

    #[test]
    fn a_line_is_read_to_the_last_element_that_is_wanted() {
        assert_eq!(wanted(&["a"]).read(br#"{"a":1,"b":"#), Some(json!({"a": 1})));
        for line in [&br#"{"b":1,"a":"#[..], b"[1]", b"", b"7", br#"{"b":"#, b"{\"b\":1\xff}"] {
            assert_eq!(wanted(&["a"]).read(line), None);
        }
        let deep = format!(r#"{{"b":{}{},"a":1}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(wanted(&["a"]).read(deep.as_bytes()), Some(json!({"a": 1})));
    }
}
