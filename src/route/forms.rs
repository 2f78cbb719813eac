//! The forms in which whoever was sent a secret may repeat it: as it is, and escaped in each of the ways that are about.

use std::cmp::Reverse;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::distinct::distinct;

/// What `encodeURIComponent` leaves.
const COMPONENT: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'!').remove(b'~').remove(b'*').remove(b'\'').remove(b'(').remove(b')');
/// What RFC 3986 calls unreserved.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same as a part of a path, and of a query.
const PATH: AsciiSet = UNRESERVED.remove(b'/');
const QUERY: AsciiSet = COMPONENT.remove(b'/').remove(b':').remove(b'@').remove(b'$').remove(b',').remove(b';').remove(b'=').remove(b'?');

/// A shorter one is a word that may stand anywhere.
pub const SHORTEST: usize = 6;

/// All forms of a secret, itself too.
pub fn of(secret: &str) -> Vec<String> {
    let mut plain = vec![secret.to_owned()];
    // Of `Basic`, what stands in it says as much.
    if let Some(pair) = STANDARD.decode(secret).ok().and_then(|pair| String::from_utf8(pair).ok())
        && let Some((_, password)) = pair.split_once(':')
    {
        plain.extend([password.to_owned(), pair]);
    }
    plain.iter().flat_map(|text| written(text)).collect()
}

/// The forms of a text in JSON, longer ones first: one may begin with another.
pub fn in_json(text: &str) -> Vec<String> {
    let escaped = |c: char, escape: fn(u32) -> String| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) { c.to_string() } else { escape(u32::from(c)) }
    };
    let of_html = |c: char, escape: fn(u32) -> String| if "&<>'\"+=`".contains(c) { escape(u32::from(c)) } else { c.to_string() };
    let slashes = |text: &str| text.replace('/', "\\/");
    let mut all = vec![text.to_owned()];
    for escape in [|c| format!("\\u{c:04x}"), |c| format!("\\u{c:04X}")] as [fn(u32) -> String; 2] {
        let html: String = text.chars().map(|c| of_html(c, escape)).collect();
        all.extend([slashes(text), slashes(&html), html, text.chars().map(|c| escaped(c, escape)).collect()]);
    }
    let mut all = distinct(all);
    all.sort_by_key(|form| Reverse(form.len()));
    all
}

fn written(text: &str) -> Vec<String> {
    let mut all = vec![text.to_owned()];
    for set in [NON_ALPHANUMERIC, &COMPONENT, &UNRESERVED, &PATH, &QUERY] {
        all.push(utf8_percent_encode(text, set).to_string());
    }
    all.push(url::form_urlencoded::byte_serialize(text.as_bytes()).collect());
    let json = serde_json::Value::from(text).to_string();
    let json = json.trim_matches('"');
    all.extend([json.to_owned(), json.replace('/', "\\/")]);
    all.extend([unicode(text, |c| format!("\\u{:04x}", u32::from(c))), unicode(text, |c| format!("\\u{:04X}", u32::from(c)))]);
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    all.extend([html.clone(), html.replace('"', "&quot;").replace('\'', "&#39;"), html.replace('"', "&#34;").replace('\'', "&#x27;")]);
    all.extend([STANDARD_NO_PAD.encode(text), URL_SAFE_NO_PAD.encode(text)]);
    all.extend((0..3).flat_map(|at| [within(&STANDARD_NO_PAD, text, at), within(&URL_SAFE_NO_PAD, text, at)]));
    all
}

/// What base64 of something longer has of a text that begins `at` bytes after one of its groups of three: the digits that are the text's alone.
fn within(alphabet: &impl Engine, text: &str, at: usize) -> String {
    let whole = alphabet.encode([&vec![0; at], text.as_bytes()].concat());
    whole.get((at * 8).div_ceil(6)..(at + text.len()) * 8 / 6).unwrap_or_default().to_owned()
}

/// As JSON by those who escape whatever means something in HTML.
fn unicode(text: &str, escape: impl Fn(char) -> String) -> String {
    let one = |c: char| if "&<>'\"+`".contains(c) { escape(c) } else { c.to_string() };
    text.chars().map(one).collect()
}
