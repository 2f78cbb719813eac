//! How much of what callers send is kept at a time, in memory or on disk: no key takes more of it than it leaves to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::error::{Kind, Refusal};
use crate::key::KeyId;

/// What all keys share.
#[derive(Clone)]
pub struct Shares(Arc<All>);

struct All {
    most: u64,
    /// The setting that says how much it is.
    setting: &'static str,
    taken: Mutex<Taken>,
}

/// Bytes that are taken: in all, and by each key that has some.
#[derive(Default)]
struct Taken {
    all: u64,
    by_key: HashMap<KeyId, u64>,
}

/// What one request has of it, until it is dropped.
pub struct Share {
    of: Shares,
    key: KeyId,
    taken: u64,
    used: u64,
}

/// Bytes, and the share that they take for as long as anybody has some of them.
struct Kept {
    bytes: Bytes,
    _share: Share,
}

/// So much is taken at once, so that not every piece asks for its own: about what a connection takes anyway.
const STEP: u64 = 16 << 10;

// === impl Shares ===

impl Shares {
    /// So many MiB, as a setting says.
    pub fn new(mib: usize, setting: &'static str) -> Shares {
        Shares(Arc::new(All { most: (mib as u64).saturating_mul(1 << 20), setting, taken: Mutex::default() }))
    }

    /// The part of a request of a key, by the first of its family: nothing yet.
    pub fn of(&self, key: KeyId) -> Share {
        Share { of: self.clone(), key, taken: 0, used: 0 }
    }

    /// Bytes that are taken of it.
    pub fn taken(&self) -> u64 {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Share ===

impl Share {
    /// Takes so many bytes more, where as many as the key has then are left to the others.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Refusal> {
        let used = self.used.saturating_add(bytes);
        if used > self.taken {
            let more = (used - self.taken).next_multiple_of(STEP);
            let taken = &mut *self.of.lock();
            let before = taken.by_key.get(&self.key).copied().unwrap_or_default();
            let (all, own) = (taken.all.saturating_add(more), before.saturating_add(more));
            if own > self.of.0.most.saturating_sub(all) {
                return Err(too_much(&self.of.0, before));
            }
            taken.all = all;
            taken.by_key.insert(self.key, own);
            self.taken += more;
        }
        self.used = used;
        Ok(())
    }

    /// Bytes that take it for as long as anybody has some of them.
    pub fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Kept { bytes, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Most bodies come in one piece, and take none of it.
        if self.taken == 0 {
            return;
        }
        let taken = &mut *self.of.lock();
        taken.all -= self.taken;
        if let Some(own) = taken.by_key.get_mut(&self.key) {
            *own -= self.taken;
            if *own == 0 {
                taken.by_key.remove(&self.key);
            }
        }
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn too_much(of: &All, own: u64) -> Refusal {
    let message = format!(
        "This gateway has no room for more of this key's requests at a time, of which it keeps {:.1} MiB: send this again in a moment, or fewer at a time (its limit is {}, {} MiB for all keys, of which none takes more than it leaves).",
        own as f64 / f64::from(1 << 20),
        of.setting,
        of.most >> 20
    );
    let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, Kind::RateLimit("bodies"), "too_much_at_once", message);
    Refusal { retry_after: Some(Duration::from_secs(1)), ..refusal }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn no_key_takes_more_than_it_leaves() {
        let (shares, [one, other]) =
            (Shares::new(8, "limits.bodies_mib"), ["abcdefgh2345", "bcdefgh23456"].map(|id| KeyId::parse(id).unwrap()));
        let (mut first, mut second) = (shares.of(one), shares.of(one));
        first.grow(3 << 20).unwrap();
        second.grow(1 << 20).unwrap();
        let refusal = second.grow(1).unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.code), (429, "too_much_at_once"));
        assert!(refusal.message.contains("keeps 4.0 MiB") && refusal.message.contains("limits.bodies_mib, 8 MiB"));
        let small: Vec<Share> = (0..200).map(|_| shares.of(other)).collect();
        assert!(small.into_iter().all(|mut share| share.grow(2).is_ok() && share.grow(9000).is_ok()), "small ones take little");
        let mut others = shares.of(other);
        others.grow(2 << 20).unwrap();
        assert!(others.grow(1).is_err());
        let bytes = second.keep(Bytes::from_static(b"abc")).slice(1..);
        assert!(others.grow(1).is_err(), "a part of it is kept");
        drop(bytes);
        others.grow(1).unwrap();
        drop((first, others));
        assert!(shares.taken() == 0 && shares.lock().by_key.is_empty());
    }
}
