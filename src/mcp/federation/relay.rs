//! What a server asks and tells in the middle of a call, on its way to the caller whose call it is.
//!
//! A connection serves one call at a time, so that whatever comes by it belongs to that call, and no caller hears of another's.

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    ClientConfig, ClientResult, CreateMessageRequest, CreateMessageRequestParams, CreateMessageResult, ElicitRequest, ElicitRequestParams,
    ElicitResult, GetExtensions as _, ListRootsRequest, ListRootsResult, LoggingMessageNotificationParam, ProgressNotificationParam,
    ProgressToken, RequestId, ResourceUpdatedNotificationParam, ServerRequest,
};
use rmcp::service::{NotificationContext, OriginatingRequestId, Peer, RequestContext, ServiceError};
use rmcp::{ClientHandler, ErrorData, RoleClient, RoleServer};
use tokio::sync::Notify;

use crate::mcp::names::Manner;

/// The gateway's side of a connection to a server.
#[derive(Clone, Debug)]
pub struct Relay {
    server: Arc<str>,
    info: ClientConfig,
    toward: Arc<Mutex<Option<Toward>>>,
    /// Held while something is passed on: what came first arrives first, and before the call's end.
    passing: Arc<tokio::sync::Mutex<()>>,
    /// Told when the server says that what it has is another.
    changed: Arc<Notify>,
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
}

// === impl Relay ===

impl Relay {
    /// For a connection to a server that introduces itself so.
    pub fn new(server: &Arc<str>, info: ClientConfig) -> Relay {
        Relay { server: Arc::clone(server), info, toward: Arc::default(), passing: Arc::default(), changed: Arc::default() }
    }

    /// From now on what comes is for this caller, or for nobody.
    pub fn turn(&self, toward: Option<Toward>) {
        *self.toward.lock().unwrap_or_else(PoisonError::into_inner) = toward;
    }

    /// Waits until what has come by now is passed on.
    pub async fn passed_on(&self) {
        // Whoever has something to pass on was woken before, and waits for its turn after this.
        tokio::task::yield_now().await;
        drop(self.passing.lock().await);
    }

    /// Resolves when the server says that what it has is another.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn toward(&self) -> Option<Toward> {
        self.toward.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the caller, on the stream of its own call.
    async fn ask(&self, mut request: ServerRequest) -> Result<ClientResult, ErrorData> {
        let nobody = || ErrorData::invalid_request("nobody is there to be asked", None);
        let Toward { peer, request: call, .. } = self.toward().ok_or_else(nobody)?;
        if let Some(call) = call {
            request.extensions_mut().insert(OriginatingRequestId(call));
        }
        peer.send_request(request).await.map_err(|error| match error {
            ServiceError::McpError(error) => error,
            _ => nobody(),
        })
    }
}

/// What a caller answers to another question than it was asked.
fn amiss() -> ErrorData {
    ErrorData::internal_error("the client's answer is none to what it was asked", None)
}

impl ClientHandler for Relay {
    fn get_info(&self) -> ClientConfig {
        self.info.clone()
    }

    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        match self.ask(ServerRequest::CreateMessageRequest(CreateMessageRequest::new(params))).await? {
            ClientResult::CreateMessageResult(result) => Ok(*result),
            _ => Err(amiss()),
        }
    }

    async fn create_elicitation(&self, params: ElicitRequestParams, _: RequestContext<RoleClient>) -> Result<ElicitResult, ErrorData> {
        match self.ask(ServerRequest::ElicitRequest(ElicitRequest::new(params))).await? {
            ClientResult::ElicitResult(result) => Ok(result),
            _ => Err(amiss()),
        }
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        match self.ask(ServerRequest::ListRootsRequest(ListRootsRequest::default())).await? {
            ClientResult::ListRootsResult(result) => Ok(result),
            _ => Err(amiss()),
        }
    }

    async fn on_progress(&self, mut params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let _turn = self.passing.lock().await;
        if let Some(Toward { peer, progress: Some(token), .. }) = self.toward() {
            params.progress_token = token;
            // A caller that is gone needs no progress.
            let _ = peer.notify_progress(params).await;
        }
    }

    async fn on_logging_message(&self, params: LoggingMessageNotificationParam, _: NotificationContext<RoleClient>) {
        let _turn = self.passing.lock().await;
        if let Some(toward) = self.toward() {
            let _ = toward.peer.notify_logging_message(params).await;
        }
    }

    async fn on_resource_updated(&self, mut params: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        let _turn = self.passing.lock().await;
        if let Some(toward) = self.toward() {
            params.uri = toward.manner.uri(&self.server, &params.uri);
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
