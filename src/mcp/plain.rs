//! What the protocol's library says in bare words of a message that it does not read, as JSON-RPC and as something to act on.

use axum::body::Body;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use rmcp::ErrorData;
use rmcp::model::{CustomRequest, ErrorCode};
use serde_json::{Value, json};

use super::names::shown;

/// JSON-RPC 2.0, section 5.1.
pub const PARSE_ERROR: i32 = -32700;
/// Of the same section.
pub const INVALID_REQUEST: i32 = -32600;
/// How such words begin where a body was not read, and what they say of one that is JSON.
const UNREAD: &str = "fail to deserialize request body";
const NO_MESSAGE: &str = "unrecognized JSON-RPC message";
/// They are short.
const LONGEST: usize = 4 << 10;
/// The methods that every revision has, and whose parameters can be wrong.
const METHODS: [&str; 8] = [
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
];

/// The response, or another that says the same as JSON-RPC does.
pub async fn told(response: Response<Body>, method: &Method) -> Response<Body> {
    if response.status().as_u16() < 400 || response.headers().contains_key(header::CONTENT_TYPE) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let said = Limited::new(body, LONGEST).collect().await.map(|said| said.to_bytes()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let (status, code, message) = match head.status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE if said.starts_with(UNREAD) => unread(&said),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (head.status, INVALID_REQUEST, "Content-Type has to be application/json.".to_owned()),
        StatusCode::NOT_ACCEPTABLE => {
            (head.status, INVALID_REQUEST, "Accept has to name application/json and text/event-stream, both.".to_owned())
        }
        StatusCode::FORBIDDEN => {
            let message = "Host or Origin is not this gateway's, as when a web page elsewhere calls it: call it by its own address, or name \
                           the host in mcp.hosts, and a web page's origin in mcp.origins, of the configuration.";
            (head.status, INVALID_REQUEST, message.to_owned())
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            (head.status, INVALID_REQUEST, format!("There is no session here for {method}: messages are sent by POST."))
        }
        status => (status, INVALID_REQUEST, said.into_owned()),
    };
    head.status = status;
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message } });
    Response::from_parts(head, Body::from(body.to_string()))
}

fn unread(said: &str) -> (StatusCode, i32, String) {
    let why = said.strip_prefix(UNREAD).unwrap_or(said).trim();
    match why.contains(NO_MESSAGE) {
        true => {
            let message = "The body is no message of JSON-RPC 2.0: one object with \"jsonrpc\": \"2.0\", an \"id\" that is a number or a text, \
                           a \"method\", and \"params\" that are an object. Only revision 2025-03-26 has batches.";
            (StatusCode::BAD_REQUEST, INVALID_REQUEST, message.to_owned())
        }
        false => (StatusCode::BAD_REQUEST, PARSE_ERROR, format!("The body is not JSON ({why}).")),
    }
}

/// A request that is none of the protocol's: one with another method, or with other parameters.
pub fn unknown(request: &CustomRequest) -> ErrorData {
    let method = shown(&request.method);
    if METHODS.contains(&request.method.as_str()) {
        let message =
            format!("The 'params' of '{method}' are not as the protocol has them: {}", hint(&request.method, request.params.as_ref()));
        return ErrorData::invalid_params(message, None);
    }
    ErrorData::new(
        ErrorCode::METHOD_NOT_FOUND,
        format!("There is no method '{method}': tools/list and tools/call are the usual ones."),
        None,
    )
}

fn hint(method: &str, params: Option<&Value>) -> &'static str {
    let has_text = |name: &str| params.and_then(|params| params.get(name)).is_some_and(Value::is_string);
    let arguments = params.and_then(|params| params.get("arguments"));
    match method {
        "tools/call" | "prompts/get" if !has_text("name") => "'name' is missing, or no text.",
        "tools/call" | "prompts/get" if arguments.is_some_and(|arguments| !arguments.is_object()) => "'arguments' has to be an object.",
        "resources/read" if !has_text("uri") => "'uri' is missing, or no text.",
        _ => "a member is missing, or of another type.",
    }
}
