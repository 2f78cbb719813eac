//! What the MCP server says of itself: what it can do is what it has itself, and what federated servers can.

use rmcp::model::{Implementation, InitializeResult, ServerCapabilities};

use super::federation::Server;
use crate::gateway::Gateway;

const INSTRUCTIONS: &str = "Keyward is an AI gateway. Its tools tell which models your key may use, what it has used, and how its limits stand; \
    'prompt__NAME' are its prompts, 'SERVICE__NAME' operations of REST services, and 'SERVER__NAME' the tools of other servers.";

/// Of all, or of one federated server alone, as far as is known now.
pub fn of(gateway: &Gateway, alone: Option<&Server>) -> InitializeResult {
    let servers = || gateway.mcp.federation.servers();
    let can = |what: fn(&ServerCapabilities) -> bool| servers().any(|server| what(&server.listing_now().capabilities));
    let (capabilities, instructions) = match alone {
        Some(server) => {
            let listing = server.listing_now();
            let mut capabilities = listing.capabilities.clone();
            (capabilities.experimental, capabilities.extensions) = (None, None);
            (capabilities, listing.approved_instructions().cloned())
        }
        None => {
            let own = ServerCapabilities::builder()
                .enable_tools()
                .enable_tool_list_changed()
                .enable_prompts()
                .enable_prompts_list_changed()
                .enable_resources()
                .enable_resources_list_changed();
            let mut own = own.build();
            if let Some(resources) = &mut own.resources {
                resources.subscribe = can(|other| other.resources.as_ref().is_some_and(|has| has.subscribe == Some(true))).then_some(true);
            }
            own.logging = can(|other| other.logging.is_some()).then(Default::default);
            own.completions = can(|other| other.completions.is_some()).then(Default::default);
            (own, Some(INSTRUCTIONS.to_owned()))
        }
    };
    let mut info = InitializeResult::new(capabilities);
    info.instructions = instructions;
    info.server_info = Implementation::new("keyward", env!("CARGO_PKG_VERSION")).with_title("Keyward");
    info
}

/// Takes back that changes are announced, where nobody could be told of them.
pub fn unannounced(capabilities: &mut ServerCapabilities) {
    capabilities.tools.iter_mut().for_each(|tools| tools.list_changed = None);
    capabilities.prompts.iter_mut().for_each(|prompts| prompts.list_changed = None);
    capabilities.resources.iter_mut().for_each(|resources| resources.list_changed = None);
}
