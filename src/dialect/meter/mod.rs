//! Watches an answer go by for its usage: whole or streamed, without holding it back or reading more of it than needed.

mod element;
mod frames;
mod said;
mod stream;

use std::collections::VecDeque;

use bytes::Bytes;

use self::element::Element;
use self::frames::Frames;
use self::said::says_anything;
use self::stream::Stream;
use super::ir::Trouble;
use super::members::Members;
use super::translate::Translation;
use super::wire::Tells;
use crate::ledger::record::Usage;

/// How much of a whole answer's end is kept to look for its usage.
const TAIL: usize = 1 << 20;
/// A line of a stream that grows beyond this is passed on unread.
const LONGEST_LINE: usize = 32 << 20;

/// Reads what an answer cost while it passes.
#[derive(Debug)]
pub enum Meter {
    /// One JSON document.
    Whole(Whole),
    /// A stream of lines: server-sent events, lines of JSON, or a JSON array.
    Stream(Box<Stream>),
    /// A stream of binary messages (AWS event stream).
    Frames(Frames),
    /// A stream that becomes another dialect's on its way.
    Translation(Box<Translation>),
    /// Bytes that tell nothing, such as sound.
    Unread,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// As the provider reported it of all of the answer: in a whole one, or when a stream said why it ended, or after.
    pub usage: Option<Usage>,
    /// As some report it on the way, of what was said until then.
    pub so_far: Option<Usage>,
    /// Output tokens by what was seen, for where it reported nothing.
    pub estimated_output: u64,
    /// Whether anything was said, as far as that was looked at: where none of it is counted.
    pub said: Option<bool>,
    /// How far the answer came.
    pub ending: Ending,
}

/// How far an answer came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// Nothing has said that it ended.
    #[default]
    Open,
    /// The provider told an error last.
    Failed,
    /// It said why it ended, and its dialect's last event is still to come; some servers never send that.
    Finished,
    /// The dialect's own last event has passed: whoever hangs up now has all of the answer.
    Complete,
}

/// The end of a whole answer, in the pieces that it came in.
#[derive(Debug)]
pub struct Whole {
    tells: Tells,
    tail: VecDeque<Bytes>,
    kept: usize,
    seen: usize,
}

// === impl Reading ===

impl Reading {
    /// Whether the usage is all that the provider will report of so many answers, wherever whoever reads them stops.
    pub fn is_final(&self, answers: u64) -> bool {
        // One of several may have ended alone.
        self.usage.is_some() && (self.ending == Ending::Complete || answers <= 1)
    }
}

// === impl Meter ===

impl Meter {
    /// A meter for a whole answer.
    pub fn whole(tells: Tells) -> Meter {
        Meter::Whole(Whole { tells, tail: VecDeque::new(), kept: 0, seen: 0 })
    }

    /// What a whole answer tells whose members are known already.
    pub fn read_whole(tells: Tells, members: &Members<'_>, json: &[u8]) -> Reading {
        let usage = tells.of_whole(members, json);
        let said = uncounted(tells, usage).then(|| says_anything(json));
        Reading { usage, estimated_output: json.len() as u64 / 4, said, ..Reading::default() }
    }

    /// A meter for a stream; `hide` keeps from the caller OpenAI's event that it did not ask for.
    pub fn stream(tells: Tells, hide: bool) -> Meter {
        Meter::Stream(Box::new(Stream::new(tells, hide, None)))
    }

    /// A meter for a JSON array that grows.
    pub fn array(tells: Tells) -> Meter {
        Meter::Stream(Box::new(Stream::new(tells, false, Some(Element::default()))))
    }

    /// A meter for a stream of binary messages.
    pub fn frames(tells: Tells) -> Meter {
        Meter::Frames(Frames::new(tells))
    }

    /// Takes a piece of the answer, gives what is to be passed on.
    pub fn pass(&mut self, piece: Bytes) -> Bytes {
        match self {
            Meter::Whole(whole) => whole.pass(piece),
            Meter::Stream(stream) => stream.pass(piece),
            Meter::Frames(frames) => frames.pass(piece),
            Meter::Translation(translation) => translation.pass(&piece),
            Meter::Unread => piece,
        }
    }

    /// Whether a whole answer says itself that it has ended, so that one which has not was broken off.
    pub fn tells_its_end(&self) -> bool {
        match self {
            Meter::Stream(stream) => stream.tells_its_end(),
            Meter::Frames(frames) => frames.tells_its_end(),
            Meter::Translation(_) => true,
            Meter::Whole(_) | Meter::Unread => false,
        }
    }

    /// Whether the dialect's own last event has passed.
    pub fn is_complete(&self) -> bool {
        match self {
            Meter::Stream(stream) => stream.ending() == Ending::Complete,
            Meter::Frames(frames) => frames.ending() == Ending::Complete,
            Meter::Translation(translation) => translation.has_ended(),
            Meter::Whole(_) | Meter::Unread => false,
        }
    }

    /// The caller is to be told that its provider failed: the last bytes in its dialect, or `None` where the surface has to say it.
    pub fn fail(&mut self, trouble: &Trouble) -> Option<Bytes> {
        match self {
            Meter::Translation(translation) => Some(translation.fail(trouble)),
            Meter::Whole(_) | Meter::Stream(_) | Meter::Frames(_) | Meter::Unread => None,
        }
    }

    /// The answer has ended: what is still held back, and what was read.
    pub fn finish(&mut self) -> (Bytes, Reading) {
        match self {
            Meter::Whole(whole) => (Bytes::new(), whole.read()),
            Meter::Stream(stream) => stream.finish(),
            Meter::Frames(frames) => frames.finish(),
            Meter::Translation(translation) => translation.finish(),
            Meter::Unread => (Bytes::new(), Reading::default()),
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
        let tail: Vec<Bytes> = std::mem::take(&mut self.tail).into();
        let tail = if let [one] = &tail[..] { one.clone() } else { tail.concat().into() };
        let of_end = || if self.kept < self.seen { self.tells.of_end(&tail) } else { None };
        let usage = (self.tells.read)(&tail, None).or_else(of_end);
        let said = uncounted(self.tells, usage).then(|| self.kept < self.seen || says_anything(&tail));
        Reading { usage, estimated_output: self.seen as u64 / 4, said, ..Reading::default() }
    }
}

/// Whether a usage is of a conversation, and counts nothing of what was said.
fn uncounted(tells: Tells, usage: Option<Usage>) -> bool {
    tells.of_its_end() && usage.is_some_and(|usage| usage.output == 0)
}
