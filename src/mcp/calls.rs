//! One call: whose it is, what it may, what the ledger says of it, and its way to a federated server and back.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use rmcp::ErrorData;
use rmcp::model::{
    CallToolResponse, CallToolResult, CancelledNotificationParam, ClientRequest, ContentBlock, LoggingLevel, ProtocolVersion,
    RequestMetaObject, ServerResult, SetLevelRequestParams,
};
use rmcp::service::{PeerRequestOptions, RequestContext, RoleServer, ServiceError};
use serde_json::Value;

use super::endpoint::Presented;
use super::federation::{Link, Listed, Pool, Server, Toward, Trouble};
use super::names::{Manner, shown};
use crate::catalog::Operation;
use crate::error::Refusal;
use crate::exchange::ledger_down;
use crate::gateway::Gateway;
use crate::key::Caller;
use crate::ledger::record::Outcome;
use crate::quota::{Need, Used, limits};
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
    /// The server.
    pub server: &'a Server,
    /// The caller's connections.
    pub pool: &'a Pool,
    /// How names are told.
    pub manner: Manner,
    /// From which level on the caller wants to hear its log.
    pub level: Option<LoggingLevel>,
}

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

    /// Whether the key may use something of a server, and a request is left to it; what is used so is a request, and no row of the ledger.
    pub fn admit(&self, scope: &str) -> Result<(), ErrorData> {
        self.caller.may_use_tool(scope).map_err(|reason| refused(reason.refusal(Some(self.caller.id()))))?;
        let permit = self.caller.admit(&Need::NOTHING).map_err(|reason| refused(reason.into()))?;
        permit.settle(&Used { requests: 1, ..Used::default() }, &|_| true);
        Ok(())
    }

    /// Runs a tool under the key's limits, and writes it down; a refusal is a result that says why, which a model can read.
    pub async fn metered(
        &self,
        gateway: &Arc<Gateway>,
        (server, tool): (&str, &str),
        run: impl Future<Output = Result<CallToolResponse, ErrorData>>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = format!("{server}/{tool}");
        let failed = |answer: &CallToolResponse| matches!(answer, CallToolResponse::Complete(result) if result.is_error == Some(true));
        match self.written_down(gateway, &name, &name, failed, run).await {
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
        let mut ticket = Ticket::new(gateway, Operation::Tool, &self.presented.headers);
        ticket.called_by(&self.caller, &self.presented);
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

    /// Passes a request on to a server: what it asks and tells meanwhile reaches the caller, and a caller who cancels cancels there too.
    pub async fn forward(&self, way: &Way<'_>, request: ClientRequest) -> Result<ServerResult, ErrorData> {
        let (version, capabilities) = (self.version(), self.context.client_capabilities().unwrap_or_default());
        let server = way.server;
        let (made, mut link) = server.link(way.pool, version, capabilities).await.map_err(|Trouble(error)| error)?;
        let toward = Toward {
            peer: self.context.peer.clone(),
            request: Some(self.context.id.clone()),
            progress: self.context.meta.get_progress_token(),
            manner: way.manner,
        };
        link.relay.turn(Some(toward.clone()));
        let answer = tokio::time::timeout(server.call_timeout, self.send(way, &mut link, request)).await;
        link.relay.passed_on().await;
        // A session is told of what it subscribed to between two calls too.
        let rest = way.pool.is_session().then_some(Toward { request: None, progress: None, ..toward });
        link.relay.turn(rest);
        match answer {
            Ok(Ok(result)) => {
                way.pool.give(made, link);
                Ok(result)
            }
            Ok(Err(ServiceError::McpError(error))) => {
                way.pool.give(made, link);
                Err(error)
            }
            Ok(Err(ServiceError::Cancelled { .. })) => {
                way.pool.give(made, link);
                Err(ErrorData::internal_error("The call was cancelled.", None))
            }
            Err(_) | Ok(Err(ServiceError::Timeout { .. })) => Err(server.trouble("did not answer in time").0),
            Ok(Err(error)) => {
                tracing::warn!(server = &*server.name, %error, "an MCP server broke off");
                Err(server.trouble("broke off before it answered").0)
            }
        }
    }

    async fn send(&self, way: &Way<'_>, link: &mut Link, request: ClientRequest) -> Result<ServerResult, ServiceError> {
        if let Some(level) = way.level.filter(|level| link.level != Some(*level)) {
            link.level = Some(level);
            // A server without a log need not know.
            let _ = link.service.set_level(SetLevelRequestParams::new(level)).await;
        }
        if let ClientRequest::CallToolRequest(call) = &request
            && link.is_modern
            && !link.knows_tools
            && way.server.listing_now().repeats_arguments(&call.params.name)
        {
            link.service.list_all_tools().await?;
            link.knows_tools = true;
        }
        let meta = carried(&self.context.meta);
        if link.is_modern && self.version().has_initialize() {
            // The caller knows nothing of results that ask for something: it is asked, and the server called again with its answers.
            let service = &link.service;
            match request {
                ClientRequest::CallToolRequest(request) => {
                    return Ok(ServerResult::CallToolResult(service.call_tool(request.params).await?));
                }
                ClientRequest::GetPromptRequest(request) => {
                    return Ok(ServerResult::GetPromptResult(service.get_prompt(request.params).await?));
                }
                ClientRequest::ReadResourceRequest(request) => {
                    return Ok(ServerResult::ReadResourceResult(service.read_resource(request.params).await?));
                }
                _ => {}
            }
        }
        let handle = link.service.send_cancellable_request(request, PeerRequestOptions::no_options().with_meta(meta)).await?;
        let (peer, id) = (handle.peer.clone(), handle.id.clone());
        tokio::select! {
            answer = handle.await_response() => answer,
            () = self.context.ct.cancelled() => {
                // A server that is gone has nothing to cancel.
                let _ = peer.notify_cancelled(CancelledNotificationParam::new(Some(id), None)).await;
                Err(ServiceError::Cancelled { reason: None })
            }
        }
    }
}

/// What of a request's `_meta` goes on.
fn carried(meta: &RequestMetaObject) -> RequestMetaObject {
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
    if listing.held_back.iter().any(|held_back| held_back == name) {
        let message = format!(
            "The tool '{name}' of '{}' is not as it was approved, and is held back: whoever runs this gateway sees it by 'keyward mcp servers' and approves it by 'keyward mcp approve {}'.",
            server.name, server.name
        );
        return Some(Ok(wrong(&message)));
    }
    if listing.tools.iter().any(|tool| tool.name == name) {
        return None;
    }
    Some(match listing.trouble {
        Some(_) => Ok(wrong(&format!("The MCP server '{}' cannot be reached right now: try again in a moment.", server.name))),
        None => Err(no_tool(name)),
    })
}
