//! Tool calls as messages carry them, with the signature that Google's OpenAI-compatible door puts beside them.

use serde_json::{Value, json};

use crate::catalog::Dialect;
use crate::dialect::ir::{Signature, ToolCall};

/// The signature in a call's `extra_content`: `{"google": {"thought_signature": …}}`.
pub fn signature(extra_content: &Value) -> Option<Signature> {
    let text = extra_content.get("google")?.get("thought_signature")?.as_str()?;
    Some(Signature::read(text, Dialect::OpenaiChat))
}

/// The same, written.
pub fn extra_content(signature: &Signature) -> Value {
    json!({ "google": { "thought_signature": signature.write(Dialect::OpenaiChat) } })
}

/// A whole call under that id.
pub fn write(call: &ToolCall, id: &str) -> Value {
    let mut value = match call.is_custom {
        true => json!({ "id": id, "type": "custom", "custom": { "name": call.name, "input": call.arguments } }),
        false => json!({ "id": id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } }),
    };
    if let Some(signature) = &call.signature {
        value["extra_content"] = extra_content(signature);
    }
    value
}
