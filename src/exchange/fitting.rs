//! A prompt that is called as a model: its whole answer is checked as that of `POST /prompts/NAME` is, and asked for once more where it does not fit.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};

use super::{exchange, streamed};
use crate::dialect::ir::{Choice, Content, Field};
use crate::dialect::members::Members;
use crate::dialect::translate::read_request;
use crate::dialect::{Ask, Called, codec, ir, wire};
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::prompt::output::{self, Output, Tries};
use crate::prompt::{Prompt, chat};
use crate::surface::Surface;
use crate::upstream;

/// What it takes to ask for an answer again.
pub(super) struct Again {
    pub(super) prompt: Arc<Prompt>,
    /// What of the prompt's settings was not sent.
    pub(super) dropped: Vec<String>,
    pub(super) called: Called,
    pub(super) stream: bool,
    /// What its caller has sent.
    pub(super) own: Bytes,
    /// What was made of it.
    pub(super) body: Bytes,
    pub(super) head: Parts,
}

/// A provider's error that is the prompt's own fault, as one that its caller cannot mend.
fn blamed(surface: &dyn Surface, prompt: &Prompt, own: &[u8], response: Response<Body>) -> Response<Body> {
    let (head, body) = response.into_parts();
    // What its caller has set beside it, such as how long an answer may be, is theirs to mend.
    let is_theirs = |field: &Field| {
        let name = field.0.split(['.', '[']).next().unwrap_or_default();
        Members::read(own).is_ok_and(|members| name != "model" && members.get(name).is_some())
    };
    match output::blames_prompt(&head) && !head.extensions.get().is_some_and(is_theirs) {
        true => surface.refuse(&output::faulty(prompt, "its provider refuses what it says")),
        false => Response::from_parts(head, body),
    }
}

/// What a choice says, where it has come to its end and calls no tool first.
fn text_of(choice: &Choice) -> Option<String> {
    let calls = choice.content.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
    // What was withheld or cut off, no second try would have: the caller is told so in the dialect's own way.
    (!calls && output::is_whole(&output::finish(choice))).then(|| choice.text())
}

/// A whole answer, or an error, is read up to this size.
const LARGEST: usize = 16 << 20;

// === impl Again ===

impl Again {
    /// The answer, or the one to the second try.
    pub(super) async fn settled(
        self,
        gateway: &Arc<Gateway>,
        surface: &'static dyn Surface,
        request_id: &HeaderValue,
        response: Response<Body>,
    ) -> Response<Body> {
        let dropped = self.dropped.clone();
        let (prompt, own) = (Arc::clone(&self.prompt), self.own.clone());
        let mut response = match self.prompt.gives_json() {
            true => self.checked(gateway, surface, request_id, response).await,
            false => response,
        };
        if matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY) {
            response = blamed(surface, &prompt, &own, response);
        }
        chat::tell_dropped(response.headers_mut(), &dropped);
        response
    }

    async fn checked(
        self,
        gateway: &Arc<Gateway>,
        surface: &'static dyn Surface,
        request_id: &HeaderValue,
        mut response: Response<Body>,
    ) -> Response<Body> {
        let (mut request, mut tries) = (None, Tries::default());
        loop {
            let status = response.status();
            if self.stream && status.is_success() {
                // An array of JSON takes no error in its middle.
                return match upstream::is_of(response.headers(), wire(self.called.dialect).stream_type) {
                    true => streamed::checked(surface, self.called.dialect, &self.prompt, request_id, response),
                    false => response,
                };
            }
            let (head, body) = response.into_parts();
            let Ok(whole) = Limited::new(body, LARGEST).collect().await.map(|whole| whole.to_bytes()) else {
                return surface.refuse(&output::unfit());
            };
            let blames_format = output::blames_format(&head);
            let as_it_came = |whole| Response::from_parts(head, Body::from(whole));
            let again = match status {
                StatusCode::OK => match self.said(&whole).map(|said| tries.judge(&self.prompt, said, true)) {
                    Some(Err(again)) => again,
                    Some(Ok(Output::Unfit(_))) => return surface.refuse(&output::unfit()),
                    _ => return as_it_came(whole),
                },
                _ if blames_format => output::Again::InWords,
                _ => return as_it_came(whole),
            };
            let mut next = match request.take().map_or_else(|| self.request(), Ok) {
                Ok(request) => request,
                Err(refusal) => return surface.refuse(&refusal),
            };
            if matches!(again, output::Again::InWords) && next.format.is_none() {
                return as_it_came(whole);
            }
            again.put(&self.prompt, &mut next);
            response = match self.ask(gateway, surface, request_id, &next).await {
                Ok(response) => response,
                Err(refusal) => return surface.refuse(&refusal),
            };
            request = Some(next);
        }
    }

    fn request(&self) -> Result<ir::Request, Refusal> {
        let ask = Ask::read(self.called.clone(), self.body.clone())?;
        Ok((*read_request(&ask)?.request).clone())
    }

    /// What an answer says, in the first of its choices that does not fit, or else in the first; nothing where it is no answer, or calls a tool first.
    fn said(&self, whole: &[u8]) -> Option<String> {
        let answer = codec(self.called.dialect).decode_answer(whole).ok()?;
        let texts: Vec<String> = answer.choices.iter().filter_map(text_of).collect();
        let unfit = texts.iter().position(|text| matches!(output::read(&self.prompt, text, true), Output::Unfit(_)));
        texts.into_iter().nth(unfit.unwrap_or(0))
    }

    /// Asks once more, as a part of the same request.
    async fn ask(
        &self,
        gateway: &Arc<Gateway>,
        surface: &'static dyn Surface,
        request_id: &HeaderValue,
        request: &ir::Request,
    ) -> Result<Response<Body>, Refusal> {
        let model = self.called.model.as_deref().unwrap_or(&request.model);
        let (body, _) = chat::encoded(gateway, request, &self.called, model)?;
        let request = Request::from_parts(chat::head_for(&self.head, &self.prompt, Some(request_id)), Body::from(body));
        Ok(Box::pin(exchange(Arc::clone(gateway), surface, self.called.clone(), request)).await)
    }
}
