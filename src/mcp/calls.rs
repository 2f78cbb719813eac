//! One call: whose it is, what it may, what the ledger says of it, and its way to a federated server and back.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::StatusCode;
use http::request::Parts;
use rmcp::ErrorData;
use rmcp::model::{
    CallToolResponse, CallToolResult, CancelledNotificationParam, ClientRequest, ContentBlock, InputRequiredResult, InputResponses,
    LoggingLevel, ProtocolVersion, Reference, RequestId, RequestMetaObject, ResultType, ServerResult, SetLevelRequestParams,
};
use rmcp::service::{Peer, PeerRequestOptions, RequestContext, RoleClient, RoleServer, ServiceError};
use serde_json::Value;

use super::endpoint::Presented;
use super::federation::{Key, Kind, Link, Listed, NAMELESS, Pool, Server, Toward, Trouble, Turn, can_answer};
use super::holder::Holder;
use super::kept;
use super::names::{Manner, shown};
use crate::catalog::Operation;
use crate::error::Refusal;
use crate::exchange::ledger_down;
use crate::gateway::{Gateway, LOOK_EVERY};
use crate::key::Caller;
use crate::ledger::record::Outcome;
use crate::quota::{Need, limits};
use crate::ticket::{MCP, Ticket};

/// A request of the protocol, with the key that it came with.
pub struct Called {
    /// Whose key it is.
    pub caller: Caller,
    /// The head of the HTTP request, with the key.
    pub presented: Parts,
    /// What the protocol says of it.
    pub context: RequestContext<RoleServer>,
}

/// Who is asked, by which connections, and how names are told.
pub struct Way<'a> {
    /// The gateway.
    pub gateway: &'a Arc<Gateway>,
    /// The server.
    pub server: &'a Server,
    /// The caller's connections.
    pub pool: &'a Pool,
    /// How names are told.
    pub manner: Manner,
    /// From which level on the caller wants to hear its log.
    pub level: Option<LoggingLevel>,
}

/// A request that is on its way: whoever stops waiting for its answer says so to the server.
struct Asked {
    peer: Peer<RoleClient>,
    id: RequestId,
    /// It has to be there until the server has heard that.
    link: Option<Arc<Link>>,
}

/// So often may a result ask for something before there is the real one.
const MOST_ROUNDS: usize = 10;
/// Between rounds in which nothing is asked.
const ROUND: Duration = Duration::from_millis(500);

/// Of a request's `_meta` what is between the caller and the gateway: a connection to a server has its own.
const HOP_BY_HOP: [&str; 4] = [
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
];

// === impl Called ===

impl Called {
    /// Reads whose it is of what the endpoint put beside it.
    pub fn of(context: RequestContext<RoleServer>) -> Result<Called, ErrorData> {
        let head = context.extensions.get::<Parts>();
        let caller = head.and_then(|head| head.extensions.get::<Caller>()).cloned();
        let presented = head.and_then(|head| head.extensions.get::<Presented>()).cloned();
        match (caller, presented) {
            (Some(caller), Some(Presented(presented))) => Ok(Called { caller, presented, context }),
            _ => Err(ErrorData::internal_error("the request came without its key", None)),
        }
    }

    /// The revision that the caller speaks.
    pub fn version(&self) -> ProtocolVersion {
        self.context.protocol_version().unwrap_or(ProtocolVersion::V_2025_03_26)
    }

    /// Whether the key may use something of a server, and a request is left to it.
    pub fn admit(&self, scope: &str) -> Result<(), ErrorData> {
        self.caller.may_use_tool(scope).map_err(|reason| refused(reason.refusal(Some(self.caller.id()))))?;
        let full = format!("{MCP}/{scope}");
        self.caller.count(&|glob: &str| limits::names(glob, &full)).map_err(|reason| refused(reason.into()))
    }

    /// Whether a request is left to the key, as for a list: it counts, and is no row of the ledger.
    pub fn count(&self) -> Result<(), ErrorData> {
        self.caller.count(&|_| false).map_err(|reason| refused(reason.into()))
    }

    /// Runs a tool under the key's limits, and writes it down; a refusal is a result that says why, which a model can read.
    pub async fn metered(
        &self,
        gateway: &Arc<Gateway>,
        (server, tool): (&str, &str),
        run: impl Future<Output = Result<CallToolResponse, ErrorData>>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.metered_as(gateway, (server, tool, tool), run).await
    }

    /// The same of a tool that the ledger is to have by another name.
    pub async fn metered_as(
        &self,
        gateway: &Arc<Gateway>,
        (server, tool, row): (&str, &str, &str),
        run: impl Future<Output = Result<CallToolResponse, ErrorData>>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (scope, name) = (format!("{server}/{tool}"), format!("{server}/{row}"));
        let failed = |answer: &CallToolResponse| matches!(answer, CallToolResponse::Complete(result) if result.is_error == Some(true));
        match self.written_down(gateway, &scope, &name, failed, run).await {
            Ok(answer) => answer,
            Err(refusal) => Ok(wrong(&refusal.message).into()),
        }
    }

    /// Uses something of a server that is no tool in the same way. The row names the method alone: there is no end to names and URIs.
    pub async fn metered_use<T>(
        &self,
        gateway: &Arc<Gateway>,
        (server, own, method): (&str, &str, &'static str),
        run: impl Future<Output = Result<T, ErrorData>>,
    ) -> Result<T, ErrorData> {
        let (scope, name) = (format!("{server}/{own}"), format!("{server}/{method}"));
        self.written_down(gateway, &scope, &name, |_| false, run).await.unwrap_or_else(|refusal| Err(refused(refusal)))
    }

    async fn written_down<T>(
        &self,
        gateway: &Arc<Gateway>,
        scope: &str,
        name: &str,
        failed: impl Fn(&T) -> bool,
        run: impl Future<Output = Result<T, ErrorData>>,
    ) -> Result<Result<T, ErrorData>, Refusal> {
        let mut ticket = Ticket::new(gateway, Operation::Tool, &self.presented.headers, &self.presented.extensions);
        ticket.called_by(&self.caller);
        ticket.called_model(&format!("{MCP}/{name}"));
        if let Err(refusal) = self.begin(&mut ticket, scope, name.into()).await {
            ticket.refused(&refusal);
            return Err(refusal);
        }
        let answer = run.await;
        match &answer {
            Ok(answer) if failed(answer) => ticket.tool_ended(StatusCode::OK, Outcome::ProviderError),
            Ok(_) => ticket.tool_ended(StatusCode::OK, Outcome::Answered),
            // Nobody waits for it any more: that is how it ends.
            Err(_) if self.context.ct.is_cancelled() => drop(ticket),
            Err(_) => ticket.tool_ended(StatusCode::BAD_GATEWAY, Outcome::Failed),
        }
        Ok(answer)
    }

    async fn begin(&self, ticket: &mut Ticket, scope: &str, name: Arc<str>) -> Result<(), Refusal> {
        self.caller.may_use_tool(scope).map_err(|reason| reason.refusal(Some(self.caller.id())))?;
        let full = format!("{MCP}/{name}");
        let permit = self.caller.admit(&Need { touches: &|glob: &str| limits::names(glob, &full), ..Need::NOTHING })?;
        ticket.begin_tool(name, permit).await.map_err(|error| ledger_down(&error))
    }

    /// From which level on the caller wants to hear a log: the newest revision says so with each request.
    fn level(&self, way: &Way<'_>) -> Option<LoggingLevel> {
        if self.version().has_initialize() { way.level } else { self.context.meta.log_level() }
    }

    /// Passes a request on to a server: what it asks and tells meanwhile reaches the caller, and a caller who cancels cancels there too.
    pub fn forward<'a>(&'a self, way: &'a Way<'_>, request: ClientRequest) -> BoxFuture<'a, Result<ServerResult, ErrorData>> {
        // It is large, and each handler that calls it would be as large again.
        Box::pin(self.forwarded(way, request))
    }

    async fn forwarded(&self, way: &Way<'_>, mut request: ClientRequest) -> Result<ServerResult, ErrorData> {
        let (version, capabilities) = (self.version(), self.context.client_capabilities().unwrap_or_default());
        let (server, is_modern) = (way.server, !version.has_initialize());
        if let Some(repeated) = Some(&mut request).filter(|_| is_modern).and_then(kept::repeated) {
            return Box::pin(kept::go_on(self, way, &request, repeated)).await;
        }
        let link = server.link(way.pool, version, capabilities).await.map_err(|Trouble(error)| error)?;
        let mut toward = self.toward(way, &request);
        let holder = toward.holder.clone();
        if is_modern && !link.is_modern && kept::may_ask(&request) {
            let (asking, asked) = kept::questions();
            toward.asking = Some(asking);
            let turn = link.begin(toward, way.pool.is_session());
            self.tell_level(way, &turn.link).await;
            return Box::pin(kept::Call::begin(self, way, turn, request, asked).run(self, way)).await;
        }
        let turn = link.begin(toward, way.pool.is_session());
        let answer = tokio::select! {
            answer = tokio::time::timeout(server.call_timeout, self.send(way, &turn, request)) => answer,
            why = self.gone(&holder) => return Err(why),
        };
        turn.passed_on().await;
        let answer = answer.unwrap_or(Err(ServiceError::Timeout { timeout: server.call_timeout }));
        if answer.as_ref().is_err_and(|error| server.told(error).contains(NAMELESS)) {
            // The server knows nothing of this connection's session any more: the next call begins anew.
            turn.link.retire();
        }
        if matches!(answer, Ok(_) | Err(ServiceError::McpError(_))) {
            turn.over();
        }
        heard(server, answer)
    }

    /// Who hears and is asked what a server tells and asks meanwhile.
    pub(super) fn toward(&self, way: &Way<'_>, request: &ClientRequest) -> Toward {
        Toward {
            peer: self.context.peer.clone(),
            request: Some(self.context.id.clone()),
            progress: self.context.meta.get_progress_token(),
            manner: way.manner,
            holder: Holder::of(way.gateway, self),
            capabilities: self.context.client_capabilities().unwrap_or_default(),
            level: self.level(way),
            is_modern: !self.version().has_initialize(),
            scope: format!("{}/{}", way.server.name, own_name(request)),
            asking: None,
        }
    }

    /// Resolves when nobody waits for an answer any more, or may have one; says which.
    pub(super) async fn gone(&self, holder: &Holder) -> ErrorData {
        let ended = async {
            // It has just been looked at.
            tokio::time::sleep(LOOK_EVERY).await;
            holder.ended().await;
        };
        tokio::select! {
            () = self.context.ct.cancelled() => ErrorData::internal_error("The call was cancelled.", None),
            () = ended => ErrorData::invalid_request("The key is no longer good: it ended while the call ran.", None),
        }
    }

    /// Runs something for as long as its caller waits for it, and may have it.
    pub async fn while_wanted<T>(&self, gateway: &Arc<Gateway>, run: impl Future<Output = T>) -> Result<T, ErrorData> {
        let holder = Holder::of(gateway, self);
        tokio::select! {
            done = run => Ok(done),
            why = self.gone(&holder) => Err(why),
        }
    }

    /// Tells a server of older revisions from which level on its log is wanted.
    async fn tell_level(&self, way: &Way<'_>, link: &Link) {
        if let Some(level) = self.level(way).filter(|level| !link.is_modern && tells_too_little(link, *level)) {
            // A server without a log need not know, or answer.
            let _ = tokio::time::timeout(ROUND, link.service.set_level(SetLevelRequestParams::new(level))).await;
        }
    }

    async fn send(&self, way: &Way<'_>, turn: &Turn, mut request: ClientRequest) -> Result<ServerResult, ServiceError> {
        let link = &*turn.link;
        self.tell_level(way, link).await;
        if let ClientRequest::CallToolRequest(call) = &request
            && link.is_modern
            && !link.knows_tools.load(Ordering::Relaxed)
            && way.server.listing_now().repeats_arguments(&call.params.name)
        {
            link.service.list_all_tools().await?;
            link.knows_tools.store(true, Ordering::Relaxed);
        }
        if !link.is_modern || !self.version().has_initialize() {
            let answer = ask(turn, request, carried(&self.context.meta)).await?;
            return self.can_go_on(way.server, &answer).map(|()| answer);
        }
        // The caller knows nothing of results that ask for something: it is asked, and the server called again with its answers.
        for _ in 0..MOST_ROUNDS {
            match ask(turn, request.clone(), carried(&self.context.meta)).await? {
                ServerResult::InputRequiredResult(wanted) => answer(way.server, turn, &mut request, wanted).await?,
                result => return Ok(result),
            }
        }
        Err(ServiceError::InputRequiredRoundsExceeded { max_rounds: MOST_ROUNDS })
    }

    /// Whether the caller can be asked all that a result wants to know.
    fn can_go_on(&self, server: &Server, answer: &ServerResult) -> Result<(), ServiceError> {
        let ServerResult::InputRequiredResult(wanted) = answer else { return Ok(()) };
        let capabilities = self.context.client_capabilities().unwrap_or_default();
        let mut questions = wanted.input_requests.iter().flatten();
        match questions.all(|(_, question)| can_answer(&capabilities, question)) {
            true => Ok(()),
            false => Err(ServiceError::McpError(server.trouble("wants to know what its caller has not said that it can answer").0)),
        }
    }
}

/// Asks a server, and waits for its answer.
pub(super) async fn ask(turn: &Turn, request: ClientRequest, meta: RequestMetaObject) -> Result<ServerResult, ServiceError> {
    let handle = turn.link.service.send_cancellable_request(request, PeerRequestOptions::no_options().with_meta(meta)).await?;
    turn.sent(handle.progress_token.clone(), handle.id.clone());
    let mut asked = Asked { peer: handle.peer.clone(), id: handle.id.clone(), link: Some(Arc::clone(&turn.link)) };
    let answer = handle.await_response().await;
    asked.link = None;
    answer
}

/// What a server has answered, as its caller may hear it.
pub(super) fn heard(server: &Server, answer: Result<ServerResult, ServiceError>) -> Result<ServerResult, ErrorData> {
    match answer {
        Ok(mut result) => {
            complete(&mut result);
            server.masked_result(result)
        }
        Err(ServiceError::McpError(error)) => Err(server.masked(error)),
        Err(ServiceError::Timeout { .. }) => Err(server.trouble("did not answer in time").0),
        Err(error) => {
            let told = server.told(&error);
            tracing::warn!(server = &*server.name, error = told, "an MCP server broke off");
            Err(server.trouble(&format!("broke off before it answered: {told}")).0)
        }
    }
}

/// Whether a connection does not yet tell its log from this level on; from now on it counts as if it did.
fn tells_too_little(link: &Link, level: LoggingLevel) -> bool {
    let mut told = link.level.lock().unwrap_or_else(PoisonError::into_inner);
    let is_little = told.is_none_or(|told| told as u8 > level as u8);
    if is_little {
        *told = Some(level);
    }
    is_little
}

/// Asks the caller for what a result wants, and puts its answers into the request.
async fn answer(server: &Server, turn: &Turn, request: &mut ClientRequest, wanted: InputRequiredResult) -> Result<(), ServiceError> {
    let toward = turn.toward().ok_or(ServiceError::UnexpectedResponse)?;
    let questions = wanted.input_requests.unwrap_or_default();
    if questions.is_empty() {
        tokio::time::sleep(ROUND).await;
    }
    let asked = questions.into_iter().map(|(key, question)| {
        let (toward, question) = (&toward, server.secrets().masked_in(question));
        async move {
            let question = question.ok_or(ServiceError::UnexpectedResponse)?;
            Ok::<_, ServiceError>((key, toward.answer(question).await.map_err(ServiceError::McpError)?))
        }
    });
    let answers: BTreeMap<_, _> = futures_util::future::try_join_all(asked).await?.into_iter().collect();
    let answers: Option<InputResponses> = (!answers.is_empty()).then_some(answers);
    let (responses, state) = match request {
        ClientRequest::CallToolRequest(request) => (&mut request.params.input_responses, &mut request.params.request_state),
        ClientRequest::GetPromptRequest(request) => (&mut request.params.input_responses, &mut request.params.request_state),
        ClientRequest::ReadResourceRequest(request) => (&mut request.params.input_responses, &mut request.params.request_state),
        _ => return Err(ServiceError::UnexpectedResponse),
    };
    (*responses, *state) = (answers, wanted.request_state);
    Ok(())
}

/// What older revisions leave out and the newest wants; the protocol's library takes it out again where the caller is of an older one.
fn complete(result: &mut ServerResult) {
    let kind = match result {
        ServerResult::CallToolResult(result) => &mut result.result_type,
        ServerResult::GetPromptResult(result) => &mut result.result_type,
        ServerResult::ReadResourceResult(result) => &mut result.result_type,
        ServerResult::CompleteResult(result) => &mut result.result_type,
        _ => return,
    };
    kind.get_or_insert(ResultType::COMPLETE);
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(link) = self.link.take() else { return };
        let (peer, id) = (self.peer.clone(), self.id.clone());
        tokio::spawn(async move {
            // A server that is gone has nothing to cancel.
            let _ = tokio::time::timeout(ROUND, peer.notify_cancelled(CancelledNotificationParam::new(Some(id), None))).await;
            drop(link);
        });
    }
}

/// The server's own name for what a request asks of it.
fn own_name(request: &ClientRequest) -> &str {
    match request {
        ClientRequest::CallToolRequest(request) => &request.params.name,
        ClientRequest::GetPromptRequest(request) => &request.params.name,
        ClientRequest::ReadResourceRequest(request) => &request.params.uri,
        ClientRequest::SubscribeRequest(request) => &request.params.uri,
        ClientRequest::UnsubscribeRequest(request) => &request.params.uri,
        ClientRequest::CompleteRequest(request) => match &request.params.r#ref {
            Reference::Prompt(prompt) => &prompt.name,
            Reference::Resource(resource) => &resource.uri,
            _ => "",
        },
        _ => "",
    }
}

/// What of a request's `_meta` goes on.
pub(super) fn carried(meta: &RequestMetaObject) -> RequestMetaObject {
    let mut carried = serde_json::to_value(meta).unwrap_or_default();
    if let Value::Object(members) = &mut carried {
        HOP_BY_HOP.iter().for_each(|name| drop(members.shift_remove(*name)));
    }
    serde_json::from_value(carried).unwrap_or_default()
}

/// Why something that is no tool is not given.
fn refused(refusal: Refusal) -> ErrorData {
    ErrorData::invalid_request(refusal.message, Some(serde_json::json!({ "code": refusal.code })))
}

/// A tool's result that says what is wrong.
pub fn wrong(message: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(message)])
}

/// A tool that there is not.
pub fn no_tool(name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("there is no tool '{}': tools/list names them", shown(name)), None)
}

/// Why a tool cannot be called, where it cannot.
pub fn unusable(server: &Server, listing: &Listed, name: &str) -> Option<Result<CallToolResult, ErrorData>> {
    if listing.holds_back(Kind::Tool, name) {
        return Some(Ok(wrong(&held_back(server, &Key::new(Kind::Tool, name)))));
    }
    if listing.tools.iter().any(|tool| tool.name == name) {
        return None;
    }
    Some(match listing.trouble {
        Some(_) => Ok(wrong(&format!("The MCP server '{}' cannot be reached right now: try again in a moment.", server.name))),
        None => Err(no_tool(name)),
    })
}

/// What is told of something that is not as it was approved.
pub fn held_back(server: &Server, key: &Key) -> String {
    format!(
        "The {key} of '{}' is not as it was approved, and is held back: whoever runs this gateway sees what has changed, and approves it, by 'keyward mcp approve {}'.",
        server.name, server.name
    )
}
