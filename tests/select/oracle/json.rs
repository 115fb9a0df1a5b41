//! JSON as the oracle reads it: text that is checked once and then looked into level by level.
//! Unlike `serde_json::Value` it keeps both of two equal keys, any number and any depth.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// One valid JSON value, without white space around it.
#[derive(Clone, Copy)]
pub struct Json<'a>(&'a str);

/// The members of an object, in their order, equal keys included.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

impl<'a> Json<'a> {
    /// The value that the whole text is.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(|value| Self(value.get()))
    }

    /// The text that it is, which is a part of what was parsed.
    pub fn raw(self) -> &'a str {
        self.0
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// Whether it is an array.
    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// The members of an object; none of anything else.
    pub fn members(self) -> Vec<(String, Self)> {
        let members = serde_json::Deserializer::from_str(self.0).deserialize_map(Members);
        members.unwrap_or_default().into_iter().map(|(key, value)| (key, Self(value.get()))).collect()
    }

    /// The items of an array; anything else is an array of one.
    pub fn items(self) -> Vec<Self> {
        match serde_json::from_str::<Vec<&RawValue>>(self.0) {
            Ok(items) => items.into_iter().map(|item| Self(item.get())).collect(),
            Err(_) => vec![self],
        }
    }

    /// The values of all members of that name.
    pub fn all(self, key: &str) -> Vec<Self> {
        self.members().into_iter().filter(|(name, _)| name == key).map(|(_, value)| value).collect()
    }

    /// The value of a member; the last one, if there are two.
    pub fn get(self, key: &str) -> Option<Self> {
        self.all(key).pop()
    }

    /// The text of a string, its escapes decoded.
    pub fn text(self) -> Option<String> {
        serde_json::from_str(self.0).ok()
    }

    /// Whether it is the literal `true` or `false`.
    pub fn is(self, value: bool) -> bool {
        self.0 == if value { "true" } else { "false" }
    }
}
