//! A prompt's answer: the chat request through the corridor, what comes back checked against the output schema, whole or as events.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::surface::{Prompts, problem, refuse};
use crate::catalog::{Dialect, Operation};
use crate::dialect::ir::{self, Block, Delta, Dropped, Event, Message, Role};
use crate::dialect::{Called, StreamReader, To, codec};
use crate::error::{Kind, Refusal};
use crate::exchange::exchange;
use crate::gateway::Gateway;
use crate::prompt::{Prompt, Violation, chat};

/// A call of a prompt, with all that it takes.
pub struct Call {
    /// What is called.
    pub prompt: Arc<Prompt>,
    /// Its variables.
    pub input: Value,
    /// Whether the answer is wanted as events.
    pub stream: bool,
    /// The request's head.
    pub head: Parts,
}

/// What an answer is, or why it is none.
enum Output {
    Text(String),
    Json(Value),
    Unfit(Vec<Violation>),
}

/// A stream on its way out.
struct Flow {
    source: BodyDataStream,
    reader: Box<dyn StreamReader>,
    prompt: Arc<Prompt>,
    said: String,
    has_ended: bool,
}

// === impl Call ===

impl Call {
    /// Asks the model, once more where its answer does not fit the schema.
    pub async fn answer(self, gateway: &Arc<Gateway>) -> Response<Body> {
        let empty = ir::Request { stream: self.stream, ..ir::Request::default() };
        let mut request = match chat::rendered(&self.prompt, self.input.clone(), Vec::new(), empty) {
            Ok(request) => request,
            Err(refusal) => return refuse(&refusal, &[]),
        };
        let response = self.ask(gateway, &request).await;
        if !response.status().is_success() {
            return response;
        }
        if self.stream {
            return self.flowing(response);
        }
        let (headers, text) = match said(response).await {
            Ok(said) => said,
            Err(response) => return response,
        };
        let Output::Unfit(violations) = output(&self.prompt, &text) else { return whole(headers, output(&self.prompt, &text)) };
        let told: Vec<String> = violations.iter().map(Violation::told).collect();
        let again = format!("That does not fit the schema: {}. Answer again, with the JSON alone.", told.join("; "));
        request.messages.push(Message::new(Role::Assistant, vec![Block::text(text)]));
        request.messages.push(Message::new(Role::User, vec![Block::text(again)]));
        let response = self.ask(gateway, &request).await;
        if !response.status().is_success() {
            return response;
        }
        match said(response).await {
            Ok((headers, text)) => whole(headers, output(&self.prompt, &text)),
            Err(response) => response,
        }
    }

    async fn ask(&self, gateway: &Arc<Gateway>, request: &ir::Request) -> Response<Body> {
        let model = chat::model(gateway, &self.prompt);
        let facts = gateway.router().resolve(model).ok().and_then(|targets| targets.first()?.facts().cloned());
        let body = match codec(Dialect::OpenaiChat).encode_request(request, &To { model, facts: facts.as_ref() }, &mut Dropped::default()) {
            Ok(body) => body,
            Err(refusal) => return refuse(&refusal, &[]),
        };
        let mut head = self.head.clone();
        // The corridor writes down which prompt it is.
        head.extensions.insert(Arc::clone(&self.prompt));
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::TRANSFER_ENCODING);
        let request = Request::from_parts(head, Body::from(body));
        exchange(Arc::clone(gateway), &Prompts, Called::new(Operation::Chat, Dialect::OpenaiChat), request).await
    }

    /// `delta` events with the text as it comes, then one `result`, or `error` with a problem.
    fn flowing(self, response: Response<Body>) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        let reader = codec(Dialect::OpenaiChat).stream_reader();
        let flow = Flow { source: body.into_data_stream(), reader, prompt: self.prompt, said: String::new(), has_ended: false };
        Response::from_parts(head, Body::from_stream(stream::unfold(flow, Flow::next)))
    }
}

/// The headers of an answer, and what the model said in it.
async fn said(response: Response<Body>) -> Result<(HeaderMap, String), Response<Body>> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(|whole| whole.to_bytes()).map_err(|error| error.to_string());
    let answer = body.and_then(|body| codec(Dialect::OpenaiChat).decode_answer(&body));
    match answer {
        Ok(answer) => Ok((head.headers, answer.choices.first().map(ir::Choice::text).unwrap_or_default())),
        Err(why) => {
            let message = format!("The provider's answer is wrong: {why}.");
            Err(refuse(&Refusal::new(StatusCode::BAD_GATEWAY, Kind::Upstream, "bad_answer", message), &[]))
        }
    }
}

fn output(prompt: &Prompt, text: &str) -> Output {
    if !prompt.gives_json() {
        return Output::Text(text.to_owned());
    }
    // Models that only follow instructions like to put JSON into a fence.
    let bare = text.trim();
    let bare = bare.strip_prefix("```json").or(bare.strip_prefix("```")).and_then(|rest| rest.strip_suffix("```")).unwrap_or(bare);
    match serde_json::from_str::<Value>(bare) {
        Err(error) => Output::Unfit(vec![Violation { path: String::new(), message: format!("it is no JSON ({error})") }]),
        Ok(value) => match prompt.output_violations(&value) {
            violations if violations.is_empty() => Output::Json(value),
            violations => Output::Unfit(violations),
        },
    }
}

fn unfit() -> Refusal {
    let message = "The model's answer does not fit the prompt's output schema: try again, or use a model with structured output.";
    Refusal::new(StatusCode::BAD_GATEWAY, Kind::Upstream, "output_invalid", message)
}

fn whole(mut headers: HeaderMap, output: Output) -> Response<Body> {
    let (kind, body) = match output {
        Output::Text(text) => ("text/plain; charset=utf-8", text),
        Output::Json(value) => ("application/json", value.to_string()),
        Output::Unfit(violations) => {
            let mut refused = refuse(&unfit(), &violations);
            headers.remove(header::CONTENT_LENGTH);
            headers.remove(header::CONTENT_TYPE);
            refused.headers_mut().extend(headers);
            return refused;
        }
    };
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let mut response = Response::new(Body::from(body));
    *response.headers_mut() = headers;
    response
}

// === impl Flow ===

impl Flow {
    /// The next events, as the provider's come.
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Flow)> {
        while !self.has_ended {
            let mut events = Vec::new();
            match self.source.next().await {
                Some(Ok(piece)) => self.reader.push(&piece, &mut events),
                Some(Err(error)) => return Some((Err(std::io::Error::other(error)), Flow { has_ended: true, ..self })),
                None => {
                    self.reader.finish(&mut events);
                    self.has_ended = true;
                }
            }
            let out: String = events.into_iter().filter_map(|event| self.tell(event)).collect();
            if !out.is_empty() {
                return Some((Ok(Bytes::from(out)), self));
            }
        }
        None
    }

    fn tell(&mut self, event: Event) -> Option<String> {
        let line = |name: &str, data: &Value| Some(format!("event: {name}\ndata: {data}\n\n"));
        match event {
            Event::Delta { choice: 0, delta: Delta::Text(text), .. } => {
                self.said.push_str(&text);
                line("delta", &json!({ "text": text }))
            }
            Event::End => match output(&self.prompt, &self.said) {
                Output::Text(text) => line("result", &Value::from(text)),
                Output::Json(value) => line("result", &value),
                Output::Unfit(violations) => line("error", &json!(problem(&unfit(), &violations))),
            },
            Event::Trouble(trouble) => {
                self.has_ended = true;
                let refusal = Refusal::new(StatusCode::BAD_GATEWAY, Kind::Upstream, "provider_error", trouble.message);
                line("error", &json!(problem(&refusal, &[])))
            }
            _ => None,
        }
    }
}
