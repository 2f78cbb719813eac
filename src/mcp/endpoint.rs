//! `/mcp`: who asks is known before the protocol is read; a request without a good key gets 401 and a JSON-RPC error that says why.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::any;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, InitializeResult, ListToolsResult, PaginatedRequestParams, ServerCapabilities,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};

use super::tools;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::key::Caller;
use crate::key::keyring::Plane;

/// What MCP clients talk to; one for each request.
#[derive(Clone)]
pub struct Endpoint {
    gateway: Arc<Gateway>,
}

/// What JSON-RPC leaves to implementations: refused before the method was looked at.
const REFUSED: i32 = -32001;
const AUTHENTICATE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="keyward""#);
const RETRY_AFTER: HeaderName = header::RETRY_AFTER;
const INSTRUCTIONS: &str =
    "Keyward is an AI gateway. These tools tell which models your key may use, what it has used, and how its limits stand.";

/// The path of the protocol.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new().route("/mcp", any(serve))
}

async fn serve(State(gateway): State<Arc<Gateway>>, request: Request) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    let caller = match gateway.caller(&head, Plane::Data).await {
        Ok(caller) => caller,
        Err(refusal) => return refuse(&refusal),
    };
    head.extensions.insert(caller);
    // The key has done its work: nothing beyond this line can repeat it.
    for name in [header::AUTHORIZATION, HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")] {
        head.headers.remove(name);
    }
    let config = config(&gateway);
    let endpoint = Endpoint { gateway };
    let service = StreamableHttpService::new(move || Ok(endpoint.clone()), Arc::new(NeverSessionManager::default()), config);
    service.handle(Request::from_parts(head, body)).await.map(Body::new)
}

fn config(gateway: &Gateway) -> StreamableHttpServerConfig {
    let mcp = &gateway.config.mcp;
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    hosts.extend(mcp.hosts.iter().cloned());
    let mut config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(gateway.config.limits.body_mib << 20)
        .with_allowed_origins(mcp.origins.clone())
        .enforce_origin_validation();
    config = if mcp.hosts.iter().any(|host| host == "*") { config.disable_allowed_hosts() } else { config.with_allowed_hosts(hosts) };
    config
}

/// A refusal as JSON-RPC has it; its id is unknown, since nothing was read.
fn refuse(refusal: &Refusal) -> Response<Body> {
    let data = json!({ "code": refusal.code });
    let body = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": REFUSED, "message": refusal.message, "data": data } });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = refusal.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if refusal.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, AUTHENTICATE);
    }
    if let Some(wait) = refusal.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

// === impl Endpoint ===

impl ServerHandler for Endpoint {
    fn get_info(&self) -> InitializeResult {
        let mut info = InitializeResult::new(ServerCapabilities::builder().enable_tools().build()).with_instructions(INSTRUCTIONS);
        info.server_info = Implementation::new("keyward", env!("CARGO_PKG_VERSION")).with_title("Keyward");
        info
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    async fn call_tool(&self, asked: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let caller = caller(&context)?;
        let arguments = Value::Object(asked.arguments.unwrap_or_default());
        tools::call(&self.gateway, &caller, &asked.name, arguments).await.map(CallToolResponse::from)
    }
}

/// Whose key the request came with.
fn caller(context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
    let head = context.extensions.get::<http::request::Parts>();
    let caller = head.and_then(|head| head.extensions.get::<Caller>()).cloned();
    caller.ok_or_else(|| ErrorData::internal_error("the request came without its key", None))
}
