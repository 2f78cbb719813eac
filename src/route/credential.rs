//! What we present to a provider: a secret that cannot be printed, and a rest for one that was refused.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use memchr::memmem::Finder;

use super::forms;

/// A secret has at least so many characters.
const SHORTEST_SECRET: usize = 8;
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// One request finds out whether a rest is over; where it takes longer than this, another may.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);
/// When the others are told to come again while it does.
const PROBE_TAKES: Duration = Duration::from_secs(1);

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
    is_refused: AtomicBool,
    /// Counts refusals for good: what was sent before the last of them says nothing of what holds since.
    incident: AtomicU64,
    health: Mutex<Health>,
}

/// Finds a secret in a text, as it is and as it may be escaped in JSON. Made once: making one costs as much as searching a kilobyte.
#[derive(Clone)]
pub struct Trace(Arc<[Finder<'static>]>);

/// How a credential fares.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    /// Refusals in a row: those that came at once, of requests sent before the first of them, are one.
    refusals: u32,
    resting_until: Option<Instant>,
    /// Until when a request is waited for that finds out whether the rest is over.
    probed_until: Option<Instant>,
}

/// A request by a credential, until it is known what the provider makes of that.
#[derive(Debug)]
pub struct Attempt<'a> {
    credential: &'a Credential,
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
            is_refused: AtomicBool::new(false),
            incident: AtomicU64::new(0),
            health: Mutex::default(),
        }
    }

    /// Whether it was refused lately and is not to be tried yet; tells for how long.
    pub fn rests_for(&self) -> Option<Duration> {
        if !self.is_refused.load(Ordering::Acquire) {
            return None;
        }
        self.lock().rests_for(Instant::now())
    }

    /// Whether the provider has refused it, and has not taken it since: in how many seconds it is tried again, 0 where the next request does so.
    pub fn refused_for_s(&self) -> Option<u64> {
        let is_refused = self.is_refused.load(Ordering::Acquire);
        is_refused.then(|| self.rests_for().unwrap_or_default().as_secs_f64().ceil() as u64)
    }

    /// A request is to be sent by it; how long not, while it rests or another request finds out whether that is over.
    pub fn attempt(&self) -> Result<Attempt<'_>, Duration> {
        self.attempt_at(Instant::now)
    }

    pub(super) fn attempt_at(&self, now: impl FnOnce() -> Instant) -> Result<Attempt<'_>, Duration> {
        // Read before `is_refused`, so that one which is refused in between is not taken for a request of after that.
        let incident = self.incident.load(Ordering::Acquire);
        if !self.is_refused.load(Ordering::Acquire) {
            return Ok(Attempt { credential: self, incident, is_probe: false });
        }
        let (now, mut health) = (now(), self.lock());
        if let Some(rest) = health.rests_for(now) {
            return Err(rest);
        }
        let is_probe = health.refusals > 0;
        if is_probe {
            if health.probed_until.is_some_and(|until| until > now) {
                return Err(PROBE_TAKES);
            }
            health.probed_until = Some(now + PROBE_PATIENCE);
        }
        Ok(Attempt { credential: self, incident: self.incident.load(Ordering::Acquire), is_probe })
    }

    /// The provider refused it in the middle of an answer, whenever that was asked for.
    pub fn refused(&self) -> Duration {
        let (now, mut health) = (Instant::now(), self.lock());
        health.rests_for(now).unwrap_or_else(|| self.refuse(&mut health, now))
    }

    /// It rests, longer with each time.
    fn refuse(&self, health: &mut Health, now: Instant) -> Duration {
        let rest = FIRST_REST.saturating_mul(1 << health.refusals.min(16)).min(LONGEST_REST);
        *health = Health { refusals: health.refusals + 1, resting_until: Some(now + rest), probed_until: None };
        self.incident.fetch_add(1, Ordering::Release);
        self.is_refused.store(true, Ordering::Release);
        rest
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Health ===

impl Health {
    fn rests_for(&self, now: Instant) -> Option<Duration> {
        self.resting_until?.checked_duration_since(now).filter(|rest| !rest.is_zero())
    }
}

// === impl Attempt ===

impl Attempt<'_> {
    /// The provider refused the credential; tells how long that rests now.
    pub fn refused(&self) -> Duration {
        self.refused_at(Instant::now())
    }

    pub(super) fn refused_at(&self, now: Instant) -> Duration {
        let mut health = self.credential.lock();
        match self.is_of_now() {
            true => self.credential.refuse(&mut health, now),
            // It was sent before another was refused: that one has told all there is to tell.
            false => health.rests_for(now).unwrap_or(PROBE_TAKES),
        }
    }

    /// The provider took it.
    pub fn accepted(&self) {
        if !self.credential.is_refused.load(Ordering::Acquire) {
            return;
        }
        let mut health = self.credential.lock();
        if self.is_of_now() {
            *health = Health::default();
            self.credential.is_refused.store(false, Ordering::Release);
        }
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
