//! `[mcp]`: who may reach the MCP server, and `[mcp.servers.NAME]`: the servers that are federated behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::duration;

/// `[mcp]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mcp {
    /// Names that the gateway is called by, beside those of this machine itself; `*` is any.
    pub hosts: Vec<String>,
    /// Browsers' origins that may call it, such as `https://app.example.com`.
    pub origins: Vec<String>,
    /// Other MCP servers, by the name that stands before their tools' names.
    pub servers: BTreeMap<String, Server>,
}

/// `[mcp.servers.NAME]`: either `url` or `command`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where it is served by Streamable HTTP; `${VARIABLE}` parts are filled in.
    pub url: Option<String>,
    /// Headers that it wants; `${VARIABLE}` parts are filled in.
    pub headers: BTreeMap<String, String>,
    /// The variable that holds its bearer token.
    pub credential: Option<String>,
    /// Where an access token is granted for `client_id` and `client_secret` (RFC 6749, section 4.4).
    pub token_url: Option<String>,
    /// Who asks for the token.
    pub client_id: Option<String>,
    /// The variable that holds the client's secret.
    pub client_secret: Option<String>,
    /// What the token is to allow; what the server grants by itself where absent.
    pub scope: Option<String>,
    /// A program that speaks MCP on its standard input and output.
    pub command: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// All that it gets of the environment beside PATH, HOME and LANG; `${VARIABLE}` parts are filled in.
    pub env: BTreeMap<String, String>,
    /// How long it may take to connect, and to list what it has.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// How long one call may take.
    #[serde(deserialize_with = "duration")]
    pub call_timeout: Duration,
}

/// Stands before the names of the gateway's own tools, in scopes.
pub const OWN_TOOLS: &str = "keyward";
/// Stands before the names of prompts.
pub const OWN_PROMPTS: &str = "prompt";
/// Headers that the protocol itself sends.
const OF_THE_PROTOCOL: [&str; 6] = ["accept", "content-type", "content-length", "mcp-session-id", "mcp-protocol-version", "last-event-id"];
/// What stands for the gateway itself, and for no other server.
pub const OWN: [&str; 2] = [OWN_TOOLS, OWN_PROMPTS];

// === impl Mcp ===

impl Mcp {
    /// Says what cannot be meant.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(host) = self.hosts.iter().find(|host| host.contains('/')) {
            return Err(format!("mcp.hosts: '{host}' is no name of a host: write 'gateway.example.com', without a scheme and a path"));
        }
        let is_origin = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| !host.is_empty() && !host.contains('/'));
        if let Some(origin) = self.origins.iter().find(|origin| *origin != "*" && *origin != "null" && !is_origin(origin)) {
            return Err(format!(
                "mcp.origins: '{origin}' is no origin: write 'https://app.example.com', with its scheme and without a path"
            ));
        }
        self.servers.iter().try_for_each(|(name, server)| {
            let mut letters = name.chars();
            let is_name = letters.next().is_some_and(|first| first.is_ascii_lowercase())
                && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                && name.len() <= 30;
            if !is_name || OWN.contains(&name.as_str()) {
                return Err(format!(
                    "'{name}' cannot be the name of an MCP server: it has up to 30 lower-case letters, digits and '-', begins with a letter, and is not one of {}",
                    OWN.join(", ")
                ));
            }
            server.check().map_err(|why| format!("mcp.servers.{name}: {why}"))
        })
    }
}

// === impl Server ===

impl Server {
    fn check(&self) -> Result<(), String> {
        let of_http = [
            ("headers", !self.headers.is_empty()),
            ("credential", self.credential.is_some()),
            ("token_url", self.token_url.is_some()),
            ("client_id", self.client_id.is_some()),
            ("client_secret", self.client_secret.is_some()),
            ("scope", self.scope.is_some()),
        ];
        let of_command = [("args", !self.args.is_empty()), ("env", !self.env.is_empty())];
        let needless = match (&self.url, &self.command) {
            (Some(_), None) => of_command.iter().find(|(_, is_set)| *is_set).map(|(name, _)| (*name, "command")),
            (None, Some(_)) => of_http.iter().find(|(_, is_set)| *is_set).map(|(name, _)| (*name, "url")),
            _ => return Err("set either 'url' or 'command'".to_owned()),
        };
        if self.command.as_deref().is_some_and(|command| command.trim().is_empty()) {
            return Err("'command' is empty: name a program".to_owned());
        }
        if let Some(name) = self.headers.keys().find(|name| OF_THE_PROTOCOL.iter().any(|own| name.eq_ignore_ascii_case(own))) {
            return Err(format!("'headers' sets '{name}', which the protocol itself sets: leave it out"));
        }
        if let Some((name, other)) = needless {
            return Err(format!("'{name}' goes with '{other}': leave it out"));
        }
        let client = [self.token_url.is_some(), self.client_id.is_some(), self.client_secret.is_some()];
        if client.contains(&true) && (client.contains(&false) || self.credential.is_some()) {
            return Err("'token_url', 'client_id' and 'client_secret' go together, and without 'credential'".to_owned());
        }
        Ok(())
    }
}

impl Default for Server {
    fn default() -> Server {
        Server {
            url: None,
            headers: BTreeMap::new(),
            credential: None,
            token_url: None,
            client_id: None,
            client_secret: None,
            scope: None,
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(300),
        }
    }
}
