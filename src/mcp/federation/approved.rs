//! What is kept of one thing that was approved: its text, or of a long one its beginning and what stands for the whole.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::said::Said;
use crate::hex::hex;

/// A text that was approved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Value", from = "Value")]
pub struct Approved {
    /// The text, or what is kept of a long one.
    pub text: Value,
    /// Since when the server has no such thing any more, in seconds of Unix time.
    pub gone_since: Option<u64>,
}

/// A longer text is not kept whole.
const LONGEST: usize = 16 << 10;
/// So much of it is, for whoever looks at what has changed.
const BEGINNING: usize = 2 << 10;
/// The members of what is kept of a long text: nothing that a server can list has them.
const DIGEST: &str = "sha256";
const LENGTH: &str = "length";
const BEGINS: &str = "begins";

// === impl Approved ===

impl Approved {
    /// Of what a server says.
    pub fn of(text: &Value) -> Approved {
        Approved { text: kept(text), gone_since: None }
    }

    /// Whether what a server says is what was approved, also where that was kept by older versions.
    pub fn is(&self, said: &Said) -> bool {
        self.text == said.text || self.text == kept(&said.text) || said.older().is_some_and(|older| self.text == older)
    }
}

impl From<Approved> for Value {
    fn from(approved: Approved) -> Value {
        match approved.gone_since {
            Some(since) => json!({ "approved": approved.text, "gone_since": since }),
            None => approved.text,
        }
    }
}

impl From<Value> for Approved {
    fn from(value: Value) -> Approved {
        let since = value.get("gone_since").and_then(Value::as_u64);
        match (value, since) {
            (Value::Object(mut members), Some(since)) if members.len() == 2 && members.contains_key("approved") => {
                Approved { text: members.shift_remove("approved").unwrap_or_default(), gone_since: Some(since) }
            }
            (text, _) => Approved { text, gone_since: None },
        }
    }
}

/// A kept text as it is shown, by lines.
pub fn shown(text: &Value) -> String {
    match text.get(DIGEST).filter(|_| text.get("name").is_none()) {
        Some(digest) => {
            let begins = text[BEGINS].as_str().unwrap_or_default();
            format!("{begins}…\n(its beginning; {} bytes in all, SHA-256 {})\n", text[LENGTH], digest.as_str().unwrap_or_default())
        }
        None => format!("{text:#}\n"),
    }
}

/// What is kept of a text.
fn kept(text: &Value) -> Value {
    let whole = text.to_string();
    if whole.len() <= LONGEST {
        return text.clone();
    }
    let shown = format!("{text:#}");
    let begins = &shown[..shown.floor_char_boundary(BEGINNING)];
    json!({ DIGEST: hex(digest(&SHA256, whole.as_bytes()).as_ref()), LENGTH: whole.len(), BEGINS: begins })
}
