//! An upstream that gives what real providers answered, from `../shared/traffic` beside the repository: a case's id is its model's name.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::{header, read_head, read_more};

/// Bytes of an answer that are sent at a time: odd, so that events and characters are torn.
const PIECE: usize = 97;

/// The cases of a dialect; none where the folder is not there.
pub fn cases(dialect: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../shared/traffic/{dialect}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Answers with these cases until the test ends.
pub fn serve(cases: &[Value]) -> SocketAddr {
    let answers: HashMap<String, Vec<u8>> = cases.iter().map(|case| (case["id"].as_str().unwrap().to_owned(), answer(case))).collect();
    let answers = Arc::new(answers);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answers = Arc::clone(&answers);
            std::thread::spawn(move || give(stream, &answers));
        }
    });
    address
}

/// The text of a provider's file that leads there.
pub fn provider(address: SocketAddr, variable: &str) -> String {
    format!(
        "name = \"Recorded\"\ndialects = [\"openai_chat\"]\nbase_url = \"http://{address}/v1\"\nauth = \"bearer\"\ncredential = [\"{variable}\"]\n"
    )
}

fn answer(case: &Value) -> Vec<u8> {
    let response = &case["response"];
    let body = response["text"].as_str().map_or_else(|| response["body"].to_string(), str::to_owned);
    let content_type = response["headers"]["content-type"].as_str().unwrap_or("application/json");
    let head = format!("HTTP/1.1 {} Recorded\r\ncontent-type: {content_type}\r\ncontent-length: {}", response["status"], body.len());
    format!("{head}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

fn give(mut stream: TcpStream, answers: &HashMap<String, Vec<u8>>) {
    let mut read = Vec::new();
    let Some(head_end) = read_head(&mut stream, &mut read) else { return };
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    let length: usize = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    while read.len() < head_end + length && read_more(&mut stream, &mut read) {}
    let body: Value = serde_json::from_slice(&read[head_end..]).unwrap_or_default();
    let answer = body["model"].as_str().and_then(|model| answers.get(model));
    for piece in answer.into_iter().flat_map(|answer| answer.chunks(PIECE)) {
        if stream.write_all(piece).is_err() {
            return;
        }
    }
}
