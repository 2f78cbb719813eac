//! Which tools were approved as they are: a description or a schema that changed since then waits for a new approval.
//!
//! Whoever runs a server can change what its tools say of themselves, and a model obeys that: what was approved once is what was read
//! by somebody. The first that is seen of a tool counts as approved.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::digest::{SHA256, digest};
use rmcp::model::Tool;
use serde_json::{Value, json};

use crate::hex::hex;
use crate::shelf;

/// Fingerprints of approved tools, in a file that the command line changes too.
#[derive(Debug)]
pub struct Approvals {
    file: PathBuf,
}

/// By server, by tool.
type Fingerprints = BTreeMap<String, BTreeMap<String, String>>;

// === impl Approvals ===

impl Approvals {
    /// The approvals of a data folder.
    pub fn open(data: &Path) -> Approvals {
        Approvals { file: data.join("mcp-approved.json") }
    }

    /// What tells one state of the file from the next: each is a file of its own.
    pub fn written(&self) -> Option<(SystemTime, u64)> {
        let facts = std::fs::metadata(&self.file).ok()?;
        Some((facts.modified().ok()?, facts.ino()))
    }

    /// The names of a server's tools that are not as they were approved; those never seen before are approved now.
    pub fn held_back(&self, server: &str, tools: &[Tool]) -> std::io::Result<Vec<String>> {
        self.changed(server, |approved| {
            let mut held_back = Vec::new();
            for tool in tools {
                let now = fingerprint(tool);
                if *approved.entry(tool.name.to_string()).or_insert_with(|| now.clone()) != now {
                    held_back.push(tool.name.to_string());
                }
            }
            held_back
        })
    }

    /// The same, and nothing is approved by looking.
    pub fn differing(&self, server: &str, tools: &[Tool]) -> std::io::Result<Vec<String>> {
        let approved = read(&self.file)?.remove(server).unwrap_or_default();
        let differs = |tool: &&Tool| approved.get(tool.name.as_ref()).is_some_and(|old| *old != fingerprint(tool));
        Ok(tools.iter().filter(differs).map(|tool| tool.name.to_string()).collect())
    }

    /// Approves tools as they are now.
    pub fn approve(&self, server: &str, tools: &[Tool]) -> std::io::Result<()> {
        self.changed(server, |approved| approved.extend(tools.iter().map(|tool| (tool.name.to_string(), fingerprint(tool)))))
    }

    /// Reads, changes and writes under a lock: the gateway and the command line may do so at once.
    fn changed<T>(&self, server: &str, change: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> std::io::Result<T> {
        let lock = File::options().create(true).truncate(false).write(true).open(self.file.with_extension("lock"))?;
        lock.lock()?;
        let before = read(&self.file)?;
        let mut tools = before.clone();
        let done = change(tools.entry(server.to_owned()).or_default());
        if tools != before {
            shelf::put(&self.file, &(serde_json::to_string_pretty(&tools)? + "\n"))?;
        }
        Ok(done)
    }
}

/// What a model reads of a tool, as a digest.
pub fn fingerprint(tool: &Tool) -> String {
    let read = json!({
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "input": sorted(json!(tool.input_schema)),
        "output": sorted(json!(tool.output_schema)),
        "annotations": sorted(json!(tool.annotations)),
    });
    hex(digest(&SHA256, read.to_string().as_bytes()).as_ref())
}

/// The same with members in order: a server may write them in another each time.
fn sorted(mut value: Value) -> Value {
    value.sort_all_objects();
    value
}

fn read(file: &Path) -> std::io::Result<Fingerprints> {
    match std::fs::read(file) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Fingerprints::new()),
        Err(error) => Err(error),
    }
}
