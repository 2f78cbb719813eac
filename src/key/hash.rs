//! What is kept of a key: HMAC-SHA-256 under a secret of this installation, compared in constant time.
//!
//! A copied store alone is worth nothing: without the pepper no candidate key can even be tried against it.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use siphasher::sip128::SipHasher24;
use subtle::ConstantTimeEq;

use crate::owner;

const PEPPER_LEN: usize = 32;

/// The installation's secret, from `server.secret` in the data folder.
#[derive(Clone)]
pub struct Pepper(hmac::Key);

/// The keyed hash of a whole key.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

/// Marks keys that were proven: by SipHash-2-4 of 128 bits, a MAC that takes a twentieth of the time, under a secret of this process.
pub struct Marker(SipHasher24);

/// What a key is known by once its keyed hash was compared; it never leaves the process.
#[derive(Clone, Copy)]
pub struct Mark([u8; 16]);

// === impl Pepper ===

impl Pepper {
    /// Reads the secret at `path`, or makes it (mode 0600) where there is none yet.
    pub fn load_or_create(path: &Path) -> std::io::Result<Pepper> {
        match std::fs::read(path) {
            Ok(bytes) => Pepper::from_bytes(&bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Pepper::create(path),
            Err(e) => Err(e),
        }
    }

    /// The keyed hash of `key`.
    pub fn hash(&self, key: &str) -> KeyHash {
        let tag = hmac::sign(&self.0, key.as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        KeyHash(out)
    }

    /// A secret of its own for another use, by what it is for.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        // No key's text has a colon in it, so that no stored hash is ever one of these.
        *self.hash(&format!("secret for: {purpose}")).as_bytes()
    }

    fn create(path: &Path) -> std::io::Result<Pepper> {
        let mut bytes = [0; PEPPER_LEN];
        SystemRandom::new().fill(&mut bytes).map_err(|_| std::io::Error::other("the system has no randomness to give"))?;
        // Written aside and linked into place, so that two first starts at once agree on one secret.
        let aside = path.with_extension(format!("new{}", std::process::id()));
        // What a process of this number left when it was killed.
        let _ = std::fs::remove_file(&aside);
        let mut file = owner::make(std::fs::OpenOptions::new().write(true).mode(0o600), &aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        let linked = std::fs::hard_link(&aside, path);
        std::fs::remove_file(&aside)?;
        match linked {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e),
            _ => Pepper::from_bytes(&std::fs::read(path)?),
        }
    }

    fn from_bytes(bytes: &[u8]) -> std::io::Result<Pepper> {
        match bytes.len() {
            PEPPER_LEN => Ok(Pepper(hmac::Key::new(hmac::HMAC_SHA256, bytes))),
            len => Err(std::io::Error::other(format!(
                "server.secret holds {len} bytes instead of {PEPPER_LEN}; restore it from a backup: without it no key can be verified"
            ))),
        }
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

// === impl KeyHash ===

impl KeyHash {
    /// The hash as the store keeps it.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A hash from the store.
    pub fn from_stored(bytes: &[u8]) -> Option<KeyHash> {
        bytes.try_into().ok().map(KeyHash)
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &KeyHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

// === impl Marker ===

impl Marker {
    /// With a secret of its own; where the system has no randomness to give, it is derived from the installation's.
    pub fn new(pepper: &Pepper) -> Marker {
        let mut secret = [0; 16];
        if SystemRandom::new().fill(&mut secret).is_err() {
            secret.copy_from_slice(&pepper.derive("keyward proven keys")[..16]);
        }
        Marker(SipHasher24::new_with_key(&secret))
    }

    /// The mark of `key`.
    pub fn mark(&self, key: &str) -> Mark {
        Mark(self.0.hash(key.as_bytes()).as_bytes())
    }
}

// === impl Mark ===

impl Mark {
    /// One of its bytes: each is as likely as any other, and nobody can foresee it.
    pub(super) fn first(&self) -> u8 {
        self.0[0]
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Mark) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(…)")
    }
}
