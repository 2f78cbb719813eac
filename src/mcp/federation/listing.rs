//! What a server has, as it was listed last.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{PaginatedRequestParams, Prompt, Resource, ResourceTemplate, ServerCapabilities, Tool};
use rmcp::service::{Peer, RoleClient, ServiceError};
use serde::Serialize;

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
    /// What of it callers could not read, and why each is not told.
    pub left_out: Vec<String>,
    /// Why there is nothing.
    pub trouble: Option<String>,
}

/// Many servers with resources know nothing of templates, and some do not say so.
const PATIENCE: Duration = Duration::from_secs(3);
/// A list has at most so many pages, and so many bytes: what is beyond that is left out.
const MOST_PAGES: usize = 200;
const MOST_BYTES: usize = 32 << 20;

/// Gathers the pages of a list, as far as they go on and there is room for them.
macro_rules! pages {
    ($peer:ident, $list:ident, $items:ident, $left_out:expr) => {{
        let (mut all, mut bytes, mut cursor) = (Vec::new(), 0, None);
        for page in 1.. {
            let got = $peer.$list(Some(PaginatedRequestParams::default().with_cursor(cursor.clone()))).await?;
            bytes += got.$items.iter().map(length).sum::<usize>();
            all.extend(got.$items);
            // One that goes on where it was has no end.
            if got.next_cursor.is_none() || got.next_cursor == cursor {
                break;
            }
            if page == MOST_PAGES || bytes > MOST_BYTES {
                let most = format!("{MOST_PAGES} pages or {} MiB", MOST_BYTES >> 20);
                $left_out.push(format!("the rest of {}, which go on after {most}", stringify!($items)));
                break;
            }
            cursor = got.next_cursor;
        }
        Ok::<_, ServiceError>(all)
    }};
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
            listing.tools = pages!(peer, list_tools, tools, listing.left_out)?;
        }
        if listing.capabilities.prompts.is_some() {
            listing.prompts = pages!(peer, list_prompts, prompts, listing.left_out)?;
        }
        if listing.capabilities.resources.is_some() {
            listing.resources = pages!(peer, list_resources, resources, listing.left_out)?;
            let left_out = &mut listing.left_out;
            let templates = async { pages!(peer, list_resource_templates, resource_templates, left_out) };
            listing.templates = tokio::time::timeout(PATIENCE, templates).await.ok().and_then(Result::ok).unwrap_or_default();
        }
        listing.fit();
        Ok(listing)
    }

    /// Of a server that does not answer.
    pub fn nothing(trouble: String) -> Listing {
        Listing { trouble: Some(trouble), ..Listing::default() }
    }

    /// Whether a resource is held back: itself, or as one of a template that is, unless it is listed for itself.
    pub fn holds_back_uri(&self, uri: &str) -> Option<Key> {
        let itself = Key::new(Kind::Resource, uri);
        if self.held_back.is_empty() || self.held_back.contains(&itself) {
            return self.held_back.contains(&itself).then_some(itself);
        }
        if self.resources.iter().any(|resource| resource.uri == uri) {
            return None;
        }
        let fits = |template: &&Key| template.kind == Kind::Template && uri.starts_with(literal(&template.name));
        self.held_back.iter().find(fits).cloned()
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

/// Bytes of something as JSON.
fn length(item: &impl Serialize) -> usize {
    serde_json::to_vec(item).map_or(0, |text| text.len())
}

/// What of a template stands before its first variable.
fn literal(template: &str) -> &str {
    template.split_once('{').map_or(template, |(literal, _)| literal)
}
