//! What runs for callers has bounds.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Approvals, Pool, Server, Share, Way};
use crate::catalog::Environment;
use crate::config::McpServer;

#[test]
fn programs_have_a_bound_for_each_key_and_in_all() {
    let folder = tempfile::tempdir().unwrap();
    let settings = McpServer { command: Some("true".to_owned()), ..McpServer::default() };
    let programs = Arc::new(Semaphore::new(200));
    let server = |name: &str| {
        let way = Way::new(&settings, &Environment::default()).unwrap();
        Server::new(name, &settings, way, Arc::new(Approvals::open(folder.path())), Arc::clone(&programs))
    };
    let (one, other) = (server("one"), server("other"));
    let (share, pool) = (Arc::new(Share::default()), |share: &Arc<Share>| Pool::new(true, Arc::clone(share)));
    let (first, second, another) = (pool(&share), pool(&share), pool(&Arc::default()));
    // All sessions of a key share what it may have, whichever servers they use.
    let mut held: Vec<_> = (0..64).flat_map(|_| [one.permits(&first).unwrap(), other.permits(&second).unwrap()]).collect();
    for (server, pool) in [(&one, &first), (&other, &second)] {
        assert!(server.permits(pool).unwrap_err().contains("for this key"));
    }
    held.extend((0..72).map(|_| one.permits(&another).unwrap()));
    assert!(other.permits(&another).unwrap_err().contains("in all"));
    // What was refused in all has taken nothing of the key's.
    assert_eq!(another.programs().available_permits(), 56);
    held.pop();
    assert!(other.permits(&another).is_ok());
}
