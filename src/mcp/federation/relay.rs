//! What a server asks and tells in the middle of a call, on its way to the caller whose call it is.
//!
//! Calls run by a connection at once. Progress is told apart by its token, and what comes on the stream of a request by that request. What
//! names no call goes to the session whose connection it is, or, without a session, to the only call that can be meant, and else to nobody.

use std::future::pending;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rmcp::model::{
    CancelledNotificationParam, ClientCapabilities, ClientConfig, ClientResult, CreateMessageRequest, CreateMessageRequestParams,
    CreateMessageResult, ElicitRequest, ElicitRequestParams, ElicitResult, ErrorCode, GetExtensions as _, InputRequest, ListRootsRequest,
    ListRootsResult, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam, ProgressToken, RequestId,
    ResourceUpdatedNotificationParam, ServerRequest,
};
use rmcp::service::{
    InboundStreamOrigin, NotificationContext, OriginatingRequestId, Peer, PeerRequestOptions, RequestContext, ServiceError,
};
use rmcp::{ClientHandler, ErrorData, RoleClient, RoleServer};
use serde_json::Value;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::link::Subscribed;
use super::mended::LeftOut;
use super::secrets::Secrets;
use crate::mcp::holder::Holder;
use crate::mcp::names::Manner;

/// The gateway's side of a connection to a server.
#[derive(Clone, Debug)]
pub struct Relay {
    server: Arc<str>,
    info: ClientConfig,
    /// What of the server's credential must not be told to callers.
    secrets: Arc<Secrets>,
    calls: Arc<Mutex<Calls>>,
    /// Told when the server says that what it has is another.
    changed: Arc<Notify>,
    /// The server has begun a new session of its own by this connection.
    has_expired: Arc<AtomicBool>,
    /// What of its lists could not be read.
    left_out: LeftOut,
    /// What waits to be told to a caller who does not read.
    places: Arc<Semaphore>,
    /// What the session whose connection it is has subscribed to.
    subscribed: Arc<OnceLock<Subscribed>>,
}

/// The calls that run by a connection.
#[derive(Debug, Default)]
struct Calls {
    /// Whose connection it is, between calls too.
    session: Option<Toward>,
    running: Vec<Call>,
    begun: u64,
    /// A call was left behind, and the server may go on with it.
    has_stray: bool,
    /// Held while something is passed on that is the session's.
    telling: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Debug)]
struct Call {
    number: u64,
    toward: Toward,
    sent: Option<(ProgressToken, RequestId)>,
    /// Held while something is passed on: what came first arrives first, and before the call's end.
    passing: Arc<tokio::sync::Mutex<()>>,
}

/// Whose call it is.
#[derive(Clone, Debug)]
pub struct Toward {
    /// The caller.
    pub peer: Peer<RoleServer>,
    /// The call; none while there is only a session.
    pub request: Option<RequestId>,
    /// What the caller wants to hear of its progress by.
    pub progress: Option<ProgressToken>,
    /// How names are told to this caller.
    pub manner: Manner,
    /// Whose key it is.
    pub holder: Holder,
    /// What of the server was called last, as scopes name it: who may not use it any more is asked and told nothing.
    pub scope: String,
    /// What it has said that it can be asked.
    pub capabilities: ClientCapabilities,
    /// From which level on the caller wants to hear a log.
    pub level: Option<LoggingLevel>,
    /// The caller's revision has no sessions: it is asked by results alone, and hears of a log only what it asked for.
    pub is_modern: bool,
    /// Where the questions for such a caller go, if they can be kept.
    pub asking: Option<mpsc::Sender<Asking>>,
}

/// A question for a caller that is asked by results.
#[derive(Debug)]
pub struct Asking {
    /// What the server wants to know.
    pub question: InputRequest,
    /// Where the answer goes.
    pub answer: oneshot::Sender<ClientResult>,
}

/// News that wait to be told by one connection; what comes beyond that is dropped.
const MOST_WAITING: usize = 512;

// === impl Relay ===

impl Relay {
    /// For a connection to a server that introduces itself so.
    pub fn new(server: &Arc<str>, info: ClientConfig, secrets: Arc<Secrets>) -> Relay {
        Relay {
            server: Arc::clone(server),
            info,
            secrets,
            calls: Arc::default(),
            changed: Arc::default(),
            has_expired: Arc::default(),
            left_out: LeftOut::default(),
            places: Arc::new(Semaphore::new(MOST_WAITING)),
            subscribed: Arc::default(),
        }
    }

    /// Set when the server has begun a new session of its own, which knows nothing of what was before.
    pub fn has_expired(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.has_expired)
    }

    /// What of the server's lists could not be read; what is taken is not told again.
    pub fn left_out(&self) -> LeftOut {
        Arc::clone(&self.left_out)
    }

    /// The server's name.
    pub fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// It is the connection of a session that subscribes to this.
    pub fn listens_to(&self, subscribed: &Subscribed) {
        self.subscribed.get_or_init(|| Arc::clone(subscribed));
    }

    /// Whether its session is subscribed to something of this server: what changed may be a part of that, and need not be named as it was.
    fn is_subscribed(&self) -> bool {
        let subscribed = self.subscribed.get().map(|all| all.lock().unwrap_or_else(PoisonError::into_inner));
        subscribed.is_some_and(|all| all.iter().any(|(server, _)| *server == self.server))
    }

    /// Tells the session of another connection, which has ended, what the server tells by this one.
    pub fn goes_on_from(&self, before: &Relay) {
        let session = before.calls().session.clone();
        let mut calls = self.calls();
        calls.session = calls.session.take().or(session);
    }

    /// A call begins; its number tells it from others.
    pub fn begin(&self, toward: Toward, is_session: bool) -> u64 {
        let mut calls = self.calls();
        calls.begun += 1;
        let number = calls.begun;
        if is_session {
            calls.session = Some(Toward { request: None, progress: None, ..toward.clone() });
        }
        calls.running.push(Call { number, toward, sent: None, passing: Arc::default() });
        number
    }

    /// A call's request has been sent, with this token and under this id.
    pub fn sent(&self, number: u64, token: ProgressToken, id: RequestId) {
        if let Some(call) = self.calls().running.iter_mut().find(|call| call.number == number) {
            call.sent = Some((token, id));
        }
    }

    /// A call ends, or is left behind while the server may go on with it.
    pub fn end(&self, number: u64, is_left_behind: bool) {
        let mut calls = self.calls();
        calls.running.retain(|call| call.number != number);
        calls.has_stray |= is_left_behind;
    }

    /// A call waits for its caller's next request: nothing is told to the last one any more.
    pub fn hush(&self, number: u64) {
        if let Some(call) = self.calls().running.iter_mut().find(|call| call.number == number) {
            (call.toward.progress, call.toward.level) = (None, None);
        }
    }

    /// A call goes on for its caller's next request.
    pub fn turn_to(&self, number: u64, toward: Toward) {
        if let Some(call) = self.calls().running.iter_mut().find(|call| call.number == number) {
            call.toward = Toward { asking: call.toward.asking.take(), ..toward };
        }
    }

    /// Whose call it is.
    pub fn toward(&self, number: u64) -> Option<Toward> {
        self.calls().running.iter().find(|call| call.number == number).map(|call| call.toward.clone())
    }

    /// Waits until what has come for a call by now is passed on.
    pub async fn passed_on(&self, number: u64) {
        // Whoever has something to pass on was woken before, and waits for its turn after this.
        tokio::task::yield_now().await;
        let (telling, passing) = {
            let calls = self.calls();
            let call = calls.running.iter().find(|call| call.number == number);
            (Arc::clone(&calls.telling), call.map(|call| Arc::clone(&call.passing)))
        };
        drop(telling.lock().await);
        if let Some(passing) = passing {
            drop(passing.lock().await);
        }
    }

    /// Resolves when the server says that what it has is another.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A place among what waits to be told, where there is one left.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks whoever a server's question is for.
    async fn ask(&self, request: ServerRequest, context: &RequestContext<RoleClient>) -> Result<ClientResult, ErrorData> {
        let toward = self.calls().whom(context.extensions.get::<InboundStreamOrigin>());
        let withdrawn = context.ct.clone();
        toward.ok_or_else(nobody)?.ask(request, async move { withdrawn.cancelled().await }).await
    }
}

// === impl Calls ===

impl Calls {
    /// Who is asked: the call on whose stream the question came, or whoever can be meant.
    fn whom(&self, origin: Option<&InboundStreamOrigin>) -> Option<Toward> {
        if let Some(InboundStreamOrigin::OutboundRequest(id)) = origin {
            let call = self.running.iter().find(|call| call.sent.as_ref().is_some_and(|(_, sent)| sent == id));
            // What has no token yet has just been sent.
            return call.or_else(|| self.only()).map(|call| call.toward.clone());
        }
        match &self.session {
            Some(session) => Some(self.running.last().map_or(session, |call| &call.toward).clone()),
            None => self.only().map(|call| call.toward.clone()),
        }
    }

    /// The only call that what names none can be of.
    fn only(&self) -> Option<&Call> {
        self.running.first().filter(|_| self.running.len() == 1 && !self.has_stray)
    }

    /// Who hears of the log, with what it waits for.
    fn listener(&self) -> Option<(Toward, Arc<tokio::sync::Mutex<()>>)> {
        match (self.only(), &self.session) {
            (Some(call), _) => Some((call.toward.clone(), Arc::clone(&call.passing))),
            (None, Some(session)) => Some((session.clone(), Arc::clone(&self.telling))),
            (None, None) => None,
        }
    }
}

// === impl Toward ===

impl Toward {
    /// Asks the caller, on the stream of its own call, until it has answered or the question is withdrawn.
    async fn ask(
        &self,
        mut request: ServerRequest,
        withdrawn: impl Future<Output = ()> + Send + 'static,
    ) -> Result<ClientResult, ErrorData> {
        if !self.can_be_asked(&request) {
            return Err(unable());
        }
        if !self.may_go_on().await {
            return Err(nobody());
        }
        if self.is_modern {
            return self.ask_by_result(request, withdrawn).await;
        }
        if let Some(call) = &self.request {
            request.extensions_mut().insert(OriginatingRequestId(call.clone()));
        }
        // In a task of its own: here the library takes it for part of the server's question, and would send it by another stream.
        let (peer, mut asking) = (self.peer.clone(), JoinSet::new());
        asking.spawn(async move {
            let asked = peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await?;
            let id = asked.id.clone();
            tokio::select! {
                answer = asked.await_response() => answer,
                () = withdrawn => {
                    // A caller that is gone is asked nothing any more.
                    let _ = peer.notify_cancelled(CancelledNotificationParam::new(Some(id), None)).await;
                    Err(ServiceError::Cancelled { reason: None })
                }
            }
        });
        match asking.join_next().await {
            Some(Ok(Ok(answer))) => Ok(answer),
            Some(Ok(Err(ServiceError::McpError(error)))) => Err(error),
            _ => Err(nobody()),
        }
    }

    /// Asks by a result, and waits for what the caller answers when it comes again.
    async fn ask_by_result(&self, request: ServerRequest, withdrawn: impl Future<Output = ()>) -> Result<ClientResult, ErrorData> {
        let question = match request {
            ServerRequest::CreateMessageRequest(request) => InputRequest::CreateMessage(request),
            ServerRequest::ElicitRequest(request) => InputRequest::Elicitation(request),
            ServerRequest::ListRootsRequest(request) => InputRequest::ListRoots(request),
            _ => return Err(nobody()),
        };
        let (answer, answered) = oneshot::channel();
        self.asking.as_ref().ok_or_else(nobody)?.try_send(Asking { question, answer }).map_err(|_| nobody())?;
        tokio::select! {
            answer = answered => answer.map_err(|_| nobody()),
            () = withdrawn => Err(nobody()),
        }
    }

    /// Asks the caller what a result wants to know, and gives its answer as the next call repeats it.
    pub async fn answer(&self, wanted: InputRequest) -> Result<Value, ErrorData> {
        let answer = match wanted {
            InputRequest::CreateMessage(request) => {
                serde_json::to_value(sampled(self.ask(ServerRequest::CreateMessageRequest(request), pending()).await?)?)
            }
            InputRequest::Elicitation(request) => {
                serde_json::to_value(elicited(self.ask(ServerRequest::ElicitRequest(request), pending()).await?)?)
            }
            InputRequest::ListRoots(request) => {
                serde_json::to_value(roots(self.ask(ServerRequest::ListRootsRequest(request), pending()).await?)?)
            }
            _ => return Err(amiss()),
        };
        answer.map_err(|_| amiss())
    }

    /// Whether the caller has said that it can answer such a question.
    fn can_be_asked(&self, request: &ServerRequest) -> bool {
        match request {
            ServerRequest::CreateMessageRequest(_) => self.capabilities.sampling.is_some(),
            ServerRequest::ElicitRequest(request) => can_elicit(&self.capabilities, &request.params),
            ServerRequest::ListRootsRequest(_) => self.capabilities.roots.is_some(),
            _ => true,
        }
    }

    /// Whether its key may still use what was called.
    async fn may_go_on(&self) -> bool {
        self.holder.may_use(&self.scope).await
    }

    /// Whether this caller wants to hear of something in a log.
    fn hears(&self, level: LoggingLevel) -> bool {
        self.level.map_or(!self.is_modern, |least| level as u8 >= least as u8)
    }
}

// === impl Asking ===

impl Asking {
    /// An answer as the question wants it; the error says what is wrong with it.
    pub fn read(&self, answer: Value) -> Result<ClientResult, serde_json::Error> {
        Ok(match self.question {
            InputRequest::CreateMessage(_) => ClientResult::CreateMessageResult(serde_json::from_value(answer)?),
            InputRequest::Elicitation(_) => ClientResult::ElicitResult(serde_json::from_value(answer)?),
            _ => ClientResult::ListRootsResult(serde_json::from_value(answer)?),
        })
    }
}

fn nobody() -> ErrorData {
    ErrorData::invalid_request("nobody is there to be asked", None)
}

/// What a server hears that asks its caller for something which that has not said it can do.
fn unable() -> ErrorData {
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "the client has not declared the capability that this question needs", None)
}

/// Whether a caller with such capabilities may be asked something by its results.
pub fn can_answer(capabilities: &ClientCapabilities, question: &InputRequest) -> bool {
    match question {
        InputRequest::CreateMessage(_) => capabilities.sampling.is_some(),
        InputRequest::Elicitation(request) => can_elicit(capabilities, &request.params),
        InputRequest::ListRoots(_) => capabilities.roots.is_some(),
        _ => true,
    }
}

/// A caller that names neither way of elicitation has forms alone.
fn can_elicit(capabilities: &ClientCapabilities, asked: &ElicitRequestParams) -> bool {
    let is_url = matches!(asked, ElicitRequestParams::UrlElicitationParams { .. });
    capabilities
        .elicitation
        .as_ref()
        .is_some_and(|able| if is_url { able.url.is_some() } else { able.form.is_some() || able.url.is_none() })
}

/// What a caller answers to another question than it was asked.
fn amiss() -> ErrorData {
    ErrorData::internal_error("the client's answer is none to what it was asked", None)
}

fn sampled(answer: ClientResult) -> Result<CreateMessageResult, ErrorData> {
    if let ClientResult::CreateMessageResult(result) = answer { Ok(*result) } else { Err(amiss()) }
}

fn elicited(answer: ClientResult) -> Result<ElicitResult, ErrorData> {
    if let ClientResult::ElicitResult(result) = answer { Ok(result) } else { Err(amiss()) }
}

fn roots(answer: ClientResult) -> Result<ListRootsResult, ErrorData> {
    if let ClientResult::ListRootsResult(result) = answer { Ok(result) } else { Err(amiss()) }
}

impl ClientHandler for Relay {
    fn get_info(&self) -> ClientConfig {
        self.info.clone()
    }

    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let params = self.secrets.masked_in(params).ok_or_else(nobody)?;
        sampled(self.ask(ServerRequest::CreateMessageRequest(CreateMessageRequest::new(params)), &context).await?)
    }

    async fn create_elicitation(
        &self,
        params: ElicitRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let params = self.secrets.masked_in(params).ok_or_else(nobody)?;
        elicited(self.ask(ServerRequest::ElicitRequest(ElicitRequest::new(params)), &context).await?)
    }

    async fn list_roots(&self, context: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        roots(self.ask(ServerRequest::ListRootsRequest(ListRootsRequest::default()), &context).await?)
    }

    async fn on_progress(&self, mut params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let is_of = |call: &&Call| call.sent.as_ref().is_some_and(|(token, _)| *token == params.progress_token);
        let Some(Call { toward, passing, .. }) = self.calls().running.iter().find(is_of).cloned() else { return };
        // Progress that nobody reads is old by the time that somebody does.
        let Some(_place) = self.place() else { return };
        let _turn = passing.lock().await;
        if let Some(token) = toward.progress {
            params.message = params.message.map(|message| self.secrets.masked(&message));
            params.progress_token = token;
            // A caller that is gone needs no progress.
            let _ = toward.peer.notify_progress(params).await;
        }
    }

    async fn on_logging_message(&self, params: LoggingMessageNotificationParam, _: NotificationContext<RoleClient>) {
        let Some((toward, passing)) = self.calls().listener() else { return };
        let Some(_place) = self.place() else { return };
        let _turn = passing.lock().await;
        if toward.hears(params.level)
            && toward.may_go_on().await
            && let Some(params) = self.secrets.masked_in(params)
        {
            let _ = toward.peer.notify_logging_message(params).await;
        }
    }

    async fn on_resource_updated(&self, mut params: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        let Some(toward) = self.calls().session.clone().filter(|_| self.is_subscribed()) else { return };
        let Some(_place) = self.place() else { return };
        if toward.holder.may_use(&format!("{}/{}", self.server, params.uri)).await {
            params.uri = toward.manner.uri(&self.server, &self.secrets.masked(&params.uri));
            let _ = toward.peer.notify_resource_updated(params).await;
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }

    async fn on_prompt_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}
