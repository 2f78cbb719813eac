//! The stdio bridge: each line of standard input is a message for the gateway's `/mcp`, and whatever comes back is a line of standard output.
//!
//! Source: "Transports" of the MCP specification (stdio; Streamable HTTP), of the revisions from 2025-03-26 to 2026-07-28.

use std::io::{BufRead as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, StatusCode, header};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use sse_stream::SseStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::headers::{Headers, VERSION};
use crate::catalog::Environment;
use crate::cli::CliError;
use crate::route::Secret;

/// The other end.
struct Bridge {
    http: reqwest::Client,
    url: String,
    key: Secret,
    session: Mutex<Session>,
    headers: Headers,
    out: mpsc::UnboundedSender<String>,
}

/// What older revisions agree on first.
#[derive(Clone, Default)]
struct Session {
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

const DEFAULT_URL: &str = "http://127.0.0.1:8080";
const ACCEPT: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// What JSON-RPC leaves to implementations: the gateway did not answer as it should.
const FAILED: i32 = -32000;
const REST: Duration = Duration::from_secs(1);
/// How long what is still running may take once there is no more input.
const DRAIN: Duration = Duration::from_secs(30);

/// Where the gateway is.
pub fn url(env: &Environment) -> String {
    env.get("KEYWARD_URL").unwrap_or(DEFAULT_URL).trim_end_matches('/').to_owned()
}

/// Bridges until standard input ends.
pub async fn run(env: &Environment) -> Result<(), CliError> {
    let key = env.get("KEYWARD_KEY").ok_or("KEYWARD_KEY is not set: put a key of the gateway in it ('keyward keys create' makes one)")?;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let (out, mut lines) = mpsc::unbounded_channel::<String>();
    let bridge = Arc::new(Bridge {
        http,
        url: format!("{}/mcp", url(env)),
        key: Secret::new(key),
        session: Mutex::default(),
        headers: Headers::default(),
        out,
    });
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(line) = lines.blocking_recv() {
            let mut stdout = std::io::stdout().lock();
            if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
                return;
            }
        }
    });
    let mut input = read_lines();
    let (mut running, mut listening) = (JoinSet::new(), JoinSet::new());
    while let Some(line) = input.recv().await {
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            bridge.tell(&failure(&Value::Null, -32700, "the line is no JSON"));
            continue;
        };
        // The handshake and what needs no answer keep their order; requests may overtake each other.
        if message.get("id").is_none() || message.get("method").is_none_or(|method| method == "initialize") {
            bridge.post(&message).await;
            if message.get("method").is_some_and(|method| method == "notifications/initialized") && bridge.session().id.is_some() {
                listening.spawn(Arc::clone(&bridge).listen());
            }
        } else {
            let bridge = Arc::clone(&bridge);
            running.spawn(async move { bridge.post(&message).await });
        }
    }
    let drained = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        eprintln!("keyward: some calls had no answer when the input ended");
    }
    listening.shutdown().await;
    running.shutdown().await;
    bridge.end().await;
    drop(bridge);
    writing.await?;
    Ok(())
}

/// The lines of standard input, by a thread that the process does not wait for.
fn read_lines() -> mpsc::Receiver<String> {
    let (to, lines) = mpsc::channel(64);
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        for line in lines.filter(|line| !line.trim().is_empty()) {
            if to.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

// === impl Bridge ===

impl Bridge {
    fn session(&self) -> Session {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, message: &Value) {
        // Nobody reads any more: the input ends too, soon.
        let _ = self.out.send(message.to_string());
    }

    fn request(&self, request: RequestBuilder) -> RequestBuilder {
        let Session { id, version } = self.session();
        let request = request.bearer_auth(self.key.expose()).header(header::ACCEPT, ACCEPT);
        let named = [(SESSION, id), (VERSION, version)].into_iter().filter_map(|(name, value)| Some((name, value?)));
        named.fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Sends a message, and tells what comes back for it.
    async fn post(&self, message: &Value) {
        let id = message.get("id").unwrap_or(&Value::Null);
        let mut request =
            self.request(self.http.post(&self.url)).header(header::CONTENT_TYPE, "application/json").body(message.to_string());
        for (name, value) in self.headers.of(message) {
            request = request.header(name, value);
        }
        let answer = match request.send().await {
            Ok(response) => self.pass_on(response, message).await,
            Err(error) => Err(format!("the gateway cannot be reached at {} ({error})", self.url)),
        };
        if let Err(why) = answer {
            eprintln!("keyward: {why}");
            if !id.is_null() {
                self.tell(&failure(id, FAILED, &why));
            }
        }
    }

    async fn pass_on(&self, response: Response, message: &Value) -> Result<(), String> {
        let (status, id) = (response.status(), message.get("id").unwrap_or(&Value::Null));
        if message.get("method").is_some_and(|method| method == "initialize") {
            self.session.lock().unwrap_or_else(PoisonError::into_inner).id = response.headers().get(SESSION).cloned();
        }
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        if kind.starts_with("text/event-stream") {
            return self.pass_events(response).await;
        }
        let body = response.text().await.map_err(|error| format!("the gateway's answer broke off ({error})"))?;
        match serde_json::from_str::<Value>(&body) {
            Ok(mut answer) => {
                // What is refused before it is read names no request.
                if answer.get("id").is_none_or(Value::is_null) && answer.get("error").is_some() {
                    if id.is_null() {
                        return Err(answer["error"]["message"].as_str().unwrap_or_default().to_owned());
                    }
                    answer["id"] = id.clone();
                }
                self.learn(&answer);
                self.tell(&answer);
                Ok(())
            }
            Err(_) if status == StatusCode::ACCEPTED || (status.is_success() && body.is_empty()) => Ok(()),
            Err(_) => Err(format!("the gateway answered with status {}: {}", status.as_u16(), body.chars().take(200).collect::<String>())),
        }
    }

    async fn pass_events(&self, response: Response) -> Result<(), String> {
        let mut events = SseStream::from_bytes_stream(response.bytes_stream());
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| format!("the gateway's stream broke off ({error})"))?;
            // An event without data only says that the stream lives.
            if let Some(message) = event.data.and_then(|data| serde_json::from_str::<Value>(&data).ok()) {
                self.learn(&message);
                self.tell(&message);
            }
        }
        Ok(())
    }

    /// What `initialize` agreed on goes with each request after it, and what tools want repeated with their calls.
    fn learn(&self, message: &Value) {
        self.headers.learn(message);
        let agreed = message.get("result").filter(|result| result.get("serverInfo").is_some());
        let version = agreed.and_then(|result| result.get("protocolVersion")?.as_str());
        if let Some(version) = version.and_then(|version| HeaderValue::try_from(version).ok()) {
            self.session.lock().unwrap_or_else(PoisonError::into_inner).version = Some(version);
        }
    }

    /// What the gateway tells of itself, for as long as there is a session.
    async fn listen(self: Arc<Bridge>) {
        loop {
            match self.request(self.http.get(&self.url)).send().await {
                Ok(response) if response.status().is_success() => drop(self.pass_events(response).await),
                Ok(response) if response.status().is_client_error() => return,
                _ => {}
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// Ends the session, where there is one.
    async fn end(&self) {
        if self.session().id.is_some() {
            // A gateway that is gone has forgotten it already.
            let _ = self.request(self.http.delete(&self.url)).timeout(REST).send().await;
        }
    }
}

fn failure(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}
