//! What a server has, as it was listed last.

use std::sync::Arc;

use rmcp::model::{Prompt, Resource, ResourceTemplate, ServerCapabilities, Tool};
use rmcp::service::{Peer, RoleClient, ServiceError};

/// Of a server that answers; of another it is empty, and says why.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Its tools, those that are held back too.
    pub tools: Vec<Tool>,
    /// The names of tools that are not as they were approved.
    pub held_back: Vec<String>,
    /// Its prompts.
    pub prompts: Vec<Prompt>,
    /// Its resources.
    pub resources: Vec<Resource>,
    /// Its templates of resources.
    pub templates: Vec<ResourceTemplate>,
    /// What it can do.
    pub capabilities: ServerCapabilities,
    /// What it says of its use.
    pub instructions: Option<String>,
    /// Why there is nothing.
    pub trouble: Option<String>,
}

/// A listing that is shared.
pub type Listed = Arc<Listing>;

// === impl Listing ===

impl Listing {
    /// Asks for all that the server says it has.
    pub async fn of(peer: &Peer<RoleClient>) -> Result<Listing, ServiceError> {
        let info = peer.peer_info();
        let mut listing = Listing {
            capabilities: info.as_ref().map(|info| info.capabilities.clone()).unwrap_or_default(),
            instructions: info.as_ref().and_then(|info| info.instructions.clone()),
            ..Listing::default()
        };
        // What a connection remembers of a list is no news.
        if listing.capabilities.tools.is_some() {
            listing.tools = peer.list_all_tools().await?;
        }
        if listing.capabilities.prompts.is_some() {
            listing.prompts = peer.list_all_prompts().await?;
        }
        if listing.capabilities.resources.is_some() {
            listing.resources = peer.list_all_resources().await?;
            // Many servers with resources know nothing of templates.
            listing.templates = peer.list_all_resource_templates().await.unwrap_or_default();
        }
        Ok(listing)
    }

    /// Of a server that does not answer.
    pub fn nothing(trouble: String) -> Listing {
        Listing { trouble: Some(trouble), ..Listing::default() }
    }

    /// The tools that may be shown.
    pub fn approved(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter().filter(|tool| !self.held_back.iter().any(|name| *name == tool.name))
    }

    /// Whether some of a tool's arguments are repeated in headers (`x-mcp-header`, from 2026-07-28 on).
    pub fn repeats_arguments(&self, tool: &str) -> bool {
        let properties = self.tools.iter().find(|listed| listed.name == tool).and_then(|tool| tool.input_schema.get("properties"));
        let properties = properties.and_then(serde_json::Value::as_object);
        properties.is_some_and(|properties| properties.values().any(|property| property.get("x-mcp-header").is_some()))
    }

    /// Whether callers would see other tools, prompts and resources.
    pub fn differs(&self, other: &Listing) -> [bool; 3] {
        [
            (&self.tools, &self.held_back) != (&other.tools, &other.held_back),
            self.prompts != other.prompts,
            (&self.resources, &self.templates) != (&other.resources, &other.templates),
        ]
    }
}
