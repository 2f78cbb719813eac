//! Reads values loosely: compatible providers put `null`, numbers or objects where OpenAI has texts, and the rest of their event still counts.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A text; numbers are written out, anything else is none.
pub fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_any(Text).map(|found| match found {
        Found::Text(text) => Some(text),
        Found::Number(number) => Some(number.to_string()),
        Found::Nothing => None,
    })
}

/// A number; anything else is none.
pub fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    from.deserialize_any(Text).map(|found| match found {
        Found::Number(number) => Some(number as i64),
        Found::Text(text) => text.parse().ok(),
        Found::Nothing => None,
    })
}

/// JSON in a text, or the JSON itself, which some send instead.
pub fn json_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_any(JsonText)
}

/// Content: a text, or a list of parts.
#[derive(Debug)]
pub enum Said {
    /// A text.
    Text(String),
    /// Parts, as Mistral sends them.
    Parts(Vec<Value>),
}

/// Content; what is neither a text nor a list nor an object is none.
pub fn said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Said>, D::Error> {
    from.deserialize_any(SaidVisitor)
}

enum Found {
    Text(String),
    Number(f64),
    Nothing,
}

struct Text;

/// The cases that mean nothing, alike in all visitors.
macro_rules! nothing {
    ($nothing:expr) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($nothing)
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($nothing)
        }
    };
}

// === impl Text ===

impl<'de> Visitor<'de> for Text {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }
    nothing!(Found::Nothing);
    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(Found::Text(text.to_owned()))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Found, E> {
        Ok(Found::Number(number as f64))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Found, E> {
        Ok(Found::Number(number as f64))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Found, E> {
        Ok(Found::Number(number))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Nothing)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Found::Nothing)
    }
}

struct JsonText;

// === impl JsonText ===

impl<'de> Visitor<'de> for JsonText {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON in a text")
    }
    nothing!(None);
    fn visit_str<E>(self, text: &str) -> Result<Option<String>, E> {
        Ok(Some(text.to_owned()))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Option<String>, E> {
        Ok(Some(number.to_string()))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Option<String>, E> {
        Ok(Some(number.to_string()))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Option<String>, E> {
        Ok(Some(number.to_string()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Option<String>, A::Error> {
        Value::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(|value| Some(value.to_string()))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<String>, A::Error> {
        Value::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(|value| Some(value.to_string()))
    }
}

struct SaidVisitor;

// === impl SaidVisitor ===

impl<'de> Visitor<'de> for SaidVisitor {
    type Value = Option<Said>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of parts")
    }
    nothing!(None);
    fn visit_str<E>(self, text: &str) -> Result<Option<Said>, E> {
        Ok(Some(Said::Text(text.to_owned())))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Option<Said>, E> {
        Ok(Some(Said::Text(number.to_string())))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Option<Said>, E> {
        Ok(Some(Said::Text(number.to_string())))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Option<Said>, E> {
        Ok(Some(Said::Text(number.to_string())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Option<Said>, A::Error> {
        Vec::<Value>::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(|parts| Some(Said::Parts(parts)))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<Said>, A::Error> {
        // Some give the JSON that was asked for as it is, not in a text.
        Value::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(|value| Some(Said::Text(value.to_string())))
    }
}
