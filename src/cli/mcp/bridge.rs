//! The stdio bridge: each line of standard input is a message for the gateway's `/mcp`, and whatever comes back is a line of standard output.
//!
//! Source: "Transports" of the MCP specification (stdio; Streamable HTTP), of the revisions from 2025-03-26 to 2026-07-28.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::config::Config;
use crate::mcp::{INVALID_REQUEST, MOST_OF_A_BATCH, PARSE_ERROR};
use crate::route::Secret;
use crate::shown_url::shown;

/// The other end.
struct Bridge {
    http: reqwest::Client,
    url: String,
    key: Secret,
    session: Mutex<Session>,
    /// Held by whoever begins a session anew.
    renewing: tokio::sync::Mutex<()>,
    headers: Headers,
    /// Requests that run, and whether their client has cancelled each.
    asked: Mutex<HashMap<String, bool>>,
    out: mpsc::UnboundedSender<String>,
    /// The gateway has answered before: where it is gone now, it may be starting again.
    was_there: AtomicBool,
}

/// What older revisions agree on first, and what they are told after that.
#[derive(Clone, Default)]
struct Session {
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
    /// How it was begun.
    begun: Option<Value>,
    /// What a session remembers of what came after that.
    told: Vec<Value>,
}

/// How a message ended.
enum Ending {
    /// As it should.
    Answered,
    /// The gateway knows nothing of the session.
    NoSession,
}

const DEFAULT_URL: &str = "http://127.0.0.1:8080";
const ACCEPT: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// What JSON-RPC leaves to implementations: the gateway did not answer as it should.
const FAILED: i32 = -32000;
const REST: Duration = Duration::from_secs(1);
/// How long what is still running may take once there is no more input.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a gateway may take to start again.
const RESTART: Duration = Duration::from_secs(10);
/// A session is told of so much again.
const MOST_TOLD: usize = 1000;
/// What a session that was begun anew may have otherwise.
const CHANGED: [&str; 3] =
    ["notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed"];

/// Where the gateway is: where the environment says, or where the configuration has it listen.
pub fn url(env: &Environment, config: Option<&Config>) -> String {
    if let Some(url) = env.get("KEYWARD_URL") {
        return base(url).to_owned();
    }
    let Some(mut address) = config.map(|config| config.listen) else { return DEFAULT_URL.to_owned() };
    // Whoever listens everywhere is reached here too.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}")
}

/// What the paths of the gateway stand on: those who were told one of them mean that.
fn base(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    ["/mcp", "/v1"].iter().find_map(|path| url.strip_suffix(path)).unwrap_or(url).trim_end_matches('/')
}

/// Where the protocol is spoken: by the gateway, or as one server alone where the URL says so.
pub fn endpoint(url: &str) -> String {
    let alone = url.rsplit_once("/mcp/").filter(|(_, name)| !name.is_empty() && !name.contains('/'));
    alone.map_or_else(|| format!("{url}/mcp"), |_| url.to_owned())
}

/// Whether a URL is of this machine, to which no proxy leads.
fn is_local(url: &str) -> bool {
    match url::Url::parse(url).ok().as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Bridges until standard input ends.
pub async fn run(env: &Environment, url: &str) -> Result<(), CliError> {
    let key = env.get("KEYWARD_KEY").ok_or("KEYWARD_KEY is not set: put a key of the gateway in it ('keyward keys create' makes one)")?;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let http = if is_local(url) { http.no_proxy() } else { http }.build()?;
    let (out, mut lines) = mpsc::unbounded_channel::<String>();
    let bridge = Arc::new(Bridge {
        http,
        url: endpoint(url),
        key: Secret::new(key),
        session: Mutex::default(),
        renewing: tokio::sync::Mutex::default(),
        headers: Headers::default(),
        asked: Mutex::default(),
        out,
        was_there: AtomicBool::default(),
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
    let (mut running, mut listening, mut news) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    while let Some(line) = input.recv().await {
        let messages = match serde_json::from_slice(&line) {
            Ok(Value::Array(batch)) if (1..=MOST_OF_A_BATCH).contains(&batch.len()) => batch,
            Ok(Value::Array(batch)) => {
                let why = format!("a batch has one message at least and {MOST_OF_A_BATCH} at the most, and this one has {}", batch.len());
                bridge.tell(&failure(&Value::Null, INVALID_REQUEST, &why));
                continue;
            }
            Ok(message) => vec![message],
            Err(error) => {
                bridge.tell(&failure(&Value::Null, PARSE_ERROR, &format!("the line is no JSON in UTF-8 ({error})")));
                continue;
            }
        };
        for message in messages {
            if let Some(why) = amiss(&message) {
                bridge.tell(&failure(&Value::Null, INVALID_REQUEST, why));
                continue;
            }
            // The handshake and what needs no answer keep their order; requests may overtake each other.
            if message.get("id").is_none() || is_initialize(&message) || message.get("method").is_none() {
                bridge.post(&message).await;
                if message.get("method").is_some_and(|method| method == "notifications/initialized") && bridge.session().id.is_some() {
                    listening.abort_all();
                    listening.spawn(Arc::clone(&bridge).listen());
                }
            } else {
                let bridge = Arc::clone(&bridge);
                // What only waits for news is over when nobody is there to hear of it.
                let tasks = if is_listen(&message) { &mut news } else { &mut running };
                tasks.spawn(async move { bridge.post(&message).await });
            }
        }
    }
    let drained = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        eprintln!("keyward: some calls had no answer when the input ended");
    }
    listening.shutdown().await;
    news.shutdown().await;
    running.shutdown().await;
    bridge.end().await;
    drop(bridge);
    writing.await?;
    Ok(())
}

fn is_listen(message: &Value) -> bool {
    message.get("method").is_some_and(|method| method == "subscriptions/listen")
}

fn is_initialize(message: &Value) -> bool {
    message.get("method").is_some_and(|method| method == "initialize")
}

/// What of a message is none of the protocol's, where something is.
fn amiss(message: &Value) -> Option<&'static str> {
    let has = |name| message.get(name).is_some();
    if !message.is_object() || !["method", "result", "error"].into_iter().any(has) {
        return Some("a message is an object with a method, a result or an error");
    }
    let is_right = message.get("id").is_none_or(|id| id.is_string() || id.is_number());
    (!is_right).then_some("the id of a message is a number or a text")
}

/// The lines of standard input, by a thread that the process does not wait for.
fn read_lines() -> mpsc::Receiver<Vec<u8>> {
    let (to, lines) = mpsc::channel(64);
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().split(b'\n').map_while(Result::ok);
        for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
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
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, message: &Value) {
        // Nobody reads any more: the input ends too, soon.
        let _ = self.out.send(message.to_string());
    }

    fn request(&self, request: RequestBuilder, session: &Session) -> RequestBuilder {
        let request = request.bearer_auth(self.key.expose()).header(header::ACCEPT, ACCEPT);
        let named =
            [(SESSION, &session.id), (VERSION, &session.version)].into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        named.fold(request, |request, (name, value)| request.header(name, value))
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what came from the gateway, but no error for a request that its client has cancelled: nobody waits for it.
    fn pass(&self, message: &Value) {
        let is_error = message.get("error").is_some() && message.get("method").is_none();
        if is_error && self.is_cancelled(&message["id"]) {
            return;
        }
        self.learn(message);
        self.tell(message);
    }

    fn is_cancelled(&self, id: &Value) -> bool {
        self.asked().get(&id.to_string()).copied().unwrap_or_default()
    }

    /// Sends a message, and tells what comes back for it.
    async fn post(&self, message: &Value) {
        let asked = message.get("id").filter(|_| message.get("method").is_some()).map(Value::to_string);
        if let Some(id) = &asked {
            self.asked().insert(id.clone(), false);
        }
        if message.get("method").is_some_and(|method| method == "notifications/cancelled") {
            let id = message["params"]["requestId"].to_string();
            self.asked().entry(id).and_modify(|is_cancelled| *is_cancelled = true);
        }
        self.sent(message).await;
        if let Some(id) = &asked {
            self.asked().remove(id);
        }
    }

    async fn sent(&self, message: &Value) {
        let id = message.get("id").unwrap_or(&Value::Null);
        self.remember(message);
        let mut session = self.session();
        let mut answer = self.once(message, &session).await;
        if matches!(answer, Ok(Ending::NoSession)) {
            answer = match self.renew(&session).await {
                // What was asked by a session that is gone needs no answer.
                Ok(()) if message.get("method").is_none() => Ok(Ending::Answered),
                Ok(()) => {
                    session = self.session();
                    self.once(message, &session).await
                }
                Err(why) => Err(why),
            };
        }
        let why = match answer {
            Ok(Ending::Answered) => return,
            Ok(Ending::NoSession) => "the gateway forgets the session at once".to_owned(),
            Err(why) => why,
        };
        if self.is_cancelled(id) {
            return;
        }
        eprintln!("keyward: {why}");
        if !id.is_null() && message.get("method").is_some() {
            self.tell(&failure(id, FAILED, &why));
        }
    }

    /// Keeps what a session that begins anew has to be told again.
    fn remember(&self, message: &Value) {
        let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
        let mut session = self.locked();
        match method {
            "initialize" => *session = Session { begun: Some(message.clone()), ..Session::default() },
            "logging/setLevel" => session.told.retain(|told| told["method"] != method),
            "resources/subscribe" | "resources/unsubscribe" => {
                let uri = &message["params"]["uri"];
                session.told.retain(|told| told["method"] != "resources/subscribe" || told["params"]["uri"] != *uri);
            }
            _ => {}
        }
        let is_kept = matches!(method, "notifications/initialized" | "logging/setLevel" | "resources/subscribe");
        if is_kept && session.begun.is_some() && session.told.len() < MOST_TOLD {
            session.told.push(message.clone());
        }
    }

    async fn once(&self, message: &Value, session: &Session) -> Result<Ending, String> {
        let response = self.send(message, session).await?;
        if response.status() == StatusCode::NOT_FOUND && session.id.is_some() {
            return Ok(Ending::NoSession);
        }
        self.pass_on(response, message).await.map(|()| Ending::Answered)
    }

    async fn send(&self, message: &Value, session: &Session) -> Result<Response, String> {
        let began = tokio::time::Instant::now();
        loop {
            let request = self.request(self.http.post(&self.url), session).header(header::CONTENT_TYPE, "application/json");
            let headers = self.headers.of(message).into_iter();
            let request = headers.fold(request.body(message.to_string()), |request, (name, value)| request.header(name, value));
            match request.send().await {
                Ok(response) => {
                    self.was_there.store(true, Ordering::Relaxed);
                    return Ok(response);
                }
                // Nothing of it has been sent.
                Err(error) if error.is_connect() && self.was_there.load(Ordering::Relaxed) && began.elapsed() < RESTART => {
                    tokio::time::sleep(REST / 4).await;
                }
                Err(error) => return Err(format!("the gateway cannot be reached at {} ({})", shown(&self.url), error.without_url())),
            }
        }
    }

    /// Begins the session anew that the gateway has forgotten, as it was begun, and tells it again what it should know.
    async fn renew(&self, gone: &Session) -> Result<(), String> {
        let _one_at_a_time = self.renewing.lock().await;
        let session = self.session();
        if session.id != gone.id {
            return Ok(());
        }
        let mut begun = session.begun.ok_or("the gateway has forgotten the session, and nothing is known of how it was begun")?;
        begun["id"] = json!("keyward-again");
        let response = self.send(&begun, &Session::default()).await?;
        let id = response.headers().get(SESSION).cloned();
        let answer = self.answer(response).await?;
        let version = answer.pointer("/result/protocolVersion").and_then(Value::as_str);
        let version = version.ok_or_else(|| format!("the gateway begins no new session: {}", answer["error"]["message"]))?;
        let renewed = {
            let mut session = self.locked();
            (session.id, session.version) = (id, HeaderValue::try_from(version).ok());
            session.clone()
        };
        for (index, told) in renewed.told.iter().enumerate() {
            let mut told = told.clone();
            if told.get("id").is_some() {
                told["id"] = json!(format!("keyward-again-{index}"));
            }
            let response = self.send(&told, &renewed).await?;
            // Whoever asked the first time has had its answer.
            let _ = response.bytes().await;
        }
        CHANGED.iter().for_each(|method| self.tell(&json!({ "jsonrpc": "2.0", "method": method })));
        Ok(())
    }

    /// The answer that a response holds, whole or as an event.
    async fn answer(&self, response: Response) -> Result<Value, String> {
        let broke_off = |error: &dyn std::fmt::Display| format!("the gateway's answer broke off ({error})");
        if !is_stream(&response) {
            let body = response.text().await.map_err(|error| broke_off(&error))?;
            return serde_json::from_str(&body).map_err(|error| broke_off(&error));
        }
        let mut events = SseStream::from_bytes_stream(response.bytes_stream());
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| broke_off(&error))?;
            let message = event.data.and_then(|data| serde_json::from_str::<Value>(&data).ok());
            if let Some(message) = message.filter(|message| message.get("method").is_none()) {
                return Ok(message);
            }
        }
        Err("the gateway's stream ended without its answer".to_owned())
    }

    async fn pass_on(&self, response: Response, message: &Value) -> Result<(), String> {
        let (status, id) = (response.status(), message.get("id").unwrap_or(&Value::Null));
        if is_initialize(message) {
            self.locked().id = response.headers().get(SESSION).cloned();
        }
        if is_stream(&response) {
            let is_answered = self.pass_events(response, id).await?;
            return match is_answered || id.is_null() || message.get("method").is_none() {
                true => Ok(()),
                false => Err("the gateway's stream ended without an answer: it may have stopped".to_owned()),
            };
        }
        let body = response.text().await.map_err(|error| format!("the gateway's answer broke off ({})", error.without_url()))?;
        match serde_json::from_str::<Value>(&body) {
            Ok(answer) if !is_message(&answer) => {
                let said = answer.pointer("/error/message").or_else(|| answer.get("detail")).and_then(Value::as_str);
                Err(format!("the gateway answered with status {}: {}", status.as_u16(), said.unwrap_or("no message of the protocol")))
            }
            Ok(mut answer) => {
                // What is refused before it is read names no request.
                if answer.get("id").is_none_or(Value::is_null) && answer.get("error").is_some() {
                    if id.is_null() {
                        return Err(answer["error"]["message"].as_str().unwrap_or_default().to_owned());
                    }
                    answer["id"] = id.clone();
                }
                self.pass(&answer);
                Ok(())
            }
            Err(_) if status == StatusCode::ACCEPTED || (status.is_success() && body.is_empty()) => Ok(()),
            Err(_) => Err(format!("the gateway answered with status {}: {}", status.as_u16(), body.chars().take(200).collect::<String>())),
        }
    }

    /// Tells each event; whether the answer to a request was among them.
    async fn pass_events(&self, response: Response, id: &Value) -> Result<bool, String> {
        let mut events = SseStream::from_bytes_stream(response.bytes_stream());
        let mut is_answered = false;
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                // What ends after the answer has lost nothing.
                Err(_) if is_answered => break,
                Err(error) => return Err(format!("the gateway's stream broke off ({error})")),
            };
            // An event without data only says that the stream lives.
            if let Some(message) = event.data.and_then(|data| serde_json::from_str::<Value>(&data).ok()) {
                is_answered |= message.get("method").is_none() && message.get("id") == Some(id);
                self.pass(&message);
            }
        }
        Ok(is_answered)
    }

    /// What `initialize` agreed on goes with each request after it, and what tools want repeated with their calls.
    fn learn(&self, message: &Value) {
        self.headers.learn(message);
        let agreed = message.get("result").filter(|result| result.get("serverInfo").is_some());
        let version = agreed.and_then(|result| result.get("protocolVersion")?.as_str());
        if let Some(version) = version.and_then(|version| HeaderValue::try_from(version).ok()) {
            self.locked().version = Some(version);
        }
    }

    /// What the gateway tells of itself, for as long as there is a session.
    async fn listen(self: Arc<Bridge>) {
        loop {
            let session = self.session();
            match self.request(self.http.get(&self.url), &session).send().await {
                Ok(response) if response.status().is_success() => drop(self.pass_events(response, &Value::Null).await),
                Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                    if let Err(why) = self.renew(&session).await {
                        eprintln!("keyward: {why}");
                    }
                }
                Ok(response) if response.status().is_client_error() => return,
                _ => {}
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// Ends the session, where there is one.
    async fn end(&self) {
        let session = self.session();
        if session.id.is_some() {
            // A gateway that is gone has forgotten it already.
            let _ = self.request(self.http.delete(&self.url), &session).timeout(REST).send().await;
        }
    }
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// Whether what came is of JSON-RPC: another server, or another path, may answer with something else.
fn is_message(answer: &Value) -> bool {
    let is_one = |message: &Value| message.get("jsonrpc").is_some_and(|version| version == "2.0");
    is_one(answer) || answer.as_array().is_some_and(|all| all.iter().all(is_one))
}

fn failure(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}
