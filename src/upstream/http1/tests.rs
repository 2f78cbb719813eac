#![allow(clippy::unwrap_used)]

use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// Answers, each with what is beside it: those that are read, and those that nobody may take for one.
const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nto the end",
    "HTTP/1.0 200 OK\r\n\r\nto the end",
    "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok",
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 4\r\n\r\nbusy",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1;name=value\r\no\r\n01 \r\nk\r\n0\r\nx-checksum: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nto the end",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 7\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nx-latin: caf\u{e9}\r\nx-empty:\r\n  \r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!",
    "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzwei\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\nok",
    "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-len",
    "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "HTTP/1.1 200 OK\r\nna me: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\nfolded: a\r\n b\r\n\r\n",
    "HTTP/1.1 two OK\r\n\r\n",
    "HTTP/1.1 099 Low\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\u{0}\u{1}\u{2}",
    "<html>an appliance's page</html>",
    "",
];

/// What somebody makes of an answer; an error where it does not hold together.
#[derive(Debug, PartialEq)]
enum Read {
    Answer { status: u16, headers: Vec<(String, Vec<u8>)>, body: Vec<u8> },
    BrokenHead,
    BrokenBody,
}

fn read(status: u16, headers: &HeaderMap, body: Option<Vec<u8>>) -> Read {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    body.map_or(Read::BrokenBody, |body| Read::Answer { status, headers, body })
}

/// A provider that answers with `pieces`, each of which arrives alone, and closes the connection.
fn provider(pieces: &[&[u8]]) -> DuplexStream {
    let (ours, mut theirs) = duplex(1 << 20);
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    tokio::spawn(async move {
        let mut request = Vec::new();
        while !request.ends_with(b"question") {
            theirs.read_buf(&mut request).await.unwrap();
        }
        for piece in pieces {
            theirs.write_all(&piece).await.unwrap();
            // Whoever reads has its turn.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
    });
    ours
}

fn head() -> Bytes {
    write_post("/v1/chat", &HeaderValue::from_static("provider"), &HeaderMap::new(), 8)
}

async fn exchange<T: AsyncRead + AsyncWrite + Unpin>(connection: &mut Http1<T>) -> Result<Parts, Fault> {
    connection.exchange(head(), &["ques".into(), Bytes::new(), "tion".into()]).await
}

async fn body<T: AsyncRead + AsyncWrite + Unpin>(connection: &mut Http1<T>) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(piece) = poll_fn(|context| connection.poll_data(context)).await {
        body.extend_from_slice(&piece?);
    }
    Ok(body)
}

async fn by_us(pieces: &[&[u8]]) -> Read {
    let mut connection = Http1::new(provider(pieces));
    let Ok(parts) = exchange(&mut connection).await else { return Read::BrokenHead };
    read(parts.status.as_u16(), &parts.headers, body(&mut connection).await.ok())
}

async fn by_hyper(pieces: &[&[u8]]) -> Read {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(provider(pieces))).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("/v1/chat").body(Full::<Bytes>::from("question")).unwrap();
    let Ok(response) = sender.send_request(request).await else { return Read::BrokenHead };
    let (parts, body) = response.into_parts();
    read(parts.status.as_u16(), &parts.headers, body.collect().await.ok().map(|body| body.to_bytes().to_vec()))
}

#[tokio::test]
async fn an_answer_is_what_hyper_takes_it_for_however_it_is_cut() {
    for answer in ANSWERS {
        let answer = answer.as_bytes();
        let expected = by_hyper(&[answer]).await;
        assert_eq!(by_us(&[answer]).await, expected, "{}", answer.escape_ascii());
        for cut in 1..answer.len() {
            let (first, second) = answer.split_at(cut);
            assert_eq!(by_us(&[first, second]).await, expected, "{} | {}", first.escape_ascii(), second.escape_ascii());
        }
        let bytes: Vec<&[u8]> = answer.chunks(1).collect();
        assert_eq!(by_us(&bytes).await, expected, "{} byte by byte", answer.escape_ascii());
    }
}

/// What is taken for an answer is one to hyper too, and the same one; the other way round is no rule.
#[tokio::test]
async fn a_damaged_answer_is_no_other_answer() {
    const BYTES: &[u8] = b"\r\n :;,0123afAF-+\0\x80\tHTc";
    // Marsaglia's xorshift64: the same in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end as u64) as usize
    };
    let mut taken = 0;
    for answer in ANSWERS.iter().filter(|answer| !answer.is_empty()) {
        for _ in 0..150 {
            let mut damaged = answer.as_bytes().to_vec();
            for _ in 0..=below(2) {
                let at = below(damaged.len());
                match below(3) {
                    0 => damaged[at] = BYTES[below(BYTES.len())],
                    1 => damaged.insert(at, BYTES[below(BYTES.len())]),
                    _ if damaged.len() > 1 => drop(damaged.remove(at)),
                    _ => {}
                }
            }
            let ours = by_us(&[&damaged]).await;
            if matches!(ours, Read::Answer { .. }) {
                assert_eq!(ours, by_hyper(&[&damaged]).await, "{}", damaged.escape_ascii());
                taken += 1;
            }
        }
    }
    assert!(taken > 1000, "{taken} were answers");
}

#[tokio::test]
async fn a_protocol_that_nobody_asked_for_is_refused() {
    let mut connection = Http1::new(provider(&[b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n"]));
    assert!(matches!(exchange(&mut connection).await, Err(Fault::Bad(_))));
}

/// Answers after which a connection is another request's, where it stays open.
#[tokio::test]
async fn a_connection_is_used_again_only_where_its_answer_had_a_clear_end() {
    for (answer, is_reusable) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: Keep-Alive\r\n\r\nok", true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, Close\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more than was told", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nmore", false),
    ] {
        let (ours, mut theirs) = duplex(1 << 20);
        theirs.write_all(b"").await.unwrap();
        let mut connection = Http1::new(ours);
        let telling = async {
            let mut request = Vec::new();
            while !request.ends_with(b"question") {
                theirs.read_buf(&mut request).await.unwrap();
            }
            theirs.write_all(answer.as_bytes()).await.unwrap();
        };
        let (parts, ()) = tokio::join!(exchange(&mut connection), telling);
        parts.unwrap();
        body(&mut connection).await.unwrap();
        assert_eq!(connection.is_reusable(), is_reusable, "{answer}");
        if is_reusable {
            drop(theirs);
            assert!(!connection.is_reusable(), "it is closed");
            assert!(matches!(exchange(&mut connection).await, Err(Fault::Unsent)));
        }
    }
}

#[tokio::test]
async fn what_ends_without_a_word_is_told_from_what_breaks_off() {
    for (pieces, is_silent) in [(&[][..], true), (&[&b"HTTP/1.1 100 Continue\r\n\r\n"[..]], false), (&[&b"HTTP/1.1 2"[..]], false)] {
        let fault = exchange(&mut Http1::new(provider(pieces))).await.unwrap_err();
        assert_eq!(matches!(fault, Fault::Silent), is_silent, "{fault}");
    }
}

#[tokio::test]
async fn the_last_piece_is_known_to_be_the_last() {
    let mut connection =
        Http1::new(provider(&[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n", b"1\r\nk\r\n0\r\n\r\n"]));
    exchange(&mut connection).await.unwrap();
    for (piece, is_last) in [("o", false), ("k", true)] {
        assert_eq!(poll_fn(|context| connection.poll_data(context)).await.unwrap().unwrap(), piece);
        assert_eq!(connection.has_ended(), is_last);
    }
}

#[tokio::test]
async fn heads_and_lines_have_bounds() {
    let long = "x".repeat(300 << 10);
    let many = "x: y\r\n".repeat(200);
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(by_us(&[format!("HTTP/1.1 200 OK\r\nlong: {long}").as_bytes()]).await, Read::BrokenHead);
    assert_eq!(by_us(&[format!("HTTP/1.1 200 OK\r\n{many}\r\n").as_bytes()]).await, Read::BrokenHead);
    assert_eq!(by_us(&[format!("{chunked}2;{long}").as_bytes()]).await, Read::BrokenBody);
    assert_eq!(by_us(&[format!("{chunked}0\r\nx: {long}").as_bytes()]).await, Read::BrokenBody);
}

/// A provider may answer while it is still being asked, and go on reading; nobody may wait for the other.
#[tokio::test]
async fn an_answer_is_read_while_its_request_is_written() {
    let (ours, mut theirs) = duplex(64);
    let question: Bytes = "q".repeat(10_000).into();
    let answering = async {
        let mut request = Vec::new();
        theirs.read_buf(&mut request).await.unwrap();
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsoo").await.unwrap();
        while !request.ends_with(&question) {
            theirs.read_buf(&mut request).await.unwrap();
        }
        theirs.write_all(b"ner").await.unwrap();
        theirs
    };
    let mut connection = Http1::new(ours);
    let asking = async {
        let head = write_post("/", &HeaderValue::from_static("provider"), &HeaderMap::new(), 10_000);
        connection.exchange(head, std::slice::from_ref(&question)).await.unwrap();
        let body = body(&mut connection).await.unwrap();
        (body, connection.is_reusable())
    };
    let (answer, _open) = tokio::join!(asking, answering);
    assert_eq!(answer, (b"sooner".to_vec(), true));
}

/// One that answers and closes before it has read all is heard: what it says is why.
#[tokio::test]
async fn a_request_that_is_refused_halfway_has_its_answer() {
    let (ours, mut theirs) = duplex(64);
    tokio::spawn(async move {
        theirs.read_buf(&mut Vec::new()).await.unwrap();
        theirs.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
    });
    let mut connection = Http1::new(ours);
    let head = write_post("/", &HeaderValue::from_static("provider"), &HeaderMap::new(), 10_000);
    let parts = connection.exchange(head, &["q".repeat(10_000).into()]).await.unwrap();
    assert_eq!((parts.status.as_u16(), body(&mut connection).await.unwrap()), (413, b"no".to_vec()));
    assert!(!connection.is_reusable());
}

#[test]
fn what_the_connection_says_itself_is_said_once() {
    let mut headers = HeaderMap::new();
    for (name, value) in [("host", "elsewhere"), ("content-length", "7"), ("transfer-encoding", "chunked"), ("x-title", "a b")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let head = write_post("/v1?a=b", &HeaderValue::from_static("provider"), &headers, 8);
    assert_eq!(head, "POST /v1?a=b HTTP/1.1\r\nhost: provider\r\nx-title: a b\r\ncontent-length: 8\r\n\r\n");
}
