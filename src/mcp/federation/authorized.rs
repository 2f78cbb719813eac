//! Streamable HTTP under the credential that the gateway holds for a server, and with what the protocol's library drops of a list.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue, header};
use http_body_util::{BodyExt as _, Limited};
use memchr::memmem;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, RequestId, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use tokio::sync::watch;
use tokio::time::timeout;

use super::secrets::Secrets;
use super::tasks;
use crate::route::Secret;
use crate::upstream::sign::Tokens;

/// What `authorization` holds.
#[derive(Clone, Debug)]
pub enum Token {
    /// As it was configured.
    Fixed(Secret),
    /// As it was granted last.
    Granted(Arc<Tokens>),
}

/// Adds the token to each request, which may be another than a moment ago.
#[derive(Clone, Debug)]
pub struct Authorized {
    /// Connections.
    pub client: reqwest::Client,
    /// The token, where the server wants one.
    pub token: Option<Token>,
    /// Where it is noted.
    pub secrets: Arc<Secrets>,
    /// Set when the server knows nothing of the session any more: the library begins another by itself, in which nothing is subscribed to.
    pub has_expired: Arc<AtomicBool>,
    /// Whether the session's own stream has been asked for and answered.
    pub listens: Arc<watch::Sender<bool>>,
}

type Error = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;

/// What the protocol's library says of a server that does not say how it is to be authorized.
pub const UNAUTHORIZED: &str = "HTTP 401";
/// What is told of a server that answers a request with nothing that names it, as one does which has forgotten its session.
pub const NAMELESS: &str = "it answered with nothing that names the request";
const SESSION: &str = "mcp-session-id";
/// So long the first request of a session waits for its stream: some servers answer that with its first event.
const LONGEST_OPENING: Duration = Duration::from_millis(500);
/// Between two requests for one stream, in milliseconds.
const LEAST_REST: u64 = 1000;
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const ACCEPT: &str = "application/json, text/event-stream";

// === impl Authorized ===

impl Authorized {
    /// The token without its scheme, as the transport wants it.
    async fn token(&self) -> Result<Option<String>, Error> {
        match &self.token {
            None => Ok(None),
            Some(Token::Fixed(secret)) => Ok(Some(secret.expose().to_owned())),
            Some(Token::Granted(tokens)) => {
                let header = tokens.get().await.map_err(|why| Error::Io(std::io::Error::other(why)))?;
                let token = header.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
                Ok(token.inspect(|token| self.secrets.granted(token)).map(str::to_owned))
            }
        }
    }

    /// What a server asks while it works on a request may come on the session's own stream, and is lost where that is not open yet.
    async fn listening(&self) {
        let mut listens = self.listens.subscribe();
        if timeout(LONGEST_OPENING, listens.wait_for(|listens| *listens)).await.is_err() {
            self.listens.send_replace(true);
        }
    }

    /// Posts under the token; one may have been withdrawn before its time, so a new one is asked for once.
    async fn under_token<T, F: Future<Output = Result<T, Error>>>(&self, post: impl Fn(Option<String>) -> F) -> Result<T, Error> {
        let answer = post(self.token().await?).await;
        if matches!(answer, Err(Error::SessionExpired)) {
            self.has_expired.store(true, Ordering::Relaxed);
        }
        if self.may_renew(&answer) { post(self.token().await?).await } else { answer }
    }

    /// Whether a token was refused that can be fetched anew; it is not used again.
    fn may_renew<T>(&self, answer: &Result<T, Error>) -> bool {
        let is_refused = match answer {
            Err(Error::AuthRequired(_)) => true,
            Err(Error::UnexpectedServerResponse(said)) => said.starts_with(UNAUTHORIZED),
            _ => false,
        };
        match &self.token {
            Some(Token::Granted(tokens)) if is_refused => {
                tokens.forget();
                true
            }
            _ => false,
        }
    }
}

impl Authorized {
    /// A list of tools that came as one piece, read once more for what the library dropped of it; none where that says nothing.
    async fn listed_again(
        &self,
        (uri, message, session): (&str, &ClientJsonRpcMessage, Option<Arc<str>>),
        headers: Headers,
        most: usize,
    ) -> Option<ServerJsonRpcMessage> {
        let mut request = self.client.post(uri).headers(headers.into_iter().collect());
        request = request.header(header::CONTENT_TYPE, "application/json").header(header::ACCEPT, ACCEPT);
        if let Some(session) = &session {
            request = request.header(SESSION, &**session);
        }
        if let Some(token) = self.token().await.ok()? {
            request = request.bearer_auth(token);
        }
        let response = request.body(serde_json::to_vec(message).ok()?).send().await.ok()?;
        let body = http::Response::<reqwest::Body>::from(response).into_body();
        let whole = Limited::new(body, most).collect().await.ok()?.to_bytes();
        serde_json::from_value(tasks::noted(&whole)?).ok()
    }
}

impl StreamableHttpClient for Authorized {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Error> {
        let post = |token| self.client.post_message(Arc::clone(&uri), message.clone(), session.clone(), token, headers.clone());
        self.under_token(post).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Error> {
        if session.is_some() && matches!(message, ClientJsonRpcMessage::Request(_)) {
            self.listening().await;
        }
        let post = |token| {
            let (uri, message, session, headers) = (Arc::clone(&uri), message.clone(), session.clone(), headers.clone());
            self.client.post_message_with_response_limits(uri, message, session, token, headers, limits)
        };
        let answer = self.under_token(post).await?;
        let answer = if let ClientJsonRpcMessage::Request(request) = &message { answered(answer, &request.id)? } else { answer };
        if !is_list_of_tools(&message) || headers.get(&VERSION).is_none_or(|version| version != tasks::REVISION) {
            return Ok(answer);
        }
        Ok(match answer {
            StreamableHttpPostResponse::Sse(events, begun) => StreamableHttpPostResponse::Sse(events.map(noted).boxed(), begun),
            StreamableHttpPostResponse::Json(listed, begun) => {
                let again = self.listed_again((&uri, &message, session), headers, limits.max_json_response_size).await;
                StreamableHttpPostResponse::Json(again.unwrap_or(listed), begun)
            }
            other => other,
        })
    }

    async fn delete_session(&self, uri: Arc<str>, session: Arc<str>, _: Option<String>, headers: Headers) -> Result<(), Error> {
        let token = self.token().await?;
        self.client.delete_session(uri, session, token, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        headers: Headers,
    ) -> Result<BoxStream<'static, Result<sse_stream::Sse, sse_stream::Error>>, Error> {
        let token = self.token().await?;
        let stream = self.client.get_stream(uri, session, last_event, token, headers).await;
        self.listens.send_replace(true);
        self.may_renew(&stream);
        Ok(stream?.map(rested).boxed())
    }
}

/// What answers a request, and what is told in its place where nothing that came names it: an error of the whole connection.
fn answered(answer: StreamableHttpPostResponse, id: &RequestId) -> Result<StreamableHttpPostResponse, Error> {
    match answer {
        StreamableHttpPostResponse::Accepted => Err(Error::UnexpectedServerResponse(format!("{NAMELESS} (202)").into())),
        StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Error(error), _) if error.id.is_none() => {
            Err(Error::UnexpectedServerResponse(format!("{NAMELESS}: {}", error.error.message).into()))
        }
        StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Response(response), _) if response.id != *id => Err(another()),
        StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Error(error), _) if error.id.as_ref() != Some(id) => Err(another()),
        StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Request(_) | ServerJsonRpcMessage::Notification(_), _) => {
            Err(Error::UnexpectedServerResponse(format!("{NAMELESS}: it is no answer").into()))
        }
        StreamableHttpPostResponse::Sse(events, begun) => {
            let id = id.clone();
            Ok(StreamableHttpPostResponse::Sse(events.map(move |event| rested(event).map(|event| named(event, &id))).boxed(), begun))
        }
        other => Ok(other),
    }
}

fn another() -> Error {
    Error::UnexpectedServerResponse(format!("{NAMELESS}: its id is another").into())
}

/// A stream that ends is asked for again, and never at once, whatever its server says.
fn rested(event: Result<sse_stream::Sse, sse_stream::Error>) -> Result<sse_stream::Sse, sse_stream::Error> {
    event.map(|event| sse_stream::Sse { retry: event.retry.map(|wait| wait.max(LEAST_REST)), ..event })
}

/// An error on a request's own stream is that request's.
fn named(mut event: sse_stream::Sse, id: &RequestId) -> sse_stream::Sse {
    let Some(data) = event.data.as_ref().filter(|data| memmem::find(data.as_bytes(), br#""error""#).is_some()) else { return event };
    if let Ok(ServerJsonRpcMessage::Error(mut error)) = serde_json::from_str(data)
        && error.id.is_none()
    {
        error.id = Some(id.clone());
        event.data = serde_json::to_string(&ServerJsonRpcMessage::Error(error)).ok().or(event.data);
    }
    event
}

fn is_list_of_tools(message: &ClientJsonRpcMessage) -> bool {
    matches!(message, ClientJsonRpcMessage::Request(request) if matches!(request.request, ClientRequest::ListToolsRequest(_)))
}

fn noted(event: Result<sse_stream::Sse, sse_stream::Error>) -> Result<sse_stream::Sse, sse_stream::Error> {
    event.map(|mut event| {
        if let Some(noted) = event.data.as_ref().and_then(|data| tasks::noted(data.as_bytes())) {
            event.data = Some(noted.to_string());
        }
        event
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sse_stream::Sse;

    use super::*;

    fn told(data: &Value) -> Value {
        let event = named(Sse { data: Some(data.to_string()), ..Sse::default() }, &RequestId::Number(7));
        event.data.and_then(|data| serde_json::from_str(&data).ok()).unwrap_or_default()
    }

    #[test]
    fn no_server_is_asked_for_its_stream_without_rest() {
        let waits = |retry| rested(Ok(Sse { retry, ..Sse::default() })).map(|event| event.retry).unwrap_or_default();
        assert_eq!([waits(None), waits(Some(0)), waits(Some(50)), waits(Some(5000))], [None, Some(1000), Some(1000), Some(5000)]);
    }

    #[test]
    fn an_error_on_a_requests_stream_is_that_requests() {
        let error = json!({ "code": -32000, "message": "no" });
        for nameless in [json!({ "jsonrpc": "2.0", "id": null, "error": error }), json!({ "jsonrpc": "2.0", "error": error })] {
            assert_eq!(told(&nameless), json!({ "jsonrpc": "2.0", "id": 7, "error": error }));
        }
        let asked = json!({ "jsonrpc": "2.0", "id": 8, "method": "ping", "params": { "error": error } });
        let answers = [json!({ "jsonrpc": "2.0", "id": 7, "result": {} }), json!({ "jsonrpc": "2.0", "id": 7, "error": error })];
        for as_it_is in answers.into_iter().chain([asked, json!("no message")]) {
            assert_eq!(told(&as_it_is), as_it_is);
        }
    }
}
