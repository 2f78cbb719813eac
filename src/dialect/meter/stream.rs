//! A stream of lines on its way: server-sent events, lines of JSON, or a JSON array that grows.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use memchr::{memchr, memrchr};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::element::Element;
use super::said::says_in_lines;
use super::{Ending, LONGEST_LINE, Reading};
use crate::dialect::openai_chat::usage;
use crate::dialect::wire::Tells;

/// Events, pieces and bytes of a stream that says nothing, at the most.
const EMPTY: u64 = 12;
const MOST_PIECES: usize = 64;
const LONGEST_EMPTY: usize = 64 << 10;

/// A stream between two of its lines.
#[derive(Debug)]
pub struct Stream {
    tells: Tells,
    /// Searchers for its members and for its last line: making one costs as much as searching a kilobyte.
    members: Vec<Finder<'static>>,
    last: Vec<Finder<'static>>,
    last_types: Vec<Finder<'static>>,
    finishes: Vec<Finder<'static>>,
    /// Of a JSON array that grows, the element that comes.
    element: Option<Element>,
    /// The lines that passed last: an error that ends a stream is in them.
    passed: Bytes,
    /// Whether the event that only reports usage is kept from the caller.
    hide: bool,
    /// A line whose end is still to come.
    torn: BytesMut,
    /// A hidden event's blank line is still to come.
    skip_blank: bool,
    /// How it begins, until it is longer than one that says nothing.
    beginning: Option<Vec<Bytes>>,
    /// Nothing has come since what was told of the usage.
    usage_is_newest: bool,
    reading: Reading,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Event {
    choices: Option<Vec<IgnoredAny>>,
    usage: Option<IgnoredAny>,
}

// === impl Stream ===

impl Stream {
    /// One of lines, or of an array that grows; `hide` keeps from the caller OpenAI's event that it did not ask for.
    pub(super) fn new(tells: Tells, hide: bool, element: Option<Element>) -> Stream {
        let finders = |texts: &'static [&'static str]| texts.iter().map(|text| Finder::new(text.as_bytes())).collect();
        Stream {
            tells,
            members: finders(tells.members),
            last: finders(tells.last),
            last_types: finders(tells.last_types),
            finishes: finders(tells.finishes),
            element,
            passed: Bytes::new(),
            hide,
            torn: BytesMut::new(),
            skip_blank: false,
            beginning: Some(Vec::new()),
            usage_is_newest: false,
            reading: Reading::default(),
        }
    }

    pub(super) fn tells_its_end(&self) -> bool {
        self.tells.of_its_end()
    }

    pub(super) fn ending(&self) -> Ending {
        self.reading.ending
    }

    /// Whole lines go on: nobody can use half of one, and if the provider breaks off there, an error can still be told.
    pub(super) fn pass(&mut self, piece: Bytes) -> Bytes {
        // A line that goes on is only added to: searched and copied anew with every piece, a long one would cost its length squared.
        if !self.torn.is_empty() && self.torn.len() + piece.len() <= LONGEST_LINE && memchr(b'\n', &piece).is_none() {
            self.torn.extend_from_slice(&piece);
            return Bytes::new();
        }
        let joined = match self.torn.is_empty() {
            true => piece,
            false => {
                self.torn.extend_from_slice(&piece);
                self.torn.split().freeze()
            }
        };
        let complete = match memrchr(b'\n', &joined) {
            // The name of an event waits for what it names: alone it would name an error that is told after it.
            Some(at) => match memrchr(b'\n', &joined[..at]).map_or(0, |before| before + 1) {
                begin if joined[begin..].starts_with(b"event:") => begin,
                _ => at + 1,
            },
            None => 0,
        };
        let complete = if joined.len() - complete > LONGEST_LINE { joined.len() } else { complete };
        self.torn.extend_from_slice(&joined[complete..]);
        let lines = joined.slice(..complete);
        self.see(&lines);
        self.keep_beginning(&lines);
        if !lines.trim_ascii().is_empty() {
            self.passed = lines.clone();
        }
        if self.hide { self.without_hidden(lines) } else { lines }
    }

    pub(super) fn finish(&mut self) -> (Bytes, Reading) {
        let rest = self.torn.split().freeze();
        self.see(&rest);
        if self.reading.ending == Ending::Open && [&rest, &self.passed].into_iter().any(|lines| tells_error(lines)) {
            self.reading.ending = Ending::Failed;
        }
        self.keep_beginning(&rest);
        if self.reading.usage.is_some_and(|usage| usage.output == 0) && self.tells.of_its_end() {
            self.reading.said = Some(self.beginning.as_ref().is_none_or(|pieces| says_in_lines(&pieces.concat())));
        }
        let held_back = if self.hide { self.without_hidden(rest) } else { rest };
        (held_back, self.reading)
    }

    /// The pieces share their provider's bytes, and are few.
    fn keep_beginning(&mut self, lines: &Bytes) {
        let Some(pieces) = self.beginning.as_mut().filter(|_| !lines.trim_ascii().is_empty()) else { return };
        pieces.push(lines.clone());
        let length: usize = pieces.iter().map(Bytes::len).sum();
        if self.reading.estimated_output > EMPTY || pieces.len() > MOST_PIECES || length > LONGEST_EMPTY {
            self.beginning = None;
        }
    }

    fn see(&mut self, lines: &[u8]) {
        let Some(mut element) = self.element.take() else { return self.look_at(lines) };
        element.take(lines, |whole| {
            self.look_at(whole);
            self.reading.estimated_output += 1;
        });
        self.element = Some(element);
    }

    fn look_at(&mut self, lines: &[u8]) {
        let tells = self.tells;
        // From where on it has said why it ended: what it tells there of its usage is of all of it.
        let ends_at = self.look_for_end(lines);
        self.reading.estimated_output += memchr::memchr_iter(b'\n', lines).count() as u64 / 2;
        let (mut done, mut told_until) = (0, None);
        for name in &self.members {
            // What is looked for mostly is not there; `null`, which stands in every event of some streams, costs no more than this look.
            for hit in name.find_iter(lines).filter(|at| has_value(lines, at + name.needle().len())) {
                let line = line_around(lines, hit);
                if line.start >= done {
                    done = line.end;
                    let read = (tells.read)(json_of(&lines[line]), self.reading.usage.or(self.reading.so_far));
                    let told = if ends_at.is_some_and(|at| at < done) { &mut self.reading.usage } else { &mut self.reading.so_far };
                    *told = read.map(|usage| usage.after(*told)).or(*told);
                    told_until = read.map(|_| done).or(told_until);
                }
            }
        }
        self.believe_newest(lines, told_until);
    }

    /// Usage directly before the stream's last line is of all of it too: some leave out why it ended.
    fn believe_newest(&mut self, lines: &[u8], told_until: Option<usize>) {
        let rest = without_comments(&lines[told_until.unwrap_or(0)..]);
        let is_newest = told_until.is_some() || self.usage_is_newest;
        if is_newest && self.last.iter().any(|last| rest.starts_with(last.needle())) {
            self.reading.usage = self.reading.usage.or(self.reading.so_far);
        }
        self.usage_is_newest = is_newest && rest.is_empty();
    }

    /// Notes how far the answer has come with these lines, and where in them it is told why it ended: at their start where that was told before.
    fn look_for_end(&mut self, lines: &[u8]) -> Option<usize> {
        let tells = self.tells;
        let finishes =
            |name| values(lines, name).find(|(at, _)| tells.finished.is_none_or(|is| is(json_of(&lines[line_around(lines, *at)]))));
        let finished = match self.reading.ending {
            Ending::Open if tells.of_its_end() => self.finishes.iter().filter_map(finishes).map(|(at, _)| at).min(),
            _ => Some(0),
        };
        let last = self.last.iter().filter_map(|last| start_of_line(lines, last));
        let last = last.chain(self.last_types.iter().filter_map(|kind| place_of_type(lines, kind))).min();
        self.reading.ending = match self.reading.ending {
            _ if last.is_some() => Ending::Complete,
            Ending::Open if finished.is_some() && tells.of_its_end() => Ending::Finished,
            before => before,
        };
        finished.into_iter().chain(last).min()
    }

    fn without_hidden(&mut self, lines: Bytes) -> Bytes {
        let mut rest = lines;
        if self.skip_blank && !rest.is_empty() {
            self.skip_blank = false;
            rest = without_blank(&rest);
        }
        // From the end on, as they are found.
        let mut kept: Vec<Bytes> = Vec::new();
        let mut end = rest.len();
        for hit in usage::objects(&rest) {
            let found = if hit < end { hidden_line(&rest[..end], hit) } else { None };
            let Some(at) = found else { continue };
            self.skip_blank |= at.end == rest.len();
            kept.push(without_blank(&rest.slice(at.end..end)));
            end = at.start;
        }
        if kept.is_empty() {
            return rest;
        }
        kept.push(rest.slice(..end));
        kept.retain(|part| !part.is_empty());
        kept.reverse();
        if let [one] = &kept[..] { one.clone() } else { kept.concat().into() }
    }
}

/// Without the empty lines and comments that lines begin with.
fn without_comments(lines: &[u8]) -> &[u8] {
    let mut rest = lines.trim_ascii_start();
    while let Some(comment) = rest.strip_prefix(b":") {
        rest = memchr(b'\n', comment).map_or(&[][..], |end| comment[end..].trim_ascii_start());
    }
    rest
}

/// The line around `hit`, if it is an event that reports usage and no choice.
fn hidden_line(lines: &[u8], hit: usize) -> Option<std::ops::Range<usize>> {
    let line = line_around(lines, hit);
    let data = lines[line.clone()].strip_prefix(b"data:")?;
    let event: Event = serde_json::from_slice(data).ok()?;
    let only_usage = event.usage.is_some() && event.choices.is_some_and(|choices| choices.is_empty());
    only_usage.then_some(line)
}

/// Whether a member's name that ends at `end` is followed by a value that is not `null`.
fn has_value(json: &[u8], end: usize) -> bool {
    value_after(json, end).is_some_and(|value| !value.starts_with(b"null"))
}

/// Without the blank line that they begin with.
fn without_blank(lines: &Bytes) -> Bytes {
    let blank = [&b"\r\n"[..], b"\n"].into_iter().find(|blank| lines.starts_with(blank)).map_or(0, <[u8]>::len);
    lines.slice(blank..)
}

/// What follows a member's name that ends at `end`.
fn value_after(json: &[u8], end: usize) -> Option<&[u8]> {
    let after = json.get(end..)?.strip_prefix(b"\"")?.trim_ascii_start();
    after.strip_prefix(b":").map(<[u8]>::trim_ascii_start)
}

/// Where a member stands in those lines, and its value, where that is not `null`, `false` or empty.
fn values<'a>(lines: &'a [u8], name: &'a Finder<'_>) -> impl Iterator<Item = (usize, &'a [u8])> {
    let all = name.find_iter(lines).filter_map(|at| Some((at, value_after(lines, at + name.needle().len())?)));
    all.filter(|(_, value)| ![&b"null"[..], b"false", b"\"\"", b"{}"].iter().any(|nothing| value.starts_with(nothing)))
}

/// Where an event of that type is in those lines.
fn place_of_type(lines: &[u8], kind: &Finder<'_>) -> Option<usize> {
    let mut done = 0;
    kind.find_iter(lines).find(|&at| {
        // A text may say it a thousand times: its line is read once.
        if at < done {
            return false;
        }
        let line = line_around(lines, at);
        done = line.end;
        match lines[line.clone()].strip_prefix(b"event:") {
            Some(named) => named.trim_ascii() == kind.needle(),
            None => serde_json::from_slice(json_of(&lines[line])).is_ok_and(|event: Typed<'_>| event.kind.as_bytes() == kind.needle()),
        }
    })
}

/// Whether lines tell an error: an event of that name, or a member.
fn tells_error(lines: &[u8]) -> bool {
    let begins = ["event: error", "data: {\"type\":\"error\""];
    begins.into_iter().any(|begin| start_of_line(lines, &Finder::new(begin)).is_some())
        || values(lines, &Finder::new("error")).next().is_some()
}

/// The JSON in a line of a stream: without the field's name of an event, and without an array's punctuation.
fn json_of(line: &[u8]) -> &[u8] {
    let line = line.strip_prefix(b"data:").unwrap_or(line).trim_ascii();
    let line = line.strip_prefix(b"[").or(line.strip_prefix(b",")).unwrap_or(line);
    line.strip_suffix(b"]").or(line.strip_suffix(b",")).unwrap_or(line)
}

/// Where the first line begins that begins so.
fn start_of_line(lines: &[u8], start: &Finder<'_>) -> Option<usize> {
    start.find_iter(lines).find(|&at| at == 0 || lines[at - 1] == b'\n')
}

/// The line that `hit` is in, with its line break.
fn line_around(lines: &[u8], hit: usize) -> std::ops::Range<usize> {
    let start = memrchr(b'\n', &lines[..hit]).map_or(0, |at| at + 1);
    start..memchr(b'\n', &lines[hit..]).map_or(lines.len(), |at| hit + at + 1)
}
