//! What was approved of a server as it is: what changed since then waits for a new approval.
//!
//! Whoever runs a server can change what it says of itself, and a model obeys that: what was approved once is what was read by somebody.
//! The first that is seen of a thing counts as approved. The texts are kept themselves, so that whoever approves sees what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::digest::{Context, SHA256};
use serde_json::Value;

use super::Listing;
use super::said::{Key, Kind, Said};
use crate::hex::hex;
use crate::hidden::is_hidden;
use crate::prompt::examples::diff;
use crate::shelf;

/// Texts that were approved, in a file that the command line changes too.
#[derive(Debug)]
pub struct Approvals {
    file: PathBuf,
}

/// By server, by what says it.
type Texts = BTreeMap<String, BTreeMap<Key, Value>>;

/// What is not as it was approved, or was never seen.
#[derive(Clone, Debug)]
pub struct Change {
    /// What it is.
    pub key: Key,
    /// As it was approved; none where it is seen for the first time.
    pub before: Option<Value>,
    /// As it is.
    pub now: Value,
}

/// So many resources of one server are kept, and so much else; what it has beyond that is held back.
const MOST: usize = 5000;
/// Hexadecimal digits of a digest that somebody repeats.
const DIGITS: usize = 32;

// === impl Approvals ===

impl Approvals {
    /// The approvals of a data folder.
    pub fn open(data: &Path) -> Approvals {
        Approvals { file: data.join("mcp-approvals.json") }
    }

    /// What tells one state of the file from the next: each is a file of its own.
    pub fn written(&self) -> Option<(SystemTime, u64)> {
        let facts = std::fs::metadata(&self.file).ok()?;
        Some((facts.modified().ok()?, facts.ino()))
    }

    /// What of a server is not as it was approved; what was never seen before is approved now.
    pub fn held_back(&self, server: &str, listing: &Listing) -> std::io::Result<BTreeSet<Key>> {
        self.changed(server, |approved| {
            let (mut held_back, said) = (BTreeSet::new(), Said::by(listing));
            let mut resources = approved.keys().filter(|key| key.kind == Kind::Resource).count();
            let new = said.iter().filter(|said| said.key.kind == Kind::Resource && !approved.contains_key(&said.key)).count();
            if resources + new > MOST {
                // Resources come and go all day: those that are there no longer make room.
                let there: BTreeSet<&Key> = said.iter().map(|said| &said.key).collect();
                approved.retain(|key, _| key.kind != Kind::Resource || there.contains(key));
                resources = approved.keys().filter(|key| key.kind == Kind::Resource).count();
            }
            for Said { key, text } in said {
                let (is_new, is_resource) = (!approved.contains_key(&key), key.kind == Kind::Resource);
                let known = if is_resource { resources } else { approved.len() - resources };
                if is_new && known < MOST {
                    resources += usize::from(is_resource);
                    approved.insert(key, text);
                } else if is_new || approved[&key] != text {
                    held_back.insert(key);
                }
            }
            held_back
        })
    }

    /// What of a server would have to be approved, and nothing is approved by looking.
    pub fn changes(&self, server: &str, listing: &Listing) -> std::io::Result<Vec<Change>> {
        let mut approved = read(&self.file)?.remove(server).unwrap_or_default();
        let change = |Said { key, text: now }| {
            let before = approved.remove(&key);
            (before.as_ref() != Some(&now)).then_some(Change { key, before, now })
        };
        Ok(Said::by(listing).into_iter().filter_map(change).collect())
    }

    /// Approves what was shown.
    pub fn approve(&self, server: &str, shown: &[Change]) -> std::io::Result<()> {
        self.changed(server, |approved| approved.extend(shown.iter().map(|change| (change.key.clone(), change.now.clone()))))
    }

    /// Reads, changes and writes under a lock: the gateway and the command line may do so at once.
    fn changed<T>(&self, server: &str, change: impl FnOnce(&mut BTreeMap<Key, Value>) -> T) -> std::io::Result<T> {
        let lock = File::options().create(true).truncate(false).write(true).open(self.file.with_extension("lock"))?;
        lock.lock()?;
        let before = read(&self.file)?;
        let mut texts = before.clone();
        let done = change(texts.entry(server.to_owned()).or_default());
        if texts != before {
            shelf::put(&self.file, &(serde_json::to_string_pretty(&texts)? + "\n"))?;
        }
        Ok(done)
    }
}

// === impl Change ===

impl Change {
    /// How it differs, by lines.
    pub fn shown(&self) -> String {
        let text = |value: &Value| visible(&format!("{value:#}\n"));
        let before = self.before.as_ref().map(text).unwrap_or_default();
        let named = |what: &str| visible(&format!("{}, {what}", self.key));
        let before_is = if self.before.is_some() { "as approved" } else { "not seen before" };
        diff(&before, &text(&self.now), (&named(before_is), &named("as it is")))
    }

    /// What stands for all of them, as they are shown.
    pub fn digest(server: &str, changes: &[Change]) -> String {
        let mut context = Context::new(&SHA256);
        let all: Vec<_> = changes.iter().map(|change| (&change.key, &change.before, &change.now)).collect();
        context.update(serde_json::json!([server, all]).to_string().as_bytes());
        hex(context.finish().as_ref()).chars().take(DIGITS).collect()
    }
}

/// The text with what nobody would see, or what would change how the rest is seen, written out.
fn visible(text: &str) -> String {
    // Selectors of variants and tags can carry a whole text.
    let carries = |c: char| matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}');
    let shown =
        |c: char| if (c.is_control() && c != '\n') || is_hidden(c) || carries(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

fn read(file: &Path) -> std::io::Result<Texts> {
    match std::fs::read(file) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Texts::new()),
        Err(error) => Err(error),
    }
}
