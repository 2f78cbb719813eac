//! All accounts in memory: groups from the start on, keys for as long as they are known or a request of theirs runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

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

    /// The account of a service, with the limits that its file says now.
    pub async fn service(&self, name: &str, limits: &Limits) -> Result<Arc<Account>, StoreError> {
        let id = AccountId::Service(name.into());
        let old = self.get(&id);
        if let Some(account) = &old
            && account.current().limits == *limits
        {
            return Ok(Arc::clone(account));
        }
        let meters = old.as_ref().map(|account| Arc::clone(&account.current().meters));
        let current = self.build(&id, limits, meters.as_deref()).await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match known.get(&id) {
            // Somebody else may have been faster: there is one count for all.
            Some(account) if account.current().limits == *limits => Ok(Arc::clone(account)),
            Some(account) => {
                account.change(current);
                Ok(Arc::clone(account))
            }
            None => {
                let account = Arc::new(Account::new(id.clone(), current, self.alerts.clone()));
                known.insert(id, Arc::clone(&account));
                Ok(account)
            }
        }
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
        let Some(group) = self.groups.group(id).await? else { return Ok(()) };
        let current = self.build(id, &group.limits, Some(&account.current().meters)).await?;
        account.change(of_group(current, &group));
        Ok(())
    }

    async fn key(&self, record: &KeyRecord) -> Result<Arc<Account>, StoreError> {
        let id = AccountId::Key(record.family);
        let old = self.get(&id);
        if let Some(account) = &old {
            let current = account.current();
            if current.limits != record.limits {
                account.change(self.build(&id, &record.limits, Some(&current.meters)).await?);
            }
            return Ok(Arc::clone(account));
        }
        let current = self.build(&id, &record.limits, None).await?;
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
            Some(group) => of_group(self.build(id, &group.limits, None).await?, &group),
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

    async fn build(&self, id: &AccountId, limits: &Limits, old: Option<&Meters>) -> Result<Current, StoreError> {
        if let Some(drain) = self.drain.as_ref().filter(|_| !Meters::unknown(limits, old).is_empty()) {
            // What ended before has to be in the store before it can be summed up.
            drain.flush().await?;
        }
        self.read(id, limits, old).await
    }

    async fn read(&self, id: &AccountId, limits: &Limits, old: Option<&Meters>) -> Result<Current, StoreError> {
        let mut past: Vec<(Past, Used)> = Vec::new();
        for of in Meters::unknown(limits, old) {
            let used = self.ledger.used(id, &of).await?;
            past.push((of, used));
        }
        // A period may have ended since it was asked for: then nothing was used in the one that runs.
        let meters = Meters::new(limits, old, |of| past.iter().find(|(known, _)| known == of).map(|(_, used)| *used).unwrap_or_default());
        Ok(Current { limits: limits.clone(), meters: Arc::new(meters), ..Current::default() })
    }
}

fn of_group(current: Current, group: &Group) -> Current {
    Current { disabled: group.disabled, team: group.team.as_deref().map(Arc::from), ..current }
}
