//! Who limits sit on: a key, its project, the project's team, the whole gateway. A request passes all of them, or none.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use jiff::Timestamp;

use super::alert::{Alert, AlertSender, THRESHOLDS};
use super::counter::{State, Tally};
use super::limits::{Budget, Limits};
use super::meters::Meters;
use super::window::Window;
use super::{Exceeded, Need, Permit, Refused};
use crate::clock::Look;
use crate::key::KeyId;
use crate::money::Usd;

/// What limits sit on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountId {
    /// All of it.
    Gateway,
    /// A team, by its id.
    Team(Arc<str>),
    /// A project, by its id.
    Project(Arc<str>),
    /// A key with its successors, by the first one's id.
    Key(KeyId),
    /// A REST service, by its name: all who call it together.
    Service(Arc<str>),
}

/// Something that limits sit on, and what it has used of them.
#[derive(Debug)]
pub struct Account {
    id: AccountId,
    /// Read several times a request by every core: a lock, or a count of readers, would go back and forth between them.
    current: ArcSwap<Current>,
    /// Whether there is anything in it that has to be looked at besides counters.
    binds: AtomicBool,
    /// Held while both are changed: they say the same.
    changing: Mutex<()>,
    /// Held from reading its limits anew until they hold: of two changes the later one stays.
    pub(super) renewing: tokio::sync::Mutex<()>,
    alerts: AlertSender,
}

/// What holds for an account now.
#[derive(Debug, Default)]
pub struct Current {
    /// Its limits.
    pub limits: Limits,
    /// Their counters.
    pub meters: Arc<Meters>,
    /// Nothing of it works for now.
    pub disabled: bool,
    /// Of a project: its team, by its id.
    pub team: Option<Arc<str>>,
}

/// The accounts of a request, the key first.
pub type Chain = Arc<[Arc<Account>]>;

/// Admits a request to all of its accounts, or says which limit of which stands in the way; then nothing is taken.
pub fn admit(chain: &Chain, need: &Need<'_>) -> Result<Permit, Refused> {
    // Looked at once: a request comes by the counters of all limits at one time.
    let now = Look::now();
    let mut permit = Permit::new(chain, need, now.clock);
    for (place, account) in chain.iter().enumerate() {
        let current = account.current();
        if current.limits.counts_nothing() && !matches!(account.id, AccountId::Key(_)) {
            continue;
        }
        match current.meters.admit(need, now) {
            Ok(hold) => permit.hold(place, hold),
            Err(exceeded) => {
                account.was_exceeded(&current, &exceeded);
                drop(permit);
                return Err(Refused::new(account, exceeded, chain));
            }
        }
    }
    Ok(permit)
}

// === impl Account ===

impl Account {
    /// An account with these limits.
    pub fn new(id: AccountId, current: Current, alerts: AlertSender) -> Account {
        let binds = AtomicBool::new(current.binds());
        Account {
            id,
            current: ArcSwap::from_pointee(current),
            binds,
            changing: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
            alerts,
        }
    }

    /// Which it is.
    pub fn id(&self) -> &AccountId {
        &self.id
    }

    /// What holds now.
    pub fn current(&self) -> Guard<Arc<Current>> {
        self.current.load()
    }

    /// The same where anything but counters can stand in a request's way, which mostly nothing does: it is asked for several times a request.
    pub fn binding(&self) -> Option<Guard<Arc<Current>>> {
        self.binds.load(Ordering::Acquire).then(|| self.current())
    }

    /// Other limits hold from here on.
    pub fn change(&self, current: impl Into<Arc<Current>>) {
        let current = current.into();
        let binds = current.binds();
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(current);
        self.binds.store(binds, Ordering::Release);
    }

    /// A budget was charged: those who want to know hear when a threshold is passed.
    pub(super) fn charged(&self, budget: &Budget, tally: &Tally, state: &State) {
        let used = Usd::of_nanos(state.used);
        for (place, percent) in (0..).zip(THRESHOLDS) {
            if has_passed(used, budget, percent) && tally.alert(place) {
                self.tell(budget, percent, used, state.window);
            }
        }
    }

    /// A budget that is nearly spent and refuses is spent, though what is left of it may be too little to be used. One that has more left
    /// refuses what is too large, and no more is spent by that.
    fn was_exceeded(&self, current: &Current, exceeded: &Exceeded) {
        let Exceeded::Budget { budget, state, .. } = exceeded else { return };
        let tally = current.meters.budgets().find(|(other, _)| other.is_alike(budget)).map(|(_, tally)| tally);
        let [.., nearly, all] = THRESHOLDS;
        let spent = Usd::of_nanos(state.used);
        if state.held == 0 && has_passed(spent, budget, nearly) && tally.is_some_and(|tally| tally.alert(THRESHOLDS.len() as u8 - 1)) {
            self.tell(budget, all, spent, state.window);
        }
    }

    fn tell(&self, budget: &Budget, percent: u8, spent: Usd, window: Window) {
        self.alerts.tell(Alert { account: self.id.clone(), budget: budget.clone(), percent, spent, window, at: Timestamp::now() });
    }
}

fn has_passed(spent: Usd, budget: &Budget, percent: u8) -> bool {
    i128::from(spent.0) * 100 >= i128::from(budget.nano_usd.0) * i128::from(percent)
}

// === impl Current ===

impl Current {
    /// Whether it says who may do what, or has a budget that must hold.
    fn binds(&self) -> bool {
        let Limits { models, tools, addresses, paths, budgets, .. } = &self.limits;
        let has_list = !(models.is_empty() && tools.is_empty() && addresses.is_empty() && paths.is_empty());
        self.disabled || has_list || budgets.iter().any(|budget| !budget.soft)
    }
}

// === impl AccountId ===

impl AccountId {
    /// The account of that name: `gateway`, `team:ID`, `project:ID` or a key's id; those of services are in no table.
    pub fn parse(text: &str) -> Option<AccountId> {
        match text.split_once(':') {
            None if text == "gateway" => Some(AccountId::Gateway),
            None => KeyId::parse(text).map(AccountId::Key),
            Some(("team", id)) if is_slug(id) => Some(AccountId::Team(id.into())),
            Some(("project", id)) if is_slug(id) => Some(AccountId::Project(id.into())),
            Some(_) => None,
        }
    }

    /// Whether it is a key's own.
    pub fn is_a_keys(&self) -> bool {
        matches!(self, AccountId::Key(_))
    }

    /// Its subject in a sentence to a key's holder.
    pub fn subject(&self) -> String {
        match self {
            AccountId::Gateway => "This gateway".to_owned(),
            AccountId::Team(id) => format!("The team '{id}'"),
            AccountId::Project(id) => format!("The project '{id}'"),
            AccountId::Key(_) => "This key".to_owned(),
            AccountId::Service(name) => format!("All callers of the service '{name}' together"),
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccountId::Gateway => f.write_str("gateway"),
            AccountId::Team(id) => write!(f, "team:{id}"),
            AccountId::Project(id) => write!(f, "project:{id}"),
            AccountId::Key(id) => id.fmt(f),
            AccountId::Service(name) => write!(f, "service:{name}"),
        }
    }
}

/// Whether a text can be the id of a team or a project: lower-case letters, digits, `-` and `_`, up to 63 of them.
pub fn is_slug(id: &str) -> bool {
    (1..=63).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
}
