//! Finds the key in a request's head, wherever the dialect's SDK puts it, and names what is wrong with how it was sent.

use http::request::Parts;
use http::{HeaderName, header};

use super::format::{KeyText, Malformed};
use super::reason::Reason;
use super::{foreign, format};

/// Headers that carry a bare key, by the SDK that sends them: Anthropic, Google, Azure.
const BARE_HEADERS: [HeaderName; 3] =
    [HeaderName::from_static("x-api-key"), HeaderName::from_static("x-goog-api-key"), HeaderName::from_static("api-key")];

/// The key that a request carries; two that differ are refused, since either could be the one that was meant.
///
/// The URL is looked at only where `in_url` says so: some SDKs put it there, and on other paths `key` is a parameter of its own.
pub fn find(parts: &Parts, in_url: bool) -> Result<KeyText<'_>, Reason> {
    let mut found: Option<&str> = None;
    let mut add = |text| match found.replace(text) {
        Some(other) if other != text => Err(Reason::Conflicting),
        _ => Ok(()),
    };
    for value in parts.headers.get_all(header::AUTHORIZATION) {
        add(bearer(header_text(value)?)?)?;
    }
    for name in &BARE_HEADERS {
        for value in parts.headers.get_all(name) {
            add(header_text(value)?)?;
        }
    }
    if let Some(text) = parts.uri.query().filter(|_| in_url).and_then(query_key) {
        add(text)?;
    }
    judge(found.ok_or(Reason::Missing)?)
}

/// Judges a bare text as a key: what `keys explain` uses too.
pub fn judge(text: &str) -> Result<KeyText<'_>, Reason> {
    // One that is right has nothing in it to be named: only the others are looked at closely.
    let malformed = match KeyText::parse(text) {
        Ok(key) => return Ok(key),
        Err(malformed) => malformed,
    };
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    let is_quote = |c: char| matches!(c, '"' | '\'' | '`' | '“' | '”' | '‘' | '’');
    if text.contains(is_quote) {
        return Err(Reason::Quoted);
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}') {
        return Err(Reason::Whitespace);
    }
    Err(match malformed {
        Malformed::Prefix if foreign::is_placeholder(text) => Reason::Placeholder,
        Malformed::Prefix => foreign::issuer(text).map_or(Reason::NotAKey, Reason::Foreign),
        Malformed::PrefixCase => Reason::WrongCase,
        Malformed::Length(length) if length == 2 * format::BODY_LEN => Reason::Doubled,
        Malformed::Length(length) => Reason::WrongLength(length),
        Malformed::Character(_) if text.matches("kw_").count() > 1 => Reason::Doubled,
        Malformed::Character(character) => Reason::WrongCharacter(character),
        Malformed::Checksum => Reason::WrongChecksum,
    })
}

fn header_text(value: &http::HeaderValue) -> Result<&str, Reason> {
    std::str::from_utf8(value.as_bytes()).map(str::trim_ascii).map_err(|_| Reason::NotText)
}

fn bearer(value: &str) -> Result<&str, Reason> {
    if value.is_empty() {
        return Err(Reason::Empty);
    }
    let Some((scheme, rest)) = value.split_once(' ') else {
        return match value.eq_ignore_ascii_case("bearer") {
            true => Err(Reason::Empty),
            false if value.starts_with("kw_") => Err(Reason::NoScheme),
            // Anything else without a scheme is judged as a key: what it is says more than what it lacks.
            false => Ok(value),
        };
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(match scheme.to_ascii_lowercase().as_str() {
            "basic" | "digest" | "token" | "apikey" | "aws4-hmac-sha256" => Reason::WrongScheme,
            _ => Reason::Whitespace,
        });
    }
    let key = rest.trim_ascii();
    match key.split_once(' ') {
        Some((again, _)) if again.eq_ignore_ascii_case("bearer") => Err(Reason::DoubledScheme),
        _ => Ok(key),
    }
}

fn query_key(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("key="))
}
