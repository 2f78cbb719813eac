//! What a server has, as it was listed last.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{Prompt, Resource, ResourceTemplate, ServerCapabilities, Tool};
use rmcp::service::{Peer, RoleClient, ServiceError};

use super::said::{Key, Kind};

/// Of a server that answers; of another it is empty, and says why.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Its tools, those that are held back too.
    pub tools: Vec<Tool>,
    /// What is not as it was approved.
    pub held_back: BTreeSet<Key>,
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

/// Many servers with resources know nothing of templates, and some do not say so.
const PATIENCE: Duration = Duration::from_secs(3);

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
            let templates = tokio::time::timeout(PATIENCE, peer.list_all_resource_templates()).await;
            listing.templates = templates.ok().and_then(Result::ok).unwrap_or_default();
        }
        Ok(listing)
    }

    /// Of a server that does not answer.
    pub fn nothing(trouble: String) -> Listing {
        Listing { trouble: Some(trouble), ..Listing::default() }
    }

    /// Whether something is not as it was approved.
    pub fn holds_back(&self, kind: Kind, name: &str) -> bool {
        !self.held_back.is_empty() && self.held_back.contains(&Key::new(kind, name))
    }

    /// The tools that may be shown.
    pub fn approved_tools(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter().filter(|tool| !self.holds_back(Kind::Tool, &tool.name))
    }

    /// The prompts that may be shown.
    pub fn approved_prompts(&self) -> impl Iterator<Item = &Prompt> {
        self.prompts.iter().filter(|prompt| !self.holds_back(Kind::Prompt, &prompt.name))
    }

    /// The resources that may be shown.
    pub fn approved_resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(|resource| !self.holds_back(Kind::Resource, &resource.uri))
    }

    /// The templates that may be shown.
    pub fn approved_templates(&self) -> impl Iterator<Item = &ResourceTemplate> {
        self.templates.iter().filter(|template| !self.holds_back(Kind::Template, &template.uri_template))
    }

    /// What it says of its use, if that may be shown.
    pub fn approved_instructions(&self) -> Option<&String> {
        self.instructions.as_ref().filter(|_| !self.holds_back(Kind::Instructions, ""))
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
            (&self.prompts, &self.held_back) != (&other.prompts, &other.held_back),
            (&self.resources, &self.templates, &self.held_back) != (&other.resources, &other.templates, &other.held_back),
        ]
    }
}
