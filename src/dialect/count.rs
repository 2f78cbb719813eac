//! Counts of tokens as answers tell them, which may be anything.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A count where it may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    /// It is left out, as some do with a zero.
    #[default]
    Absent,
    /// So many.
    Told(u64),
    /// `null`, less than none, a part of one, or no number at all: nobody knows how many.
    Unknown,
}

/// What can be read so; what cannot takes nothing else with it.
pub fn if_read<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).ok())
}

// === impl Count ===

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Count, D::Error> {
        Ok(Value::deserialize(from)?.as_u64().map_or(Count::Unknown, Count::Told))
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Count::Told(count) => to.serialize_some(count),
            Count::Absent | Count::Unknown => to.serialize_none(),
        }
    }
}
