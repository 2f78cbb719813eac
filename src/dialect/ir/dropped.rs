//! The names of what a target dialect cannot express: told to the caller in the `keyward-dropped` header.

use std::borrow::Cow;

use http::HeaderValue;

use super::called::called;
use crate::catalog::Dialect;

/// Names such as `top_k` or `logprobs`, each once, in the order in which they were met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped(Vec<Cow<'static, str>>);

/// A header longer than this would be refused by some clients: what does not fit is counted.
const LONGEST_HEADER: usize = 1024;

// === impl Dropped ===

impl Dropped {
    /// Names something that is not sent on.
    pub fn note(&mut self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        if !self.0.contains(&name) {
            self.0.push(name);
        }
    }

    /// Names something if it is there.
    pub fn note_if(&mut self, is_there: bool, name: &'static str) {
        if is_there {
            self.note(name);
        }
    }

    /// Whether everything was sent on.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The value of `keyward-dropped`: what the caller that wrote `body` in `dialect` calls them, with commas between; `None` where nothing was dropped.
    pub fn header(&self, dialect: Dialect, body: &[u8]) -> Option<HeaderValue> {
        let mut text = String::new();
        for (at, name) in self.names().enumerate() {
            let name: String = called(name, dialect, body).chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
            if text.len() + name.len() > LONGEST_HEADER {
                text.push_str(&format!(", and {} more", self.0.len() - at));
                break;
            }
            if at > 0 {
                text.push_str(", ");
            }
            text.push_str(&name);
        }
        HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
    }
}
