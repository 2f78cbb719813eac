//! `config` in front matter: settings of the model, by the names that Genkit gives them.

use serde_json::{Map, Value};

/// The settings that a chat request has.
pub const NAMES: [&str; 8] =
    ["temperature", "topP", "topK", "maxOutputTokens", "stopSequences", "seed", "frequencyPenalty", "presencePenalty"];

/// The first setting whose value is of another type than it has, and what would be right.
pub fn check(config: &Map<String, Value>) -> Result<(), (&'static str, String)> {
    for name in NAMES {
        let (is_right, wanted) = match (name, config.get(name)) {
            (_, None | Some(Value::Null)) => continue,
            ("temperature", Some(value)) => (value.as_f64().is_some_and(|number| number >= 0.0), "a number from 0 on"),
            ("topP", Some(value)) => (value.as_f64().is_some_and(|number| (0.0..=1.0).contains(&number)), "a number from 0 to 1"),
            ("topK" | "maxOutputTokens", Some(value)) => (value.as_u64().is_some_and(|number| number > 0), "a whole number from 1 on"),
            ("seed", Some(value)) => (value.is_i64(), "a whole number"),
            ("stopSequences", Some(value)) => (value.as_array().is_some_and(|all| all.iter().all(Value::is_string)), "a list of texts"),
            (_, Some(value)) => (value.is_number(), "a number"),
        };
        if !is_right {
            return Err((name, format!("'config.{name}' has to be {wanted}")));
        }
    }
    Ok(())
}
