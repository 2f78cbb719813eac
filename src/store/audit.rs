//! Who changed what: an append-only list in which each entry's hash covers the one before, so that none can be changed or taken out unseen.

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::Serialize;
use serde_json::{Value, json};

use super::{AuditStore, StoreError};
use crate::hex::hex;
use crate::key::KeyId;

/// What is noted when the list's end begins to be kept.
pub const SEAL: &str = "audit.seal";
/// Entries that are verified at a time.
const PIECE: u32 = 1000;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody with the command line, by the name of their account on the machine.
    CommandLine(String),
    /// Somebody with an admin key.
    Key(KeyId),
    /// The gateway by itself, at its first start.
    Gateway,
    /// A secret scanner that reports leaks.
    Scanner(&'static str),
}

/// Something that was done, before it is written down.
#[derive(Clone, Debug)]
pub struct Note {
    /// Who did it.
    pub actor: Actor,
    /// What: `key.create`, `project.update`, …
    pub action: &'static str,
    /// To what: an id.
    pub subject: String,
    /// What is different from before; never a secret.
    pub detail: Value,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Entry {
    /// Its place, from 1.
    pub number: i64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// What is different from before, as JSON.
    pub detail: String,
    /// SHA-256 over the entry before and this one, as hexadecimal digits.
    pub hash: String,
}

// === impl Note ===

impl Note {
    /// Notes a change of what is not in the store, and then makes it: nothing is done that the audit does not tell, and what failed is told too.
    pub async fn around<T, E: From<StoreError>>(
        mut self,
        store: &dyn AuditStore,
        change: impl Future<Output = Result<T, E>>,
        why: impl Fn(&E) -> String,
    ) -> Result<T, E> {
        store.note(&self).await?;
        let made = change.await;
        if let Err(e) = &made {
            self.detail = json!({ "failed": why(e) });
            store.note(&self).await?;
        }
        made
    }
}

/// The name of the account with this number, in a text as passwd(5) has it.
fn account(accounts: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let is_it = |line: &&str| line.split(':').nth(2) == Some(uid.as_str());
    Some(accounts.lines().find(is_it)?.split(':').next()?.to_owned())
}

// === impl Actor ===

impl Actor {
    /// Whoever runs this process: by the account that it runs under, which nobody chooses as they choose a variable's value; of root, who could
    /// be anybody, also who sudo says it was.
    pub fn of_process() -> Actor {
        let uid = rustix::process::getuid();
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = account(&accounts, uid.as_raw()).unwrap_or_else(|| format!("uid {}", uid.as_raw()));
        let sudo = std::env::var("SUDO_USER").ok().filter(|_| uid.is_root());
        let name = sudo.map_or_else(|| name.clone(), |sudo| format!("{name} ({sudo})"));
        Actor::CommandLine(name.chars().filter(|c| !c.is_control()).take(64).collect())
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Actor::CommandLine(name) => write!(f, "cli:{name}"),
            Actor::Key(id) => write!(f, "key:{id}"),
            Actor::Gateway => f.write_str("gateway"),
            Actor::Scanner(name) => write!(f, "scanner:{name}"),
        }
    }
}

// === impl Note ===

impl Note {
    /// The entry that follows `last`.
    pub fn entry(&self, last: Option<(i64, &str)>, at: Timestamp) -> Entry {
        let (number, before) = last.map_or((1, ""), |(number, hash)| (number + 1, hash));
        let mut entry = Entry {
            number,
            at,
            actor: self.actor.to_string(),
            action: self.action.to_owned(),
            subject: self.subject.clone(),
            detail: self.detail.to_string(),
            hash: String::new(),
        };
        entry.hash = entry.hash_after(before);
        entry
    }
}

// === impl Entry ===

impl Entry {
    fn follows(&self, before: &Entry) -> bool {
        before.number + 1 == self.number && self.hash_after(&before.hash) == self.hash
    }

    /// The hash that this entry must have after one with the hash `before`.
    pub fn hash_after(&self, before: &str) -> String {
        let mut context = Context::new(&SHA256);
        let (number, at) = (self.number.to_string(), self.at.as_microsecond().to_string());
        for part in [before, &number, &at, &self.actor, &self.action, &self.subject, &self.detail] {
            // With its length before it, no part can borrow from its neighbour.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex(context.finish().as_ref())
    }
}

/// What is known of the list's end beside the list: the newest entry's number and hash, under a code that the server's secret makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// The newest entry has this number and this hash.
    At(i64, String),
    /// Nothing is known: nothing was ever noted, or what was known is gone.
    None,
    /// What stands there was not made with the secret of this store.
    Forged,
    /// The store was opened without a secret, and keeps none.
    Unkept,
}

/// What a look over the whole list found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Verified {
    /// Entries looked at.
    pub entries: u64,
    /// The number of the first entry that does not follow from the one before it.
    pub first_broken: Option<i64>,
    /// Whether the list ends where it did when it was last written.
    pub end: End,
    /// The newest entry `audit.seal`: since then the end is kept, and what was taken off it before, nobody can tell. None where it always was.
    pub kept_since: Option<i64>,
    /// The newest entry's hash: one that was kept on another machine proves that list and end were not put back to an earlier time together.
    pub newest_hash: Option<String>,
}

/// Whether a list ends where it did when it was last written, by what the store keeps of that under the server's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It does.
    Whole,
    /// Entries were taken off its end.
    Cut,
    /// Entries were added, or the newest was changed, by somebody without the server's secret.
    Forged,
    /// What was kept of it is gone.
    Missing,
}

/// Verifies the whole list, newest part first, in pieces.
pub async fn verify(store: &dyn AuditStore) -> Result<Verified, StoreError> {
    let mut verified = Verified { entries: 0, first_broken: None, end: End::Whole, kept_since: None, newest_hash: None };
    let (before, mut newest, mut at_head) = (store.audit_head().await?, 0, None);
    let mut newer: Option<Entry> = None;
    loop {
        let piece = store.audit(newer.as_ref().map(|entry| entry.number), PIECE).await?;
        for entry in piece.iter() {
            verified.entries += 1;
            if entry.action == SEAL {
                verified.kept_since.get_or_insert(entry.number);
            }
            match &newer {
                Some(newer) if !newer.follows(entry) => verified.first_broken = Some(newer.number),
                Some(_) => {}
                None => {
                    newest = entry.number;
                    verified.newest_hash = Some(entry.hash.clone());
                }
            }
            if matches!(&before, Head::At(number, _) if *number == entry.number) {
                at_head = Some(entry.hash.clone());
            }
            newer = Some(entry.clone());
        }
        if piece.is_empty() {
            break;
        }
    }
    if let Some(first) = newer.filter(|first| first.number != 1 || first.hash_after("") != first.hash) {
        verified.first_broken = Some(first.number);
    }
    // Before the newer end is read: whoever has just added the first thing has noted it there.
    let is_new = newest == 0 && !store.has_noted().await?;
    // What was noted while the list was read is in a newer end.
    let after = store.audit_head().await?;
    verified.end = if is_new && after == Head::None { End::Whole } else { End::of(&before, &after, newest, at_head.as_deref()) };
    Ok(verified)
}

// === impl Verified ===

impl Verified {
    /// Whether the list is as it was written.
    pub fn is_whole(&self) -> bool {
        self.first_broken.is_none() && self.end == End::Whole
    }
}

// === impl End ===

impl End {
    /// Of a list whose newest entry has this number (0 where there is none), read between two readings of its end.
    fn of(before: &Head, after: &Head, newest: i64, at_head: Option<&str>) -> End {
        match (before, after) {
            (Head::Forged, _) | (_, Head::Forged) => End::Forged,
            (Head::At(number, _), _) if newest < *number => End::Cut,
            (Head::At(_, hash), _) if at_head.is_some_and(|there| there != hash) => End::Forged,
            (Head::At(..), Head::At(number, _)) if newest > *number => End::Forged,
            (Head::At(..), Head::At(..)) | (_, Head::Unkept) | (Head::Unkept, _) => End::Whole,
            // The first entries may just have been written.
            (Head::None, Head::At(..)) => End::Whole,
            (_, Head::None) => End::Missing,
        }
    }
}
