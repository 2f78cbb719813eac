//! Keeps a server's credential out of what is told and logged of it: some servers repeat what they were sent.

use std::sync::{Arc, Mutex, PoisonError};

use crate::route::Secret;
use crate::route::forms::{self, SHORTEST};

/// What a server was given that nobody else may see, each in the forms in which it may be repeated.
#[derive(Debug, Default)]
pub struct Secrets {
    fixed: Vec<Secret>,
    /// The forms of the token that was granted last.
    granted: Mutex<Arc<[Secret]>>,
}

/// Characters of an error, and of a line, that are told.
pub const MOST_TOLD: usize = 500;
const IN_ITS_PLACE: &str = "…";

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
        *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = forms(token).collect();
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.granted.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// A text without them, in whichever form they stand there.
    pub fn masked(&self, text: &str) -> String {
        let granted = Arc::clone(&self.granted.lock().unwrap_or_else(PoisonError::into_inner));
        let forms = self.fixed.iter().chain(granted.iter()).map(Secret::expose);
        // A result may be large, and mostly there is none of them in it.
        forms.fold(text.to_owned(), |text, form| if text.contains(form) { text.replace(form, IN_ITS_PLACE) } else { text })
    }
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
}
