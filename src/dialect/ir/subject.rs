//! What of a request a provider's error is about: whose it is to mend follows from that.

use super::{Trouble, TroubleKind};

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// What is said in it: too much, not allowed, or a picture that cannot be read.
    Said,
    /// The format that its answer is to have.
    Format,
    /// Whatever else it asks for: its model, its settings.
    Rest,
}

/// The field of a request that an error names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(pub String);

/// Codes that name what is said, as the providers that have some call it.
const CODES: [&str; 9] = [
    "context_length_exceeded",
    "string_above_max_length",
    "array_above_max_length",
    "content_policy_violation",
    "content_filter",
    "moderation_blocked",
    "request_too_large",
    "invalid_image",
    "invalid_prompt",
];
/// Fields in which things are said, and fields of a format.
const SAID: [&str; 5] = ["messages", "input", "contents", "prompt", "system"];
const FORMAT: [&str; 4] = ["response_format", "text.format", "output_config", "generation_config.response"];

/// Where neither is told, words by which providers say that they do not take a format.
const FORMAT_WORDS: [&str; 8] = [
    "response_format",
    "json_schema",
    "json schema",
    "structured",
    "output_config",
    "responseschema",
    "response_schema",
    "responsejsonschema",
];
/// And those by which they say that it is what was said.
const SAID_WORDS: [&str; 12] = [
    "context length",
    "context_length",
    "context window",
    "too long",
    "too large",
    "too many",
    "maximum",
    "token",
    "image",
    "url",
    "policy",
    "safety",
];

// === impl Trouble ===

impl Trouble {
    /// What of the request it is about: by its kind, its code and the field that it names, and only where they tell nothing by its words.
    pub fn subject(&self) -> Subject {
        let (code, param) = (self.code.as_deref().unwrap_or_default(), self.param.as_deref().unwrap_or_default());
        let begins = |names: &[&str]| names.iter().any(|name| param.starts_with(name));
        let words = format!("{code} {param} {}", self.message).to_ascii_lowercase();
        let has = |all: &[&str]| all.iter().any(|one| words.contains(one));
        match self.kind {
            TroubleKind::TooLarge => Subject::Said,
            _ if begins(&FORMAT) => Subject::Format,
            _ if CODES.iter().any(|known| code.starts_with(known)) => Subject::Said,
            // A format is part of what some say of `messages`.
            _ if has(&FORMAT_WORDS) => Subject::Format,
            _ if begins(&SAID) => Subject::Said,
            _ if param.is_empty() && has(&SAID_WORDS) => Subject::Said,
            _ => Subject::Rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(code: &str, param: &str, message: &str) -> Subject {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Trouble { kind: TroubleKind::Invalid, code: some(code), message: message.to_owned(), param: some(param) }.subject()
    }

    #[test]
    fn what_an_error_is_about_is_told_by_what_it_names() {
        assert_eq!(about("context_length_exceeded", "messages", "This model's maximum context length is 8192 tokens."), Subject::Said);
        assert_eq!(about("", "temperature", "Maximum value is 2: too large."), Subject::Rest);
        assert_eq!(about("", "max_tokens", "max_tokens is too large"), Subject::Rest);
        assert_eq!(about("invalid_value", "response_format", "Invalid value."), Subject::Format);
        assert_eq!(about("", "", "Structured outputs are not supported"), Subject::Format);
        assert_eq!(about("", "", "prompt is too long: 210000 tokens > 200000 maximum"), Subject::Said);
        assert_eq!(about("", "messages.0.content.1", "Could not process it"), Subject::Said);
        assert_eq!(about("model_not_found", "model", "There is no such model"), Subject::Rest);
    }
}
