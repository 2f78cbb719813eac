//! What a fuzzer begins with: recorded traffic of providers, and that of one dialect as every other would say it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use keyward::catalog::{Dialect, Operation};
use keyward::dialect::ir::{Dropped, Request};
use keyward::dialect::translate::Translation;
use keyward::dialect::{Asked, Called, To, codec};
use serde_json::Value;

/// Bytes to begin with, by what they are.
#[derive(Default)]
pub struct Seeds {
    pub requests: Vec<Vec<u8>>,
    pub answers: Vec<Vec<u8>>,
    pub streams: Vec<Vec<u8>>,
}

/// The folder of recorded traffic: beside the repository, or beside the folder that its worktrees are in.
pub fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|folder| folder.join("fuzz").is_dir())?;
    root.ancestors().skip(1).take(2).map(|folder| folder.join("shared/traffic")).find(|folder| folder.is_dir())
}

impl Seeds {
    /// Those for a dialect: what was recorded of it, and what was recorded of OpenAI's in its words.
    pub fn of(dialect: Dialect, folder: &Path) -> Seeds {
        let mut seeds = Seeds::recorded(dialect, folder);
        if dialect != Dialect::OpenaiChat {
            seeds.translate(&Seeds::recorded(Dialect::OpenaiChat, folder), Dialect::OpenaiChat, dialect);
        }
        seeds
    }

    fn recorded(dialect: Dialect, folder: &Path) -> Seeds {
        let mut seeds = Seeds::default();
        let name = dialect.as_str().trim_end_matches("_messages");
        // Of some dialects nothing was recorded.
        let text = std::fs::read_to_string(folder.join(name).with_extension("jsonl")).unwrap_or_default();
        for case in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|case| case["op"] == "chat") {
            if case["request_is"] == "recorded" {
                seeds.requests.push(case["request"]["body"].to_string().into_bytes());
            }
            match (&case["response"]["body"], &case["response"]["text"]) {
                (Value::Object(body), _) => seeds.answers.push(Value::Object(body.clone()).to_string().into_bytes()),
                (_, Value::String(text)) => seeds.streams.push(text.clone().into_bytes()),
                _ => {}
            }
        }
        seeds
    }

    fn translate(&mut self, seeds: &Seeds, from: Dialect, to: Dialect) {
        let told = To { model: "model", facts: None };
        let read = |bytes: &Vec<u8>| codec(from).decode_request(&Called::new(Operation::Chat, from), bytes).ok();
        let written = |request: Request| codec(to).encode_request(&request, &told, &mut Dropped::default()).ok();
        self.requests.extend(seeds.requests.iter().filter_map(read).filter_map(written).map(Vec::from));
        let asked = |stream| Asked {
            called: Called { model: Some("model".to_owned()), ..Called::new(Operation::Chat, to) },
            request: Request { model: "model".to_owned(), stream, ..Request::default() }.into(),
            body: Bytes::new(),
        };
        let answers = seeds.answers.iter().filter_map(|bytes| codec(from).decode_answer(bytes).ok());
        self.answers.extend(answers.map(|answer| codec(to).encode_answer(answer, &asked(false), &mut Dropped::default()).to_vec()));
        self.streams.extend(seeds.streams.iter().map(|stream| {
            let mut translation = Translation::new(from, &asked(true));
            [translation.pass(stream), translation.finish().0].concat()
        }));
    }
}
