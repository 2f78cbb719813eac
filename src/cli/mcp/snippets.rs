//! What assistants have to be told of the gateway's MCP server, each in its own words.
//!
//! Sources: the assistants' own pages on MCP (Claude Code, Cursor, VS Code, Windsurf, Zed, Codex).

use serde_json::{Value, json};

use super::bridge::endpoint;
use crate::cli::{CliError, output};

/// An assistant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Client {
    ClaudeCode,
    Cursor,
    Vscode,
    Windsurf,
    Zed,
    Codex,
}

const ALL: [Client; 6] = [Client::ClaudeCode, Client::Cursor, Client::Vscode, Client::Windsurf, Client::Zed, Client::Codex];

/// Prints the snippets of one or all as they go into a file, and beside them into which; `url` is the gateway's. None holds a key: each
/// names the variable that does, or asks.
pub fn print(client: Option<Client>, url: &str) -> Result<(), CliError> {
    for client in client.map_or(ALL.to_vec(), |client| vec![client]) {
        let (name, place, text) = client.snippet(url);
        eprintln!("# {name}: {place}");
        output::print(&text)?;
    }
    Ok(())
}

// === impl Client ===

impl Client {
    /// The assistant's name, where its settings are, and what has to be there.
    fn snippet(self, url: &str) -> (&'static str, &'static str, String) {
        let mcp = endpoint(url);
        let bearer = |key: &str| json!({ "Authorization": format!("Bearer {key}") });
        match self {
            Client::ClaudeCode => {
                let server = json!({ "type": "http", "url": mcp, "headers": bearer("${KEYWARD_KEY}") });
                ("Claude Code", ".mcp.json in the project", pretty(&json!({ "mcpServers": { "keyward": server } })))
            }
            Client::Cursor => {
                let server = json!({ "url": mcp, "headers": bearer("${env:KEYWARD_KEY}") });
                (
                    "Cursor",
                    "~/.cursor/mcp.json, or .cursor/mcp.json in the project",
                    pretty(&json!({ "mcpServers": { "keyward": server } })),
                )
            }
            Client::Vscode => {
                let server = json!({ "type": "http", "url": mcp, "headers": bearer("${input:keyward-key}") });
                let input = json!({ "type": "promptString", "id": "keyward-key", "description": "Keyward key", "password": true });
                ("VS Code", ".vscode/mcp.json in the project", pretty(&json!({ "inputs": [input], "servers": { "keyward": server } })))
            }
            Client::Windsurf => {
                let server = json!({ "serverUrl": mcp, "headers": bearer("${env:KEYWARD_KEY}") });
                ("Windsurf", "~/.codeium/windsurf/mcp_config.json", pretty(&json!({ "mcpServers": { "keyward": server } })))
            }
            Client::Zed => {
                // Its settings hold no variables: the bridge takes the key of the environment that Zed is started in.
                let server = json!({ "command": "keyward", "args": ["mcp"], "env": { "KEYWARD_URL": url } });
                (
                    "Zed",
                    "settings.json (KEYWARD_KEY in Zed's own environment)",
                    pretty(&json!({ "context_servers": { "keyward": server } })),
                )
            }
            Client::Codex => {
                let text = format!("[mcp_servers.keyward]\nurl = \"{mcp}\"\nbearer_token_env_var = \"KEYWARD_KEY\"\n");
                ("Codex", "~/.codex/config.toml", text)
            }
        }
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
