//! `keyward mcp`: the gateway's MCP server for assistants that start a command, snippets for those that take a URL, and federated servers.

mod bridge;
mod headers;
mod snippets;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, output};
use crate::catalog::Environment;
use crate::config::Config;
use crate::mcp::federation::{Federation, Listing, Server};

/// Speak MCP on standard input and output, for assistants that start a command
#[derive(Args)]
pub struct Mcp {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print what an assistant has to be told, for one or all that are known
    Config {
        /// The assistant
        client: Option<snippets::Client>,
    },
    /// Ask each federated server what it has, and tell which tools are held back
    Servers {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Approve a federated server's tools as they are now
    Approve {
        /// The server's name in the configuration
        name: String,
        /// One tool alone
        tool: Option<String>,
    },
}

/// What is known of a server.
struct Seen<'a> {
    server: &'a Server,
    listing: Result<Listing, String>,
}

// === impl Mcp ===

impl Mcp {
    /// Runs it.
    pub async fn run(self, config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
        match self.command {
            None => bridge::run(env).await,
            Some(Command::Config { client }) => output::print(&snippets::all(client, &bridge::url(env))),
            Some(Command::Servers { json }) => servers(config, env, json).await,
            Some(Command::Approve { name, tool }) => approve(config, env, &name, tool.as_deref()).await,
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

fn federation(config: &Config, env: &Environment) -> Result<Federation, CliError> {
    std::fs::create_dir_all(&config.data)?;
    Ok(Federation::new(&config.mcp, env, &config.data)?)
}

async fn servers(config: &Config, env: &Environment, as_json: bool) -> Result<(), CliError> {
    let federation = federation(config, env)?;
    let look = |server| async move { Seen { server, listing: Server::look(server).await } };
    let seen = futures_util::future::join_all(federation.servers().map(|server| look(server))).await;
    if as_json {
        return output::json(&seen.iter().map(Seen::json).collect::<Vec<_>>());
    }
    if seen.is_empty() {
        return output::print("No MCP server is federated: add one as [mcp.servers.NAME] to keyward.toml.\n");
    }
    output::table(&["NAME", "STATE", "TOOLS", "PROMPTS", "RESOURCES", "HELD BACK"], &seen.iter().map(Seen::row).collect::<Vec<_>>())
}

async fn approve(config: &Config, env: &Environment, name: &str, tool: Option<&str>) -> Result<(), CliError> {
    let federation = federation(config, env)?;
    let server = federation.server(name).ok_or_else(|| format!("there is no MCP server '{name}' in the configuration"))?;
    let mut listing = server.look().await.map_err(|why| format!("'{name}' cannot be asked for its tools: {why}"))?;
    if let Some(tool) = tool {
        listing.tools.retain(|listed| listed.name == tool);
        if listing.tools.is_empty() {
            return Err(format!("'{name}' has no tool '{tool}'").into());
        }
    }
    server.approvals().approve(name, &listing.tools)?;
    for tool in &listing.tools {
        let said = tool.description.as_deref().unwrap_or("it says nothing of itself");
        output::print(&format!("approved {name}/{}: {said}\n", tool.name))?;
    }
    Ok(())
}

// === impl Seen ===

impl Seen<'_> {
    fn row(&self) -> Vec<String> {
        let name = self.server.name.to_string();
        match &self.listing {
            Ok(listing) => {
                let held_back = if listing.held_back.is_empty() { "-".to_owned() } else { listing.held_back.join(", ") };
                let counts = [listing.tools.len(), listing.prompts.len(), listing.resources.len()].map(|count| count.to_string());
                let [tools, prompts, resources] = counts;
                vec![name, "up".to_owned(), tools, prompts, resources, held_back]
            }
            Err(why) => vec![name, format!("down: {why}")],
        }
    }

    fn json(&self) -> serde_json::Value {
        let name = &*self.server.name;
        match &self.listing {
            Ok(listing) => {
                let names: Vec<&str> = listing.tools.iter().map(|tool| &*tool.name).collect();
                json!({ "name": name, "up": true, "tools": names, "held_back": listing.held_back })
            }
            Err(why) => json!({ "name": name, "up": false, "why": why }),
        }
    }
}
