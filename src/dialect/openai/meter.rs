//! Watches an answer go by for its usage: whole or streamed, without holding it back or reading more of it than needed.

use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use memchr::{memchr, memrchr};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::usage;
use crate::ledger::record::Usage;

/// How much of a whole answer's end is kept to look for its usage.
const TAIL: usize = 1 << 20;
/// A line of a stream that grows beyond this is passed on unread.
const LONGEST_LINE: usize = 8 << 20;

/// Reads what an answer cost while it passes.
#[derive(Debug)]
pub enum Meter {
    /// One JSON document.
    Whole(Whole),
    /// Server-sent events.
    Stream(Stream),
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// As the provider reported it.
    pub usage: Option<Usage>,
    /// Output tokens by what was seen, for where it reported nothing.
    pub estimated_output: u64,
    /// The dialect's own last event has passed: whoever hangs up now has all of the answer.
    pub is_complete: bool,
}

/// The end of a whole answer, in the pieces that it came in.
#[derive(Debug, Default)]
pub struct Whole {
    tail: VecDeque<Bytes>,
    kept: usize,
    seen: usize,
}

/// A stream between two of its lines.
#[derive(Debug)]
pub struct Stream {
    /// Whether the event that only reports usage is kept from the caller.
    hide: bool,
    /// A line whose end is still to come.
    torn: BytesMut,
    /// A hidden event's blank line is still to come.
    skip_blank: bool,
    reading: Reading,
}

/// How streams of Chat Completions and of Responses say that they are at their end.
static LAST_EVENTS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new(b"data: [DONE]"), Finder::new(b"event: response.completed")]);
static DATA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"data:"));

#[derive(Deserialize)]
struct Event {
    choices: Option<Vec<IgnoredAny>>,
    usage: Option<IgnoredAny>,
}

// === impl Meter ===

impl Meter {
    /// A meter for a whole answer.
    pub fn whole() -> Meter {
        Meter::Whole(Whole::default())
    }

    /// A meter for a stream; `hide` keeps from the caller the event that it did not ask for.
    pub fn stream(hide: bool) -> Meter {
        Meter::Stream(Stream { hide, torn: BytesMut::new(), skip_blank: false, reading: Reading::default() })
    }

    /// Takes a piece of the answer, gives what is to be passed on.
    pub fn pass(&mut self, piece: Bytes) -> Bytes {
        match self {
            Meter::Whole(whole) => whole.pass(piece),
            Meter::Stream(stream) => stream.pass(piece),
        }
    }

    /// The answer has ended: what is still held back, and what was read.
    pub fn finish(&mut self) -> (Bytes, Reading) {
        match self {
            Meter::Whole(whole) => (Bytes::new(), whole.read()),
            Meter::Stream(stream) => stream.finish(),
        }
    }
}

// === impl Whole ===

impl Whole {
    fn pass(&mut self, piece: Bytes) -> Bytes {
        self.kept += piece.len();
        self.seen += piece.len();
        self.tail.push_back(piece.clone());
        while let Some(first) = self.tail.front().filter(|first| self.kept - first.len() >= TAIL) {
            self.kept -= first.len();
            self.tail.pop_front();
        }
        piece
    }

    fn read(&mut self) -> Reading {
        let tail = std::mem::take(&mut self.tail);
        let usage = match tail.iter().collect::<Vec<_>>().as_slice() {
            [one] => usage::of(one),
            _ => usage::of(&tail.into_iter().collect::<Vec<_>>().concat()),
        };
        Reading { usage, estimated_output: self.seen as u64 / 4, is_complete: false }
    }
}

// === impl Stream ===

impl Stream {
    /// Whole lines go on: nobody can use half of one, and if the provider breaks off there, an error can still be told.
    fn pass(&mut self, piece: Bytes) -> Bytes {
        let joined = match self.torn.is_empty() {
            true => piece,
            false => {
                self.torn.extend_from_slice(&piece);
                self.torn.split().freeze()
            }
        };
        let complete = match memrchr(b'\n', &joined) {
            Some(at) => at + 1,
            None if joined.len() > LONGEST_LINE => joined.len(),
            None => 0,
        };
        self.torn.extend_from_slice(&joined[complete..]);
        let lines = joined.slice(..complete);
        self.look_at(&lines);
        if self.hide { self.without_hidden(lines) } else { lines }
    }

    fn finish(&mut self) -> (Bytes, Reading) {
        let rest = self.torn.split().freeze();
        self.look_at(&rest);
        let held_back = if self.hide { self.without_hidden(rest) } else { rest };
        (held_back, self.reading)
    }

    fn look_at(&mut self, lines: &[u8]) {
        self.reading.is_complete |= LAST_EVENTS.iter().any(|last| begins_a_line(lines, last));
        self.reading.estimated_output += DATA.find_iter(lines).count() as u64;
        // The last event that reports usage counts: it is looked for from the end, and mostly there is none to look for.
        let mut found = usage::objects(lines).map(|hit| &lines[line_around(lines, hit)]);
        if let Some(usage) = found.find_map(|line| usage::of(line.strip_prefix(b"data:").unwrap_or(line))) {
            self.reading.usage = Some(usage);
        }
    }

    fn without_hidden(&mut self, lines: Bytes) -> Bytes {
        let mut lines = lines;
        if self.skip_blank && !lines.is_empty() {
            self.skip_blank = false;
            let blank = [&b"\r\n"[..], b"\n"].into_iter().find(|blank| lines.starts_with(blank)).map_or(0, <[u8]>::len);
            lines = lines.slice(blank..);
        }
        let Some(at) = usage::objects(&lines).find_map(|hit| hidden_line(&lines, hit)) else {
            return lines;
        };
        self.skip_blank = true;
        let rest = self.without_hidden(lines.slice(at.end..));
        match (at.start, rest.is_empty()) {
            (0, _) => rest,
            (start, true) => lines.slice(..start),
            (start, false) => Bytes::from([&lines[..start], &rest[..]].concat()),
        }
    }
}

/// The line around `hit`, if it is an event that reports usage and no choice.
fn hidden_line(lines: &[u8], hit: usize) -> Option<std::ops::Range<usize>> {
    let line = line_around(lines, hit);
    let data = lines[line.clone()].strip_prefix(b"data:")?;
    let event: Event = serde_json::from_slice(data).ok()?;
    let only_usage = event.usage.is_some() && event.choices.is_some_and(|choices| choices.is_empty());
    only_usage.then_some(line)
}

fn begins_a_line(lines: &[u8], start: &Finder<'_>) -> bool {
    start.find_iter(lines).any(|at| at == 0 || lines[at - 1] == b'\n')
}

/// The line that `hit` is in, with its line break.
fn line_around(lines: &[u8], hit: usize) -> std::ops::Range<usize> {
    let start = memrchr(b'\n', &lines[..hit]).map_or(0, |at| at + 1);
    start..memchr(b'\n', &lines[hit..]).map_or(lines.len(), |at| hit + at + 1)
}
