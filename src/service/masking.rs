//! Keeps the gateway's credential out of what an API answers: some repeat what they were sent.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use crate::route::forms::SHORTEST;

/// Puts asterisks in the place of secrets in a body that comes in pieces; its length stays as it is.
#[derive(Debug, Default)]
pub struct Masking {
    secrets: Vec<Secret>,
    /// The end of what has come, which may be the beginning of a secret.
    held: Bytes,
}

type Secret = crate::route::Secret;

// === impl Masking ===

impl Masking {
    /// Of these secrets; those that are too short to be told from other text are left as they are.
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Masking {
        let secrets = secrets.into_iter().filter(|secret| secret.expose().len() >= SHORTEST);
        Masking { secrets: secrets.cloned().collect(), held: Bytes::new() }
    }

    /// Whether a text has a secret in it.
    pub fn finds(&self, text: &[u8]) -> bool {
        let lower = lowered(text);
        self.secrets.iter().any(|secret| !places(text, &lower, secret).is_empty())
    }

    /// A piece, as far as it can go on.
    pub fn pass(&mut self, piece: Bytes) -> Bytes {
        let piece = match self.held.is_empty() {
            true => piece,
            false => [std::mem::take(&mut self.held), piece].concat().into(),
        };
        let mut piece = if self.finds(&piece) { self.masked(piece) } else { piece };
        self.held = piece.split_off(piece.len() - self.begun(&piece));
        piece
    }

    /// What was held back, at the end.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }

    fn masked(&self, piece: Bytes) -> Bytes {
        let mut out = BytesMut::from(piece);
        for secret in &self.secrets {
            let found = places(&out, &lowered(&out), secret);
            let length = secret.expose().len();
            found.into_iter().for_each(|at| out[at..at + length].fill(b'*'));
        }
        out.freeze()
    }

    /// How many bytes at the end may be the beginning of a secret.
    fn begun(&self, piece: &[u8]) -> usize {
        let of = |secret: &Secret| {
            let (bytes, is_escaped) = (secret.expose().as_bytes(), is_escaped(secret));
            let is_begun = |length: &usize| {
                let (end, begin) = (&piece[piece.len() - length..], &bytes[..*length]);
                end == begin || (is_escaped && end.eq_ignore_ascii_case(begin))
            };
            (1..bytes.len().min(piece.len() + 1)).rev().find(is_begun).unwrap_or(0)
        };
        self.secrets.iter().map(of).max().unwrap_or(0)
    }
}

/// The letters of an escape are large or small as it comes.
fn is_escaped(secret: &Secret) -> bool {
    secret.expose().contains('%')
}

/// A text in small letters, where it may have an escape in it.
fn lowered(text: &[u8]) -> Vec<u8> {
    if memchr::memchr(b'%', text).is_some() { text.to_ascii_lowercase() } else { Vec::new() }
}

/// Where a secret stands in a text.
fn places(text: &[u8], lower: &[u8], secret: &Secret) -> Vec<usize> {
    match is_escaped(secret) {
        true => memmem::find_iter(lower, &secret.expose().to_ascii_lowercase()).collect(),
        false => memmem::find_iter(text, secret.expose()).collect(),
    }
}
