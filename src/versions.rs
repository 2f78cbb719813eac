//! Versions of what callers call by name, prompts and services alike: which one a call gets that names none, and which one is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::key::format::random_base62;
use crate::life::{Life, State};

/// Something that callers call by name, in one version.
pub trait Versioned {
    /// What callers name it.
    fn name(&self) -> &str;
    /// Which version, from 1 on.
    fn version(&self) -> u32;
    /// Where it stands in its life.
    fn life(&self) -> &Life;
    /// Its share of the calls that name no version, beside the other published versions.
    fn weight(&self) -> Option<u32>;
    /// `name@version`.
    fn label(&self) -> String {
        format!("{}@{}", self.name(), self.version())
    }
    /// The state that holds at a time: past its sunset it is retired.
    fn state_at(&self, now: Timestamp) -> State {
        self.life().state_at(now)
    }
}

/// All versions, by name.
#[derive(Debug)]
pub struct Versions<T>(BTreeMap<String, BTreeMap<u32, Arc<T>>>);

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The version that digits say, in one way alone: `7`, not `07` or `+7`.
pub fn number(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|version: &u32| version.to_string() == digits && *version > 0)
}

/// A name, and the digits of the version that it may name.
pub fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('@').map_or((name, None), |(base, digits)| (base, Some(digits)))
}

/// A number from 0 to 1 that differs with each call.
pub fn chance() -> f64 {
    let letters = random_base62::<4>().unwrap_or_default();
    let value = letters
        .iter()
        .fold(0_u32, |value, letter| value * 62 + u32::from(LETTERS.iter().position(|l| l == letter).map_or(0, |at| at as u8)));
    f64::from(value) / f64::from(62_u32.pow(4))
}

// === impl Versions ===

impl<T> Default for Versions<T> {
    fn default() -> Versions<T> {
        Versions(BTreeMap::new())
    }
}

impl<T: Versioned> Versions<T> {
    /// One more, or in the place of the same.
    pub fn put(&mut self, one: Arc<T>) {
        self.0.entry(one.name().to_owned()).or_default().insert(one.version(), one);
    }

    /// All, by name and version.
    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.values().flat_map(BTreeMap::values)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The versions of a name.
    pub fn versions(&self, name: &str) -> Option<&BTreeMap<u32, Arc<T>>> {
        self.0.get(name)
    }

    /// The same, oldest first; none where there is no such name.
    pub fn each(&self, name: &str) -> impl DoubleEndedIterator<Item = &Arc<T>> {
        self.versions(name).into_iter().flat_map(BTreeMap::values)
    }

    /// The version of a name that digits name.
    pub fn version(&self, name: &str, digits: &str) -> Option<&Arc<T>> {
        self.versions(name)?.get(&number(digits)?)
    }

    /// The version that a name says, or the newest there is.
    pub fn newest_of(&self, name: &str) -> Option<&Arc<T>> {
        match split(name) {
            (base, Some(digits)) => self.version(base, digits),
            (base, None) => self.each(base).next_back(),
        }
    }

    /// Whether there is this one.
    pub fn has(&self, one: &T) -> bool {
        self.versions(one.name()).is_some_and(|versions| versions.contains_key(&one.version()))
    }

    /// The version for a call that names none: by weight where versions have any, else the newest that is published, or was; a draft is called by its version alone.
    ///
    /// `chance` is a number from 0 to 1 that says which, by weight.
    pub fn choose(&self, name: &str, now: Timestamp, chance: f64) -> Option<&Arc<T>> {
        let weighed = self.sharing(name, now);
        let total: u32 = weighed.iter().filter_map(|one| one.weight()).fold(0, u32::saturating_add);
        let mut left = chance * f64::from(total);
        for one in &weighed {
            left -= f64::from(one.weight().unwrap_or(0));
            if left < 0.0 {
                return Some(one);
            }
        }
        [State::Published, State::Deprecated, State::Retired].into_iter().find_map(|state| self.newest(name, state, now))
    }

    /// The newest version in a state.
    pub fn newest(&self, name: &str, state: State, now: Timestamp) -> Option<&Arc<T>> {
        self.each(name).rev().find(|one| one.state_at(now) == state)
    }

    /// Whether all versions of a name are retired.
    pub fn is_over(&self, name: &str, now: Timestamp) -> bool {
        self.each(name).all(|one| one.state_at(now) == State::Retired)
    }

    /// The published versions that share the calls that name none, by their weights.
    pub fn sharing(&self, name: &str, now: Timestamp) -> Vec<&Arc<T>> {
        let is_weighed = |one: &&Arc<T>| one.state_at(now) == State::Published && one.weight().is_some_and(|weight| weight > 0);
        self.each(name).filter(is_weighed).collect()
    }

    /// The version that is shown where none is named, the same each time: of those that share the calls, the newest.
    pub fn shown(&self, name: &str, now: Timestamp) -> Option<&Arc<T>> {
        self.sharing(name, now).last().copied().or_else(|| self.choose(name, now, 0.0))
    }

    /// The published versions of a name of which no weight says whether they get calls that name none, beside those that share them.
    pub fn idle(&self, name: &str, now: Timestamp) -> Vec<&Arc<T>> {
        match self.sharing(name, now).is_empty() {
            true => Vec::new(),
            false => self.each(name).filter(|one| one.state_at(now) == State::Published && one.weight().is_none()).collect(),
        }
    }

    /// The newest published version of each name whose published versions all have the weight 0, so that nobody could call it.
    pub fn weightless(&self) -> Vec<&Arc<T>> {
        let of = |name: &str| {
            let published: Vec<&Arc<T>> = self.each(name).filter(|one| one.life().state == State::Published).collect();
            published.last().copied().filter(|_| published.iter().all(|one| one.weight() == Some(0)))
        };
        self.names().filter_map(of).collect()
    }
}

/// Versions in words.
pub fn labels<T: Versioned>(versions: &[&Arc<T>], between: &str) -> String {
    versions.iter().map(|one| one.label()).collect::<Vec<_>>().join(between)
}
