//! Whether an answer says anything at all, where its usage counts nothing of it: looked at then alone.

use serde_json::Value;

/// Where answers and events of all dialects have what is said, or an object that has it.
const ROOTS: [&str; 13] = [
    "arguments",
    "candidates",
    "choices",
    "content",
    "content_block",
    "delta",
    "item",
    "message",
    "output",
    "part",
    "refusal",
    "response",
    "text",
];
/// Names of what is said within: texts, thoughts, code, and the places of pictures and files.
const SAID: [&str; 15] = [
    "arguments",
    "code",
    "content",
    "data",
    "delta",
    "fileUri",
    "reasoning",
    "reasoning_content",
    "refusal",
    "summary",
    "text",
    "thinking",
    "tool_plan",
    "transcript",
    "url",
];
/// Names of calls, which may have nothing in them but whom they call, and how the types of others are called.
const CALLS: [&str; 6] = ["function", "functionCall", "function_call", "image_url", "toolUse", "tool_calls"];
const TYPES_OF_CALLS: [&str; 2] = ["_call", "tool_use"];

/// Whether a whole answer has a text, a call or a thought in it; what cannot be read may have any.
pub(super) fn says_anything(json: &[u8]) -> bool {
    match serde_json::from_slice::<Value>(json) {
        Ok(Value::Array(list)) => list.iter().any(says),
        Ok(answer) => says(&answer),
        Err(_) => true,
    }
}

/// The same of the lines of a stream: of events, of JSON, or of an array that grew.
pub(super) fn says_in_lines(lines: &[u8]) -> bool {
    if let Ok(whole) = serde_json::from_slice::<Value>(lines) {
        return whole.as_array().map_or_else(|| says(&whole), |list| list.iter().any(says));
    }
    let data = |line: &[u8]| {
        let line = line.trim_ascii();
        let data = line.strip_prefix(b"data:").unwrap_or(line).trim_ascii();
        // Of an array that broke off.
        let data = data.strip_prefix(b"[").or(data.strip_prefix(b",")).unwrap_or(data).trim_ascii();
        let data = data.strip_suffix(b"]").or(data.strip_suffix(b",")).unwrap_or(data);
        data.starts_with(b"{") && serde_json::from_slice::<Value>(data).map_or(true, |event| says(&event))
    };
    lines.split(|byte| *byte == b'\n').any(data)
}

fn says(answer: &Value) -> bool {
    ROOTS.iter().filter_map(|root| Some((*root, answer.get(*root)?))).any(|(root, value)| match value {
        // It repeats what was asked with, beside what it answers.
        Value::Object(_) if root == "response" => says(value),
        Value::Object(_) if root == "text" => false,
        value => within(value, true),
    })
}

/// Whether a text is there by one of the names; of an object's members each is asked by its own.
fn within(value: &Value, is_said: bool) -> bool {
    match value {
        Value::String(text) => is_said && !text.is_empty(),
        Value::Array(list) => list.iter().any(|value| within(value, is_said)),
        Value::Object(members) => members.iter().any(|(name, value)| calls(name, value) || within(value, SAID.contains(&name.as_str()))),
        _ => false,
    }
}

fn calls(name: &str, value: &Value) -> bool {
    match value {
        Value::String(kind) => name == "type" && TYPES_OF_CALLS.iter().any(|end| kind.ends_with(end)),
        Value::Array(list) => CALLS.contains(&name) && !list.is_empty(),
        Value::Object(members) => CALLS.contains(&name) && !members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_told_from_what_does() {
        let silent = [
            r#"{"candidates":[{"content":{"role":"model"},"finishReason":"STOP"}]}"#,
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":""}]}}]}"#,
            r#"{"message":{"role":"assistant","content":[{"type":"text","text":""}]}}"#,
            r#"{"choices":[{"index":0,"message":{"role":"assistant","content":null},"finish_reason":"content_filter"}]}"#,
            r#"{"id":"m","type":"message","role":"assistant","content":[],"stop_reason":"refusal"}"#,
            r#"{"object":"response","instructions":"Be kind","output":[],"tools":[{"name":"f"}],"text":{"format":{"type":"json_schema","name":"answer"}}}"#,
            r#"{"choices":[{"message":{"role":"assistant","name":"MiniMax AI","content":"","tool_calls":[]}}]}"#,
        ];
        let saying = [
            r#"{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]}}]}"#,
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}}}"#,
            r#"{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"text":"Hi"}]}"#,
            r#"{"choices":[{"message":{"content":"","images":[{"type":"image_url","image_url":{"url":"data:x"}}]}}]}"#,
            r#"{"choices":[{"message":{"content":"","reasoning_details":[{"type":"reasoning.summary","summary":"Hm"}]}}]}"#,
            r#"{"content":[{"type":"tool_use","id":"t","name":"f","input":{}}]}"#,
            r#"{"output":[{"type":"computer_call","action":{"type":"screenshot"}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"executableCode":{"language":"PYTHON","code":"1"}}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"fileData":{"fileUri":"gs://a"}}]}}]}"#,
            r#"{"content":[{"type":"thinking","thinking":"Hm"}]}"#,
            r#"{"message":{"role":"assistant","content":"Hi"}}"#,
            r#"{"object":"response","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}]}"#,
            "{",
        ];
        silent.iter().for_each(|text| assert!(!says_anything(text.as_bytes()), "{text}"));
        saying.iter().for_each(|text| assert!(says_anything(text.as_bytes()), "{text}"));
        let silent = [
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n",
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"role\":\"assistant\",\"content\":[]}}\n\n: ping\n",
            "data: {\"type\":\"response.created\",\"response\":{\"tools\":[{\"name\":\"f\"}],\"output\":[]}}\n",
            "[{\"candidates\":[{\"content\":{\"role\":\"model\"}}]}\n,\n{\"usageMetadata\":{}}]",
        ];
        let saying = [
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n",
            "{\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n",
            "data: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"Hi\"}}}}\n",
            "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}}]}\n]",
            "[{\"candidates\":[{\"content\":{\"role\":\"model\"}}]}\n,{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}}]}\n",
        ];
        silent.iter().for_each(|text| assert!(!says_in_lines(text.as_bytes()), "{text}"));
        saying.iter().for_each(|text| assert!(says_in_lines(text.as_bytes()), "{text}"));
    }
}
