//! The life of what callers call by name, prompts and services alike: its states, its dates, and how callers are told of them.

use http::HeaderValue;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The states of a life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum State {
    Draft,
    Published,
    Deprecated,
    Retired,
}

/// Where something stands in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// What its file says.
    pub state: State,
    /// Since when it is deprecated, where the file says so.
    pub deprecated: Option<Timestamp>,
    /// When it stops being served.
    pub sunset: Option<Timestamp>,
    /// What to call instead.
    pub successor: Option<String>,
}

const STATES: [(State, &str); 4] =
    [(State::Draft, "draft"), (State::Published, "published"), (State::Deprecated, "deprecated"), (State::Retired, "retired")];

/// How a successor is written.
pub const NO_SUCCESSOR: &str =
    "'successor' is a name, or a name and a version, such as 'weather@2': letters, digits, '-', '_', '.' and '@' alone";

/// Whether something can be called by this name.
pub fn is_successor(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c))
}

/// A day or a time, UTC, as files have it; the error says how it is written.
pub fn time(text: &str) -> Result<Timestamp, String> {
    let day = || TimeZone::UTC.to_timestamp(Date::strptime("%Y-%m-%d", text).ok()?.at(0, 0, 0, 0)).ok();
    let read = text.parse().ok().or_else(day);
    read.ok_or_else(|| format!("'{text}' is no time: write it as 2027-01-31 or 2027-01-31T12:00:00Z"))
}

// === impl State ===

impl State {
    /// The state of that name; the error names all.
    pub fn from_name(name: &str) -> Result<State, String> {
        let found = STATES.iter().find(|(_, known)| *known == name).map(|(state, _)| *state);
        found.ok_or_else(|| format!("'{name}' is no state: it is one of {}", STATES.map(|(_, name)| name).join(", ")))
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }
}

// === impl Life ===

impl Life {
    /// The state that holds at a time: past its sunset it is retired.
    pub fn state_at(&self, now: Timestamp) -> State {
        match self.sunset {
            Some(sunset) if sunset <= now && self.state != State::Draft => State::Retired,
            _ => self.state,
        }
    }

    /// `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and `Link: rel="successor-version"` to what stands `below` that path.
    pub fn headers(&self, below: &str) -> Vec<(&'static str, HeaderValue)> {
        let mut headers = Vec::new();
        if self.state == State::Deprecated {
            // Of a date that the file does not say, nothing is known but that it has passed.
            headers.push(("deprecation", format!("@{}", self.deprecated.map_or(0, Timestamp::as_second))));
        }
        if let Some(sunset) = self.sunset {
            headers.push(("sunset", sunset.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()));
        }
        if let Some(successor) = self.successor.as_ref().filter(|successor| is_successor(successor)) {
            headers.push(("link", format!("<{below}/{successor}>; rel=\"successor-version\"")));
        }
        headers.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))).collect()
    }
}
