//! Whoever listens for long: the key is looked at anew each time, since it may be revoked and lose its scopes meanwhile.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::request::Parts;

use super::calls::Called;
use crate::gateway::{Gateway, LOOK_EVERY};
use crate::key::{KeyId, Reason};

/// A key that was good when something lasting began.
#[derive(Clone)]
pub struct Holder(Arc<dyn Judge>);

/// What looks at a key. Its type is left open here: the gateway holds the connections that hold this.
trait Judge: Send + Sync {
    /// Whether the key may be used, and for something of a server where that is named.
    fn judge<'a>(&'a self, scope: Option<&'a str>) -> BoxFuture<'a, bool>;
    /// What the key's scopes are.
    fn scopes(&self) -> BoxFuture<'_, Option<Scopes>>;
}

/// The globs of tools and of models that a key and its groups have.
pub type Scopes = Vec<[Vec<String>; 2]>;

struct Key {
    gateway: Arc<Gateway>,
    id: KeyId,
    head: Parts,
}

// === impl Holder ===

impl Holder {
    /// The holder of a key, who came with this head.
    pub fn new(gateway: &Arc<Gateway>, id: KeyId, head: Parts) -> Holder {
        Holder(Arc::new(Key { gateway: Arc::clone(gateway), id, head }))
    }

    /// Of a call.
    pub fn of(gateway: &Arc<Gateway>, called: &Called) -> Holder {
        Holder::new(gateway, called.caller.id(), called.presented.clone())
    }

    /// Whether the key may still be used. A store that is down says nothing about it.
    pub async fn is_good(&self) -> bool {
        self.0.judge(None).await
    }

    /// Whether it may still use something of a server.
    pub async fn may_use(&self, scope: &str) -> bool {
        self.0.judge(Some(scope)).await
    }

    /// What decides which tools, prompts and resources it sees; none where that is not known now.
    pub async fn scopes(&self) -> Option<Scopes> {
        self.0.scopes().await
    }

    /// Resolves once the key is no longer good.
    pub async fn ended(&self) {
        while self.is_good().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Judge for Key {
    fn judge<'a>(&'a self, scope: Option<&'a str>) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            match self.gateway.keys.check_by_id(self.id, &self.head).await {
                Ok(caller) => scope.is_none_or(|scope| caller.may_use_tool(scope).is_ok()),
                Err(rejected) => matches!(rejected.reason, Reason::StoreDown),
            }
        })
    }

    fn scopes(&self) -> BoxFuture<'_, Option<Scopes>> {
        Box::pin(async {
            let caller = self.gateway.keys.check_by_id(self.id, &self.head).await.ok()?;
            let limits = caller.chain().iter().map(|account| account.current().limits.clone());
            Some(limits.map(|limits| [limits.tools, limits.models]).collect())
        })
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    impl Judge for AtomicBool {
        fn judge<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, bool> {
            Box::pin(async { self.load(Ordering::Relaxed) })
        }

        fn scopes(&self) -> BoxFuture<'_, Option<Scopes>> {
            Box::pin(async { None })
        }
    }

    /// The holder of a key that is good as long as this says so.
    pub fn holder(is_good: &Arc<AtomicBool>) -> Holder {
        Holder(Arc::clone(is_good) as Arc<dyn Judge>)
    }
}
