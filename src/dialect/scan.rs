//! Finds the members of a JSON object in one fast pass; what it does not take is left to the reader that can say what is wrong.
//!
//! A request of 100 KB spent most of its time in strings, where quotes, escapes and control characters have to be found: here
//! sixteen bytes are looked at by one vector instruction each, and in longer strings what is escaped is found for 64 of them at once.

use std::borrow::Cow;
use std::ops::Range;

use wide::u8x16;

use super::members::{MOST_MEMBERS, Member};
use super::pointers::Pointers;

/// Deeper values are left to the other reader, which has a limit of its own.
const DEEPEST: usize = 64;

/// Bytes that are looked at together in a short string.
const BLOCK: usize = 16;
/// Every second bit, from the lowest on.
const EVEN: u64 = 0x5555_5555_5555_5555;

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
    pointers: Pointers,
}

/// The members of the object that `json` is, and what its strings point to, or `None` where anything about it is not right.
pub(super) fn members(json: &[u8]) -> Option<(Vec<Member<'_>>, Pointers)> {
    let text = simdutf8::basic::from_utf8(json).ok()?;
    let mut scanner = Scanner { bytes: json, at: 0, pointers: Pointers::default() };
    let mut members: Vec<Member<'_>> = Vec::with_capacity(12);
    scanner.object(|scanner, name_at, has_escapes| {
        let name = match has_escapes {
            false => Cow::Borrowed(text.get(name_at.start + 1..name_at.end - 1)?),
            true => Cow::Owned(serde_json::from_str::<String>(text.get(name_at)?).ok()?),
        };
        if members.len() == MOST_MEMBERS || members.iter().any(|member| member.name == name) {
            return None;
        }
        let (start, before) = (scanner.at, scanner.pointers);
        scanner.value(DEEPEST)?;
        scanner.pointers.after_member(&name, before);
        let range = start..scanner.at;
        members.push(Member { name, raw: text.get(range.clone())?, range });
        Some(())
    })?;
    scanner.skip_space();
    (scanner.at == json.len()).then_some((members, scanner.pointers))
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
        // Names, and most values, are shorter and have none.
        if let Some(block) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            let place = specials(*block).trailing_zeros() as usize;
            if block.get(place) == Some(&b'"') {
                self.pointers.look_at(&block[..place]);
                self.at += place + 1;
                return Some(false);
            }
        }
        let start = self.at;
        let has_escapes = self.long_string()?;
        if !has_escapes {
            self.pointers.look_at(self.bytes.get(start..self.at - 1)?);
        }
        Some(has_escapes)
    }

    /// The same, 64 bytes at a time.
    fn long_string(&mut self) -> Option<bool> {
        let (mut has_escapes, mut begins_escaped) = (false, false);
        while let Some(block) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<64>()) {
            let Marks { quotes, backslashes, controls } = Marks::of(block);
            let (escaped, next_is_escaped) = escaped(backslashes, begins_escaped);
            let ends = quotes & !escaped;
            // All up to the quote that ends the string, or all.
            let inside = ends ^ ends.wrapping_sub(1);
            if controls & inside != 0 {
                return None;
            }
            if escaped & inside != 0 {
                let mut long = escaped & inside & !(quotes | backslashes | simple_escapes(block));
                while long != 0 {
                    // Only the escape that is written in digits is none of the simple ones.
                    self.escape((self.at + long.trailing_zeros() as usize).checked_sub(1)?)?;
                    long &= long - 1;
                }
            }
            has_escapes |= backslashes & inside != 0;
            if ends != 0 {
                self.at += ends.trailing_zeros() as usize + 1;
                return Some(has_escapes);
            }
            begins_escaped = next_is_escaped;
            self.at += block.len();
        }
        self.at -= usize::from(begins_escaped);
        self.end_of_string(has_escapes)
    }

    /// The same from one special byte to the next, for the last few of all.
    fn end_of_string(&mut self, mut has_escapes: bool) -> Option<bool> {
        loop {
            if let Some(block) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
                self.at += (specials(*block).trailing_zeros() as usize).min(BLOCK);
            }
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
    fn escape(&mut self, at: usize) -> Option<usize> {
        match ESCAPES[usize::from(*self.bytes.get(at + 1)?)] {
            0 => None,
            6 => {
                let digits = self.bytes.get(at + 2..at + 6)?;
                self.pointers.look_at_escape(digits);
                digits.iter().all(u8::is_ascii_hexdigit).then_some(6)
            }
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

/// Where of 64 bytes these are, a bit for each byte, the lowest for the first.
struct Marks {
    quotes: u64,
    backslashes: u64,
    controls: u64,
}

// === impl Marks ===

impl Marks {
    #[inline]
    fn of(block: &[u8; 64]) -> Marks {
        Marks {
            quotes: where_of(block, |bytes| bytes.simd_eq(u8x16::splat(b'"'))),
            backslashes: where_of(block, |bytes| bytes.simd_eq(u8x16::splat(b'\\'))),
            controls: where_of(block, is_control),
        }
    }
}

/// Which of 64 bytes follow a backslash that is not escaped itself, and whether the byte behind them does. Of an escaped backslash
/// nothing is told: it is right as it is.
///
/// Backslashes stand in runs, and one of odd length escapes what follows. Added to its own first bit, a run becomes the bit behind it: whether
/// that and the first are both even, or both odd, tells the length.
#[inline]
fn escaped(backslashes: u64, begins_escaped: bool) -> (u64, bool) {
    let runs = backslashes & !u64::from(begins_escaped);
    let firsts = runs & !(runs << 1);
    let (behind_even, _) = runs.overflowing_add(firsts & EVEN);
    let (behind_odd, is_last) = runs.overflowing_add(firsts & !EVEN);
    let behind = (behind_even & !EVEN) | (behind_odd & EVEN);
    ((behind & !runs) | u64::from(begins_escaped), is_last)
}

/// Where of 64 bytes the letters are that make a short escape, but for the quote and the backslash.
#[inline]
fn simple_escapes(block: &[u8; 64]) -> u64 {
    where_of(block, |bytes| {
        let is = |letter| bytes.simd_eq(u8x16::splat(letter));
        (is(b'n') | is(b't')) | (is(b'r') | is(b'/')) | (is(b'b') | is(b'f'))
    })
}

#[inline]
fn where_of(block: &[u8; 64], is: impl Fn(u8x16) -> u8x16) -> u64 {
    let (blocks, _) = block.as_chunks::<BLOCK>();
    blocks.iter().rev().fold(0, |bits, block| bits << BLOCK | u64::from(is(u8x16::from(*block)).to_bitmask()))
}

#[inline]
fn is_control(bytes: u8x16) -> u8x16 {
    bytes.min(u8x16::splat(0x1f)).simd_eq(bytes)
}

/// A bit for each byte that is a quote, a backslash or a control character, the lowest for the first.
#[inline]
fn specials(block: [u8; BLOCK]) -> u32 {
    let bytes = u8x16::from(block);
    (bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\')) | is_control(bytes)).to_bitmask()
}
