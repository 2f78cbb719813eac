//! The gateway by the client of `async-openai`: what the simulator answers, and what real providers answered.

#![allow(clippy::unwrap_used)]

mod support;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::chat::{ChatCompletionMessageToolCalls, CreateChatCompletionRequest, FinishReason};
use async_openai::types::completions::CreateCompletionRequest;
use async_openai::types::embeddings::CreateEmbeddingRequest;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use support::{Gateway, new_key, recorded};

const ECHO: &str = "simulator/echo";

/// A gateway, whatever leads to it, and a key.
struct Served {
    gateway: Gateway,
    key: String,
    _folder: tempfile::TempDir,
}

/// What a client makes of a chat: its text, its tool calls by name and arguments, why it ended, and the input tokens.
type Read = (String, Vec<(String, Value)>, Option<String>, Option<u32>);

// === impl Served ===

impl Served {
    /// With a provider `recorded` at `upstream`, if any.
    fn start(upstream: Option<std::net::SocketAddr>) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let [data, providers] = ["data", "providers"].map(|name| folder.path().join(name));
        std::fs::create_dir(&providers).unwrap();
        if let Some(address) = upstream {
            std::fs::write(providers.join("recorded.toml"), recorded::provider(address, "RECORDED_KEY")).unwrap();
        }
        let key = new_key(&data, &[])["key"].as_str().unwrap().to_owned();
        let gateway = Gateway::start(&data, &[("KEYWARD_PROVIDERS", providers.to_str().unwrap()), ("RECORDED_KEY", "sk-recorded")]);
        Served { gateway, key, _folder: folder }
    }

    fn client(&self) -> Client<OpenAIConfig> {
        client(self.gateway.address, &self.key)
    }
}

fn client(address: std::net::SocketAddr, key: &str) -> Client<OpenAIConfig> {
    // The client brings no cryptography of its own; only the first of a process can be installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::with_config(OpenAIConfig::new().with_api_base(format!("http://{address}/v1")).with_api_key(key))
}

fn chat(body: Value) -> CreateChatCompletionRequest {
    serde_json::from_value(body).unwrap()
}

fn hello() -> Value {
    json!({ "model": ECHO, "messages": [{ "role": "user", "content": "Hello" }] })
}

/// A tool call's arguments, which models are free to space as they like.
fn arguments(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!({}))
}

async fn whole(client: &Client<OpenAIConfig>, request: CreateChatCompletionRequest) -> Result<Read, OpenAIError> {
    let answer = client.chat().create(request).await?;
    let choice = &answer.choices[0];
    let calls = choice.message.tool_calls.iter().flatten().map(|call| match call {
        ChatCompletionMessageToolCalls::Function(call) => (call.function.name.clone(), arguments(&call.function.arguments)),
        ChatCompletionMessageToolCalls::Custom(call) => (call.custom_tool.name.clone(), json!(call.custom_tool.input)),
    });
    let text = choice.message.content.clone().unwrap_or_default();
    Ok((text, calls.collect(), choice.finish_reason.map(finish), answer.usage.map(|usage| usage.prompt_tokens)))
}

async fn streamed(client: &Client<OpenAIConfig>, request: CreateChatCompletionRequest) -> Result<Read, OpenAIError> {
    let mut chunks = client.chat().create_stream(request).await?;
    let (mut text, mut calls, mut ended, mut input) = (String::new(), Vec::<(String, String)>::new(), None, None);
    while let Some(chunk) = chunks.try_next().await? {
        input = chunk.usage.map(|usage| usage.prompt_tokens).or(input);
        for choice in chunk.choices {
            text.push_str(choice.delta.content.as_deref().unwrap_or_default());
            ended = choice.finish_reason.map(finish).or(ended);
            for call in choice.delta.tool_calls.into_iter().flatten() {
                calls.resize(calls.len().max(call.index as usize + 1), Default::default());
                let (name, arguments) = &mut calls[call.index as usize];
                let function = call.function.unwrap();
                name.push_str(function.name.as_deref().unwrap_or_default());
                arguments.push_str(function.arguments.as_deref().unwrap_or_default());
            }
        }
    }
    Ok((text, calls.into_iter().map(|(name, text)| (name, arguments(&text))).collect(), ended, input))
}

fn finish(reason: FinishReason) -> String {
    serde_json::to_value(reason).unwrap().as_str().unwrap().to_owned()
}

/// The status, code and message of an error that the client could read.
fn api_error<T: std::fmt::Debug>(outcome: Result<T, OpenAIError>) -> (u16, Option<String>, String) {
    match outcome.unwrap_err() {
        OpenAIError::ApiError(error) => (error.status_code.as_u16(), error.api_error.code, error.api_error.message),
        other => panic!("no error of the API: {other:?}"),
    }
}

#[tokio::test]
async fn the_simulator_by_a_typed_client() {
    let served = Served::start(None);
    let client = served.client();
    let said = "[Keyward simulator] You said: Hello".to_owned();
    let stop = Some("stop".to_owned());
    assert_eq!(whole(&client, chat(hello())).await.unwrap(), (said.clone(), Vec::new(), stop.clone(), Some(2)));
    let mut asks_for_usage = hello();
    asks_for_usage["stream_options"] = json!({ "include_usage": true });
    assert_eq!(streamed(&client, chat(asks_for_usage)).await.unwrap(), (said.clone(), Vec::new(), stop.clone(), Some(2)));
    assert_eq!(streamed(&client, chat(hello())).await.unwrap(), (said, Vec::new(), stop, None));

    let mut with_tool = hello();
    let schema = json!({ "type": "object", "required": ["city"], "properties": { "city": { "type": "string" } } });
    with_tool["tools"] = json!([{ "type": "function", "function": { "name": "weather", "parameters": schema } }]);
    with_tool["tool_choice"] = json!({ "type": "function", "function": { "name": "weather" } });
    let called = vec![("weather".to_owned(), json!({ "city": "simulated" }))];
    for read in [whole(&client, chat(with_tool.clone())).await, streamed(&client, chat(with_tool)).await] {
        let (text, calls, ended, _) = read.unwrap();
        assert_eq!((text.as_str(), &calls, ended.as_deref()), ("", &called, Some("tool_calls")));
    }

    let embed: CreateEmbeddingRequest = serde_json::from_value(json!({ "model": ECHO, "input": ["a", "b"], "dimensions": 8 })).unwrap();
    let embedded = client.embeddings().create(embed.clone()).await.unwrap();
    assert_eq!(embedded.data.iter().map(|one| one.embedding.len()).collect::<Vec<_>>(), [8, 8]);
    assert_eq!(client.embeddings().create(embed).await.unwrap().data[1].embedding, embedded.data[1].embedding);
    let complete: CreateCompletionRequest = serde_json::from_value(json!({ "model": ECHO, "prompt": "Once" })).unwrap();
    assert_eq!(client.completions().create(complete).await.unwrap().choices[0].text, "[Keyward simulator] You said: Once");

    let models: Vec<String> = client.models().list().await.unwrap().data.into_iter().map(|model| model.id).collect();
    assert_eq!(models, [ECHO]);
    assert_eq!(client.models().retrieve(ECHO).await.unwrap().owned_by, "simulator");
}

#[tokio::test]
async fn errors_by_a_typed_client() {
    let served = Served::start(None);
    let client = served.client();
    let mut unknown = hello();
    unknown["model"] = json!("simulator/parrot");
    for outcome in [whole(&client, chat(unknown.clone())).await, streamed(&client, chat(unknown)).await] {
        let (status, code, message) = api_error(outcome);
        assert_eq!((status, code.as_deref()), (404, Some("model_not_found")), "{message}");
    }
    let (status, code, _) = api_error(client.models().retrieve("simulator/parrot").await);
    assert_eq!((status, code.as_deref()), (404, Some("model_not_found")));
    let cut_short = &served.key[..served.key.len() - 1];
    let (status, code, message) = api_error(whole(&self::client(served.gateway.address, cut_short), chat(hello())).await);
    assert_eq!((status, code.as_deref()), (401, Some("key_wrong_length")), "{message}");
}

#[tokio::test]
async fn real_answers_by_a_typed_client_are_the_same_through_the_gateway() {
    let cases = recorded::cases("openai_chat");
    if cases.is_empty() {
        println!("SKIPPED: ../shared/traffic is not there");
        return;
    }
    let upstream = recorded::serve(&cases);
    let served = Served::start(Some(upstream));
    let (direct, through) = (client(upstream, "sk-recorded"), served.client());
    let (mut same, mut unread) = ([0, 0], 0);
    for case in cases.iter().filter(|case| case["response"]["status"] == 200) {
        let id = case["id"].as_str().unwrap();
        let is_stream = case["stream"] == true;
        let ask = async |client: &Client<OpenAIConfig>, model: String| {
            let mut body = case["request"]["body"].clone();
            body["model"] = json!(model);
            if is_stream {
                body["stream_options"] = json!({ "include_usage": true });
            }
            // What other providers add to OpenAI's requests has no place in this client's types.
            let request = serde_json::from_value(body).unwrap_or_else(|_| chat(hello_to(&model, is_stream)));
            if is_stream { streamed(client, request).await } else { whole(client, request).await }
        };
        match (ask(&direct, id.to_owned()).await, ask(&through, format!("recorded/{id}")).await) {
            (Ok(direct), Ok(through)) => {
                assert_eq!(direct, through, "{id}");
                if case["provider"] == "openai" && case["complete"] != false {
                    assert_eq!(through.0, case["truth"]["text"].as_str().unwrap_or_default(), "{id}");
                }
                same[usize::from(is_stream)] += 1;
            }
            (Err(direct), Err(through)) => {
                assert_eq!(std::mem::discriminant(&direct), std::mem::discriminant(&through), "{id}: {direct} / {through}");
                unread += 1;
            }
            (direct, through) => panic!("{id}: {direct:?} directly, {through:?} through the gateway"),
        }
    }
    println!("{} whole answers and {} streams are the same; {unread} the client cannot read either way", same[0], same[1]);
    assert!(same[0] >= 60 && same[1] >= 10, "{same:?}");
}

fn hello_to(model: &str, is_stream: bool) -> Value {
    let mut body = hello();
    body["model"] = json!(model);
    if is_stream {
        body["stream_options"] = json!({ "include_usage": true });
    }
    body
}
