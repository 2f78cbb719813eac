//! A prompt's answer: the chat request through the corridor, what comes back checked against the output schema, whole or as events.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::surface::{Prompts, problem, refuse};
use crate::catalog::{Dialect, Operation};
use crate::dialect::ir::{self, Delta, Event, Finish};
use crate::dialect::{Called, StreamReader, codec};
use crate::error::{Kind, Refusal};
use crate::exchange::exchange;
use crate::gateway::Gateway;
use crate::prompt::output::{self, Again, Manner, Output, Tries};
use crate::prompt::{Prompt, Violation, chat};
use crate::surface::REQUEST_ID;

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

/// A stream on its way out.
struct Flow {
    source: BodyDataStream,
    reader: Box<dyn StreamReader>,
    prompt: Arc<Prompt>,
    said: String,
    finish: Finish,
    /// It says words that decline.
    refuses: bool,
    has_ended: bool,
}

/// A whole answer, read.
struct Said {
    headers: HeaderMap,
    text: String,
    finish: Finish,
}

/// Why an answer is shorter than it would be.
const FINISH: HeaderName = HeaderName::from_static("keyward-finish-reason");

// === impl Call ===

impl Call {
    /// Asks the model, once more where its answer does not fit the schema, and once in words where it takes no format.
    pub async fn answer(self, gateway: &Arc<Gateway>) -> Response<Body> {
        let model = chat::model(gateway, &self.prompt);
        let empty = ir::Request { stream: self.stream, ..ir::Request::default() };
        let mut request = match chat::rendered_beside(&self.prompt, self.input.clone(), Vec::new(), empty).await {
            Ok(request) => request,
            Err(refusal) => return refuse(&refusal, &[]),
        };
        Manner::of(gateway, model).ask(&self.prompt, &mut request);
        let (mut request_id, mut tries) = (None, Tries::default());
        loop {
            let response = self.ask(gateway, model, &request, request_id.as_ref()).await;
            request_id = response.headers().get(REQUEST_ID).cloned();
            let status = response.status();
            if !status.is_success() {
                let (head, body) = response.into_parts();
                let error = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
                let text = String::from_utf8_lossy(&error);
                if request.format.is_none() || !output::blames_format(&head) {
                    return match output::blames_prompt(&head) {
                        true => refused(head.headers, &output::faulty(&self.prompt, &detail(&text)), &[]),
                        false => Response::from_parts(head, Body::from(error)),
                    };
                }
                Again::InWords.put(&self.prompt, &mut request);
                continue;
            }
            if self.stream {
                return self.flowing(response);
            }
            let Said { mut headers, text, finish } = match said(response).await {
                Ok(said) => said,
                Err(response) => return response,
            };
            if let Some(refusal) = output::withheld(&finish) {
                return refused(headers, &refusal, &[]);
            }
            if let Some(reason) = output::cut(&finish) {
                headers.insert(FINISH, HeaderValue::from_static(reason));
                return match output::read(&self.prompt, &text, false) {
                    // What is missing at its end, no second try would have.
                    Output::Unfit(_) => refused(headers, &output::cut_off(), &[]),
                    output => whole(headers, output),
                };
            }
            match tries.judge(&self.prompt, text, false) {
                Ok(output) => return whole(headers, output),
                Err(again) => again.put(&self.prompt, &mut request),
            }
        }
    }

    async fn ask(&self, gateway: &Arc<Gateway>, model: &str, request: &ir::Request, request_id: Option<&HeaderValue>) -> Response<Body> {
        let called = Called::new(Operation::Chat, Dialect::OpenaiChat);
        let (body, mut dropped) = match chat::encoded(gateway, request, &called, model) {
            Ok(encoded) => encoded,
            Err(refusal) => return refuse(&refusal, &[]),
        };
        dropped.extend(chat::unknown_settings(&self.prompt));
        let head = chat::head_for(&self.head, &self.prompt, request_id);
        let request = Request::from_parts(head, Body::from(body));
        let mut response = exchange(Arc::clone(gateway), &Prompts, called, request).await;
        chat::tell_dropped(response.headers_mut(), &dropped);
        response
    }

    /// `delta` events with the text as it comes, then one `result`, or `error` with a problem.
    fn flowing(self, response: Response<Body>) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        let reader = codec(Dialect::OpenaiChat).stream_reader();
        let flow = Flow {
            source: body.into_data_stream(),
            reader,
            prompt: self.prompt,
            said: String::new(),
            finish: Finish::Stop,
            refuses: false,
            has_ended: false,
        };
        Response::from_parts(head, Body::from_stream(stream::unfold(flow, Flow::next)))
    }
}

/// The headers of an answer, what the model said in it, and why it ended.
async fn said(response: Response<Body>) -> Result<Said, Response<Body>> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(|whole| whole.to_bytes()).map_err(|error| error.to_string());
    let answer = body.and_then(|body| codec(Dialect::OpenaiChat).decode_answer(&body));
    match answer {
        Ok(answer) => {
            let choice = answer.choices.first();
            let (text, finish) = (choice.map(ir::Choice::text), choice.map(output::finish));
            Ok(Said { headers: head.headers, text: text.unwrap_or_default(), finish: finish.unwrap_or_default() })
        }
        Err(why) => {
            let message = format!("The provider's answer is wrong: {why}.");
            Err(refuse(&Refusal::new(StatusCode::BAD_GATEWAY, Kind::Upstream, "bad_answer", message), &[]))
        }
    }
}

/// A refusal with the headers of the answer that it is in the place of.
fn refused(mut headers: HeaderMap, refusal: &Refusal, violations: &[Violation]) -> Response<Body> {
    let mut refused = refuse(refusal, violations);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONTENT_TYPE);
    refused.headers_mut().extend(headers);
    refused
}

/// A problem's sentence.
fn detail(problem: &str) -> String {
    let read = serde_json::from_str::<Value>(problem).ok();
    read.and_then(|problem| problem.get("detail")?.as_str().map(str::to_owned)).unwrap_or_default()
}

fn whole(mut headers: HeaderMap, output: Output) -> Response<Body> {
    let (kind, body) = match output {
        Output::Text(text) => ("text/plain; charset=utf-8", text),
        Output::Json(value) => ("application/json", value.to_string()),
        Output::Unfit(violations) => return refused(headers, &output::unfit(), &violations),
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
            Event::Delta { choice: 0, delta: Delta::Refusal(_), .. } => {
                self.refuses = true;
                None
            }
            Event::Finish { choice: 0, finish } => {
                self.finish = finish;
                None
            }
            Event::End => {
                self.finish = std::mem::take(&mut self.finish).said(self.refuses);
                let error = |refusal: &Refusal, violations: &[Violation]| line("error", &json!(problem(refusal, violations)));
                if let Some(refusal) = output::withheld(&self.finish) {
                    return error(&refusal, &[]);
                }
                let cut = output::cut(&self.finish);
                let result = match output::read(&self.prompt, &self.said, false) {
                    Output::Text(text) => line("result", &Value::from(text)),
                    Output::Json(value) => line("result", &value),
                    Output::Unfit(_) if cut.is_some() => error(&output::cut_off(), &[]),
                    Output::Unfit(violations) => error(&output::unfit(), &violations),
                }?;
                let why = cut.and_then(|reason| line("finish", &json!({ "reason": reason }))).unwrap_or_default();
                Some(why + &result)
            }
            Event::Trouble(trouble) => {
                self.has_ended = true;
                let refusal = Refusal::new(StatusCode::BAD_GATEWAY, Kind::Upstream, "provider_error", trouble.message);
                line("error", &json!(problem(&refusal, &[])))
            }
            _ => None,
        }
    }
}
