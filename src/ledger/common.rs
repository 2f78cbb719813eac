//! What many requests have in common (who asks whom for what), kept once for all of them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use crate::json::Object;

/// Such facts, with their text in a ledger's line.
#[derive(Debug)]
pub struct Common {
    /// Behind each other, so that looking at all of them is looking at one place.
    texts: Box<str>,
    /// Where each ends.
    ends: [usize; TEXTS],
    operation: Cow<'static, str>,
    from: Option<IpAddr>,
    /// Members of an object, which are the same in each line.
    line: Box<[u8]>,
    hash: u64,
}

/// Who asks whom for what; texts are empty where there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Facts<T> {
    /// The caller's key id.
    #[serde(rename = "k", alias = "key")]
    pub key: T,
    /// The project that the key belongs to, by its id.
    #[serde(rename = "j", alias = "project", default)]
    pub project: T,
    /// The project's team, by its id.
    #[serde(rename = "g", alias = "team", default)]
    pub team: T,
    /// The prompt that was called, as `name@version`.
    #[serde(rename = "n", alias = "prompt", default)]
    pub prompt: T,
    /// `chat`, `embeddings`, …
    #[serde(rename = "o", alias = "operation")]
    pub operation: Cow<'static, str>,
    /// The provider first tried.
    #[serde(rename = "p", alias = "provider")]
    pub provider: T,
    /// The model, as the provider names it.
    #[serde(rename = "m", alias = "model")]
    pub model: T,
    /// The address that it came from.
    #[serde(rename = "f", alias = "from", default)]
    pub from: Option<IpAddr>,
}

/// Texts among them that are stored behind each other.
const TEXTS: usize = 6;
/// Places that a thread has for what its requests have in common lately.
const PLACES: usize = 64;
/// What is longer is not kept by a thread: a caller chooses how long a model's name is.
const LONGEST: usize = 1 << 10;

thread_local! {
    static LATELY: RefCell<[Option<Arc<Common>>; PLACES]> = const { RefCell::new([const { None }; PLACES]) };
}

// === impl Common ===

impl Common {
    /// The facts with their text.
    pub fn new(facts: &Facts<&str>) -> Common {
        static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mut line = Vec::with_capacity(128);
        let mut members = Object::members_of(&mut line);
        members.text("k", facts.key);
        let named = [("j", facts.project), ("g", facts.team), ("n", facts.prompt)];
        named.into_iter().filter(|(_, text)| !text.is_empty()).for_each(|(name, text)| members.text(name, text));
        members.text("o", &facts.operation);
        members.text("p", facts.provider);
        members.text("m", facts.model);
        members.some_address("f", facts.from);
        let mut end = 0;
        let ends = facts.texts().map(|text| {
            end += text.len();
            end
        });
        Common {
            texts: facts.texts().concat().into(),
            ends,
            operation: facts.operation.clone(),
            from: facts.from,
            hash: HASHES.hash_one(&line),
            line: line.into(),
        }
    }

    /// The same for all requests that come to this thread while it remembers them.
    pub fn of(facts: &Facts<&str>) -> Arc<Common> {
        LATELY.with_borrow_mut(|lately| {
            let place = &mut lately[facts.place()];
            match place {
                Some(known) if known.facts() == *facts => Arc::clone(known),
                _ => {
                    let new = Arc::new(Common::new(facts));
                    if new.line.len() <= LONGEST {
                        *place = Some(Arc::clone(&new));
                    }
                    new
                }
            }
        })
    }

    /// The facts.
    pub fn facts(&self) -> Facts<&str> {
        let mut start = 0;
        let [key, project, team, prompt, provider, model] = self.ends.map(|end| {
            let text = &self.texts[start..end];
            start = end;
            text
        });
        Facts { key, project, team, prompt, operation: self.operation.clone(), provider, model, from: self.from }
    }

    /// Whether this provider and this model are its own.
    pub fn is_by(&self, provider: &str, model: &str) -> bool {
        let facts = self.facts();
        facts.provider == provider && facts.model == model
    }

    /// Its model's name, with its provider's.
    pub fn full_name(&self) -> String {
        let facts = self.facts();
        format!("{}/{}", facts.provider, facts.model)
    }

    /// The address that it came from.
    pub fn address(&self) -> Option<IpAddr> {
        self.from
    }

    /// Its members in a line.
    pub fn line(&self) -> &[u8] {
        &self.line
    }
}

impl PartialEq for Common {
    fn eq(&self, other: &Common) -> bool {
        // A line says all of them.
        std::ptr::eq(self, other) || (self.hash == other.hash && self.line == other.line)
    }
}

impl Eq for Common {}

impl Hash for Common {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

// === impl Facts ===

impl<T: AsRef<str>> Facts<T> {
    /// The same, whoever has the texts.
    pub fn borrowed(&self) -> Facts<&str> {
        let Facts { key, project, team, prompt, operation, provider, model, from } = self;
        let [key, project, team, prompt, provider, model] = [key, project, team, prompt, provider, model].map(AsRef::as_ref);
        Facts { key, project, team, prompt, operation: operation.clone(), provider, model, from: *from }
    }
}

impl<'a> Facts<&'a str> {
    /// What [`Common`] has behind each other.
    fn texts(&self) -> [&'a str; TEXTS] {
        [self.key, self.project, self.team, self.prompt, self.provider, self.model]
    }

    /// One of [`PLACES`], by what mostly tells them apart; those that share one take it from each other.
    fn place(&self) -> usize {
        let of = |text: &str| text.bytes().rev().take(4).fold(0, |sum: usize, byte| sum * 31 + usize::from(byte));
        (of(self.key) + of(self.model)) % PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(key: &'a str, model: &'a str) -> Facts<&'a str> {
        Facts { key, model, provider: "p", operation: "chat".into(), ..Facts::default() }
    }

    #[test]
    fn what_is_alike_is_kept_once_and_what_differs_in_anything_is_another() {
        let first = Common::of(&facts("k", "m"));
        assert!(Arc::ptr_eq(&first, &Common::of(&facts("k", "m"))));
        let others = [
            facts("l", "m"),
            facts("k", "n"),
            Facts { provider: "q", ..facts("k", "m") },
            Facts { operation: "embeddings".into(), ..facts("k", "m") },
            Facts { project: "j", ..facts("k", "m") },
            Facts { team: "g", ..facts("k", "m") },
            Facts { prompt: "n@1", ..facts("k", "m") },
            Facts { from: Some([192, 0, 2, 7].into()), ..facts("k", "m") },
        ];
        for other in &others {
            let common = Common::of(other);
            assert_ne!(common, first);
            assert_eq!(common.facts(), *other);
            assert_eq!(*common, Common::new(other));
        }
        assert!(first.is_by("p", "m") && !first.is_by("q", "m") && !first.is_by("p", "n"));
        let long = "ü".repeat(LONGEST);
        assert!(!Arc::ptr_eq(&Common::of(&facts("k", &long)), &Common::of(&facts("k", &long))));
    }
}
