//! What we present to a provider: a secret that cannot be printed, and a rest for one that was refused.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use memchr::memmem::Finder;

use super::forms;
use super::taken::Taken;

/// A secret has at least so many characters.
const SHORTEST_SECRET: usize = 8;
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// One request finds out whether a rest is over; where it takes longer than this, another may.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);
/// When the others are told to come again while it does.
const PROBE_TAKES: Duration = Duration::from_secs(1);
/// So many models rest alone at the most: whoever asks for more has them asked for at the provider.
const MOST_ALONE: usize = 64;
/// A longer name is no model's, and is not kept.
const LONGEST_MODEL: usize = 256;

/// Text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A provider's credential and how it fares.
#[derive(Debug)]
pub struct Credential {
    /// The variable that it is from: its name in messages.
    pub variable: String,
    /// The credential itself.
    pub secret: Secret,
    /// Finds it where it must not be told; `None` where it is a word such as `none`, which keeps nothing secret and may stand anywhere.
    pub trace: Option<Trace>,
    /// Whether `health` has to be asked at all.
    is_troubled: AtomicBool,
    /// Counts refusals for good: what was sent before the last of them says nothing of what holds since.
    incident: AtomicU64,
    health: Mutex<Health>,
    taken: Taken,
}

/// Finds a secret in a text, as it is and as it may be escaped in JSON. Made once: making one costs as much as searching a kilobyte.
#[derive(Clone)]
pub struct Trace(Arc<[Finder<'static>]>);

/// How a credential fares.
#[derive(Debug, Default)]
struct Health {
    /// Refusals in a row: those that came at once, of requests sent before the first of them, are one.
    refusals: u32,
    resting_until: Option<Instant>,
    /// Until when a request is waited for that finds out whether the rest is over.
    probed_until: Option<Instant>,
    /// Models that were refused while others were taken.
    alone: Vec<Alone>,
    /// The last of them, until anything is taken: another one that is refused too shows that it is the credential.
    doubted: Option<Box<str>>,
}

/// A model that was refused while others were taken, and rests alone.
#[derive(Debug)]
struct Alone {
    model: Box<str>,
    refusals: u32,
    until: Instant,
}

/// What a provider refused a credential for, as far as it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// For itself, or for what its account has left.
    Credential,
    /// For the one model, which it may not use.
    Model,
    /// It does not say.
    Unsaid,
}

/// What a refusal led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How long it is not tried again.
    pub rest: Duration,
    /// For the one model only.
    pub is_alone: bool,
}

/// A request by a credential, until it is known what the provider makes of that.
#[derive(Debug)]
pub struct Attempt<'a> {
    credential: &'a Credential,
    model: &'a str,
    incident: u64,
    is_probe: bool,
}

// === impl Secret ===

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text: to be sent to its provider, never to be written anywhere.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

// === impl Trace ===

impl Trace {
    /// For a secret that is long enough to be no word of anybody's.
    pub fn of(secret: &Secret) -> Option<Trace> {
        let finder = |form: &String| Finder::new(form.as_bytes()).into_owned();
        let secret = secret.expose();
        (secret.len() >= SHORTEST_SECRET).then(|| Trace(forms::in_json(secret).iter().map(finder).collect()))
    }

    /// Whether it is there.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|form| form.find(bytes).is_some())
    }

    /// A text with something else in its place; `None` where it is not there.
    pub fn replaced(&self, text: &[u8], other: &str) -> Option<Vec<u8>> {
        let replaced = |form: &Finder<'_>, text: &[u8]| {
            let mut found = form.find_iter(text).peekable();
            // Mostly it is not there, and nothing is copied.
            found.peek()?;
            let (mut kept, mut end) = (Vec::with_capacity(text.len()), 0);
            for at in found {
                kept.extend_from_slice(&text[end..at]);
                kept.extend_from_slice(other.as_bytes());
                end = at + form.needle().len();
            }
            kept.extend_from_slice(&text[end..]);
            Some(kept)
        };
        changed_by_each(self.0.iter(), text, replaced)
    }

    /// Bytes with as many stars in its place; `None` where it is not there.
    pub fn masked(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let masked = |form: &Finder<'_>, bytes: &[u8]| {
            let mut found = form.find_iter(bytes).peekable();
            found.peek()?;
            let mut masked = bytes.to_vec();
            found.for_each(|at| masked[at..at + form.needle().len()].fill(b'*'));
            Some(masked)
        };
        changed_by_each(self.0.iter(), bytes, masked)
    }

    /// How many of the last bytes may be its beginning.
    pub fn begun_at_end(&self, bytes: &[u8]) -> usize {
        let begun = |form: &Finder<'_>| {
            // It has eight bytes at least.
            let needle = form.needle();
            let tail = &bytes[bytes.len() - bytes.len().min(needle.len() - 1)..];
            let begun = memchr::memchr_iter(needle[0], tail).find(|at| needle.starts_with(&tail[*at..]));
            begun.map_or(0, |at| tail.len() - at)
        };
        self.0.iter().map(begun).max().unwrap_or(0)
    }
}

/// Bytes that are changed by one after the other; `None` where none of them changes any.
pub fn changed_by_each<T>(all: impl Iterator<Item = T>, bytes: &[u8], change: impl Fn(T, &[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    all.fold(None, |changed, one| change(one, changed.as_deref().unwrap_or(bytes)).or(changed))
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace(…)")
    }
}

// === impl Credential ===

impl Credential {
    /// A credential in good standing.
    pub fn new(variable: &str, secret: Secret) -> Credential {
        Credential {
            variable: variable.to_owned(),
            trace: Trace::of(&secret),
            secret,
            is_troubled: AtomicBool::new(false),
            incident: AtomicU64::new(0),
            health: Mutex::default(),
            taken: Taken::new(),
        }
    }

    /// Whether it was refused lately and is not to be tried yet for that model; tells for how long.
    pub fn rests_for(&self, model: &str) -> Option<Duration> {
        if !self.is_troubled.load(Ordering::Acquire) {
            return None;
        }
        self.lock().rests_for(model, Instant::now()).map(|refused| refused.rest)
    }

    /// Whether the provider has refused it, and has not taken it since: in how many seconds it is tried again, 0 where the next request does so.
    pub fn refused_for_s(&self) -> Option<u64> {
        if !self.is_troubled.load(Ordering::Acquire) {
            return None;
        }
        let health = self.lock();
        (health.refusals > 0).then(|| seconds(health.rest(Instant::now()).unwrap_or_default()))
    }

    /// For how many models alone it rests, and in how many seconds all of them are tried again.
    pub fn refused_alone(&self) -> Option<(usize, u64)> {
        if !self.is_troubled.load(Ordering::Acquire) {
            return None;
        }
        let (now, health) = (Instant::now(), self.lock());
        let resting = || health.alone.iter().filter_map(|alone| left(alone.until, now));
        resting().max().map(|longest| (resting().count(), seconds(longest)))
    }

    /// A request for a model is to be sent by it; how long not, while it rests or another request finds out whether that is over.
    pub fn attempt<'a>(&'a self, model: &'a str) -> Result<Attempt<'a>, Refused> {
        self.attempt_at(model, Instant::now)
    }

    pub(super) fn attempt_at<'a>(&'a self, model: &'a str, now: impl FnOnce() -> Instant) -> Result<Attempt<'a>, Refused> {
        // Read before `is_troubled`, so that one which is refused in between is not taken for a request of after that.
        let incident = self.incident.load(Ordering::Acquire);
        if !self.is_troubled.load(Ordering::Acquire) {
            return Ok(Attempt { credential: self, model, incident, is_probe: false });
        }
        let (now, mut health) = (now(), self.lock());
        if let Some(refused) = health.rests_for(model, now) {
            return Err(refused);
        }
        let is_probe = health.refusals > 0;
        if is_probe {
            if health.probed_until.is_some_and(|until| until > now) {
                return Err(Refused::whole(PROBE_TAKES));
            }
            health.probed_until = Some(now + PROBE_PATIENCE);
        }
        Ok(Attempt { credential: self, model, incident: self.incident.load(Ordering::Acquire), is_probe })
    }

    /// The provider refused it in the middle of an answer, whenever that was asked for.
    pub fn refused(&self) -> Refused {
        let (now, mut health) = (Instant::now(), self.lock());
        Refused::whole(health.rest(now).unwrap_or_else(|| self.refuse(&mut health, now)))
    }

    /// It rests, longer with each time.
    fn refuse(&self, health: &mut Health, now: Instant) -> Duration {
        let rest = nth_rest(health.refusals);
        health.refusals += 1;
        (health.resting_until, health.probed_until) = (Some(now + rest), None);
        self.incident.fetch_add(1, Ordering::Release);
        self.is_troubled.store(true, Ordering::Release);
        rest
    }

    /// It rests for one model.
    fn refuse_alone(&self, health: &mut Health, model: &str, now: Instant) -> Duration {
        let known = health.alone.iter_mut().find(|alone| *alone.model == *model);
        // Those that came at once are one.
        if let Some(rest) = known.as_ref().and_then(|alone| left(alone.until, now)) {
            return rest;
        }
        let rest = nth_rest(known.as_ref().map_or(0, |alone| alone.refusals));
        match known {
            Some(alone) => (alone.refusals, alone.until) = (alone.refusals + 1, now + rest),
            None => {
                health.alone.retain(|alone| alone.is_remembered(now));
                if health.alone.len() < MOST_ALONE && model.len() <= LONGEST_MODEL {
                    health.alone.push(Alone { model: model.into(), refusals: 1, until: now + rest });
                }
            }
        }
        self.is_troubled.store(true, Ordering::Release);
        rest
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Health ===

impl Health {
    /// How long the credential rests.
    fn rest(&self, now: Instant) -> Option<Duration> {
        left(self.resting_until?, now)
    }

    /// The same, or how long the one model does.
    fn rests_for(&self, model: &str, now: Instant) -> Option<Refused> {
        let alone = || self.alone.iter().find(|alone| *alone.model == *model).and_then(|alone| left(alone.until, now));
        self.rest(now).map(Refused::whole).or_else(|| alone().map(Refused::alone))
    }

    /// The provider took it for a model.
    fn mend(&mut self, model: &str, now: Instant) {
        (self.refusals, self.resting_until, self.probed_until, self.doubted) = (0, None, None, None);
        // What was sent before the model was refused says nothing of it.
        self.alone.retain(|alone| left(alone.until, now).is_some() || (alone.is_remembered(now) && *alone.model != *model));
    }
}

// === impl Refused ===

impl Refused {
    fn whole(rest: Duration) -> Refused {
        Refused { rest, is_alone: false }
    }

    fn alone(rest: Duration) -> Refused {
        Refused { rest, is_alone: true }
    }
}

// === impl Alone ===

impl Alone {
    /// Whether its next rest would be longer than the first.
    fn is_remembered(&self, now: Instant) -> bool {
        self.until + LONGEST_REST > now
    }
}

/// Each rest is twice the one before.
fn nth_rest(refusals: u32) -> Duration {
    FIRST_REST.saturating_mul(1 << refusals.min(16)).min(LONGEST_REST)
}

fn left(until: Instant, now: Instant) -> Option<Duration> {
    until.checked_duration_since(now).filter(|left| !left.is_zero())
}

fn seconds(rest: Duration) -> u64 {
    rest.as_secs_f64().ceil() as u64
}

// === impl Attempt ===

impl Attempt<'_> {
    /// The provider refused it. Where that is not said to be for the credential or for the model, it may be for the model of one that was
    /// lately taken for others.
    pub fn refused(&self, cause: Cause) -> Refused {
        self.refused_at(cause, Instant::now())
    }

    pub(super) fn refused_at(&self, cause: Cause, now: Instant) -> Refused {
        let (credential, mut health) = (self.credential, self.credential.lock());
        if !self.is_of_now() {
            // It was sent before another was refused: that one has told all there is to tell.
            return Refused::whole(health.rest(now).unwrap_or(PROBE_TAKES));
        }
        let is_second = || health.refusals > 0 || health.doubted.as_deref().is_some_and(|doubted| doubted != self.model);
        let is_alone = match cause {
            Cause::Credential => false,
            Cause::Model => true,
            Cause::Unsaid => !is_second() && credential.taken.is_for_another(self.model, now),
        };
        if !is_alone {
            return Refused::whole(credential.refuse(&mut health, now));
        }
        if cause == Cause::Unsaid && self.model.len() <= LONGEST_MODEL {
            health.doubted = Some(self.model.into());
        }
        Refused::alone(credential.refuse_alone(&mut health, self.model, now))
    }

    /// The provider took it.
    pub fn accepted(&self) {
        self.accepted_at(Instant::now());
    }

    pub(super) fn accepted_at(&self, now: Instant) {
        self.credential.taken.note(self.model, now);
        if !self.credential.is_troubled.load(Ordering::Acquire) {
            return;
        }
        let mut health = self.credential.lock();
        if self.is_of_now() {
            health.mend(self.model, now);
            self.credential.is_troubled.store(!health.alone.is_empty(), Ordering::Release);
        }
    }

    /// What is asked for.
    pub fn model(&self) -> &str {
        self.model
    }

    /// Whether the credential was not refused since it was sent; asked under the lock.
    fn is_of_now(&self) -> bool {
        self.credential.incident.load(Ordering::Acquire) == self.incident
    }
}

impl Drop for Attempt<'_> {
    /// Whatever came of it, the next request may find out.
    fn drop(&mut self) {
        if self.is_probe {
            let mut health = self.credential.lock();
            if self.is_of_now() {
                health.probed_until = None;
            }
        }
    }
}
