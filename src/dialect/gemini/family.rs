//! What generation of Gemini a model is, which decides what its requests may say.

use crate::catalog::Model;
use crate::catalog::model::Capability;

/// A model's place in its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Such as 2 or 3; 0 where the name does not tell.
    pub generation: u32,
    /// The half generation, such as 5 of 2.5.
    pub minor: u32,
    /// A Pro model.
    pub is_pro: bool,
    /// A Flash-Lite model.
    pub is_lite: bool,
    /// Whether it reasons, so that it can be told how much.
    pub thinks: bool,
}

// === impl Family ===

impl Family {
    /// By its name, and what the catalogue knows of it.
    pub fn of(model: &str, facts: Option<&Model>) -> Family {
        let name = model.rsplit('/').next().unwrap_or(model);
        let version = name.strip_prefix("gemini-").unwrap_or_default();
        let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().ok();
        let (generation, minor) = match number(version) {
            Some(generation) => {
                let minor = version.split_once('.').and_then(|(_, rest)| number(rest)).unwrap_or(0);
                (generation, minor)
            }
            // `gemini-flash-latest` and its kind are the newest there is.
            None if name.starts_with("gemini-") && name.ends_with("-latest") => (3, 0),
            None => (0, 0),
        };
        let known = facts.map(|facts| facts.can.as_slice()).filter(|can| !can.is_empty());
        let thinks = known.map_or((generation, minor) >= (2, 5) || generation == 0, |can| can.contains(&Capability::Reasoning));
        Family { generation, minor, is_pro: name.contains("-pro"), is_lite: name.contains("-lite"), thinks }
    }

    /// Gemini 3 and later: thinking levels, checked thought signatures, media in function responses, built-in tools beside functions.
    pub fn is_third(&self) -> bool {
        self.generation >= 3
    }

    /// Gemini before 3: JSON answers and built-in tools do not go together with functions.
    pub fn is_before_third(&self) -> bool {
        (1..3).contains(&self.generation)
    }
}
