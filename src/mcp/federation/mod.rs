//! Other MCP servers behind this one: each is followed by a task of its own, so that one that is down or slow hides only itself.

mod approvals;
mod approved;
mod authorized;
mod changes;
mod fitting;
mod link;
mod listing;
mod mended;
mod program;
mod relay;
mod said;
mod secrets;
mod server;
mod tasks;
#[cfg(test)]
mod tests;
mod way;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

pub use approvals::{Approvals, Change};
pub use authorized::NAMELESS;
pub use changes::Changes;
pub use link::{Link, Pool, Share, Turn};
pub use listing::{Listed, Listing};
pub use relay::{Asking, Relay, Toward, can_answer};
pub use said::{Key, Kind};
pub use server::{Server, Trouble, UNMASKED};
pub use way::{Opening, Way};

use crate::catalog::Environment;
use crate::config::Mcp;

/// All servers, by name.
#[derive(Default)]
pub struct Federation {
    servers: BTreeMap<String, Arc<Server>>,
}

/// Programs that run for calls at the most, of all servers together.
const MOST_PROGRAMS: usize = 256;

// === impl Federation ===

impl Federation {
    /// Makes each server known; nothing is connected yet. The error names the server and what it lacks.
    pub fn new(settings: &Mcp, env: &Environment, data: &Path) -> Result<Federation, String> {
        let (approvals, programs) = (Arc::new(Approvals::open(data)), Arc::new(Semaphore::new(MOST_PROGRAMS)));
        let one = |(name, settings): (&String, &crate::config::McpServer)| {
            let way = Way::new(settings, env).map_err(|why| format!("mcp.servers.{name}: {why}"))?;
            Ok((name.clone(), Arc::new(Server::new(name, settings, way, Arc::clone(&approvals), Arc::clone(&programs)))))
        };
        Ok(Federation { servers: settings.servers.iter().map(one).collect::<Result<_, String>>()? })
    }

    /// All.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.values()
    }

    /// One of them.
    pub fn server(&self, name: &str) -> Option<&Arc<Server>> {
        self.servers.get(name)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Follows all servers until told to stop; `changes` is raised whenever what one of them has is another.
    pub async fn follow(&self, changes: &watch::Sender<Changes>, stopped: &watch::Receiver<bool>) {
        let all = self.servers.values().map(|server| Arc::clone(server).follow(changes.clone(), stopped.clone()));
        futures_util::future::join_all(all).await;
    }
}
