//! The response object around an answer's output: written whole, and by three events of a stream.
//!
//! Source: `Response` of OpenAI's API reference; the SDKs' models want the request's members repeated, with their defaults.

use serde::Serialize;
use serde_json::Value;

use super::item::Item;
use super::usage::Reported;
use crate::dialect::Asked;
use crate::dialect::ir::Finish;
use crate::dialect::members::Members;
use crate::ledger::record::Usage;

/// The members of a request that its answer repeats, and what stands there where the request says nothing.
const REPEATED: [(&str, &str); 16] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", r#""disabled""#),
    ("user", "null"),
];

/// All of a response but its output.
#[derive(Debug)]
pub struct Envelope {
    /// `resp_…`
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The model's name.
    pub model: String,
    /// The tier that served it.
    pub service_tier: Option<String>,
    /// The request's members, each with a comma before it.
    repeated: String,
}

/// Where a response stands.
#[derive(Clone, Copy, Debug)]
pub enum Status<'a> {
    /// More is to come.
    InProgress,
    /// It ended so.
    Ended(&'a Finish),
    /// It failed.
    Failed {
        /// A name for programs.
        code: &'a str,
        /// In words.
        message: &'a str,
    },
}

#[derive(Serialize)]
struct Head<'a> {
    id: &'a str,
    object: &'static str,
    created_at: i64,
    status: &'static str,
    completed_at: Option<i64>,
    background: bool,
    error: Option<Failure<'a>>,
    incomplete_details: Option<Incomplete<'a>>,
    model: &'a str,
    output: &'a [Item],
    previous_response_id: Option<&'a str>,
    service_tier: Option<&'a str>,
    store: bool,
    usage: Option<Reported>,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Incomplete<'a> {
    reason: &'a str,
}

// === impl Envelope ===

impl Envelope {
    /// For an answer whose id and model are still to be told.
    pub fn new(asked: &Asked) -> Envelope {
        let members = Members::read(&asked.body).ok();
        let mut repeated = String::with_capacity(512);
        for (name, default) in REPEATED {
            let own = members.as_ref().and_then(|members| members.get(name)).map(|member| member.raw).filter(|raw| *raw != "null");
            let value = match (name, own) {
                ("tools", Some(raw)) => tools(raw),
                ("text", Some(raw)) => text(raw),
                (_, raw) => raw.unwrap_or(default).to_owned(),
            };
            repeated.push_str(&format!(",\"{name}\":{value}"));
        }
        Envelope { id: String::new(), created: 0, model: String::new(), service_tier: None, repeated }
    }

    /// Writes the response.
    pub fn write(&self, status: Status<'_>, output: &[Item], usage: Option<&Usage>, out: &mut Vec<u8>) {
        let (word, reason) = match status {
            Status::InProgress => ("in_progress", None),
            Status::Ended(finish) => ending(finish),
            Status::Failed { .. } => ("failed", None),
        };
        let head = Head {
            id: &self.id,
            object: "response",
            created_at: self.created,
            status: word,
            completed_at: (word == "completed").then(now),
            background: false,
            error: match status {
                Status::Failed { code, message } => Some(Failure { code, message }),
                _ => None,
            },
            incomplete_details: reason.map(|reason| Incomplete { reason }),
            model: &self.model,
            output,
            previous_response_id: None,
            service_tier: self.service_tier.as_deref(),
            store: false,
            usage: usage.map(Reported::from),
        };
        // Writing into memory does not fail, and the last byte is the brace that closes the object.
        if serde_json::to_writer(&mut *out, &head).is_ok() {
            out.pop();
            out.extend_from_slice(self.repeated.as_bytes());
            out.push(b'}');
        }
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The status and the reason of an incomplete one.
pub fn ending(finish: &Finish) -> (&'static str, Option<&str>) {
    match finish {
        Finish::Stop | Finish::StopSequence(_) | Finish::ToolCalls | Finish::Pause => ("completed", None),
        Finish::Length => ("incomplete", Some("max_output_tokens")),
        Finish::ContextExceeded => ("incomplete", Some("model_context_window_exceeded")),
        Finish::ContentFilter | Finish::Refusal => ("incomplete", Some("content_filter")),
        Finish::MalformedToolCall => ("incomplete", Some("malformed_tool_call")),
        Finish::Error => ("failed", None),
        Finish::Other(status) if status == "queued" => ("queued", None),
        Finish::Other(status) if status == "in_progress" => ("in_progress", None),
        Finish::Other(status) if status == "cancelled" => ("cancelled", None),
        Finish::Other(reason) => ("incomplete", Some(reason)),
    }
}

/// The tools with the members that the SDKs' models want of a function.
fn tools(raw: &str) -> String {
    let Ok(mut tools) = serde_json::from_str::<Vec<Value>>(raw) else { return "[]".to_owned() };
    for tool in &mut tools {
        if let Value::Object(map) = tool
            && map.get("type").is_some_and(|kind| kind == "function")
        {
            for name in ["description", "parameters"] {
                map.entry(name).or_insert(Value::Null);
            }
            map.entry("strict").or_insert(Value::Bool(false));
        }
    }
    Value::Array(tools).to_string()
}

/// The text's configuration with a format in it.
fn text(raw: &str) -> String {
    let Ok(Value::Object(mut text)) = serde_json::from_str::<Value>(raw) else { return raw.to_owned() };
    text.entry("format").or_insert_with(|| serde_json::json!({ "type": "text" }));
    Value::Object(text).to_string()
}
