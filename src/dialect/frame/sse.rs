//! Server-sent events (WHATWG HTML, section 9.2), read and written.

use super::Lines;

/// An event's data is this long at the most.
const LONGEST: usize = 32 << 20;

/// Cuts bytes into events.
#[derive(Debug, Default)]
pub struct Sse {
    lines: Lines,
    pending: SseEvent,
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Its name; empty where it has none.
    pub event: String,
    /// Its data, lines joined by `\n`.
    pub data: Vec<u8>,
}

// === impl Sse ===

impl Sse {
    /// Takes bytes, torn anywhere, and hands each whole event on.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&SseEvent)) {
        let Sse { lines, pending } = self;
        lines.push(bytes, |line| pending.line(line, &mut each));
    }

    /// The bytes have ended: an event without its blank line counts as one, since many providers leave it out at the end.
    pub fn finish(&mut self, mut each: impl FnMut(&SseEvent)) {
        let Sse { lines, pending } = self;
        lines.finish(|line| pending.line(line, &mut each));
        pending.line(b"", &mut each);
    }
}

// === impl SseEvent ===

impl SseEvent {
    fn line(&mut self, line: &[u8], each: &mut impl FnMut(&SseEvent)) {
        if line.is_empty() {
            if !self.data.is_empty() || !self.event.is_empty() {
                each(self);
            }
            self.event.clear();
            self.data.clear();
            return;
        }
        let at = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(at + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..at] {
            b"data" => {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                // What is longer is cut, and so no JSON: no provider tells so much in one event.
                let room = LONGEST.saturating_sub(self.data.len());
                self.data.extend_from_slice(&value[..value.len().min(room)]);
            }
            b"event" => self.event = String::from_utf8_lossy(value).into_owned(),
            // Comments, ids and retry times mean nothing to the gateway.
            _ => {}
        }
    }
}

/// Writes an event whose data is JSON on one line; an empty name is left out.
pub fn write_sse(event: &str, data: &[u8], out: &mut Vec<u8>) {
    if !event.is_empty() {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}
