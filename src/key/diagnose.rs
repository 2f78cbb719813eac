//! Says what is wrong with a text that is no key: the most helpful of what the text itself shows, and nothing that needs a look-up.

use memchr::memchr_iter;
use percent_encoding::percent_decode_str;

use super::Reason;
use super::foreign;
use super::format::{BODY_LEN, KeyText, Kind, Malformed, Slip, is_of_another_prefix};
use crate::hidden::is_hidden;

/// The most of a path that an answer repeats.
const LONGEST_PATH: usize = 200;
/// Names that only begin like another service's key are shorter.
const SHORTEST_SECRET: usize = 20;
/// A part of a name with digits in it is shorter than one of a key.
const SHORTEST_RANDOM: usize = 16;
/// And so is any.
const LONGEST_WORD: usize = 30;

/// Why `text`, which is no key for the reason `malformed`, is none.
pub fn diagnose(text: &str, malformed: Malformed) -> Reason {
    let core = text.trim_matches(|c| is_blank(c) || is_quote(c));
    if core.is_empty() {
        return Reason::Empty;
    }
    let mut found = prefixes(text);
    match (found.next(), found.next()) {
        (None, _) => without_prefix(core, malformed),
        (Some(at), None) => around_one(text, at, malformed),
        (Some(first), Some(second)) => more_than_one(&text[first..second], &text[second..]),
    }
}

/// Whether a text holds a Keyward key, or enough of one to be kept out of logs.
pub fn holds_key(text: &str) -> bool {
    prefixes(text).next().is_some()
}

/// The whole keys in a text, such as a line of a log or a configuration, whatever stands around them.
pub fn keys_within(text: &str) -> impl Iterator<Item = KeyText<'_>> {
    prefixes(text).filter_map(|at| {
        let kind = Kind::ALL.into_iter().find(|kind| text[at..].starts_with(kind.prefix()))?;
        KeyText::parse(text.get(at..at + kind.prefix().len() + BODY_LEN)?).ok()
    })
}

/// Whether a text holds a whole key, which works for whoever reads it.
pub fn holds_whole_key(text: &str) -> bool {
    keys_within(text).next().is_some()
}

/// The same as [`holds_key`], also of what is written with escapes, as in a URL.
pub fn holds_escaped_key(text: &str) -> bool {
    holds_key(text) || (text.contains('%') && holds_key(&percent_decode_str(text).decode_utf8_lossy()))
}

/// A path as answers and the log repeat it: not endlessly, and with no key in it, ours or another service's.
pub fn shown(path: &str) -> String {
    // As a reader of the path has it: `%5F` is an underscore.
    let read = percent_decode_str(path).decode_utf8_lossy().into_owned();
    match holds_key(&read) || holds_foreign_key(&read) || without_keys(read.clone()) != read {
        true => "a path with a key in it".to_owned(),
        false => path.chars().take(LONGEST_PATH).collect(),
    }
}

/// A text as an answer may repeat it: of a key in it, whole or not, nothing is told. `kw_live_` alone is none.
pub fn without_keys(text: String) -> String {
    let (mut told, mut done) = (String::new(), 0);
    // Who writes a prefix in capitals has a key all the same.
    for start in places(&text, begins_alike) {
        let length = text[start..].bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        if start >= done && length >= SHORTEST_SECRET {
            told.push_str(&text[done..start]);
            told.push_str("(a key)");
            done = start + length;
        }
    }
    if done == 0 {
        return text;
    }
    told.push_str(&text[done..]);
    told
}

/// Whether a text begins like a key, in capitals or small letters.
fn begins_alike(text: &str) -> bool {
    let begins = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    Kind::ALL.iter().any(|kind| begins(kind.prefix()))
}

/// Whether a text that was put in the place of a name is a key, ours or another service's, and has to be kept out of logs.
pub fn is_secret(text: &str) -> bool {
    places(text, begins_alike).next().is_some() || is_foreign(text)
}

/// The same, also of what is written with escapes, as in a URL.
pub fn is_escaped_secret(text: &str) -> bool {
    is_secret(text) || (text.contains('%') && is_secret(&percent_decode_str(text).decode_utf8_lossy()))
}

/// Whether it is a key of another service, alone or behind `Bearer `, or behind a provider's name.
pub fn is_foreign(text: &str) -> bool {
    let mut words = text.split([' ', '/']).filter(|word| word.len() >= SHORTEST_SECRET);
    text.len() >= SHORTEST_SECRET && words.any(|word| foreign::issuer(word).is_some())
}

/// Whether a key of another service stands in what names other things, such as a glob or an id: names that only begin like a key have no part
/// as long as a secret's.
pub fn holds_foreign_key(text: &str) -> bool {
    let words = text.split(|c: char| c.is_whitespace() || "\"'`=:,;{}()[]<>/*?@|&".contains(c));
    words.filter(|word| foreign::issuer(word).is_some()).any(is_random)
}

/// Whether a word has a part that is too long for one, or too long for one with digits in it.
fn is_random(word: &str) -> bool {
    let has_digit = |part: &str| part.bytes().any(|byte| byte.is_ascii_digit());
    // Words that are written together have a capital here and there, and what is random has many or none.
    let capitals = |part: &str| part.bytes().filter(u8::is_ascii_uppercase).count();
    let is_words = |part: &str| (1..part.len() / 4).contains(&capitals(part)) && !has_digit(part);
    let is_part = |part: &str| (part.len() >= LONGEST_WORD && !is_words(part)) || (part.len() >= SHORTEST_RANDOM && has_digit(part));
    let has_both = || word.bytes().any(|byte| byte.is_ascii_uppercase()) && word.bytes().any(|byte| byte.is_ascii_lowercase());
    word.split(|c: char| !c.is_ascii_alphanumeric()).any(is_part) || (word.len() >= LONGEST_WORD && has_digit(word) && has_both())
}

/// White space, what cannot be seen, and what steers text without being seen.
pub fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_hidden(c)
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '“' | '”' | '„' | '‘' | '’' | '‚' | '«' | '»' | '´')
}

fn starts_with_prefix(text: &str) -> bool {
    Kind::ALL.iter().any(|kind| text.starts_with(kind.prefix()))
}

/// Where keys begin in a text; it is looked for by their underscore, which the names and paths of every request have few of.
fn prefixes(text: &str) -> impl Iterator<Item = usize> + '_ {
    places(text, starts_with_prefix)
}

fn places(text: &str, is_start: impl Fn(&str) -> bool) -> impl Iterator<Item = usize> {
    memchr_iter(b'_', text.as_bytes()).filter_map(|at| at.checked_sub(2)).filter(move |at| text.get(*at..).is_some_and(&is_start))
}

fn without_prefix(core: &str, malformed: Malformed) -> Reason {
    if let Some(strange) = strange_in_prefix(core) {
        return Reason::WrongCharacter(strange);
    }
    let squeezed: String = core.chars().filter(|c| !is_blank(*c)).collect();
    if starts_with_prefix(&squeezed) {
        return Reason::Whitespace;
    }
    if foreign::is_placeholder(core) {
        return Reason::Placeholder;
    }
    if let Some(issuer) = foreign::issuer(core).or_else(|| foreign::issuer_within(core)) {
        return Reason::Foreign(issuer);
    }
    if malformed == Malformed::PrefixCase {
        return Reason::WrongCase;
    }
    if is_masked(core) {
        return Reason::Masked;
    }
    if core.starts_with("kw%5") {
        return Reason::UrlEncoded;
    }
    let body_at = core.len().saturating_sub(BODY_LEN);
    match core.get(body_at..).is_some_and(is_of_another_prefix) {
        true => Reason::WrongPrefix,
        false => Reason::NotAKey,
    }
}

/// A letter in the prefix's place that only looks like the right one.
fn strange_in_prefix(core: &str) -> Option<char> {
    // Fullwidth forms lie in the order of ASCII.
    let narrow = |c: char| u32::from(c).checked_sub(0xfee0).filter(|code| (0x21..0x7f).contains(code)).and_then(char::from_u32);
    Kind::ALL.iter().find_map(|kind| {
        let pairs = || kind.prefix().chars().zip(core.chars());
        let alike = pairs().filter(|(right, given)| narrow(*given).unwrap_or(*given).eq_ignore_ascii_case(right)).count();
        let strange = pairs().filter(|(right, given)| right != given).map(|(_, given)| given);
        let is_like = alike >= 4 && strange.clone().all(|given| !given.is_ascii());
        strange.take(1).find(|_| is_like && core.chars().count() > kind.prefix().len())
    })
}

/// Judges a text in which one key begins, at `at`.
fn around_one(text: &str, at: usize, malformed: Malformed) -> Reason {
    let before = text[..at].trim_matches(|c| is_blank(c) || is_quote(c));
    // A space or a line break before it, as a URL writes them.
    let before = if before.starts_with('%') && before.len() % 3 == 0 { "" } else { before };
    let body = text[at..].splitn(3, '_').nth(2).unwrap_or_default();
    let is_set_somewhere = |c: char| matches!(c, '{' | '}' | '=' | ':' | '<' | '(');
    if before.is_empty() && foreign::is_filled_in(body) {
        return Reason::Placeholder;
    }
    if is_masked(&text[at..]) {
        return Reason::Masked;
    }
    if before.trim_end_matches(':').eq_ignore_ascii_case("bearer") && !text.contains(is_quote) {
        return Reason::NeedlessScheme;
    }
    if before.contains(is_set_somewhere) {
        return Reason::NotAlone;
    }
    if text.contains(is_quote) {
        return Reason::Quoted;
    }
    if !before.is_empty() {
        return Reason::NotAlone;
    }
    if text.contains('%') {
        return Reason::UrlEncoded;
    }
    if text.contains(is_blank) {
        return Reason::Whitespace;
    }
    match malformed {
        Malformed::Length(length) if length == 2 * BODY_LEN => Reason::Doubled,
        Malformed::Length(length) => Reason::WrongLength(length),
        Malformed::Character(character) => Reason::WrongCharacter(character),
        Malformed::Checksum(Slip::Lowered) => Reason::WrongCase,
        Malformed::Checksum(Slip::Prefix) => Reason::WrongPrefix,
        Malformed::Checksum(slip) => Reason::WrongChecksum(slip),
        Malformed::Prefix | Malformed::PrefixCase => Reason::NotAKey,
    }
}

fn more_than_one(first: &str, second: &str) -> Reason {
    let bare = |text: &'_ str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    // A copy that was cut is no other key.
    let (first, second) = (bare(first), bare(second));
    if first.starts_with(&second) || second.starts_with(&first) { Reason::Doubled } else { Reason::Conflicting }
}

/// Whether it is the short form that lists and dashboards show.
fn is_masked(text: &str) -> bool {
    text.contains(['…', '•', '●', '∗', '█']) || text.contains("...") || text.contains("**")
}
