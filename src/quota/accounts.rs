//! All accounts in memory: groups from the start on, keys for as long as they are known or a request of theirs runs.

mod clock;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use jiff::Timestamp;

use super::account::{Account, AccountId, Chain, Current};
use super::alert::AlertSender;
use super::limits::Limits;
use super::meters::{Meters, Past, Used};
use crate::key::KeyRecord;
use crate::ledger::drain::DrainHandle;
use crate::store::{Group, GroupStore, LedgerStore, StoreError};

/// Hands out the accounts that a key belongs to.
pub struct Accounts {
    groups: Arc<dyn GroupStore>,
    ledger: Arc<dyn LedgerStore>,
    /// Of the process that writes the ledger; others see what is in the store.
    drain: Option<DrainHandle>,
    alerts: AlertSender,
    known: RwLock<HashMap<AccountId, Arc<Account>>>,
    /// Counts up when a group is to be read anew: what was read meanwhile may be older.
    refreshed: AtomicU64,
    keys: Mutex<HashMap<AccountId, Weak<Account>>>,
}

/// An account some of whose counts begin at nothing: where that is not made up for, by a failure or as nobody waits for it any more, the limits
/// of before hold alone again. Whoever changes them hears of it, or tries again.
struct Unloaded<'a> {
    account: &'a Account,
    before: Option<Arc<Current>>,
}

/// How long an end takes at the most from a limit's count to the ledger.
const ON_ITS_WAY: Duration = Duration::from_millis(20);
/// How often the ledger is asked, where requests of before end each time: those that are left are fewer and fewer.
const LOADS: u32 = 8;
/// So many keys' accounts may be dead before they are swept out.
const SWEEP_AT: usize = 1024;

// === impl Accounts ===

impl Accounts {
    /// No accounts yet: each is read when the first key needs it.
    pub fn new(groups: Arc<dyn GroupStore>, ledger: Arc<dyn LedgerStore>, drain: Option<DrainHandle>, alerts: AlertSender) -> Accounts {
        Accounts { groups, ledger, drain, alerts, known: RwLock::default(), refreshed: AtomicU64::new(0), keys: Mutex::default() }
    }

    /// The accounts of a key, itself first.
    pub async fn chain(&self, record: &KeyRecord) -> Result<Chain, StoreError> {
        let mut chain = vec![self.key(record).await?];
        if let Some(project) = &record.project {
            let id = AccountId::Project(project.as_str().into());
            let project = self.group(&id).await?;
            let team = project.current().team.clone();
            chain.push(project);
            if let Some(team) = team {
                chain.push(self.group(&AccountId::Team(team)).await?);
            }
        }
        chain.push(self.group(&AccountId::Gateway).await?);
        Ok(chain.into())
    }

    /// The account of a service's version, by its label, with the limits that its file says now.
    pub async fn service(&self, label: &str, limits: &Limits) -> Result<Arc<Account>, StoreError> {
        let id = AccountId::Service(label.into());
        let old = self.get(&id);
        if let Some(account) = old {
            if account.current().limits != *limits {
                let _one_at_a_time = account.renewing.lock().await;
                self.change(&account, limits, |current| current).await?;
            }
            return Ok(account);
        }
        let account = Arc::new(Account::new(id.clone(), self.build(&id, limits).await?, self.alerts.clone()));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been faster: there is one count for all.
        Ok(Arc::clone(known.entry(id).or_insert(account)))
    }

    /// An account in memory.
    pub fn get(&self, id: &AccountId) -> Option<Arc<Account>> {
        match id {
            AccountId::Key(_) => self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(id)?.upgrade(),
            _ => self.known.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned(),
        }
    }

    /// All accounts in memory.
    pub fn all(&self) -> Vec<Arc<Account>> {
        let groups: Vec<_> = self.known.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let keys: Vec<_> = self.keys.lock().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade).collect();
        groups.into_iter().chain(keys).collect()
    }

    /// A group changed: what is in memory of it follows.
    pub async fn refresh(&self, id: &AccountId) -> Result<(), StoreError> {
        self.refreshed.fetch_add(1, Ordering::SeqCst);
        let Some(account) = self.get(id) else { return Ok(()) };
        let _one_at_a_time = account.renewing.lock().await;
        let Some(group) = self.groups.group(id).await? else { return Ok(()) };
        // That it is switched off holds at once, whatever of its limits has to be counted first.
        let now = account.current();
        let (limits, meters) = (now.limits.clone(), Arc::clone(&now.meters));
        account.change(of_group(Current { limits, meters, ..Current::default() }, &group));
        self.change(&account, &group.limits, |current| of_group(current, &group)).await
    }

    async fn key(&self, record: &KeyRecord) -> Result<Arc<Account>, StoreError> {
        let id = AccountId::Key(record.family);
        let old = self.get(&id);
        if let Some(account) = &old {
            // Before it is looked at: what holds now may be undone.
            let _one_at_a_time = account.renewing.lock().await;
            if account.current().limits != record.limits {
                self.change(account, &record.limits, |current| current).await?;
            }
            return Ok(Arc::clone(account));
        }
        let current = self.build(&id, &record.limits).await?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been faster: there is one count for all.
        if let Some(account) = keys.get(&id).and_then(Weak::upgrade) {
            return Ok(account);
        }
        if keys.len() >= SWEEP_AT && keys.len().is_power_of_two() {
            keys.retain(|_, account| account.strong_count() > 0);
        }
        let account = Arc::new(Account::new(id.clone(), current, self.alerts.clone()));
        keys.insert(id, Arc::downgrade(&account));
        Ok(account)
    }

    async fn group(&self, id: &AccountId) -> Result<Arc<Account>, StoreError> {
        if let Some(account) = self.get(id) {
            return Ok(account);
        }
        let before = self.refreshed.load(Ordering::SeqCst);
        let current = match self.groups.group(id).await? {
            Some(group) => of_group(self.build(id, &group.limits).await?, &group),
            None if *id == AccountId::Gateway => Current::default(),
            None => return Err(StoreError(format!("a key belongs to {id}, which is not there"))),
        };
        let account = Arc::new(Account::new(id.clone(), current, self.alerts.clone()));
        let account = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(id.clone()).or_insert(account))
        };
        // A change that was told while it was being read may not be in what was read.
        if self.refreshed.load(Ordering::SeqCst) != before {
            self.refresh(id).await?;
        }
        Ok(account)
    }

    /// What nobody in this process counts, as the ledger has it: nothing of it is kept in memory.
    pub async fn at_rest(&self, id: &AccountId, limits: &Limits) -> Result<Account, StoreError> {
        Ok(Account::new(id.clone(), self.read(id, limits, None).await?, self.alerts.clone()))
    }

    /// What nobody counts yet.
    async fn build(&self, id: &AccountId, limits: &Limits) -> Result<Current, StoreError> {
        self.flush(!Meters::unknown(limits, None).is_empty()).await?;
        self.read(id, limits, None).await
    }

    /// Other limits for an account whose requests may run: what is counted anew counts them too.
    async fn change(&self, account: &Account, limits: &Limits, of: impl Fn(Current) -> Current) -> Result<(), StoreError> {
        let before = Arc::clone(&account.current());
        if Meters::unknown(limits, Some(&before.meters)).is_empty() {
            account.change(of(self.read(account.id(), limits, Some(&before.meters)).await?));
            return Ok(());
        }
        // What was limited stays so until what is to be limited is counted.
        let both = limits.beside(&before.limits);
        let counting = Arc::new(Meters::unloaded(&both, &before.meters, Timestamp::now()));
        account.change(of(Current { limits: both, meters: Arc::clone(&counting), ..Current::default() }));
        let mut unloaded = Unloaded { account, before: Some(before) };
        self.load(account.id(), &counting).await?;
        unloaded.before = None;
        let meters = Arc::new(Meters::unloaded(limits, &counting, Timestamp::now()));
        account.change(of(Current { limits: limits.clone(), meters, ..Current::default() }));
        Ok(())
    }

    /// Adds what the ledger has of what is counted anew.
    async fn load(&self, id: &AccountId, meters: &Meters) -> Result<(), StoreError> {
        for attempt in 1..=LOADS {
            let asked = meters.begin_to_load();
            // What ended a moment ago may be on its way to the ledger.
            tokio::time::sleep(ON_ITS_WAY).await;
            self.flush(true).await?;
            let past = self.past(id, asked).await?;
            if meters.load(attempt == LOADS, |of| told(&past, of)) {
                break;
            }
        }
        Ok(())
    }

    /// What ended before has to be in the store before it can be summed up.
    async fn flush(&self, is_needed: bool) -> Result<(), StoreError> {
        match self.drain.as_ref().filter(|_| is_needed) {
            Some(drain) => drain.flush().await,
            None => Ok(()),
        }
    }

    async fn past(&self, id: &AccountId, asked: Vec<Past>) -> Result<Vec<(Past, Used)>, StoreError> {
        let mut past = Vec::with_capacity(asked.len());
        for of in asked {
            let used = self.ledger.used(id, &of).await?;
            past.push((of, used));
        }
        Ok(past)
    }

    async fn read(&self, id: &AccountId, limits: &Limits, old: Option<&Meters>) -> Result<Current, StoreError> {
        loop {
            let asked = Meters::unknown(limits, old);
            let past = self.past(id, asked.clone()).await?;
            let meters = Arc::new(Meters::new(limits, old, |of| told(&past, of)));
            // A period may have ended meanwhile, or the clock was set to another one.
            if asked == Meters::unknown(limits, old) {
                return Ok(Current { limits: limits.clone(), meters, ..Current::default() });
            }
        }
    }
}

// === impl Unloaded ===

impl Drop for Unloaded<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            self.account.change(before);
        }
    }
}

/// What was told; nobody counts by what was not asked for.
fn told(past: &[(Past, Used)], of: &Past) -> Used {
    past.iter().find(|(known, _)| known == of).map(|(_, used)| *used).unwrap_or_default()
}

fn of_group(current: Current, group: &Group) -> Current {
    Current { disabled: group.disabled, team: group.team.as_deref().map(Arc::from), ..current }
}
