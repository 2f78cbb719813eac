//! Upstreams that misbehave, each on a port of its own, and what a caller is to hear of it.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use crate::expect::{Case, Expected};
use crate::requests::chat;
use crate::support::{header, read_head, read_more};
use Expected::{CutOff, Error, ErrorWith, Event};

/// Part of every credential: it may stand in no answer.
pub const CREDENTIAL: &str = "sk-upstream-credential";

/// What an upstream does with a request.
enum Does {
    /// Reads it, sends this, and closes.
    Sends(Vec<u8>),
    /// Reads it, sends this, and is silent until the gateway closes.
    SendsAndStalls(Vec<u8>),
    /// Closes without reading to the end, so that the gateway sees a reset.
    Resets,
    /// Is not there.
    Refuses,
}

/// An upstream: its provider's id, what it does, and whether it is asked for a stream.
struct Upstream {
    id: &'static str,
    does: Does,
    stream: bool,
    expected: Expected,
}

/// Starts all upstreams, writes their provider files into `folder`, and returns their cases and the variables of their credentials.
pub fn start(folder: &Path, key: &str) -> (Vec<Case>, Vec<(String, String)>) {
    let mut variables = Vec::new();
    let mut cases = Vec::new();
    for upstream in upstreams() {
        let Upstream { id, does, stream, expected } = upstream;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let variable = format!("CREDENTIAL_{}", id.replace('-', "_").to_uppercase());
        write_provider(folder, id, "openai_chat", &format!("http://{address}/v1"), &variable);
        variables.push((variable, format!("{CREDENTIAL}-{id}")));
        cases.push(Case::new(format!("upstream: {id}"), chat(key, &format!("{id}/m"), stream), expected));
        if !matches!(does, Does::Refuses) {
            std::thread::spawn(move || serve(&listener, &does));
        }
    }
    for (id, dialect) in [("nowhere", "openai_chat"), ("other-dialect", "anthropic_messages")] {
        write_provider(folder, id, dialect, "http://nowhere.invalid/v1", "CREDENTIAL_NOWHERE");
    }
    variables.push(("CREDENTIAL_NOWHERE".to_owned(), CREDENTIAL.to_owned()));
    let unresolved = Error(502, Some("provider_unreachable"));
    cases.push(Case::new("upstream: a name that does not resolve", chat(key, "nowhere/m", false), unresolved));
    (cases, variables)
}

/// The same again: refused credentials rest, and that is said without asking the upstream.
pub fn cases_of_resting_credentials(key: &str) -> Vec<Case> {
    let refused = ["status-401", "status-400-for-the-credential"];
    let case = |id| {
        Case::new(format!("upstream: {id}, again"), chat(key, &format!("{id}/m"), false), Error(502, Some("provider_credential_refused")))
    };
    refused.map(case).into()
}

fn write_provider(folder: &Path, id: &str, dialect: &str, base_url: &str, variable: &str) {
    let text = format!(
        "name = \"{id}\"\ndialects = [\"{dialect}\"]\nbase_url = \"{base_url}\"\nauth = \"bearer\"\ncredential = [\"{variable}\"]\n"
    );
    std::fs::write(folder.join(format!("{id}.toml")), text).unwrap();
}

fn serve(listener: &TcpListener, does: &Does) {
    for stream in listener.incoming().flatten() {
        answer(stream, does);
    }
}

fn answer(mut stream: TcpStream, does: &Does) {
    let mut read = Vec::new();
    if let Does::Resets = does {
        let mut one = [0; 1];
        let _ = std::io::Read::read(&mut stream, &mut one);
        return;
    }
    let Some(head_end) = read_head(&mut stream, &mut read) else { return };
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    let length: usize = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    while read.len() < head_end + length && read_more(&mut stream, &mut read) {}
    if let Does::Sends(bytes) | Does::SendsAndStalls(bytes) = does {
        let _ = stream.write_all(bytes);
    }
    if let Does::SendsAndStalls(_) = does {
        while read_more(&mut stream, &mut read) {}
    }
}

fn response(status: &str, content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn upstreams() -> Vec<Upstream> {
    let json = "application/json";
    let html = "<html><body><h1>502 Bad Gateway</h1></body></html>";
    let ok = |body: &str| Does::Sends(response("200 OK", json, body));
    let whole = |id, does, expected| Upstream { id, does, stream: false, expected };
    let streamed = |id, does, expected| Upstream { id, does, stream: true, expected };
    let bad_answer = || Error(502, Some("provider_bad_answer"));
    let broke_off = || Error(502, Some("provider_broke_off"));
    let timeout = || Error(504, Some("provider_timeout"));
    let refused = || Error(502, Some("provider_credential_refused"));
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{more}\r\n\r\n");
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let delta = chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n");
    let half = chunk("data: {\"choices\":[{\"ind");
    let sends = |text: String| Does::Sends(text.into_bytes());
    let error = |status: &str, body: &str| Does::Sends(response(status, json, body));
    let large = format!("{{\"text\":\"{}", "x".repeat(2 << 20));
    let limited = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 20\r\ncontent-length: 57\r\n\r\n";
    let limited = format!("{limited}{{\"error\":{{\"message\":\"Slow down, please.\",\"type\":\"rate\"}}}}");
    vec![
        whole("not-there", Does::Refuses, Error(502, Some("provider_unreachable"))),
        whole("closes-at-once", sends(String::new()), broke_off()),
        whole("closes-within-the-head", sends("HTTP/1.1 200 OK\r\ncontent-ty".to_owned()), broke_off()),
        whole("resets", Does::Resets, broke_off()),
        whole("never-answers", Does::SendsAndStalls(Vec::new()), timeout()),
        whole("stalls-within-the-head", Does::SendsAndStalls(b"HTTP/1.1 200 OK\r\n".to_vec()), timeout()),
        whole("stalls-before-the-body", Does::SendsAndStalls(head("content-length: 9").into_bytes()), timeout()),
        whole("stalls-within-the-body", Does::SendsAndStalls((head("content-length: 9") + "{\"a\"").into_bytes()), timeout()),
        whole("no-http", sends("SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned()), bad_answer()),
        whole("bad-header", sends("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n{}".to_owned()), bad_answer()),
        whole("bad-chunks", sends(head("transfer-encoding: chunked") + "zz\r\n{}\r\n"), broke_off()),
        whole("html", Does::Sends(response("200 OK", "text/html", html)), bad_answer()),
        whole("html-said-to-be-json", ok(html), bad_answer()),
        whole("broken-json", ok("{\"choices\": [}"), bad_answer()),
        whole("half-json", ok("{\"choices\": ["), bad_answer()),
        whole("json-and-more", ok("{\"choices\": []} {"), bad_answer()),
        whole(
            "an-error-as-a-success",
            ok(r#"{"error":{"message":"No model is loaded.","type":"x","code":"none"}}"#),
            Error(502, Some("none")),
        ),
        whole("neither-answer-nor-error", ok(r#"{"id":"x","error":null}"#), bad_answer()),
        whole("a-list", ok("[1, 2]"), bad_answer()),
        whole("empty", ok(""), bad_answer()),
        whole("no-content-type", sends("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned()), bad_answer()),
        whole("no-content", sends("HTTP/1.1 204 No Content\r\n\r\n".to_owned()), bad_answer()),
        whole("not-modified", sends("HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()), bad_answer()),
        whole(
            "redirects",
            sends("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_owned()),
            bad_answer(),
        ),
        whole("compressed", sends(head("content-encoding: gzip\r\ncontent-length: 4") + "\x1f\x08\x08\0"), bad_answer()),
        whole("cut-by-its-length", sends(head("content-length: 500") + "{\"choices\":[]}"), broke_off()),
        whole("cut-within-a-chunk", sends(head("transfer-encoding: chunked") + "ff\r\n{\"choices\""), broke_off()),
        whole("cut-after-two-megabytes", sends(head("content-length: 9000000") + &large), CutOff),
        whole("a-head-without-end", sends(format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "a".repeat(2 << 20))), bad_answer()),
        streamed("stream-breaks-off", sends(format!("{events}{delta}{delta}")), Event("provider_broke_off")),
        streamed("stream-breaks-off-in-an-event", sends(format!("{events}{delta}{half}")), Event("provider_broke_off")),
        streamed("stream-ends-early", sends(format!("{events}{delta}0\r\n\r\n")), Event("provider_broke_off")),
        streamed("stream-of-nothing", sends(format!("{events}0\r\n\r\n")), Event("provider_broke_off")),
        streamed("stream-of-bad-chunks", sends(format!("{events}{delta}zz\r\n")), Event("provider_broke_off")),
        streamed("stream-stalls", Does::SendsAndStalls(format!("{events}{delta}").into_bytes()), Event("provider_timeout")),
        streamed("stream-stalls-at-once", Does::SendsAndStalls(events.as_bytes().to_vec()), Event("provider_timeout")),
        streamed("stream-of-html", Does::Sends(response("200 OK", "text/html", html)), bad_answer()),
        streamed("stream-refused", error("400 Bad Request", r#"{"error":{"message":"No streams here.","type":"x"}}"#), Error(400, None)),
        whole(
            "status-401",
            error("401 Unauthorized", r#"{"error":{"message":"Incorrect API key provided: sk-upstream-credential."}}"#),
            refused(),
        ),
        whole(
            "status-400-for-the-credential",
            error(
                "400 Bad Request",
                r#"{"error":{"message":"Incorrect API key provided: sk-upstream-credential-status-400-for-the-credential."}}"#,
            ),
            refused(),
        ),
        whole(
            "status-403",
            error("403 Forbidden", r#"{"error":{"message":"Your country is not served.","type":"x","code":"geo"}}"#),
            Error(403, Some("geo")),
        ),
        whole("status-429", sends(limited), ErrorWith(429, None, "retry-after", "20")),
        whole(
            "status-500-html",
            Does::Sends(response("500 Internal Server Error", "text/html", html)),
            ErrorWith(500, Some("provider_error"), "keyward-provider", "status-500-html"),
        ),
        whole("status-500-empty", Does::Sends(response("500 Internal Server Error", "text/plain", "")), Error(500, Some("provider_error"))),
        whole("status-500-huge", Does::Sends(response("500 Oh", "text/plain", "x".repeat(3 << 20))), Error(500, Some("provider_error"))),
        whole("status-503-no-utf8", Does::Sends(response("503 Busy", "text/plain", b"\xff\xfe\xfd")), Error(503, Some("provider_error"))),
        whole(
            "status-502-repeats-the-credential",
            error("502 Bad Gateway", r#"{"error":"sent: authorization: Bearer sk-upstream-credential-status-502-repeats-the-credential"}"#),
            Error(502, Some("provider_error")),
        ),
        whole(
            "status-422-list",
            error("422 Unprocessable", r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#),
            Error(422, Some("provider_error")),
        ),
        whole("status-400-list", error("400 Bad Request", r#"[{"error":{"message":"A list of one.","code":400}}]"#), Error(400, None)),
        whole("status-400-numbers", error("400 Bad Request", r#"{"error":{"message":17,"type":null,"code":400}}"#), Error(400, None)),
        whole("status-400-null", error("400 Bad Request", "{\"error\":null}"), Error(400, Some("provider_error"))),
        whole(
            "status-400-breaks-off",
            sends("HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"err".to_owned()),
            Error(400, Some("provider_error")),
        ),
        whole("status-599", error("599 What", "{}"), Error(599, Some("provider_error"))),
    ]
}
