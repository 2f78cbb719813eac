//! An upstream that answers every chat with a short stream and keeps what it was sent.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{dechunk, header, read_head, read_more};

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path and query.
    pub target: String,
    pub head: String,
    pub body: Value,
}

/// Takes down requests by the first part of their path.
pub struct Recorder {
    pub address: SocketAddr,
    seen: Arc<Mutex<HashMap<String, Vec<Seen>>>>,
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
    data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"recorded\"}}]}\n\n\
    data: [DONE]\n\n";

// === impl Recorder ===

impl Recorder {
    pub fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(HashMap::new()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                record(stream, &shared);
            }
        });
        Recorder { address, seen }
    }

    /// What came for the path's first part, each request once.
    pub fn take(&self, first: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().remove(first).unwrap_or_default()
    }
}

fn record(mut stream: TcpStream, seen: &Mutex<HashMap<String, Vec<Seen>>>) {
    let mut read = Vec::new();
    let Some(head_end) = read_head(&mut stream, &mut read) else { return };
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    let length: Option<usize> = header(&head, "content-length").and_then(|value| value.parse().ok());
    let body = loop {
        let rest = &read[head_end..];
        let (body, is_whole) = length.map_or_else(|| dechunk(rest), |length| (rest.to_vec(), rest.len() >= length));
        if is_whole || !read_more(&mut stream, &mut read) {
            break body;
        }
    };
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let first = target.split('/').nth(1).unwrap_or_default().to_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    seen.lock().unwrap().entry(first).or_default().push(Seen { target, head, body });
    let _ = stream.write_all(ANSWER.as_bytes());
}
