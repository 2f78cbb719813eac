//! Finds the key in a request's head, wherever the dialect's SDK puts it, and names what is wrong with how it was sent.

use std::fmt;

use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, header};

use super::diagnose::{diagnose, holds_key, is_blank};
use super::format::KeyText;
use super::reason::{Place, Reason};

/// What Google's SDK sends its key in.
pub const GOOGLE: HeaderName = HeaderName::from_static("x-goog-api-key");
/// Headers that carry a bare key, by the SDK that sends them: Anthropic, Google, Azure.
pub const BARE_HEADERS: [HeaderName; 3] = [HeaderName::from_static("x-api-key"), GOOGLE, HeaderName::from_static("api-key")];

/// First words of other schemes (IANA's registry, and what people write).
const OTHER_SCHEMES: [&str; 14] = [
    "basic",
    "digest",
    "token",
    "key",
    "apikey",
    "api-key",
    "x-api-key",
    "negotiate",
    "ntlm",
    "oauth",
    "jwt",
    "dpop",
    "hmac",
    "aws4-hmac-sha256",
];

const BEARER: &str = "bearer";

/// A text that was shown as a key, right or wrong: it is never printed.
#[derive(Clone, Copy)]
pub struct Presented<'a>(pub &'a str);

/// What a request carries as its key, yet to be [judged](Presented::judge); two that differ are refused, since either could be the one that was meant.
///
/// The URL is looked at only where `in_url` says so: some SDKs put it there, and on other paths `key` is a parameter of its own.
pub fn find(parts: &Parts, in_url: bool) -> Result<Presented<'_>, Reason> {
    let mut found = Found::default();
    for value in parts.headers.get_all(header::AUTHORIZATION) {
        found.add(bearer(header_text(value)?)?)?;
    }
    // Mostly there is none of them, which one walk tells for less than three look-ups.
    if parts.headers.keys().any(|name| BARE_HEADERS.contains(name)) {
        for value in BARE_HEADERS.iter().flat_map(|name| parts.headers.get_all(name)) {
            found.add(bare(header_text(value)?)?)?;
        }
    }
    if in_url {
        let pairs = parts.uri.query().into_iter().flat_map(|query| query.split('&'));
        for text in pairs.filter_map(|pair| pair.strip_prefix("key=")) {
            found.add(text)?;
        }
    }
    match found {
        Found { text: Some(text), .. } => Ok(Presented(text)),
        Found { is_empty: true, .. } => Err(Reason::Empty),
        Found { .. } => Err(misplaced(parts).map_or(Reason::Missing, Reason::Misplaced)),
    }
}

/// What the query of a request says beside the key that may stand in it; one that stands elsewhere is for its holder to mend, and for nobody
/// else to see.
pub fn query_beside_key(parts: &Parts) -> Result<Vec<(String, String)>, Reason> {
    let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let pairs: Vec<(String, String)> = pairs.filter(|(name, _)| name != "key").map(|(name, value)| (name.into(), value.into())).collect();
    match pairs.iter().any(|(name, value)| holds_key(name) || holds_key(value)) {
        true => Err(Reason::Misplaced(Place::Url)),
        false => Ok(pairs),
    }
}

// === impl Presented ===

impl<'a> Presented<'a> {
    /// Judges it as a key: what `keys explain` uses too.
    pub fn judge(self) -> Result<KeyText<'a>, Reason> {
        KeyText::parse(self.0).map_err(|malformed| diagnose(self.0, malformed))
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(…)")
    }
}

/// What the places that may hold a key have held so far.
#[derive(Default)]
struct Found<'a> {
    text: Option<&'a str>,
    /// One of them is there and empty, as tools send it whose variable is not set.
    is_empty: bool,
}

// === impl Found ===

impl<'a> Found<'a> {
    fn add(&mut self, text: &'a str) -> Result<(), Reason> {
        match self.text {
            _ if text.is_empty() => self.is_empty = true,
            Some(other) if other != text => return Err(Reason::Conflicting),
            _ => self.text = Some(text),
        }
        Ok(())
    }
}

fn header_text(value: &http::HeaderValue) -> Result<&str, Reason> {
    std::str::from_utf8(value.as_bytes()).map(str::trim_ascii).map_err(|_| Reason::NotText)
}

/// What follows `Bearer `, or what is wrong with the scheme.
fn bearer(value: &str) -> Result<&str, Reason> {
    match strip_bearer(value) {
        Some(key) if begins_with_bearer(key) => Err(Reason::DoubledScheme),
        Some(key) => Ok(key),
        None if value.is_empty() => Ok(value),
        None => Err(without_bearer(value)),
    }
}

/// What follows `Bearer `; nothing where nothing does.
fn strip_bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    let is_alone = rest.is_empty() || rest.starts_with(' ');
    (is_alone && scheme.eq_ignore_ascii_case(BEARER)).then(|| rest.trim_ascii())
}

/// Whether the word stands first, with whatever comes after it but letters and digits.
fn begins_with_bearer(text: &str) -> bool {
    let rest = text.split_at_checked(BEARER.len()).filter(|(start, _)| start.eq_ignore_ascii_case(BEARER)).map(|(_, rest)| rest);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

fn without_bearer(value: &str) -> Reason {
    let judged = Presented(value).judge();
    if value.starts_with("kw_") {
        return judged.err().unwrap_or(Reason::NoScheme);
    }
    let (word, rest) = value.split_once(|c: char| is_blank(c) || c == ':' || c == '=').unwrap_or((value, ""));
    let is_scheme = |word: &str| OTHER_SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let has_bearer = value.get(..BEARER.len()).is_some_and(|start| start.eq_ignore_ascii_case(BEARER));
    let is_key_next = rest.trim_start_matches(is_blank).starts_with("kw_");
    match judged {
        _ if has_bearer && !rest.is_empty() => Reason::WrongScheme,
        _ if !rest.is_empty() && is_scheme(word) => Reason::WrongScheme,
        _ if is_word && is_key_next && !value.contains(['=', ':']) => Reason::WrongScheme,
        Err(Reason::NotAlone | Reason::NeedlessScheme) if has_bearer => Reason::WrongScheme,
        Err(reason) => reason,
        Ok(_) => Reason::NoScheme,
    }
}

/// The text of a header that has no scheme.
fn bare(value: &str) -> Result<&str, Reason> {
    match strip_bearer(value) {
        Some(key) if !key.is_empty() => Err(Reason::NeedlessScheme),
        _ => Ok(value),
    }
}

/// Where a key stands that nobody reads there; asked only where no other was sent.
fn misplaced(parts: &Parts) -> Option<Place> {
    let mut in_url = parts.uri.authority().map(Authority::as_str).into_iter().chain(parts.uri.path_and_query().map(PathAndQuery::as_str));
    if in_url.any(holds_key) {
        return Some(Place::Url);
    }
    let mut in_headers = parts.headers.values().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    in_headers.any(holds_key).then_some(Place::Header)
}
