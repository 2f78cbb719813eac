//! Finds the members of a JSON object in one fast pass; what it does not take is left to the reader that can say what is wrong.
//!
//! A request of 100 KB spent most of its time in strings, where quotes, escapes and control characters have to be found: here
//! sixteen bytes are looked at by one vector instruction each, also right after an escape.

use std::borrow::Cow;
use std::ops::Range;

use wide::u8x16;

use super::members::{MOST_MEMBERS, Member};

/// Deeper values are left to the other reader, which has a limit of its own.
const DEEPEST: usize = 64;

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// The length of an escape by the character after its backslash; 0 where that makes none.
const ESCAPES: [u8; 256] = {
    let (simple, mut lengths, mut at) = (*b"\"\\/bfnrt", [0; 256], 0);
    while at < simple.len() {
        lengths[simple[at] as usize] = 2;
        at += 1;
    }
    lengths[b'u' as usize] = 6;
    lengths
};

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The members of the object that `json` is, or `None` where anything about it is not right.
pub(super) fn members(json: &[u8]) -> Option<Vec<Member<'_>>> {
    let text = simdutf8::basic::from_utf8(json).ok()?;
    let mut scanner = Scanner { bytes: json, at: 0 };
    let mut members: Vec<Member<'_>> = Vec::with_capacity(12);
    scanner.object(|scanner, name_at, has_escapes| {
        let name = match has_escapes {
            false => Cow::Borrowed(text.get(name_at.start + 1..name_at.end - 1)?),
            true => Cow::Owned(serde_json::from_str::<String>(text.get(name_at)?).ok()?),
        };
        if members.len() == MOST_MEMBERS || members.iter().any(|member| member.name == name) {
            return None;
        }
        let start = scanner.at;
        scanner.value(DEEPEST)?;
        let range = start..scanner.at;
        members.push(Member { name, raw: text.get(range.clone())?, range });
        Some(())
    })?;
    scanner.skip_space();
    (scanner.at == json.len()).then_some(members)
}

// === impl Scanner ===

impl Scanner<'_> {
    /// Goes past an object; `value` is called at each value with the place of its name, quotes included, and has to go past it.
    fn object(&mut self, mut value: impl FnMut(&mut Self, Range<usize>, bool) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.next_is(b'}') {
            return Some(());
        }
        loop {
            self.take(b'"')?;
            let start = self.at - 1;
            let has_escapes = self.string()?;
            let name = start..self.at;
            self.take(b':')?;
            self.skip_space();
            value(self, name, has_escapes)?;
            if self.next_is(b'}') {
                return Some(());
            }
            self.take(b',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.take(b'[')?;
        if self.next_is(b']') {
            return Some(());
        }
        loop {
            self.skip_space();
            self.value(depth)?;
            if self.next_is(b']') {
                return Some(());
            }
            self.take(b',')?;
        }
    }

    /// Goes past the value that begins here.
    fn value(&mut self, depth: usize) -> Option<()> {
        match *self.bytes.get(self.at)? {
            b'"' => {
                self.at += 1;
                self.string().map(drop)
            }
            b'{' => {
                let depth = depth.checked_sub(1)?;
                self.object(|scanner, _, _| scanner.value(depth))
            }
            b'[' => self.array(depth.checked_sub(1)?),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    /// Goes past the rest of a string whose quote is behind; tells whether it has escapes.
    fn string(&mut self) -> Option<bool> {
        let mut has_escapes = false;
        'blocks: while let Some(block) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            let mut marks = specials(*block);
            while marks != 0 {
                let place = marks.trailing_zeros() as usize;
                match block[place] {
                    b'"' => {
                        self.at += place + 1;
                        return Some(has_escapes);
                    }
                    b'\\' => has_escapes = true,
                    _ => return None,
                }
                let length = self.escape(self.at + place)?;
                if length > 2 || place == BLOCK - 1 {
                    self.at += place + length;
                    continue 'blocks;
                }
                // The escaped character means nothing else.
                marks &= !(3 << place);
            }
            self.at += BLOCK;
        }
        self.end_of_string(has_escapes)
    }

    /// The same byte by byte, for the last few of all.
    fn end_of_string(&mut self, mut has_escapes: bool) -> Option<bool> {
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(has_escapes);
                }
                b'\\' => {
                    has_escapes = true;
                    self.at += self.escape(self.at)?;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    /// The length of the escape at `at`.
    #[inline]
    fn escape(&self, at: usize) -> Option<usize> {
        match ESCAPES[usize::from(*self.bytes.get(at + 1)?)] {
            0 => None,
            6 => self.bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
            length => Some(usize::from(length)),
        }
    }

    fn number(&mut self) -> Option<()> {
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'-'));
        match self.bytes.get(self.at)? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let count = self.bytes.get(self.at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn next_is(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.next_is(byte).then_some(())
    }
}

/// A bit for each byte that is a quote, a backslash or a control character, the lowest for the first.
fn specials(block: [u8; BLOCK]) -> u32 {
    let block = u8x16::from(block);
    let is_control = block.min(u8x16::splat(0x1f)).simd_eq(block);
    (block.simd_eq(u8x16::splat(b'"')) | block.simd_eq(u8x16::splat(b'\\')) | is_control).to_bitmask()
}
