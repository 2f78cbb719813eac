//! Reads a provider's error, in whichever of the usual shapes it comes.

use serde_json::Value;

use super::ir::{Trouble, TroubleKind};

/// How much of a text that is no JSON is quoted.
const QUOTED: usize = 300;
/// Where a message may stand, in an error object or at the top.
const MESSAGES: [&str; 5] = ["message", "Message", "detail", "error_message", "title"];
/// Where a provider's own name for the error may stand.
const CODES: [&str; 4] = ["code", "type", "status", "__type"];

/// An error object under `error`, a text there, or a message at the top; a list of one of those; else the text itself.
pub fn read(status: u16, body: &[u8]) -> Trouble {
    let parsed = serde_json::from_slice::<Value>(body).ok();
    // Some wrap their error in a list of one.
    let parsed = parsed.and_then(|value| if let Value::Array(mut list) = value { list.pop() } else { Some(value) });
    let kind = TroubleKind::of_status(status);
    let Some(value) = parsed else {
        let message = String::from_utf8_lossy(body).trim().chars().take(QUOTED).collect();
        return Trouble { kind, code: None, message, param: None };
    };
    let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(&value);
    let message = error.as_str().map(str::to_owned).or_else(|| MESSAGES.iter().find_map(|name| said(error.get(name)?)));
    Trouble {
        kind,
        code: CODES.iter().find_map(|name| error.get(name)?.as_str()).map(str::to_owned),
        message: message.or_else(|| said(error)).unwrap_or_default(),
        param: error.get("param").and_then(Value::as_str).map(str::to_owned),
    }
}

fn said(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
