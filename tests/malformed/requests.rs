//! Requests that are wrong in themselves.

use crate::expect::{Case, Expected};
use Expected::{Bare, Error, ErrorOrClosed, ErrorWith, Good, Unheard};

const CHAT: &str = "/v1/chat/completions";
const GOOD: &str = r#"{"model":"simulator/echo","messages":[{"role":"user","content":"hi"}]}"#;

/// A POST of JSON with this key.
pub fn post(path: &str, key: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    with_headers(path, &format!("authorization: Bearer {key}\r\ncontent-type: application/json\r\n"), body)
}

/// A chat request that there is nothing wrong with, to this model.
pub fn chat(key: &str, model: &str, stream: bool) -> Vec<u8> {
    post(CHAT, key, format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#))
}

fn with_headers(path: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("POST {path} HTTP/1.1\r\nhost: gateway\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A head of one's own making, after which `rest` follows as it is.
fn raw(key: &str, headers: &str, rest: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n{headers}\r\n");
    [head.as_bytes(), rest.as_ref()].concat()
}

/// Bodies that are no JSON object.
pub fn broken_json(key: &str) -> Vec<Case> {
    let deep_value = format!(r#"{{"model":"simulator/echo","messages":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let utf16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: [(&str, Vec<u8>, &str); 26] = [
        ("no body", b"".to_vec(), "body_empty"),
        ("white space", b" \r\n\t ".to_vec(), "body_empty"),
        ("a word", b"hello".to_vec(), "body_not_json"),
        ("HTML", b"<!doctype html><p>hi".to_vec(), "body_not_json"),
        ("a form", b"model=simulator%2Fecho&messages=hi".to_vec(), "body_not_json"),
        ("a list", b"[1,2,3]".to_vec(), "body_not_an_object"),
        ("a string", b"\"simulator/echo\"".to_vec(), "body_not_an_object"),
        ("a number", b"42".to_vec(), "body_not_an_object"),
        ("null", b"null".to_vec(), "body_not_an_object"),
        ("a brace", b"{".to_vec(), "body_not_json"),
        ("cut in a name", br#"{"mod"#.to_vec(), "body_not_json"),
        ("cut after a colon", br#"{"model":"#.to_vec(), "body_not_json"),
        ("cut in a string", br#"{"model":"simulator/ec"#.to_vec(), "body_not_json"),
        ("cut before the last brace", GOOD.as_bytes()[..GOOD.len() - 1].to_vec(), "body_not_json"),
        ("a comma too many", br#"{"model":"simulator/echo",}"#.to_vec(), "body_not_json"),
        ("single quotes", b"{'model':'simulator/echo'}".to_vec(), "body_not_json"),
        ("a comment", br#"{"model":"simulator/echo" /* hi */}"#.to_vec(), "body_not_json"),
        ("NaN", br#"{"model":"simulator/echo","temperature":NaN}"#.to_vec(), "body_not_json"),
        ("two objects", format!("{GOOD}{GOOD}").into_bytes(), "body_not_json"),
        ("a brace too many", format!("{GOOD}}}").into_bytes(), "body_not_json"),
        ("a model named twice", br#"{"model":"simulator/echo","model":"openai/gpt-4o"}"#.to_vec(), "body_not_json"),
        ("a model named twice by an escape", br#"{"model":"simulator/echo","\u006dodel":"x"}"#.to_vec(), "body_not_json"),
        ("a byte order mark", format!("\u{feff}{GOOD}").into_bytes(), "body_not_json"),
        ("UTF-16", utf16, "body_not_json"),
        ("bytes that are no UTF-8", b"{\"model\":\"simulator/echo\",\"messages\":\"\xff\xfe\"}".to_vec(), "body_not_json"),
        ("a NUL in a string", b"{\"model\":\"simulator/echo\",\"user\":\"a\0b\"}".to_vec(), "body_not_json"),
    ];
    let mut cases: Vec<Case> = bodies
        .into_iter()
        .map(|(name, body, code)| Case::new(format!("body: {name}"), post(CHAT, key, body), Error(400, Some(code))))
        .collect();
    let fields: String = (0..60_000).map(|n| format!(r#","{n}":0"#)).collect();
    let many = format!(r#"{{"model":"simulator/echo"{fields}}}"#);
    cases.push(Case::new("body: 60,000 fields", post(CHAT, key, many), Error(400, Some("body_not_json"))));
    cases.push(Case::new("body: 100,000 lists in one another", post(CHAT, key, deep_value), Error(400, Some("body_not_json"))));
    cases
}

/// JSON objects whose fields are wrong.
pub fn wrong_types(key: &str) -> Vec<Case> {
    let fields = [
        ("no model", r#""messages":[]"#),
        ("model: number", r#""model":4"#),
        ("model: null", r#""model":null"#),
        ("model: list", r#""model":["simulator/echo"]"#),
        ("model: object", r#""model":{"id":"simulator/echo"}"#),
        ("model: empty", r#""model":"""#),
        ("model: half a surrogate pair", r#""model":"\ud800""#),
        ("stream: string", r#""model":"simulator/echo","stream":"true""#),
        ("stream: number", r#""model":"simulator/echo","stream":1"#),
        ("max_tokens: negative", r#""model":"simulator/echo","max_tokens":-1"#),
        ("max_tokens: fraction", r#""model":"simulator/echo","max_tokens":1.5"#),
        ("max_tokens: string", r#""model":"simulator/echo","max_tokens":"100""#),
        ("max_tokens: too large for any number", r#""model":"simulator/echo","max_tokens":1e999"#),
        ("max_completion_tokens: list", r#""model":"simulator/echo","max_completion_tokens":[1]"#),
        ("n: string", r#""model":"simulator/echo","n":"2""#),
        ("n: negative", r#""model":"simulator/echo","n":-2"#),
        ("stream_options: string", r#""model":"simulator/echo","stream":true,"stream_options":"all""#),
        ("stream_options: list", r#""model":"simulator/echo","stream":true,"stream_options":[]"#),
        ("stream_options: list of a flag", r#""model":"simulator/echo","stream":true,"stream_options":[true]"#),
        ("include_usage: string", r#""model":"simulator/echo","stream":true,"stream_options":{"include_usage":"yes"}"#),
        ("no messages", r#""model":"simulator/echo""#),
        ("messages: string", r#""model":"simulator/echo","messages":"hi""#),
        ("messages: empty", r#""model":"simulator/echo","messages":[]"#),
        ("a message without a role", r#""model":"simulator/echo","messages":[{"content":"hi"}]"#),
    ];
    fields
        .iter()
        .map(|(name, body)| Case::new(format!("field: {name}"), post(CHAT, key, format!("{{{body}}}")), Error(400, Some("invalid_value"))))
        .collect()
}

/// Models and paths that are not there, and methods that paths do not have.
pub fn not_there(key: &str) -> Vec<Case> {
    let models = [
        ("unknown", "gpt-unheard-of", 404, "model_not_found"),
        ("unknown provider", "nobody/gpt-4o", 404, "model_not_found"),
        ("provider that is not live", "openai/gpt-4o-mini", 404, "provider_not_live"),
        ("known provider, unknown model", "simulator/parrot", 404, "model_not_found"),
        ("provider alone", "simulator/", 404, "model_not_found"),
        ("a path", "../../etc/passwd", 404, "model_not_found"),
        ("line breaks", "simulator\\r\\nx-evil: 1", 404, "model_not_found"),
    ];
    let mut cases: Vec<Case> = models
        .into_iter()
        .map(|(name, model, status, code)| Case::new(format!("model: {name}"), chat(key, model, false), Error(status, Some(code))))
        .collect();
    let long = "m".repeat(100_000);
    let completion = post("/v1/completions", key, r#"{"model":"other-dialect/m","prompt":"hi"}"#);
    cases.push(Case::new("model: provider without completions", completion, Error(501, Some("operation_not_served"))));
    cases.push(Case::new("model: a name of 100 KB", chat(key, &long, false), Error(404, Some("model_not_found"))));
    let paths = [
        ("nothing", "GET /v1/nothing", 404, "path_not_found"),
        ("no /v1", "POST /chat/completions", 404, "path_not_found"),
        ("/v1 twice", "POST /v1/v1/chat/completions", 404, "path_not_found"),
        ("a slash at the end", "POST /v1/chat/completions/", 404, "path_not_found"),
        ("a way up", "GET /v1/../../etc/passwd", 404, "path_not_found"),
        ("escapes that are no UTF-8", "GET /v1/%ff%fe", 404, "path_not_found"),
        ("an unknown model", "GET /v1/models/nobody/x", 404, "model_not_found"),
    ];
    let bare = |line: &str| format!("{line} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\ncontent-length: 0\r\n\r\n");
    cases.extend(paths.map(|(name, line, status, code)| Case::new(format!("path: {name}"), bare(line), Error(status, Some(code)))));
    let methods = [
        ("GET a chat", "GET /v1/chat/completions", "POST"),
        ("PUT a chat", "PUT /v1/chat/completions", "POST"),
        ("DELETE the models", "DELETE /v1/models", "GET"),
        ("POST healthz", "POST /healthz", "GET"),
        ("an unknown method", "BREW /v1/embeddings", "POST"),
        ("a method in small letters", "post /v1/responses", "POST"),
    ];
    cases.extend(methods.map(|(name, line, allow)| {
        Case::new(format!("method: {name}"), bare(line), ErrorWith(405, Some("method_not_allowed"), "allow", allow))
    }));
    cases
}

/// Content types, encodings and sizes.
pub fn wrong_bodies(key: &str) -> Vec<Case> {
    let typed = |headers: &str| with_headers(CHAT, &format!("authorization: Bearer {key}\r\n{headers}\r\n"), GOOD);
    let content_types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "json"];
    let mut cases: Vec<Case> = content_types
        .iter()
        .map(|value| {
            Case::new(format!("content type: {value}"), typed(&format!("content-type: {value}")), Error(415, Some("content_type")))
        })
        .collect();
    for value in ["gzip", "br", "gzip, identity"] {
        let headers = format!("content-type: application/json\r\ncontent-encoding: {value}");
        cases.push(Case::new(format!("content encoding: {value}"), typed(&headers), Error(415, Some("content_encoding"))));
    }
    let json = "content-type: application/json\r\n";
    let too_large = || Error(413, Some("body_too_large"));
    let sized = |length: &str| raw(key, &format!("{json}content-length: {length}\r\n"), "");
    let padding = format!(r#"{{"model":"simulator/echo","user":"{}"}}"#, "x".repeat(1 << 20));
    let large = vec![b'x'; 5 << 20];
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked = format!("{json}transfer-encoding: chunked\r\n");
    cases.extend([
        Case::new("size: announced over the limit", sized("1048577"), too_large()),
        Case::new("size: announced at 2^63", sized("9223372036854775808"), too_large()),
        Case::new(
            "size: announced over the limit, 100-continue",
            raw(key, &format!("{json}content-length: 5000000\r\nexpect: 100-continue\r\n"), ""),
            too_large(),
        ),
        Case::new("size: announced at more than 2^64", sized("99999999999999999999999"), Unheard(&[400, 413])),
        Case::new("size: sent over the limit", post(CHAT, key, padding), too_large()),
        Case::new("size: chunked over the limit", raw(key, &chunked, chunk.repeat(17)), too_large()),
        Case::new("size: 5 MiB, whole on its way", post(CHAT, key, &large), too_large()),
        Case::new("size: 5 MiB in chunks", raw(key, &chunked, chunk.repeat(80)), too_large()),
        Case::new("size: 5 MiB with a key that is none", post(CHAT, "kw_live_none", &large), Error(401, None)),
        Case::new("size: 5 MiB to a path that is not there", post("/v1/nothing", key, &large), Error(404, Some("path_not_found"))),
        Case::new("size: 5 MiB where nothing is posted", post("/v1/models", key, &large), Error(405, Some("method_not_allowed"))),
        Case::new("slow: a byte at a time", raw(key, &format!("{json}content-length: 100000\r\n"), "{"), Error(408, Some("body_too_slow")))
            .then_drip(" "),
        Case::new("slow: a chunk of a byte at a time", raw(key, &chunked, "1\r\n{\r\n"), Error(408, Some("body_too_slow")))
            .then_drip("1\r\n \r\n"),
        Case::new(
            "slow: a body that stalls",
            raw(key, &format!("{json}content-length: 100\r\n"), "{\"model\":"),
            Error(408, Some("body_timeout")),
        ),
        Case::new(
            "slow: a body that never starts",
            raw(key, &format!("{json}content-length: 100\r\n"), ""),
            Error(408, Some("body_timeout")),
        ),
        Case::new("slow: chunks that stall", raw(key, &chunked, "5\r\n{\"mod"), Error(408, Some("body_timeout"))),
        Case::new(
            "torn: hung up within the body",
            raw(key, &format!("{json}content-length: 100\r\n"), "{"),
            ErrorOrClosed(400, "body_broken"),
        )
        .then_hang_up(),
        Case::new("torn: hung up within a chunk", raw(key, &chunked, "ff\r\n{"), ErrorOrClosed(400, "body_broken")).then_hang_up(),
        Case::new("chunks: a size that is no number", raw(key, &chunked, "zz\r\n{}\r\n0\r\n\r\n"), ErrorOrClosed(400, "body_broken")),
        Case::new(
            "chunks: a size beyond all numbers",
            raw(key, &chunked, "fffffffffffffffff\r\n{}\r\n"),
            ErrorOrClosed(400, "body_broken"),
        ),
        Case::new("chunks: longer than they say", raw(key, &chunked, "2\r\n{}{}\r\n0\r\n\r\n"), ErrorOrClosed(400, "body_broken")),
    ]);
    cases
}

/// What is no HTTP, or HTTP that nobody should send: the HTTP library refuses most of it, before anybody knows what was asked for.
pub fn bad_http(key: &str) -> Vec<Case> {
    let refused: &[u16] = &[400];
    let too_long: &[u16] = &[400, 414, 431];
    let get = |head: &str| format!("GET /v1/models HTTP/1.1\r\nhost: gateway\r\n{head}\r\n\r\n");
    let json = "content-type: application/json\r\n";
    let chunks = format!("{:x}\r\n{GOOD}\r\n0\r\n\r\n", GOOD.len());
    let length = GOOD.len();
    let many: String = (0..500).map(|n| format!("x-{n}: 1\r\n")).collect();
    vec![
        Case::new("http: rubbish", b"\x00\x01\x02\xff\xfe rubbish \r\n\r\n".to_vec(), Unheard(refused)),
        Case::new("http: a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more of it \r\n\r\n".to_vec(), Unheard(refused)),
        Case::new("http: version 9.9", "GET / HTTP/9.9\r\nhost: gateway\r\n\r\n", Unheard(refused)),
        Case::new("http: no version", "GET /\r\n\r\n", Unheard(refused)),
        Case::new("http: a method that is none", "G@T / HTTP/1.1\r\nhost: gateway\r\n\r\n", Unheard(refused)),
        Case::new("http: a space in the path", "GET /a b HTTP/1.1\r\nhost: gateway\r\n\r\n", Unheard(refused)),
        Case::new("http: a path of 100 KB", format!("GET /{} HTTP/1.1\r\nhost: gateway\r\n\r\n", "a".repeat(100_000)), Unheard(too_long)),
        Case::new("http: a header of 100 KB", get(&format!("x-long: {}", "a".repeat(100_000))), Unheard(too_long)),
        Case::new("http: 500 headers", get(many.trim_end()), Unheard(too_long)),
        Case::new("http: a NUL in a header", get("x-nul: a\0b"), Unheard(refused)),
        Case::new("http: a space before the colon", get("x-space : 1"), Unheard(refused)),
        Case::new("http: a header without a colon", get("nothing"), Unheard(refused)),
        Case::new("http: a header over two lines", get("x-folded: a\r\n b"), Unheard(refused)),
        Case::new(
            "http: two lengths that differ",
            raw(key, &format!("{json}content-length: 5\r\ncontent-length: 6\r\n"), GOOD),
            Unheard(refused),
        ),
        Case::new("http: a negative length", raw(key, &format!("{json}content-length: -5\r\n"), GOOD), Unheard(refused)),
        Case::new("http: a length that is no number", raw(key, &format!("{json}content-length: many\r\n"), GOOD), Unheard(refused)),
        // RFC 9112, section 6.3: chunks win over the length. A server may refuse it as well.
        Case::new(
            "http: a length and chunks",
            raw(key, &format!("{json}content-length: 5\r\ntransfer-encoding: chunked\r\n"), &chunks),
            Unheard(&[200, 400]),
        ),
        Case::new(
            "http: chunked, but not at last",
            raw(key, &format!("{json}transfer-encoding: chunked, gzip\r\n"), &chunks),
            Unheard(refused),
        ),
        Case::new(
            "http: the same length twice",
            raw(key, &format!("{json}content-length: {length}\r\ncontent-length: {length}\r\n"), GOOD),
            Unheard(&[200, 400]),
        ),
        Case::new(
            "http: version 1.0",
            format!("POST {CHAT} HTTP/1.0\r\nauthorization: Bearer {key}\r\n{json}content-length: {length}\r\n\r\n{GOOD}"),
            Good,
        ),
        Case::new(
            "http: version 2's first words and rubbish",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrubbish rubbish rubbish".to_vec(),
            Bare(refused),
        ),
        Case::new("torn: hung up within the head", "POST /v1/chat/completions HTTP/1.1\r\nhost: gate", Bare(refused)).then_hang_up(),
        Case::new("torn: hung up at once", "", Bare(refused)).then_hang_up(),
        Case::new("slow: a head without an end", "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nx-slow: ", Bare(&[400, 408])),
        Case::new("slow: silence from the start", "", Bare(&[400, 408])),
        Case::new("slow: a few of version 2's first words", "PRI * HT", Bare(&[400, 408])),
        Case::new("slow: version 2's first words and silence", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Bare(&[400, 408])),
    ]
}
