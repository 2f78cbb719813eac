//! Reads a provider's error, in whichever of the usual shapes it comes.

use serde::de::IgnoredAny;
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
        let text = String::from_utf8_lossy(body);
        let message = page(status, &text).unwrap_or_else(|| text.trim().chars().take(QUOTED).collect());
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

/// What is said in place of an HTML page, such as a proxy's in front of the provider.
fn page(status: u16, text: &str) -> Option<String> {
    let text = text.trim_start();
    let is_page = ["<!doctype html", "<html"].iter().any(|tag| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)));
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").map(|at| at + "<title>".len()).and_then(|start| {
        let end = start + lower[start..].find("</title>")?;
        Some(text[start..end].split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTED).collect::<String>())
    });
    is_page.then(|| match title.filter(|title| !title.is_empty()) {
        Some(title) => format!("an HTML page (status {status}) with the title '{title}'"),
        None => format!("an HTML page (status {status}) without a title"),
    })
}

/// The trouble with an event whose data is no JSON; `None` where it is JSON of a shape that is not known, or another dialect's last word.
pub fn of_broken_event(data: &[u8]) -> Option<Trouble> {
    let data = data.trim_ascii();
    if data.is_empty() || data == b"[DONE]" {
        return None;
    }
    let why = serde_json::from_slice::<IgnoredAny>(data).err()?;
    Some(Trouble {
        kind: TroubleKind::Server,
        code: Some("provider_bad_answer".to_owned()),
        message: format!("The provider's stream has an event that is broken ({why}): send the request again."),
        param: None,
    })
}

fn said(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_its_title() {
        let pages = [
            (
                "<!DOCTYPE html>\n<html><head><TITLE>502 Bad\n Gateway</TITLE></head><body>é",
                "an HTML page (status 502) with the title '502 Bad Gateway'",
            ),
            ("  <html><body>no</body>", "an HTML page (status 502) without a title"),
            ("upstream <b>down</b>", "upstream <b>down</b>"),
        ];
        pages.iter().for_each(|(text, said)| assert_eq!(read(502, text.as_bytes()).message, *said));
    }
}
