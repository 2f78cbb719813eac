//! A connection on which a server's small faults are mended: what it says of one thing amiss must not hide all that it has.
//!
//! Many a server answers `server/discover`, which it does not know, with anything or nothing: that it does not know it is what the
//! connection hears then. A list is read entry by entry where it cannot be read whole.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, InitializeResult, JsonRpcError, JsonRpcResponse, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, RequestId, ServerJsonRpcMessage, ServerResult,
};
use rmcp::service::RoleClient;
use rmcp::transport::Transport;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::mcp::names::shown;

/// Any transport, mended.
pub struct Mended<T> {
    inner: T,
    left_out: LeftOut,
    asked: HashMap<RequestId, Asked>,
    /// How long the server has for that.
    patience: Option<Duration>,
    /// What was asked to find out whether the server knows it, and until when it has time to say so.
    probe: Option<(RequestId, Instant)>,
    /// What is no longer waited for.
    given_up: HashSet<RequestId>,
}

/// What of a list could not be read, until somebody asks for it.
pub type LeftOut = Arc<Mutex<BTreeSet<String>>>;

/// What a request asks for, where its answer may have to be mended.
#[derive(Clone, Copy)]
enum Asked {
    Discover,
    Initialize,
    Tools,
    Prompts,
    Resources,
    Templates,
}

/// A server that says nothing to `server/discover` for so long does not know it.
pub const PROBE: Duration = Duration::from_secs(3);
/// So many entries that could not be read are named.
const MOST_NAMED: usize = 100;

// === impl Mended ===

impl<T> Mended<T> {
    /// A connection to a server, which has so long to say whether it knows `server/discover`.
    pub fn new(inner: T, patience: Option<Duration>, left_out: LeftOut) -> Mended<T> {
        Mended { inner, left_out, asked: HashMap::new(), patience, probe: None, given_up: HashSet::new() }
    }

    fn note(&mut self, message: &ClientJsonRpcMessage) {
        let ClientJsonRpcMessage::Request(request) = message else { return };
        let asked = match &request.request {
            ClientRequest::DiscoverRequest(_) => Asked::Discover,
            ClientRequest::InitializeRequest(_) => Asked::Initialize,
            ClientRequest::ListToolsRequest(_) => Asked::Tools,
            ClientRequest::ListPromptsRequest(_) => Asked::Prompts,
            ClientRequest::ListResourcesRequest(_) => Asked::Resources,
            ClientRequest::ListResourceTemplatesRequest(_) => Asked::Templates,
            _ => return,
        };
        if let (Asked::Discover, Some(patience)) = (asked, self.patience) {
            self.probe = Some((request.id.clone(), Instant::now() + patience));
        }
        self.asked.insert(request.id.clone(), asked);
    }

    /// The message as it should have been; none where nobody waits for it any more.
    fn mended(&mut self, message: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        let id = match &message {
            ServerJsonRpcMessage::Response(response) => Some(&response.id),
            ServerJsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        let Some(id) = id.cloned() else { return Some(message) };
        if self.given_up.remove(&id) {
            return None;
        }
        if self.probe.as_ref().is_some_and(|(probe, _)| *probe == id) {
            self.probe = None;
        }
        let asked = self.asked.remove(&id);
        match (message, asked) {
            (ServerJsonRpcMessage::Response(response), Some(asked)) => Some(self.answer(response, asked)),
            (message, _) => Some(message),
        }
    }

    fn answer(&self, response: JsonRpcResponse<ServerResult>, asked: Asked) -> ServerJsonRpcMessage {
        let JsonRpcResponse { id, result, .. } = response;
        let is_right = match asked {
            Asked::Discover => matches!(result, ServerResult::DiscoverResult(_)),
            Asked::Initialize => matches!(result, ServerResult::InitializeResult(_)),
            Asked::Tools => matches!(result, ServerResult::ListToolsResult(_)),
            Asked::Prompts => matches!(result, ServerResult::ListPromptsResult(_)),
            Asked::Resources => matches!(result, ServerResult::ListResourcesResult(_)),
            Asked::Templates => matches!(result, ServerResult::ListResourceTemplatesResult(_)),
        };
        if is_right {
            return ServerJsonRpcMessage::response(result, id);
        }
        let told = serde_json::to_value(&result).unwrap_or_default();
        let mended = match asked {
            Asked::Discover => return unknown(id),
            Asked::Initialize => introduced(told).map(ServerResult::InitializeResult),
            Asked::Tools => self.listed(told, "tools", ListToolsResult::with_all_items).map(ServerResult::ListToolsResult),
            Asked::Prompts => self.listed(told, "prompts", ListPromptsResult::with_all_items).map(ServerResult::ListPromptsResult),
            Asked::Resources => self.listed(told, "resources", ListResourcesResult::with_all_items).map(ServerResult::ListResourcesResult),
            Asked::Templates => self
                .listed(told, "resourceTemplates", ListResourceTemplatesResult::with_all_items)
                .map(ServerResult::ListResourceTemplatesResult),
        };
        ServerJsonRpcMessage::response(mended.unwrap_or(result), id)
    }

    /// A list of which what cannot be read is left out.
    fn listed<E: DeserializeOwned, L: Paged>(&self, mut told: Value, name: &str, list: impl FnOnce(Vec<E>) -> L) -> Option<L> {
        let Value::Array(entries) = told.get_mut(name)?.take() else { return None };
        let read = |mut entry: Value| {
            if name == "tools" && !entry.get("inputSchema").is_some_and(Value::is_object) && entry.is_object() {
                entry["inputSchema"] = json!({ "type": "object" });
            }
            let said = entry.get("name").or_else(|| entry.get("uri")).and_then(Value::as_str).unwrap_or("without a name").to_owned();
            let read = serde_json::from_value(entry);
            if let Err(error) = &read {
                let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
                if left_out.len() < MOST_NAMED {
                    left_out.insert(format!("{} {} (it cannot be read: {error})", name.trim_end_matches('s'), shown(&said)));
                }
            }
            read.ok()
        };
        let mut list = list(entries.into_iter().filter_map(read).collect());
        list.goes_on(told.get("nextCursor").and_then(Value::as_str).map(str::to_owned));
        Some(list)
    }
}

/// Says that there is no such method, as a server should that does not know it.
fn unknown(id: RequestId) -> ServerJsonRpcMessage {
    let error = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "server/discover is not answered as the protocol has it", None);
    ServerJsonRpcMessage::Error(JsonRpcError::new(Some(id), error))
}

/// An introduction that lacks what nobody needs.
fn introduced(mut told: Value) -> Option<InitializeResult> {
    let members = told.as_object_mut()?;
    members.get("protocolVersion")?;
    members.entry("capabilities").or_insert_with(|| json!({}));
    let who = members.entry("serverInfo").or_insert_with(|| json!({})).as_object_mut()?;
    for name in ["name", "version"] {
        if !who.get(name).is_some_and(Value::is_string) {
            who.insert(name.to_owned(), json!("unknown"));
        }
    }
    serde_json::from_value(told).ok()
}

/// A list that may have another page.
trait Paged {
    fn goes_on(&mut self, cursor: Option<String>);
}

macro_rules! paged {
    ($($list:ty),*) => {
        $(impl Paged for $list {
            fn goes_on(&mut self, cursor: Option<String>) {
                self.next_cursor = cursor;
            }
        })*
    };
}

paged!(ListToolsResult, ListPromptsResult, ListResourcesResult, ListResourceTemplatesResult);

impl<T: Transport<RoleClient>> Transport<RoleClient> for Mended<T> {
    type Error = T::Error;

    fn send(&mut self, message: ClientJsonRpcMessage) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        self.note(&message);
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let message = match &self.probe {
                None => self.inner.receive().await?,
                Some((_, until)) => match tokio::time::timeout_at(*until, self.inner.receive()).await {
                    Ok(message) => message?,
                    Err(_) => {
                        let (id, _) = self.probe.take()?;
                        self.asked.remove(&id);
                        self.given_up.insert(id.clone());
                        return Some(unknown(id));
                    }
                },
            };
            if let Some(message) = self.mended(message) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), T::Error> {
        self.inner.close().await
    }
}
