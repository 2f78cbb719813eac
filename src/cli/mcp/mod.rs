//! `keyward mcp`: the gateway's MCP server for assistants that start a command, snippets for those that take a URL, and federated servers.

mod bridge;
mod headers;
mod snippets;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, Installation, installation, output};
use crate::catalog::Environment;
use crate::config::{Config, ConfigError};
use crate::mcp::federation::{Change, Federation, Key, Kind, Listing, Server};

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
    /// Ask each federated server what it has, and tell what is held back, and what is left out since callers could not read it
    Servers {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a federated server says otherwise than it was approved, and approve what was shown
    Approve {
        /// The server's name in the configuration
        name: String,
        /// One tool alone
        tool: Option<String>,
        /// Approve what was shown under this digest
        #[arg(long)]
        digest: Option<String>,
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
    pub async fn run(self, config: Result<Config, ConfigError>, env: &Environment) -> Result<ExitCode, CliError> {
        match self.command {
            None => bridge::run(env, &bridge::url(env, config.as_ref().ok())).await.map(|()| ExitCode::SUCCESS),
            Some(Command::Config { client }) => {
                let url = match env.get("KEYWARD_URL") {
                    Some(_) => bridge::url(env, None),
                    None => bridge::url(env, Some(&config?)),
                };
                snippets::print(client, &url).map(|()| ExitCode::SUCCESS)
            }
            Some(Command::Servers { json }) => servers(&config?, env, json).await,
            Some(Command::Approve { name, tool, digest }) => approve(&config?, env, &name, tool.as_deref(), digest.as_deref()).await,
        }
    }
}

/// Ends with 1 where one does not answer, for scripts.
async fn servers(config: &Config, env: &Environment, as_json: bool) -> Result<ExitCode, CliError> {
    let federation = Federation::new(&config.mcp, env, &config.data)?;
    let look = |server| async move { Seen { server, listing: Server::look(server).await.map(|(listing, _)| listing) } };
    let seen = futures_util::future::join_all(federation.servers().map(|server| look(server))).await;
    if as_json {
        output::json(&seen.iter().map(Seen::json).collect::<Vec<_>>())?;
    } else if seen.is_empty() {
        output::print("No MCP server is federated: add one as [mcp.servers.NAME] to keyward.toml.\n")?;
    } else {
        output::table(
            &["NAME", "STATE", "TOOLS", "PROMPTS", "RESOURCES", "HELD BACK", "LEFT OUT"],
            &seen.iter().map(Seen::row).collect::<Vec<_>>(),
        )?;
    }
    let all_answer = seen.iter().all(|seen| seen.listing.is_ok());
    Ok(if all_answer { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is approved is what was shown: the digest of that has to be repeated, and fits nothing else.
async fn approve(config: &Config, env: &Environment, name: &str, tool: Option<&str>, digest: Option<&str>) -> Result<ExitCode, CliError> {
    let federation = Federation::new(&config.mcp, env, &config.data)?;
    let server = federation.server(name).ok_or_else(|| format!("there is no MCP server '{name}' in the configuration"))?;
    let (listing, mut changes) = server.look().await.map_err(|why| format!("'{name}' cannot be asked for what it has: {why}"))?;
    if let Some(tool) = tool {
        if !listing.tools.iter().any(|listed| listed.name == tool) {
            return Err(format!("'{name}' has no tool '{tool}'").into());
        }
        changes.retain(|change| change.key == Key::new(Kind::Tool, tool));
    }
    if changes.is_empty() {
        output::print("All is as it was approved.\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Change::digest(name, &changes);
    if digest == Some(&*now) {
        installation::make(&config.data)?;
        Installation::noted(&config.data, ("mcp.approve", name), || server.approvals().approve(name, &changes)).await?;
        changes.iter().try_for_each(|change| output::print(&format!("approved {name}: {}\n", change.key)))?;
        return Ok(ExitCode::SUCCESS);
    }
    changes.iter().try_for_each(|change| output::print(&format!("{}\n", change.shown())))?;
    if digest.is_some() {
        return Err(format!(
            "'{name}' is not what was shown under that digest, and nothing is approved: above is what it is now, as {now}"
        )
        .into());
    }
    let tool = tool.map(|tool| format!(" '{tool}'")).unwrap_or_default();
    output::print(&format!(
        "Nothing is approved yet. This approves exactly what is shown: keyward mcp approve {name}{tool} --digest {now}\n"
    ))?;
    Ok(ExitCode::FAILURE)
}

// === impl Seen ===

impl Seen<'_> {
    fn row(&self) -> Vec<String> {
        let name = self.server.name.to_string();
        match &self.listing {
            Ok(listing) => {
                let held_back: Vec<String> = listing.held_back.iter().map(Key::to_string).collect();
                let held_back = if held_back.is_empty() { "-".to_owned() } else { held_back.join(", ") };
                let counts = [listing.tools.len(), listing.prompts.len(), listing.resources.len()].map(|count| count.to_string());
                let [tools, prompts, resources] = counts;
                let left_out = if listing.left_out.is_empty() { "-".to_owned() } else { listing.left_out.join(", ") };
                vec![name, "up".to_owned(), tools, prompts, resources, held_back, left_out]
            }
            Err(why) => vec![name, format!("down: {why}")],
        }
    }

    fn json(&self) -> serde_json::Value {
        let name = &*self.server.name;
        match &self.listing {
            Ok(listing) => {
                let names: Vec<&str> = listing.tools.iter().map(|tool| &*tool.name).collect();
                json!({ "name": name, "up": true, "tools": names, "held_back": listing.held_back, "left_out": listing.left_out })
            }
            Err(why) => json!({ "name": name, "up": false, "why": why }),
        }
    }
}
