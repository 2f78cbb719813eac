//! Keeps a server's credential out of what is told and logged of it: some servers repeat what they were sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::key::diagnose;
use crate::route::Secret;
use crate::route::forms::{self, SHORTEST};

/// What a server was given that nobody else may see, each in the forms in which it may be repeated.
#[derive(Debug, Default)]
pub struct Secrets {
    fixed: Vec<Secret>,
    granted: Mutex<Granted>,
}

/// The tokens that were granted last: one that was renewed is good for a while, and calls that run carry it.
#[derive(Debug, Default)]
struct Granted {
    tokens: VecDeque<Secret>,
    forms: Arc<[Secret]>,
}

/// Characters of an error, and of a line, that are told.
pub const MOST_TOLD: usize = 500;
/// A token lives for minutes at least, and what is older than these has ended.
const MOST_GRANTED: usize = 4;
const IN_ITS_PLACE: &str = "…";
/// How the words of a name end whose value is a secret, and what is such a word by itself alone.
const ENDINGS: [&str; 6] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASS", "CREDENTIAL"];
const WORDS: [&str; 4] = ["AUTH", "AUTHORIZATION", "PAT", "PWD"];

// === impl Secrets ===

impl Secrets {
    /// Of these texts.
    pub fn of(texts: impl IntoIterator<Item = String>) -> Secrets {
        let mut texts: Vec<String> = texts.into_iter().filter(|text| text.len() >= SHORTEST).collect();
        // One that holds another goes first, or its rest would stay.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Secrets { fixed: texts.iter().flat_map(|text| forms(text)).collect(), granted: Mutex::default() }
    }

    /// A token was granted.
    pub fn granted(&self, token: &str) {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        if granted.tokens.iter().any(|known| known.expose() == token) {
            return;
        }
        if granted.tokens.len() == MOST_GRANTED {
            granted.tokens.pop_front();
        }
        granted.tokens.push_back(Secret::new(token));
        let mut all: Vec<Secret> = granted.tokens.iter().flat_map(|token| forms(token.expose())).collect();
        all.sort_by_key(|form| std::cmp::Reverse(form.expose().len()));
        granted.forms = all.into();
    }

    fn forms_of_granted(&self) -> Arc<[Secret]> {
        Arc::clone(&self.granted.lock().unwrap_or_else(PoisonError::into_inner).forms)
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.forms_of_granted().is_empty()
    }

    /// A text without them, in whichever form they stand there.
    pub fn masked(&self, text: &str) -> String {
        let granted = self.forms_of_granted();
        let forms = self.fixed.iter().chain(granted.iter()).map(Secret::expose);
        // A result may be large, and mostly there is none of them in it.
        forms.fold(text.to_owned(), |text, form| if text.contains(form) { text.replace(form, IN_ITS_PLACE) } else { text })
    }

    /// The same for what is told as JSON; none where it is not what it was without them.
    pub fn masked_in<T: Serialize + DeserializeOwned>(&self, told: T) -> Option<T> {
        if self.is_empty() {
            return Some(told);
        }
        let mut value = serde_json::to_value(&told).ok()?;
        if self.mask(&mut value) { serde_json::from_value(value).ok() } else { Some(told) }
    }

    /// Masks each text and number that is told in a value; whether there was something to mask.
    fn mask(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => self.mask_text(text),
            Value::Number(number) => {
                let is_secret = self.holds(&number.to_string());
                if is_secret {
                    // Whoever reads it wants a number.
                    *value = Value::from(0);
                }
                is_secret
            }
            Value::Array(entries) => {
                let mut is_masked = false;
                for entry in entries {
                    is_masked |= self.mask(entry);
                }
                is_masked
            }
            Value::Object(members) => {
                let is_media = members.get("type").is_some_and(|kind| kind == "image" || kind == "audio");
                let mut is_masked = false;
                for (name, member) in members.iter_mut() {
                    is_masked |= match member {
                        Value::String(bytes) if name == "blob" || (is_media && name == "data") => self.mask_bytes(bytes),
                        member => self.mask(member),
                    };
                }
                let names: Vec<String> = members.keys().filter(|name| self.holds(name)).cloned().collect();
                for name in &names {
                    if let Some(member) = members.shift_remove(name) {
                        members.insert(self.masked(name), member);
                    }
                }
                is_masked || !names.is_empty()
            }
            Value::Null | Value::Bool(_) => false,
        }
    }

    /// Masks bytes that are told as base64, which stays base64 of as many.
    fn mask_bytes(&self, text: &mut String) -> bool {
        let Ok(mut bytes) = STANDARD.decode(text.as_bytes()) else { return self.mask_text(text) };
        let granted = self.forms_of_granted();
        let mut is_masked = false;
        for form in self.fixed.iter().chain(granted.iter()).map(|form| form.expose().as_bytes()) {
            let places: Vec<usize> = memmem::find_iter(&bytes, form).collect();
            is_masked |= !places.is_empty();
            places.into_iter().for_each(|at| bytes[at..at + form.len()].fill(b'*'));
        }
        if is_masked {
            *text = STANDARD.encode(&bytes);
        }
        is_masked
    }

    fn mask_text(&self, text: &mut String) -> bool {
        let holds = self.holds(text);
        if holds {
            *text = self.masked(text);
        }
        holds
    }

    fn holds(&self, text: &str) -> bool {
        let granted = self.forms_of_granted();
        self.fixed.iter().chain(granted.iter()).any(|form| text.contains(form.expose()))
    }
}

/// Whether what stands in the configuration itself is a secret: its name says so, or it looks like a key.
pub fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let is_word = |word: &str| WORDS.contains(&word) || ENDINGS.iter().any(|ending| word.ends_with(ending));
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| is_word(word) || word.strip_suffix('S').is_some_and(is_word)) || diagnose::is_secret(value)
}

/// The forms of a secret, those that hold others first.
fn forms(secret: &str) -> impl Iterator<Item = Secret> {
    let mut all: Vec<String> = forms::of(secret).into_iter().filter(|form| form.len() >= SHORTEST).collect();
    all.extend(all.clone().iter().map(|form| lower_escapes(form)));
    all.sort_by(|one, other| (other.len(), other).cmp(&(one.len(), one)));
    all.dedup();
    all.into_iter().map(Secret::new)
}

/// `%2F` as `%2f`: both are the same.
fn lower_escapes(text: &str) -> String {
    let mut left = 0;
    let lower = |c: char| {
        left = if c == '%' { 3 } else { left - i32::from(left > 0) };
        if left > 0 { c.to_ascii_lowercase() } else { c }
    };
    text.chars().map(lower).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_credential_is_masked_in_every_form() {
        let secrets = Secrets::of(["to/ken+A.b~c".to_owned(), "none".to_owned()]);
        secrets.granted("granted-token");
        for told in ["to/ken+A.b~c", "to%2Fken%2BA%2Eb%7Ec", "to%2Fken%2BA.b~c", "to%2fken%2bA.b~c", "granted-token"] {
            assert_eq!(secrets.masked(&format!("bad token '{told}'")), "bad token '…'", "{told}");
        }
        assert_eq!(secrets.masked("none is given"), "none is given");
    }

    #[test]
    fn tokens_that_were_renewed_are_masked_for_a_while() {
        let secrets = Secrets::default();
        (0..5).for_each(|number| secrets.granted(&format!("granted-{number}")));
        secrets.granted("granted-4");
        assert_eq!(secrets.masked("granted-0 granted-1 granted-3 granted-4"), "granted-0 … … …");
    }

    #[test]
    fn base64_of_what_holds_a_credential_is_masked_wherever_that_begins() {
        let secrets = Secrets::of(["secret-zzzzzz".to_owned()]);
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "!", "!!", "!!!"] {
                let told = secrets.masked(&STANDARD.encode(format!("{before}secret-zzzzzz{after}")));
                assert!(told.contains('…') && told.chars().count() <= before.len() + after.len() + 8, "{before:?} {after:?}: {told}");
            }
        }
    }

    #[test]
    fn json_stays_what_it_is_without_a_credential() {
        let secrets = Secrets::of(["48151623".to_owned(), "say \"please\" now".to_owned()]);
        let inner = json!({ "a": "say \"please\" now twice" }).to_string();
        let told = json!({
            "pin": 48151623, "other": 7, "texts": ["pin 48151623", inner], "48151623": true,
            "content": [{ "type": "image", "data": STANDARD.encode("x48151623y"), "mimeType": "image/png" }],
            "resource": { "uri": "x://y", "blob": STANDARD.encode("nothing of it") },
        });
        let expected = json!({
            "pin": 0, "other": 7, "texts": ["pin …", "{\"a\":\"… twice\"}"],
            "content": [{ "type": "image", "data": STANDARD.encode("x********y"), "mimeType": "image/png" }],
            "resource": { "uri": "x://y", "blob": STANDARD.encode("nothing of it") },
            "…": true,
        });
        assert_eq!(secrets.masked_in(told), Some(expected));
        let stars = Secrets::of(["********".to_owned()]);
        let blob = json!({ "blob": STANDARD.encode("x********************y") });
        assert_eq!(stars.masked_in(blob.clone()), Some(blob), "one that looks like what takes its place ends all the same");
        // What cannot be told without it is not told.
        assert_eq!(Secrets::of(["assistant".to_owned()]).masked_in(rmcp::model::Role::Assistant), None);
    }

    #[test]
    fn a_name_or_a_shape_tells_a_secret() {
        for name in ["GITHUB_TOKEN", "OPENAI_APIKEY", "x-api-key", "DB_PASS", "GITHUB_PAT", "BASIC_AUTH", "Authorization", "API_KEYS"] {
            assert!(is_secret(name, "verbose"), "{name}");
        }
        for name in ["LOG_LEVEL", "PATH", "AUTHOR", "PATTERN", "KEYBOARD", "MODE"] {
            assert!(!is_secret(name, "verbose"), "{name}");
        }
        assert!(is_secret("MODE", &format!("sk-proj-{}", "a".repeat(40))));
    }
}
