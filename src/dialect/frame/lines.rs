//! Lines, torn anywhere, put together again.

use memchr::memchr;

/// Cuts bytes into lines. What is held is the piece of a line whose end is to come.
#[derive(Debug, Default)]
pub struct Lines {
    torn: Vec<u8>,
}

/// A line that grows beyond this is cut, and so no JSON, which its reader tells: nothing that a provider sends in one event is that long.
const LONGEST: usize = 64 << 20;

// === impl Lines ===

impl Lines {
    /// Takes bytes and hands each whole line on, without its line break (`\n`, `\r\n`).
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(at) = memchr(b'\n', rest) {
            let line = &rest[..at];
            rest = &rest[at + 1..];
            if self.torn.is_empty() {
                each(line.strip_suffix(b"\r").unwrap_or(line));
            } else {
                self.hold(line);
                let whole = std::mem::take(&mut self.torn);
                each(whole.strip_suffix(b"\r").unwrap_or(&whole));
            }
        }
        self.hold(rest);
    }

    fn hold(&mut self, more: &[u8]) {
        let room = LONGEST.saturating_sub(self.torn.len());
        self.torn.extend_from_slice(&more[..more.len().min(room)]);
    }

    /// The bytes have ended: a last line without its break counts as one.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        let last = std::mem::take(&mut self.torn);
        if !last.is_empty() {
            each(last.strip_suffix(b"\r").unwrap_or(&last));
        }
    }
}
