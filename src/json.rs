//! JSON objects written member by member, for the lines that every request writes: a general serialiser takes five times as long.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;

/// An object that is being written.
pub struct Object<'a>(&'a mut Vec<u8>);

thread_local! {
    /// The last second that was written, and its text up to the fraction: most requests come in the same one as the one before.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

// === impl Object ===

impl<'a> Object<'a> {
    /// Begins an object at the end of `out`.
    pub fn open(out: &'a mut Vec<u8>) -> Object<'a> {
        out.push(b'{');
        Object(out)
    }

    /// Members of an object that others will write, at the end of `out`, which is empty.
    pub fn members_of(out: &'a mut Vec<u8>) -> Object<'a> {
        Object(out)
    }

    /// Ends it.
    pub fn close(self) {
        self.0.push(b'}');
    }

    /// Begins an object inside.
    #[inline]
    pub fn object(&mut self, name: &'static str) -> Object<'_> {
        self.name(name);
        Object::open(self.0)
    }

    /// Members that were [written before](Object::members_of), one or more.
    #[inline]
    pub fn members(&mut self, written: &[u8]) {
        if !self.is_first() {
            self.0.push(b',');
        }
        self.0.extend_from_slice(written);
    }

    /// A text.
    #[inline]
    pub fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        self.text_value(text);
    }

    /// A text, or nothing.
    #[inline]
    pub fn some_text(&mut self, name: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// An address, as its own text has it: that of IPv4 is written faster than by a formatter.
    pub fn some_address(&mut self, name: &'static str, address: Option<IpAddr>) {
        match address {
            Some(IpAddr::V4(address)) => {
                self.name(name);
                let mut before = b'"';
                for part in address.octets() {
                    self.0.push(before);
                    self.number_value(part);
                    before = b'.';
                }
                self.0.push(b'"');
            }
            address => self.some_text(name, address.map(|address| address.to_string()).as_deref()),
        }
    }

    /// A whole number.
    #[inline]
    pub fn number(&mut self, name: &'static str, number: impl itoa::Integer) {
        self.name(name);
        self.number_value(number);
    }

    /// A whole number, or nothing.
    #[inline]
    pub fn some_number(&mut self, name: &'static str, number: Option<impl itoa::Integer>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    /// A number; nothing where it is none that JSON has.
    pub fn some_float(&mut self, name: &'static str, number: Option<f64>) {
        if let Some(number) = number.filter(|number| number.is_finite()) {
            self.name(name);
            // A finite number cannot fail, nor can writing to a vector.
            let _ = serde_json::to_writer(&mut *self.0, &number);
        }
    }

    /// A time in UTC (RFC 3339) with so many digits of its second's fraction, 9 at the most.
    #[inline]
    pub fn time(&mut self, name: &'static str, at: Timestamp, digits: usize) {
        self.name(name);
        self.time_value(at, digits);
    }

    fn text_value(&mut self, text: &str) {
        if !is_plain(text.as_bytes()) {
            // Neither a text nor writing to a vector can fail.
            let _ = serde_json::to_writer(&mut *self.0, text);
            return;
        }
        self.0.reserve(text.len() + 2);
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }

    fn number_value(&mut self, number: impl itoa::Integer) {
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn time_value(&mut self, at: Timestamp, digits: usize) {
        let (second, nanos) = match at.subsec_nanosecond() {
            // Before 1970 both count backwards.
            before @ ..0 => (at.as_second() - 1, before + 1_000_000_000),
            nanos => (at.as_second(), nanos),
        };
        self.0.push(b'"');
        SECOND.with_borrow_mut(|(known, text)| {
            if *known != second {
                text.clear();
                // Writing to a String cannot fail.
                let _ = write!(text, "{}", Timestamp::from_second(second).unwrap_or_default());
                text.truncate(text.len() - 1);
                *known = second;
            }
            self.0.extend_from_slice(text.as_bytes());
        });
        let mut fraction = *b".000000000";
        let mut rest = nanos;
        for digit in fraction[1..].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        self.0.extend_from_slice(&fraction[..=digits.min(9)]);
        self.0.extend_from_slice(b"Z\"");
    }

    /// Inlined to where the name stands: it is copied there by its length, which is known, and not by a call for each of its parts.
    #[inline]
    fn name(&mut self, name: &'static str) {
        self.0.extend_from_slice(if self.is_first() { b"\"" } else { b",\"" });
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// Whether no member was written yet: a value never ends with a brace that opens.
    #[inline]
    fn is_first(&self) -> bool {
        matches!(self.0.last(), None | Some(b'{'))
    }
}

/// Whether JSON takes a text as it is: no control character, quote or backslash. Eight bytes are looked at together.
fn is_plain(text: &[u8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    // A byte below `n` borrows into its highest bit, where that was not set before (n up to 128).
    let below = |word: u64, n: u64| word.wrapping_sub(n * EACH) & !word & HIGH;
    let strange = |word: u64| below(word, 0x20) | below(word ^ (EACH * u64::from(b'"')), 1) | below(word ^ (EACH * u64::from(b'\\')), 1);
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).fold(0, |found, word| found | strange(u64::from_le_bytes(*word))) == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.text("plain", "ü {");
        object.text("escaped", "a\"b\\c\n\u{1}");
        object.some_text("absent", None);
        object.some_address("from", Some("203.0.113.255".parse().unwrap()));
        object.some_address("from_far", Some("2001:db8::1".parse().unwrap()));
        object.some_address("from_nowhere", None);
        object.number("number", -7);
        object.some_number("none", None::<u64>);
        object.some_float("float", Some(0.25));
        object.some_float("no number", Some(f64::NAN));
        let mut inner = object.object("inner");
        inner.number("most", u64::MAX);
        inner.close();
        object.object("empty").close();
        let mut members = Vec::new();
        let mut two = Object::members_of(&mut members);
        two.text("one", "1");
        two.number("two", 2);
        object.members(&members);
        object.object("alone").members(&members);
        out.extend_from_slice(b"}}");
        let expected = json!({"plain": "ü {", "escaped": "a\"b\\c\n\u{1}", "from": "203.0.113.255", "from_far": "2001:db8::1",
            "number": -7, "float": 0.25, "inner": {"most": u64::MAX}, "empty": {}, "one": "1", "two": 2, "alone": {"one": "1", "two": 2}});
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    }

    #[test]
    fn every_byte_that_must_be_escaped_is_seen_at_every_place() {
        for byte in 0..=u8::MAX {
            for (len, place) in (1..20).flat_map(|len| (0..len).map(move |place| (len, place))) {
                let mut text = vec![b'a'; len];
                text[place] = byte;
                assert_eq!(is_plain(&text), byte >= 0x20 && byte != b'"' && byte != b'\\', "{byte:#x} at {place} of {len}");
                // What stands beside it changes nothing.
                text.iter_mut().enumerate().filter(|(at, _)| *at != place).for_each(|(_, other)| *other = 0xff);
                assert_eq!(is_plain(&text), byte >= 0x20 && byte != b'"' && byte != b'\\', "{byte:#x} at {place} of {len}");
            }
        }
    }

    #[test]
    fn a_time_reads_back_to_the_digit() {
        for text in ["1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00Z", "2026-02-28T23:59:59.999999999Z", "9999-12-30T22:00:00.000000001Z"] {
            let at: Timestamp = text.parse().unwrap();
            let written = |digits| {
                let mut out = Vec::new();
                let mut object = Object::open(&mut out);
                object.time("at", at, digits);
                object.close();
                serde_json::from_slice::<Value>(&out).unwrap()["at"].as_str().unwrap().to_owned()
            };
            assert_eq!(written(9).parse::<Timestamp>().unwrap(), at, "{text}");
            assert_eq!(written(9), format!("{at:.9}"));
            // Less is cut off and not rounded.
            assert_eq!(written(6)[..26], written(9)[..26]);
        }
    }
}
