//! What has to come back for a malformed request, and whether it did.

use serde_json::Value;

use crate::support::{Answer, Ended, Then};

/// One malformed request, or a good one to an upstream that is malformed.
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    pub then: Then,
    pub expected: Expected,
}

/// What has to come back.
pub enum Expected {
    /// An error in OpenAI's shape; no code where it is the provider's own.
    Error(u16, Option<&'static str>),
    /// The same with a header that holds this.
    ErrorWith(u16, Option<&'static str>, &'static str, &'static str),
    /// Such an error, or a closed connection: the caller had hung up.
    ErrorOrClosed(u16, &'static str),
    /// Refused by the HTTP library before anybody knows what was asked for: one of these statuses, with an error in OpenAI's shape if it is one.
    Unheard(&'static [u16]),
    /// The same, or closed: the caller had hung up, or is waited for no longer.
    Bare(&'static [u16]),
    /// A stream that ends cleanly with an error event.
    Event(&'static str),
    /// An answer that is cut off where its provider broke off, so that nobody takes it for whole; even its start may be lost.
    CutOff,
    /// An answer like any other.
    Good,
}

// === impl Case ===

impl Case {
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>, expected: Expected) -> Case {
        Case { name: name.into(), bytes: bytes.into(), then: Then::Wait, expected }
    }

    pub fn then_hang_up(self) -> Case {
        Case { then: Then::HangUp, ..self }
    }

    pub fn then_drip(self, drop: &'static str) -> Case {
        Case { then: Then::Drip(drop), ..self }
    }
}

// === impl Expected ===

impl Expected {
    /// What is wrong with how it ended, if anything; `secrets` may stand nowhere in it.
    pub fn mismatch(&self, ended: &Ended, secrets: &[String]) -> Option<String> {
        let answer = match ended {
            Ended::Silent => return Some("no answer and no close within the deadline".to_owned()),
            Ended::Closed => {
                let may_close = matches!(self, Expected::Bare(_) | Expected::ErrorOrClosed(..) | Expected::CutOff);
                return (!may_close).then(|| "closed without an answer".to_owned());
            }
            Ended::Answered(answer) => answer,
        };
        let text = answer.text();
        // What the HTTP library refuses by itself has no id; all else has.
        if !matches!(self, Expected::Bare(_) | Expected::Unheard(_)) && answer.header("x-request-id").is_none_or(str::is_empty) {
            return Some(format!("status {} without a request id", answer.status));
        }
        if secrets.iter().any(|secret| text.contains(secret) || answer.head.contains(secret)) {
            return Some(format!("a secret leaks: {}", shortened(&text)));
        }
        let found = match self {
            Expected::Error(status, code) => error(answer, *status, *code),
            Expected::ErrorOrClosed(status, code) => error(answer, *status, Some(code)),
            Expected::ErrorWith(status, code, name, value) => error(answer, *status, *code).and_then(|()| {
                let got = answer.header(name).unwrap_or("none");
                if got.contains(value) { Ok(()) } else { Err(format!("header {name}: {got}")) }
            }),
            Expected::Unheard(statuses) | Expected::Bare(statuses) if statuses.contains(&answer.status) => match answer.status {
                200 => Ok(()),
                status => error(answer, status, None),
            },
            Expected::Unheard(_) | Expected::Bare(_) => Err(format!("status {}: {}", answer.status, shortened(&text))),
            Expected::Event(code) => event(answer, &text, code),
            Expected::CutOff if answer.status == 200 && !answer.is_whole => Ok(()),
            Expected::CutOff => Err(format!("status {}, whole: {}", answer.status, answer.is_whole)),
            Expected::Good if answer.status == 200 && answer.is_whole => Ok(()),
            Expected::Good => Err(format!("status {}: {}", answer.status, shortened(&text))),
        };
        found.err()
    }

    pub fn shown(&self) -> String {
        match self {
            Expected::Error(status, code) => format!("{status} {}", code.unwrap_or("(the provider's code)")),
            Expected::ErrorWith(status, code, name, value) => format!("{status} {} with {name}: {value}", code.unwrap_or("(any code)")),
            Expected::ErrorOrClosed(status, code) => format!("{status} {code}, or closed"),
            Expected::Unheard(statuses) => format!("{statuses:?}"),
            Expected::Bare(statuses) => format!("{statuses:?} or closed"),
            Expected::Event(code) => format!("200 and an event {code}"),
            Expected::CutOff => "200, cut off, or closed".to_owned(),
            Expected::Good => "200".to_owned(),
        }
    }
}

fn error(answer: &Answer, status: u16, code: Option<&str>) -> Result<(), String> {
    let shown = || format!("{} {}", answer.status, shortened(&answer.text()));
    if answer.status != status {
        return Err(format!("status {}", shown()));
    }
    if answer.header("content-type") == Some("application/problem+json") {
        return is_problem(answer, status, code).map_err(|why| format!("{why}: {}", shown()));
    }
    if answer.header("content-type") != Some("application/json") {
        return Err(format!("content type {:?}: {}", answer.header("content-type"), shown()));
    }
    let body = answer.json().ok_or_else(|| format!("no JSON: {}", shown()))?;
    is_openai_error(&body["error"], code).map_err(|why| format!("{why}: {}", shown()))
}

/// What the management API answers (RFC 9457).
fn is_problem(answer: &Answer, status: u16, code: Option<&str>) -> Result<(), String> {
    let body = answer.json().ok_or("no JSON")?;
    match &body {
        _ if body["status"] != status => Err("another status in the problem".to_owned()),
        _ if body["detail"].as_str().is_none_or(|detail| detail.len() < 10) => Err("the detail is no sentence".to_owned()),
        _ if code.is_some_and(|code| body["code"] != code) => Err("another code".to_owned()),
        _ => Ok(()),
    }
}

fn is_openai_error(error: &Value, code: Option<&str>) -> Result<(), String> {
    let message = error["message"].as_str().unwrap_or_default();
    if message.len() < 10 || !message.contains(' ') {
        return Err("the message is no sentence".to_owned());
    }
    if message.len() > 2_000 {
        return Err(format!("the message has {} bytes", message.len()));
    }
    if !error["type"].is_string() && !error["provider"].is_string() {
        return Err("no type".to_owned());
    }
    if error.get("param").is_none() || error.get("code").is_none() {
        return Err("no param or code".to_owned());
    }
    match code {
        Some(code) if error["code"] != code => Err(format!("code {}", error["code"])),
        _ => Ok(()),
    }
}

fn event(answer: &Answer, text: &str, code: &str) -> Result<(), String> {
    if answer.status != 200 || !answer.is_whole {
        return Err(format!("status {}, whole: {}: {}", answer.status, answer.is_whole, shortened(text)));
    }
    let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let data = last.trim().strip_prefix("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok());
    let data = data.ok_or_else(|| format!("no last event: {}", shortened(text)))?;
    is_openai_error(&data["error"], Some(code)).map_err(|why| format!("{why}: {data}"))
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}
