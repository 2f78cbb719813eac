//! Chat completions.

use async_openai::types::chat::{
    ChatChoice, ChatChoiceStream, ChatCompletionMessageToolCall, ChatCompletionMessageToolCallChunk, ChatCompletionMessageToolCalls,
    ChatCompletionResponseMessage, ChatCompletionStreamResponseDelta, CompletionUsage, CreateChatCompletionResponse,
    CreateChatCompletionStreamResponse, FinishReason, FunctionCall, FunctionCallStream, FunctionType, Role,
};
use serde_json::{Value, json};

use super::reading::{Content, Format, Request};
use super::{Bad, MODEL, Reply, marked, new_id, now, schema, text};

/// What every choice says.
enum Said {
    Text { tokens: Vec<String>, is_cut: bool },
    Call { name: String, arguments: String },
}

/// Answers a chat request.
pub(super) fn reply(request: &Request) -> Result<Reply, Bad> {
    let (prompt_tokens, echo, heard) = listen(request)?;
    let choices = request.choices()?;
    let limit = request.limit(&["max_completion_tokens", "max_tokens"], choices)?;
    let format = Format::read(request.get("response_format"), "response_format")?;
    let said = match request.forced_function()? {
        Some(function) => {
            Said::Call { name: function.name.to_owned(), arguments: function.parameters.map_or_else(|| "{}".to_owned(), schema::minimal) }
        }
        None => {
            let whole = match format {
                Format::Text => text::before_stop(&echo, &request.stops()?).to_owned(),
                Format::AnyObject => json!({ "simulator": "Keyward", "you_said": heard }).to_string(),
                Format::Schema(schema) => schema::minimal(schema),
            };
            let cut = text::cut(&whole, limit);
            Said::Text { tokens: cut.tokens.iter().map(|&token| token.to_owned()).collect(), is_cut: cut.is_cut }
        }
    };
    let usage = usage(prompt_tokens, said.count().saturating_mul(choices));
    match request.flag("stream")? {
        false => Ok(Reply::Json(whole(&said, choices, usage))),
        true => Ok(Reply::Events(stream(&said, choices, request.wants_usage()?.then_some(usage)))),
    }
}

/// The tokens of all messages, the answer to the last of the user's, and its text alone.
fn listen(request: &Request) -> Result<(u32, String, String), Bad> {
    let messages = request.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| Bad::value("messages", "has to be a list with at least one message"))?;
    let (mut tokens, mut user, mut tool) = (0_u32, None, None);
    for message in messages {
        let role = message["role"].as_str().ok_or_else(|| Bad::value("messages", "has a message without a role"))?;
        let content = Content::read(&message["content"], "messages")?;
        tokens = tokens.saturating_add(text::count(&content.text)).saturating_add(1);
        match role {
            "user" => (user, tool) = (Some(content), None),
            "tool" | "function" => tool = Some(content),
            "system" | "developer" | "assistant" => {}
            _ => return Err(Bad::value("messages", "has a message of an unknown role")),
        }
    }
    let user = user.unwrap_or_default();
    let mut echo = text::echo(&user);
    if let Some(tool) = tool {
        echo.push_str(&format!(" The tool answered: {}", tool.text));
    }
    Ok((tokens, echo, user.text))
}

fn usage(prompt_tokens: u32, completion_tokens: u32) -> CompletionUsage {
    CompletionUsage {
        prompt_tokens,
        completion_tokens,
        total_tokens: prompt_tokens.saturating_add(completion_tokens),
        ..CompletionUsage::default()
    }
}

#[expect(deprecated, reason = "the type has fields that OpenAI deprecates, and no other way to be built")]
fn whole(said: &Said, choices: u32, usage: CompletionUsage) -> Value {
    let choice = |index| {
        let (content, tool_calls) = match said {
            Said::Text { tokens, .. } => (Some(tokens.concat()), None),
            Said::Call { name, arguments } => {
                let function = FunctionCall { name: name.clone(), arguments: arguments.clone() };
                let call = ChatCompletionMessageToolCall { id: new_id("call"), function };
                (None, Some(vec![ChatCompletionMessageToolCalls::Function(call)]))
            }
        };
        let message = ChatCompletionResponseMessage {
            content,
            refusal: None,
            tool_calls,
            annotations: None,
            role: Role::Assistant,
            function_call: None,
            audio: None,
        };
        ChatChoice { index, message, finish_reason: Some(said.finish_reason()), logprobs: None }
    };
    let mut answer = marked(&CreateChatCompletionResponse {
        id: new_id("chatcmpl"),
        choices: (0..choices).map(choice).collect(),
        created: now(),
        model: MODEL.to_owned(),
        object: "chat.completion".to_owned(),
        usage: Some(usage),
        ..CreateChatCompletionResponse::default()
    });
    // OpenAI writes these even where there is nothing to say.
    for choice in answer["choices"].as_array_mut().into_iter().flatten() {
        choice["logprobs"] = Value::Null;
        if let Some(message) = choice["message"].as_object_mut() {
            message.entry("content").or_insert(Value::Null);
            message.entry("refusal").or_insert(Value::Null);
        }
    }
    answer
}

fn stream(said: &Said, choices: u32, usage: Option<CompletionUsage>) -> String {
    let head = CreateChatCompletionStreamResponse {
        id: new_id("chatcmpl"),
        created: now(),
        model: MODEL.to_owned(),
        object: "chat.completion.chunk".to_owned(),
        ..CreateChatCompletionStreamResponse::default()
    };
    let mut events = String::new();
    let mut send = |choices: Vec<ChatChoiceStream>, usage: Option<CompletionUsage>| {
        events.push_str(&format!("data: {}\n\n", chunk(&CreateChatCompletionStreamResponse { choices, usage, ..head.clone() })));
    };
    for index in 0..choices {
        for delta in said.deltas() {
            send(vec![ChatChoiceStream { index, delta, ..ChatChoiceStream::default() }], None);
        }
        let finish_reason = Some(said.finish_reason());
        send(vec![ChatChoiceStream { index, finish_reason, ..ChatChoiceStream::default() }], None);
    }
    if usage.is_some() {
        send(Vec::new(), usage);
    }
    events.push_str("data: [DONE]\n\n");
    events
}

/// A chunk without the nulls in its deltas, and with that of the finish reason, as OpenAI sends it.
fn chunk(chunk: &CreateChatCompletionStreamResponse) -> Value {
    let mut value = marked(chunk);
    for choice in value["choices"].as_array_mut().into_iter().flatten() {
        if let Some(delta) = choice["delta"].as_object_mut() {
            delta.retain(|_, field| !field.is_null());
        }
        if choice.get("finish_reason").is_none() {
            choice["finish_reason"] = Value::Null;
        }
    }
    value
}

// === impl Said ===

impl Said {
    fn count(&self) -> u32 {
        match self {
            Said::Text { tokens, .. } => u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            Said::Call { name, arguments } => text::count(name).saturating_add(text::count(arguments)),
        }
    }

    fn finish_reason(&self) -> FinishReason {
        match self {
            Said::Text { is_cut: true, .. } => FinishReason::Length,
            Said::Text { .. } => FinishReason::Stop,
            Said::Call { .. } => FinishReason::ToolCalls,
        }
    }

    /// The pieces of a stream: who speaks, and then what.
    fn deltas(&self) -> Vec<ChatCompletionStreamResponseDelta> {
        let by = |content: &str| ChatCompletionStreamResponseDelta { content: Some(content.to_owned()), ..Default::default() };
        let role = Some(Role::Assistant);
        match self {
            Said::Text { tokens, .. } => {
                let first = ChatCompletionStreamResponseDelta { role, ..by("") };
                std::iter::once(first).chain(tokens.iter().map(|token| by(token))).collect()
            }
            Said::Call { name, arguments } => {
                let call = |id: Option<String>, name, arguments: &str| ChatCompletionStreamResponseDelta {
                    tool_calls: Some(vec![ChatCompletionMessageToolCallChunk {
                        index: 0,
                        r#type: id.as_ref().map(|_: &String| FunctionType::Function),
                        id,
                        function: Some(FunctionCallStream { name, arguments: Some(arguments.to_owned()) }),
                    }]),
                    ..Default::default()
                };
                let first = ChatCompletionStreamResponseDelta { role, ..call(Some(new_id("call")), Some(name.clone()), "") };
                std::iter::once(first).chain(text::tokens(arguments).map(|piece| call(None, None, piece))).collect()
            }
        }
    }
}
