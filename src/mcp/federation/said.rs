//! What a server says of itself, and a model reads: of its use, and of each thing that it has.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Listing;

/// What says something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Key {
    /// What kind of thing.
    pub kind: Kind,
    /// Its name or URI.
    pub name: String,
}

/// The kinds of things that a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What it says of its use altogether.
    Instructions,
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource.
    Resource,
    /// A template of resources.
    Template,
}

/// Something, and what it says.
#[derive(Debug)]
pub struct Said {
    /// What says it.
    pub key: Key,
    /// All that a model, or whoever looks at a list, reads of it.
    pub text: Value,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Instructions, "instructions"),
    (Kind::Tool, "tool"),
    (Kind::Prompt, "prompt"),
    (Kind::Resource, "resource"),
    (Kind::Template, "template"),
];

/// A kind of file, as `application/json` is one, is no longer.
const LONGEST_KIND: usize = 100;

// === impl Said ===

impl Said {
    /// All that a server says. Of resources, whose lists change all day, only those that say something beyond their URI.
    pub fn by(listing: &Listing) -> Vec<Said> {
        let said = |kind, name: &str, mut text: Value| {
            // A server may write members in another order each time.
            text.sort_all_objects();
            Said { key: Key::new(kind, name), text }
        };
        let mut all = vec![said(Kind::Instructions, "", json!(listing.instructions))];
        all.extend(listing.tools.iter().map(|tool| said(Kind::Tool, &tool.name, json!(tool))));
        all.extend(listing.prompts.iter().map(|prompt| said(Kind::Prompt, &prompt.name, json!(prompt))));
        let resources = listing.resources.iter().map(|one| said(Kind::Resource, &one.uri, lasting(json!(one))));
        let templates = listing.templates.iter().map(|one| said(Kind::Template, &one.uri_template, lasting(json!(one))));
        all.extend(resources.chain(templates).filter(|said| says_more(&said.key.name, &said.text)));
        all
    }

    /// What older versions kept of it, where that was less.
    pub fn older(&self) -> Option<Value> {
        let is_less = matches!(self.key.kind, Kind::Resource | Kind::Template);
        is_less.then(|| json!({ "name": self.text["name"], "title": self.text["title"], "description": self.text["description"] }))
    }
}

/// What of a resource or a template is no other at each change of what it holds: its size and its time say nothing to a model.
fn lasting(mut text: Value) -> Value {
    if let Value::Object(members) = &mut text {
        members.shift_remove("size");
        if let Some(Value::Object(annotations)) = members.get_mut("annotations") {
            annotations.shift_remove("lastModified");
            if annotations.is_empty() {
                members.shift_remove("annotations");
            }
        }
    }
    text
}

/// Whether a resource or a template says more than its URI and what kind of file it is.
fn says_more(uri: &str, text: &Value) -> bool {
    let is_kind = |kind: &str| kind.len() <= LONGEST_KIND && kind.chars().all(|c| c.is_ascii_alphanumeric() || "/.+-".contains(c));
    text.as_object().into_iter().flatten().any(|(name, member)| match (&**name, member.as_str()) {
        ("uri" | "uriTemplate", _) => false,
        ("name", Some(name)) => !uri.ends_with(name),
        ("mimeType", Some(kind)) => !is_kind(kind),
        _ => true,
    })
}

// === impl Key ===

impl Key {
    /// Of a kind and a name; instructions have none.
    pub fn new(kind: Kind, name: &str) -> Key {
        Key { kind, name: name.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, word)| word);
        match self.kind {
            Kind::Instructions => f.write_str(kind),
            _ => write!(f, "{kind} {}", self.name),
        }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}

impl From<String> for Key {
    fn from(text: String) -> Key {
        let (word, name) = text.split_once(' ').unwrap_or((&text, ""));
        let kind = KINDS.iter().find(|(_, known)| *known == word).map_or(Kind::Tool, |(kind, _)| *kind);
        Key::new(kind, name)
    }
}
