//! Responses, the newer way, without memory of earlier ones.

use async_openai::types::responses::{
    AssistantRole, FunctionToolCall, IncompleteDetails, InputTokenDetails, OutputItem, OutputMessage, OutputMessageContent, OutputStatus,
    OutputTextContent, OutputTokenDetails, Response, ResponseUsage, Status,
};
use serde_json::{Value, json};

use super::reading::{Content, Format, Request};
use super::responses_stream::events;
use super::{Bad, MODEL, Reply, marked, new_id, now, schema, text};

/// What is answered, before it is a whole or a stream.
pub(super) struct Told<'a> {
    pub(super) request: &'a Request,
    pub(super) id: String,
    pub(super) created_at: u64,
    /// The message or the call, as it is when done.
    pub(super) item: OutputItem,
    pub(super) item_id: String,
    /// The pieces of its text or of its arguments.
    pub(super) pieces: Vec<String>,
    pub(super) is_cut: bool,
    usage: ResponseUsage,
}

/// Answers a Responses request.
pub(super) fn reply(request: &Request) -> Result<Reply, Bad> {
    let told = tell(request)?;
    match request.flag("stream")? {
        false => Ok(Reply::Json(told.as_json(&told.response(true)))),
        true => Ok(Reply::Events(events(&told))),
    }
}

fn tell(request: &Request) -> Result<Told<'_>, Bad> {
    let (mut input_tokens, echo, heard) = listen(request)?;
    input_tokens = input_tokens.saturating_add(request.text("instructions")?.map_or(0, text::count));
    let limit = request.limit(&["max_output_tokens"], 1)?;
    let format = Format::read(request.get("text").and_then(|text| text.get("format")), "text")?;
    let (item, item_id, pieces, is_cut) = match request.forced_function()? {
        Some(function) => {
            let arguments = function.parameters.map_or_else(|| "{}".to_owned(), schema::minimal);
            let id = new_id("fc");
            let pieces: Vec<String> = text::tokens(&arguments).map(str::to_owned).collect();
            let call = FunctionToolCall {
                arguments,
                call_id: new_id("call"),
                namespace: None,
                name: function.name.to_owned(),
                id: Some(id.clone()),
                status: Some(OutputStatus::Completed),
                caller: None,
                r#async: None,
            };
            (OutputItem::FunctionCall(call), id, pieces, false)
        }
        None => {
            let whole = match format {
                Format::Text => echo,
                Format::AnyObject => json!({ "simulator": "Keyward", "you_said": heard }).to_string(),
                Format::Schema(schema) => schema::minimal(schema),
            };
            let cut = text::cut(&whole, limit);
            let status = if cut.is_cut { OutputStatus::Incomplete } else { OutputStatus::Completed };
            let id = new_id("msg");
            let message = message(&id, vec![OutputMessageContent::OutputText(output_text(cut.text()))], status);
            (message, id, cut.tokens.iter().map(|&token| token.to_owned()).collect(), cut.is_cut)
        }
    };
    let output_tokens = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    let usage = ResponseUsage {
        input_tokens,
        input_tokens_details: InputTokenDetails::default(),
        output_tokens,
        output_tokens_details: OutputTokenDetails::default(),
        total_tokens: input_tokens.saturating_add(output_tokens),
    };
    Ok(Told { request, id: new_id("resp"), created_at: u64::from(now()), item, item_id, pieces, is_cut, usage })
}

/// The tokens of the input, the answer to the last of the user's messages, and its text alone.
fn listen(request: &Request) -> Result<(u32, String, String), Bad> {
    let items = match request.get("input") {
        Some(Value::String(said)) => {
            let said = Content::of_text(said);
            return Ok((text::count(&said.text), text::echo(&said), said.text));
        }
        Some(Value::Array(items)) if !items.is_empty() => items,
        _ => return Err(Bad::value("input", "has to be a string or a list of items")),
    };
    let (mut tokens, mut user, mut tool) = (0_u32, None, None);
    for item in items {
        match item["type"].as_str() {
            None | Some("message") => {
                let role = item["role"].as_str().ok_or_else(|| Bad::value("input", "has a message without a role"))?;
                let content = Content::read(&item["content"], "input")?;
                tokens = tokens.saturating_add(text::count(&content.text)).saturating_add(1);
                if role == "user" {
                    (user, tool) = (Some(content), None);
                }
            }
            Some("function_call_output") => {
                let output = Content::read(&item["output"], "input")?;
                tokens = tokens.saturating_add(text::count(&output.text)).saturating_add(1);
                tool = Some(output);
            }
            // Earlier calls, reasoning and the like are taken and say nothing to an echo.
            Some(_) => tokens = tokens.saturating_add(1),
        }
    }
    let user = user.unwrap_or_default();
    let mut echo = text::echo(&user);
    if let Some(tool) = tool {
        echo.push_str(&format!(" The tool answered: {}", tool.text));
    }
    Ok((tokens, echo, user.text))
}

/// An output message with this content.
pub(super) fn message(id: &str, content: Vec<OutputMessageContent>, status: OutputStatus) -> OutputItem {
    OutputItem::Message(OutputMessage { content, id: id.to_owned(), role: AssistantRole::Assistant, phase: None, status })
}

/// A text part.
pub(super) fn output_text(text: String) -> OutputTextContent {
    OutputTextContent { annotations: Vec::new(), logprobs: Some(Vec::new()), text }
}

// === impl Told ===

impl Told<'_> {
    /// The response as it is at its end, or at its start.
    #[expect(deprecated, reason = "the type has a field that OpenAI deprecates, and no other way to be built")]
    pub(super) fn response(&self, is_done: bool) -> Response {
        let status = match (is_done, self.is_cut) {
            (false, _) => Status::InProgress,
            (true, false) => Status::Completed,
            (true, true) => Status::Incomplete,
        };
        let incomplete = matches!(status, Status::Incomplete).then(|| IncompleteDetails { reason: "max_output_tokens".to_owned() });
        Response {
            tool_usage: None,
            background: Some(false),
            billing: None,
            conversation: None,
            created_at: self.created_at,
            completed_at: matches!(status, Status::Completed).then_some(self.created_at),
            error: None,
            id: self.id.clone(),
            incomplete_details: incomplete,
            instructions: None,
            max_output_tokens: None,
            metadata: None,
            model: MODEL.to_owned(),
            object: "response".to_owned(),
            output: if is_done { vec![self.item.clone()] } else { Vec::new() },
            parallel_tool_calls: None,
            previous_response_id: None,
            prompt: None,
            prompt_cache_key: None,
            prompt_cache_retention: None,
            reasoning: None,
            safety_identifier: None,
            service_tier: None,
            status,
            temperature: None,
            text: None,
            tool_choice: None,
            tools: None,
            top_logprobs: None,
            top_p: None,
            truncation: None,
            usage: is_done.then(|| self.usage.clone()),
            prompt_cache_options: None,
            prompt_cache_diagnostics: None,
            moderation: None,
            access_programs: None,
        }
    }

    /// The response with the caller's own settings in it, as OpenAI repeats them.
    pub(super) fn as_json(&self, response: &Response) -> Value {
        let mut value = marked(response);
        let repeated = [
            ("error", Value::Null),
            ("incomplete_details", Value::Null),
            ("instructions", Value::Null),
            ("max_output_tokens", Value::Null),
            ("metadata", json!({})),
            ("parallel_tool_calls", json!(true)),
            ("previous_response_id", Value::Null),
            ("reasoning", json!({ "effort": null, "summary": null })),
            ("store", json!(false)),
            ("temperature", json!(1.0)),
            ("text", json!({ "format": { "type": "text" } })),
            ("tool_choice", json!("auto")),
            ("tools", json!([])),
            ("top_p", json!(1.0)),
            ("truncation", json!("disabled")),
        ];
        for (name, default) in repeated {
            if value.get(name).is_none() {
                let asked = self.request.get(name).filter(|_| name != "error" && name != "incomplete_details" && name != "store");
                value[name] = asked.cloned().unwrap_or(default);
            }
        }
        value
    }
}
