//! Somebody whose key is proven: what the key may be used for, by its own limits and those of its groups.

use std::sync::{Arc, OnceLock};

use arc_swap::Guard;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};

use super::diagnose::shown;
use super::format::{KeyId, Kind};
use super::hash::Mark;
use super::{KeyRecord, Reason};
use crate::config::mcp;
use crate::quota::account::Current;
use crate::quota::limits::matches;
use crate::quota::{self, AccountId, Budget, Chain, Need, Permit, Refused, Used};
use crate::server::Peer;

/// A key that ends within this time is told so with each answer.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Characters of a refused name that its refusal repeats.
const LONGEST_NAME: usize = 200;
/// Of who asks through a proxy that does not say for whom.
const UNTOLD: &str = "of a caller whom a trusted proxy does not name in x-forwarded-for";

/// A key in memory: its record and its accounts.
#[derive(Debug)]
pub struct Known {
    /// What the store says of it.
    pub record: KeyRecord,
    /// What its limits sit on, itself first.
    pub chain: Chain,
    /// The mark of its text, once that was proven.
    pub(super) proven: OnceLock<Mark>,
}

/// Somebody whose key is proven and good.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Known>);

/// Which side of the gateway a key is shown to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Models.
    Data,
    /// Other people's REST services: what is called `key` in a URL is theirs.
    Services,
    /// Management.
    Admin,
}

// === impl Plane ===

impl Plane {
    /// Where a key of that kind is good.
    pub fn of(kind: Kind) -> Plane {
        match kind {
            Kind::Admin => Plane::Admin,
            Kind::Live | Kind::Test => Plane::Data,
        }
    }

    /// Whether an account says from where and for what its keys may be used on this side: what all may do must not shut out those who
    /// could change it.
    pub fn is_bound_by(self, account: &AccountId) -> bool {
        self != Plane::Admin || *account != AccountId::Gateway
    }
}

// === impl Known ===

impl Known {
    /// A key that nobody has shown yet.
    pub(super) fn new(chain: Chain, record: KeyRecord) -> Known {
        Known { record, chain, proven: OnceLock::new() }
    }

    /// A copy that counts by itself who holds it, and who its chain; the accounts are the same ones.
    pub(super) fn copied(&self) -> Known {
        Known::new(self.chain.iter().map(Arc::clone).collect(), self.record.clone())
    }

    /// Whether the key may use a model that is asked for by one name and in full has another; `is_simulated` where no provider is called.
    pub fn may_use(&self, asked: &str, full: impl FnOnce() -> String, is_simulated: bool) -> Result<(), Reason> {
        if self.record.kind == Kind::Test && !is_simulated {
            return Err(Reason::TestOnly(asked.to_owned()));
        }
        // Mostly there is no list, and no name has to be put together.
        let full = std::cell::LazyCell::new(full);
        for current in self.binding() {
            if !current.limits.models.is_empty() && !current.limits.allows(&[asked, &full]) {
                return Err(Reason::ModelNotAllowed { model: asked.to_owned(), allowed: current.limits.models.clone() });
            }
        }
        Ok(())
    }

    /// Whether the key is good now, and if not why.
    pub fn state(&self) -> Result<(), Reason> {
        self.record.state(Timestamp::now)?;
        match self.chain.iter().find(|account| account.binding().is_some_and(|current| current.disabled)) {
            Some(group) => Err(Reason::GroupDisabled(group.id().subject())),
            None => Ok(()),
        }
    }

    /// What stands of the key's accounts where more than counters does.
    fn binding(&self) -> impl Iterator<Item = Guard<Arc<Current>>> {
        self.chain.iter().filter_map(|account| account.binding())
    }
}

// === impl Caller ===

impl From<Arc<Known>> for Caller {
    /// Whoever would show that key: for what is told of it, and no request.
    fn from(known: Arc<Known>) -> Caller {
        Caller(known)
    }
}

impl Caller {
    /// The key's public part.
    pub fn id(&self) -> KeyId {
        self.0.record.id
    }

    /// The first key of those that it and its predecessors are.
    pub fn family(&self) -> KeyId {
        self.0.record.family
    }

    /// What the store says of the key.
    pub fn record(&self) -> &KeyRecord {
        &self.0.record
    }

    /// What the key's limits sit on, itself first.
    pub fn chain(&self) -> &Chain {
        &self.0.chain
    }

    /// When the key ends by itself or by its successor, whichever is sooner.
    pub fn ends(&self) -> Option<Timestamp> {
        self.0.record.ends()
    }

    /// The same where that is soon: each answer tells it.
    pub fn ends_soon(&self) -> Option<Timestamp> {
        self.ends().filter(|ends| ends.duration_since(Timestamp::now()) < SOON)
    }

    /// Whether some of its accounts may not spend more than so much.
    pub fn has_hard_budget(&self) -> bool {
        self.has_hard_budget_on(&|_| true)
    }

    /// The same of what a limit's glob names, as `touches` says.
    pub fn has_hard_budget_on(&self, touches: &dyn Fn(&str) -> bool) -> bool {
        let counts = |budget: &Budget| !budget.soft && budget.models.as_deref().is_none_or(touches);
        self.0.binding().any(|current| current.limits.budgets.iter().any(counts))
    }

    /// Whether it matters to some of its accounts which model answers.
    pub fn has_list_or_budget(&self) -> bool {
        self.has_hard_budget() || self.0.binding().any(|current| !current.limits.models.is_empty())
    }

    /// Admits a request to all of the key's accounts.
    pub fn admit(&self, need: &Need<'_>) -> Result<Permit, Refused> {
        quota::admit(&self.0.chain, need)
    }

    /// Counts a request that asks no provider, and is no row of the ledger; `touches` says whether a limit's glob names what it asks for.
    pub fn count(&self, touches: &dyn Fn(&str) -> bool) -> Result<(), Refused> {
        let permit = self.admit(&Need { touches, ..Need::NOTHING })?;
        permit.settle(&Used { requests: 1, ..Used::default() }, touches);
        Ok(())
    }

    /// Whether the key may use a model that is asked for by one name and in full has another; `is_simulated` where no provider is called.
    pub fn may_use(&self, asked: &str, full: impl FnOnce() -> String, is_simulated: bool) -> Result<(), Reason> {
        self.0.may_use(asked, full, is_simulated)
    }

    /// Whether the key may call an MCP tool, or use what else a server has, by its name `server/tool`.
    pub fn may_use_tool(&self, name: &str) -> Result<(), Reason> {
        self.may_use_any(&[name])
    }

    /// The same of what goes by several names; a refusal has the first.
    fn may_use_any(&self, names: &[&str]) -> Result<(), Reason> {
        let told = || shortened(names.first().copied().unwrap_or_default());
        let is_own = |name: &&str| name.split_once('/').is_some_and(|(server, _)| mcp::OWN.contains(&server));
        if self.0.record.kind == Kind::Test && !names.iter().any(is_own) {
            return Err(Reason::TestOnly(told()));
        }
        for current in self.0.binding() {
            let limits = &current.limits;
            if !limits.tools.is_empty() && !limits.tools.iter().any(|glob| names.iter().any(|name| matches(glob, name))) {
                return Err(Reason::ToolNotAllowed { tool: told(), allowed: limits.tools.clone() });
            }
        }
        Ok(())
    }

    /// The same for an operation of a REST service, by its names `service/operation` and, where a version is called, `service@version/operation`.
    ///
    /// A list of models without one of tools beside it is a list of all that is called: it has to name the operation as `service/SERVICE/OPERATION`.
    pub fn may_call_service(&self, names: &[&str]) -> Result<(), Reason> {
        self.may_use_any(names).map_err(|reason| match reason {
            Reason::ToolNotAllowed { tool, allowed } => Reason::OperationNotAllowed { operation: tool, allowed },
            other => other,
        })?;
        let full: Vec<String> = names.iter().map(|name| format!("service/{name}")).collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        for current in self.0.binding() {
            let limits = &current.limits;
            if limits.tools.is_empty() && !limits.models.is_empty() && !limits.allows(&full) {
                let operation = shortened(names.first().copied().unwrap_or_default());
                return Err(Reason::OperationNotAllowed { operation, allowed: limits.models.clone() });
            }
        }
        Ok(())
    }

    /// Whether a list of the key's models or tools, or of its groups', has exactly this name.
    pub fn names(&self, name: &str) -> bool {
        self.has_listed(|limits| limits.models.iter().chain(&limits.tools).any(|glob| glob == name))
    }

    /// Whether one of them has operations of exactly this version of a REST service, as `service@version/operation` or `service@version/*`.
    pub fn names_version(&self, label: &str) -> bool {
        let is_of = |glob: &str| glob.strip_prefix(label).is_some_and(|rest| rest.starts_with('/'));
        let of_models = |glob: &String| glob.strip_prefix("service/").is_some_and(is_of);
        // A list of models counts only where there is none of tools beside it.
        self.has_listed(|limits| match limits.tools.is_empty() {
            true => limits.models.iter().any(of_models),
            false => limits.tools.iter().any(|glob| is_of(glob)),
        })
    }

    fn has_listed(&self, has: impl Fn(&quota::Limits) -> bool) -> bool {
        self.0.binding().any(|current| has(&current.limits))
    }

    /// Whether what the key may call may run on a model: whatever it is, but for keys that reach no provider.
    pub fn may_run_on(&self, model: &str, is_simulated: bool) -> Result<(), Reason> {
        match self.0.record.kind == Kind::Test && !is_simulated {
            true => Err(Reason::TestOnly(model.to_owned())),
            false => Ok(()),
        }
    }

    /// Whether all of the key's accounts allow its use from there and for this.
    pub(super) fn may_call(&self, parts: &Parts, plane: Plane) -> Result<(), Reason> {
        for current in self.0.chain.iter().filter(|account| plane.is_bound_by(account.id())).filter_map(|account| account.binding()) {
            let limits = &current.limits;
            if !limits.addresses.is_empty() {
                let from = parts.extensions.get::<Peer>().filter(|peer| peer.is_callers).map(|peer| peer.address);
                if !from.is_some_and(|from| limits.addresses.iter().any(|network| network.contains(from))) {
                    return Err(Reason::AddressNotAllowed(from.map_or_else(|| UNTOLD.to_owned(), |from| from.to_string())));
                }
            }
            if !limits.paths.is_empty() {
                let called = format!("{} {}", parts.method, parts.uri.path());
                if !limits.paths.iter().any(|glob| matches(glob, &called)) {
                    return Err(Reason::PathNotAllowed { called: shown(&called), allowed: limits.paths.clone() });
                }
            }
        }
        Ok(())
    }

    /// Whether a good key may be used on that side.
    pub(super) fn admitted_to(&self, plane: Plane) -> Result<(), Reason> {
        self.0.state()?;
        match (plane, self.0.record.kind) {
            (Plane::Data | Plane::Services, Kind::Admin) => Err(Reason::AdminOnDataPlane),
            (Plane::Admin, Kind::Live | Kind::Test) => Err(Reason::NotAdmin),
            _ => Ok(()),
        }
    }
}

/// What a refusal repeats of a name that its caller has written.
fn shortened(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}
