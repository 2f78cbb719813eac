//! What was approved of a server as it is: what changed since then waits for a new approval.
//!
//! Whoever runs a server can change what it says of itself, and a model obeys that: what was approved once is what was read by somebody.
//! The first that is seen of a thing counts as approved. The texts are kept themselves, so that whoever approves sees what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA256};
use serde_json::Value;

use super::Listing;
use super::approved::{self, Approved};
use super::said::{Key, Kind, Said};
use crate::hex::hex;
use crate::hidden::is_hidden;
use crate::prompt::examples::diff;
use crate::{owner, shelf};

/// Texts that were approved, in a file for each server that the command line changes too.
#[derive(Debug)]
pub struct Approvals {
    folder: PathBuf,
    /// Where older versions had those of all servers.
    older: PathBuf,
}

/// What was approved of one server, by what says it.
type Texts = BTreeMap<Key, Approved>;

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
/// So is what it has beyond so many bytes.
const MOST_BYTES: usize = 8 << 20;
/// What a server has had no more for so long makes room for what it has, in seconds: less, and it could come back as another at once.
const LONG_GONE: u64 = 30 * 24 * 3600;
/// Hexadecimal digits of a digest that somebody repeats.
const DIGITS: usize = 32;

/// How much is kept of one server.
#[derive(Default)]
struct Room {
    resources: usize,
    others: usize,
    bytes: usize,
}

// === impl Approvals ===

impl Approvals {
    /// The approvals of a data folder.
    pub fn open(data: &Path) -> Approvals {
        Approvals { folder: data.join("mcp-approvals"), older: data.join("mcp-approvals.json") }
    }

    /// What tells one state of a server's file from the next: each is a file of its own.
    pub fn written(&self, server: &str) -> Option<(SystemTime, u64)> {
        let facts = std::fs::metadata(self.file(server)).ok()?;
        Some((facts.modified().ok()?, facts.ino()))
    }

    /// What of a server is not as it was approved; what was never seen before is approved now.
    pub fn held_back(&self, server: &str, listing: &Listing) -> std::io::Result<BTreeSet<Key>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.changed(server, |approved| first_seen(approved, Said::by(listing), now))
    }

    /// What of a server would have to be approved, and nothing is approved by looking.
    pub fn changes(&self, server: &str, listing: &Listing) -> std::io::Result<Vec<Change>> {
        let mut approved = self.read(server)?;
        let change = |said: Said| {
            let before = approved.remove(&said.key);
            let is_approved = before.as_ref().is_some_and(|before| before.is(&said));
            (!is_approved).then(|| Change { key: said.key, before: before.map(|before| before.text), now: said.text })
        };
        Ok(Said::by(listing).into_iter().filter_map(change).collect())
    }

    /// As what some things were approved, as far as they were.
    pub fn of(&self, server: &str, keys: &BTreeSet<Key>) -> std::io::Result<Vec<(Key, Value)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let approved = self.read(server)?.into_iter().filter(|(key, _)| keys.contains(key));
        Ok(approved.map(|(key, approved)| (key, approved.text)).collect())
    }

    /// Approves what was shown.
    pub fn approve(&self, server: &str, shown: &[Change]) -> std::io::Result<()> {
        self.changed(server, |approved| approved.extend(shown.iter().map(|change| (change.key.clone(), Approved::of(&change.now)))))
    }

    /// Reads, changes and writes under a lock: the gateway and the command line may do so at once.
    fn changed<T>(&self, server: &str, change: impl FnOnce(&mut Texts) -> T) -> std::io::Result<T> {
        let lock = owner::open(File::options().write(true), &self.folder.with_extension("lock"))?;
        lock.lock()?;
        let file = self.file(server);
        let before = written(&file)?;
        let mut texts = self.texts(server, before.as_deref())?;
        let done = change(&mut texts);
        let after = serde_json::to_string_pretty(&texts)? + "\n";
        if before.as_deref() != Some(after.as_bytes()) {
            owner::make_folder(&self.folder)?;
            shelf::put(&file, &after)?;
        }
        self.move_on(server)?;
        Ok(done)
    }

    fn file(&self, server: &str) -> PathBuf {
        self.folder.join(format!("{server}.json"))
    }

    fn read(&self, server: &str) -> std::io::Result<Texts> {
        self.texts(server, written(&self.file(server))?.as_deref())
    }

    /// What a server's file says, or where there is none yet the file of all servers.
    fn texts(&self, server: &str, written: Option<&[u8]>) -> std::io::Result<Texts> {
        match written {
            Some(text) => Ok(serde_json::from_slice(text)?),
            None => Ok(self.read_older()?.and_then(|mut all| all.remove(server)).unwrap_or_default()),
        }
    }

    fn read_older(&self) -> std::io::Result<Option<BTreeMap<String, Texts>>> {
        Ok(written(&self.older)?.map(|text| serde_json::from_slice(&text)).transpose()?)
    }

    /// Takes out of the file of all servers what stands in the server's own: whoever removes that begins anew.
    fn move_on(&self, server: &str) -> std::io::Result<()> {
        let Some(mut all) = self.read_older()? else { return Ok(()) };
        match all.remove(server) {
            None => Ok(()),
            Some(_) if all.is_empty() => std::fs::remove_file(&self.older),
            Some(_) => shelf::put(&self.older, &(serde_json::to_string_pretty(&all)? + "\n")),
        }
    }
}

/// Approves what is seen for the first time, as far as there is room; tells what is held back.
fn first_seen(approved: &mut Texts, said: Vec<Said>, now: u64) -> BTreeSet<Key> {
    let there: BTreeSet<&Key> = said.iter().map(|said| &said.key).collect();
    for (key, approved) in approved.iter_mut().filter(|(key, _)| key.kind != Kind::Resource) {
        approved.gone_since = if there.contains(key) { None } else { approved.gone_since.or(Some(now)) };
    }
    let mut room = Room::of(approved.iter());
    let mut new = Room::of([]);
    said.iter().filter(|said| !approved.contains_key(&said.key)).for_each(|said| new.take(&said.key, &Approved::of(&said.text)));
    if room.is_short_of(&new) {
        // Resources come and go all day.
        approved.retain(|key, approved| match key.kind {
            Kind::Resource => there.contains(key),
            _ => approved.gone_since.is_none_or(|since| now.saturating_sub(since) < LONG_GONE),
        });
        room = Room::of(approved.iter());
    }
    let mut held_back = BTreeSet::new();
    for said in said {
        let text = Approved::of(&said.text);
        match approved.get_mut(&said.key) {
            Some(known) if known.is(&said) => *known = text,
            Some(_) => drop(held_back.insert(said.key)),
            None if room.has_place(&said.key, &text) => {
                room.take(&said.key, &text);
                approved.insert(said.key, text);
            }
            None => drop(held_back.insert(said.key)),
        }
    }
    held_back
}

// === impl Room ===

impl Room {
    /// What these take.
    fn of<'a>(approved: impl IntoIterator<Item = (&'a Key, &'a Approved)>) -> Room {
        let mut room = Room::default();
        approved.into_iter().for_each(|(key, approved)| room.take(key, approved));
        room
    }

    fn take(&mut self, key: &Key, approved: &Approved) {
        *(if key.kind == Kind::Resource { &mut self.resources } else { &mut self.others }) += 1;
        self.bytes += bytes(key, approved);
    }

    fn has_place(&self, key: &Key, approved: &Approved) -> bool {
        let known = if key.kind == Kind::Resource { self.resources } else { self.others };
        known < MOST && self.bytes + bytes(key, approved) <= MOST_BYTES
    }

    fn is_short_of(&self, more: &Room) -> bool {
        self.resources + more.resources > MOST || self.others + more.others > MOST || self.bytes + more.bytes > MOST_BYTES
    }
}

fn bytes(key: &Key, approved: &Approved) -> usize {
    key.name.len() + approved.text.to_string().len()
}

/// What is in a file; none where there is no file.
fn written(file: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::read(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

// === impl Change ===

impl Change {
    /// How it differs, by lines.
    pub fn shown(&self) -> String {
        let text = |value: &Value| visible(&approved::shown(value));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    const TODAY: u64 = 1_800_000_000;
    /// More than is kept of a text.
    const LONG: usize = 20_000;

    fn tool(name: &str, description: &str) -> Said {
        Said { key: Key::new(Kind::Tool, name), text: json!({ "name": name, "description": description }) }
    }

    fn kept(approved: &Texts) -> usize {
        serde_json::to_string(approved).unwrap().len()
    }

    #[test]
    fn what_is_kept_of_one_server_has_a_bound() {
        let (mut approved, long) = (Texts::new(), "x".repeat(LONG));
        let turns = 2 * MOST_BYTES / (500 * 2000);
        let held_back = (0..turns).map(|turn| {
            let said = (0..500).map(|one| tool(&format!("t{turn}-{one}"), &long)).collect();
            first_seen(&mut approved, said, TODAY).len()
        });
        assert_eq!(held_back.last(), Some(500), "what is beyond the bound is held back");
        let full = kept(&approved);
        assert!((MOST_BYTES / 2..MOST_BYTES * 5 / 4).contains(&full), "{full}");
        // What is gone for a short time could come back as another; what is gone for long makes room.
        let new = || vec![tool(&"new".repeat(100), &long)];
        assert_eq!(first_seen(&mut approved, new(), TODAY + LONG_GONE - 1).len(), 1);
        assert!(first_seen(&mut approved, new(), TODAY + LONG_GONE).is_empty());
    }

    #[test]
    fn a_long_text_is_known_again_and_its_change_is_seen() {
        let (long, mut approved) = ("x".repeat(100_000), Texts::new());
        assert!(first_seen(&mut approved, vec![tool("a", &long)], TODAY).is_empty());
        assert!(kept(&approved) < 5000);
        let mut read: Texts = serde_json::from_str(&serde_json::to_string(&approved).unwrap()).unwrap();
        assert!(first_seen(&mut read, vec![tool("a", &long)], TODAY).is_empty());
        assert_eq!(first_seen(&mut read, vec![tool("a", &(long.clone() + "y"))], TODAY).len(), 1);
        // One that an older version has kept whole is as good.
        let mut whole = Texts::from([(Key::new(Kind::Tool, "a"), Approved { text: tool("a", &long).text, gone_since: None })]);
        assert!(first_seen(&mut whole, vec![tool("a", &long)], TODAY).is_empty() && kept(&whole) < 5000);
        let change = Change { key: Key::new(Kind::Tool, "a"), before: Some(whole.into_values().next().unwrap().text), now: json!("z") };
        assert!(change.shown().contains("its beginning; 100") && change.shown().len() < 10_000, "{}", change.shown());
    }

    #[test]
    fn what_was_gone_for_a_while_is_still_what_was_approved() {
        let mut approved = Texts::new();
        assert!(first_seen(&mut approved, vec![tool("a", "good"), tool("b", "")], TODAY).is_empty());
        assert!(first_seen(&mut approved, vec![tool("b", "")], TODAY + 1).is_empty());
        let mut read: Texts = serde_json::from_str(&serde_json::to_string(&approved).unwrap()).unwrap();
        assert_eq!(read[&Key::new(Kind::Tool, "a")].gone_since, Some(TODAY + 1));
        assert_eq!(first_seen(&mut read, vec![tool("a", "bad")], TODAY + 2).len(), 1);
        assert!(first_seen(&mut read, vec![tool("a", "good")], TODAY + 3).is_empty());
        assert_eq!(read[&Key::new(Kind::Tool, "a")].gone_since, None);
    }

    #[test]
    fn what_older_versions_kept_stays_approved_and_moves() {
        let folder = tempfile::tempdir().unwrap();
        let older = folder.path().join("mcp-approvals.json");
        let resource = json!({ "name": "n", "title": null, "description": "d" });
        let texts = json!({ "web": { "resource file:///a": resource, "instructions": null }, "other": { "instructions": "hi" } });
        std::fs::write(&older, texts.to_string()).unwrap();
        let approvals = Approvals::open(folder.path());
        let listing = |description: &str, kind: &str| {
            let resource = json!({ "uri": "file:///a", "name": "n", "description": description, "mimeType": kind, "size": 7 });
            Listing { resources: vec![serde_json::from_value(resource).unwrap()], ..Listing::default() }
        };
        let held_back = |listing: &Listing| approvals.held_back("web", listing).unwrap().len();
        assert_eq!(held_back(&listing("other", "text/plain")), 1);
        assert_eq!(held_back(&listing("d", "text/plain")), 0);
        assert_eq!(held_back(&listing("d", "text/evil")), 1, "from now on all that is listed of it counts");
        let left: Value = serde_json::from_slice(&std::fs::read(&older).unwrap()).unwrap();
        assert_eq!(left, json!({ "other": { "instructions": "hi" } }));
        let instructions = Listing { instructions: Some("bye".to_owned()), ..Listing::default() };
        assert_eq!(approvals.held_back("other", &instructions).unwrap().len(), 1);
        assert!(!older.exists());
    }
}
