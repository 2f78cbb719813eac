//! Who may do what: a handler asks for a [`Viewer`] or an [`Admin`], and is not called without one.
//!
//! | role | may |
//! |---|---|
//! | viewer | look at everything |
//! | admin | change everything but admin keys and their roles |
//! | owner | all |

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;

use super::Problem;
use super::line::Shown;
use crate::gateway::Gateway;
use crate::key::caller::{Caller, Plane};
use crate::key::{KeyRecord, Kind, Role};
use crate::store::audit::Actor;

/// Somebody who may look.
pub struct Viewer;

/// Somebody who may change things.
pub struct Admin {
    caller: Caller,
    role: Role,
}

/// The code of what a key's role does not allow.
pub const TOO_LOW: &str = "role_too_low";

/// Whose key a request carries, and what it may do.
pub async fn caller(gateway: &Gateway, head: &Parts) -> Result<(Caller, Role), Problem> {
    let judged = gateway.judged(head, Plane::Admin).await;
    let key = judged.as_ref().map_or_else(|refusal| refusal.key, |caller| Some(caller.id()));
    if let (Some(key), Some(shown)) = (key, head.extensions.get::<Shown>()) {
        shown.note(key);
    }
    let caller = judged?;
    let role = caller.record().role.unwrap_or(Role::Owner);
    Ok((caller, role))
}

fn need(needed: Role, role: Role) -> Result<(), Problem> {
    if role >= needed {
        return Ok(());
    }
    let (needed, role) = (needed.as_str(), role.as_str());
    let detail = format!("This needs an admin key with the role '{needed}', and yours has the role '{role}': ask an owner.");
    Err(Problem::new(StatusCode::FORBIDDEN, TOO_LOW, detail))
}

// === impl Viewer ===

impl FromRequestParts<Arc<Gateway>> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, gateway: &Arc<Gateway>) -> Result<Viewer, Problem> {
        let (_, role) = caller(gateway, head).await?;
        need(Role::Viewer, role).map(|()| Viewer)
    }
}

// === impl Admin ===

impl Admin {
    /// Who is written down in the audit list.
    pub fn actor(&self) -> Actor {
        Actor::Key(self.caller.id())
    }

    /// Whether a key of this kind may be made, changed or ended: admin keys are an owner's.
    pub fn may_change(&self, kind: Kind) -> Result<(), Problem> {
        match kind {
            Kind::Admin => need(Role::Owner, self.role),
            Kind::Live | Kind::Test => Ok(()),
        }
    }

    /// The same for each of several keys.
    pub fn may_change_all(&self, keys: &[KeyRecord]) -> Result<(), Problem> {
        keys.iter().try_for_each(|record| self.may_change(record.kind))
    }
}

impl FromRequestParts<Arc<Gateway>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, gateway: &Arc<Gateway>) -> Result<Admin, Problem> {
        let (caller, role) = caller(gateway, head).await?;
        need(Role::Admin, role).map(|()| Admin { caller, role })
    }
}
