//! How the limits of an account stand: what is used, what is held by requests that run, what is left, and when it begins anew.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::money::Usd;
use crate::quota::meters::{Meters, Past};
use crate::quota::{Account, AccountId, Accounts, Limits, Period};
use crate::store::{LedgerStore, StoreError};

/// How an account's limits stand.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountState {
    /// `gateway`, `team:ID`, `project:ID` or a key's id.
    pub account: String,
    /// Its budgets.
    pub budgets: Vec<BudgetState>,
    /// Its rates.
    pub rates: Vec<RateState>,
    /// Its requests that run now, as far as this process knows.
    pub running: Option<u32>,
}

/// How a budget stands, in nano-dollars.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BudgetState {
    /// As people write it: `50/month`.
    pub budget: String,
    /// The most of it.
    pub limit_nano_usd: i64,
    /// Used since its period began; what is reserved is in it where `reserved_nano_usd` is null.
    pub used_nano_usd: i64,
    /// Held by requests that run; null where only the running gateway knows.
    pub reserved_nano_usd: Option<i64>,
    /// Left.
    pub left_nano_usd: i64,
    /// Whether it only alerts.
    pub soft: bool,
    /// When it begins anew; null for never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resets: Option<Timestamp>,
}

/// How a rate stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RateState {
    /// As people write it: `requests/minute=60`.
    pub rate: String,
    /// The most of it.
    pub limit: u64,
    /// Left; null where only the running gateway knows.
    pub left: Option<u64>,
    /// When all of it is there again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resets: Option<Timestamp>,
}

/// From the counters of the running gateway where it has them, else from the ledger.
pub async fn of(
    id: &AccountId,
    limits: &Limits,
    accounts: Option<&Accounts>,
    ledger: &dyn LedgerStore,
) -> Result<AccountState, StoreError> {
    match accounts.and_then(|accounts| accounts.get(id)) {
        Some(account) => Ok(live(&account)),
        None => at_rest(id, limits, ledger).await,
    }
}

fn live(account: &Account) -> AccountState {
    let (current, now) = (account.current(), Timestamp::now());
    let meters = &current.meters;
    let budgets = meters.budgets().map(|(budget, tally)| {
        let (state, limit) = (tally.state(), budget.nano_usd.0);
        let (used, held) = (Usd::of_nanos(state.used).0, Usd::of_nanos(state.held).0);
        BudgetState {
            budget: budget.to_string(),
            limit_nano_usd: limit,
            used_nano_usd: used,
            reserved_nano_usd: Some(held),
            left_nano_usd: limit.saturating_sub(used).saturating_sub(held).max(0),
            soft: budget.soft,
            resets: state.window.has_end().then_some(state.window.ends),
        }
    });
    let rates = meters.rates().map(|(rate, counter)| {
        let (left, wait) = counter.remaining(rate.most.get());
        RateState { rate: rate.to_string(), limit: rate.most.get(), left: Some(left), resets: now.checked_add(wait).ok() }
    });
    AccountState { account: account.id().to_string(), budgets: budgets.collect(), rates: rates.collect(), running: Some(meters.running()) }
}

async fn at_rest(id: &AccountId, limits: &Limits, ledger: &dyn LedgerStore) -> Result<AccountState, StoreError> {
    let mut past = Vec::new();
    for of in Meters::unknown(limits, None) {
        let used = ledger.used(id, &of).await?;
        past.push((of, used));
    }
    let now = Timestamp::now();
    let used = |per: Period, models: &Option<String>| {
        let wanted = Past { window: per.window(now), models: models.clone() };
        past.iter().find(|(of, _)| *of == wanted).map(|(_, used)| *used).unwrap_or_default()
    };
    let budgets = limits.budgets.iter().map(|budget| {
        let (used, window) = (used(budget.per, &budget.models).cost.0, budget.per.window(now));
        BudgetState {
            budget: budget.to_string(),
            limit_nano_usd: budget.nano_usd.0,
            used_nano_usd: used,
            reserved_nano_usd: None,
            left_nano_usd: budget.nano_usd.0.saturating_sub(used).max(0),
            soft: budget.soft,
            resets: window.has_end().then_some(window.ends),
        }
    });
    let rates = limits.rates.iter().map(|rate| {
        let is_known = rate.per != Period::Minute;
        RateState {
            rate: rate.to_string(),
            limit: rate.most.get(),
            left: is_known.then(|| rate.most.get().saturating_sub(used(rate.per, &rate.models).of(rate.unit))),
            resets: is_known.then(|| rate.per.window(now).ends),
        }
    });
    Ok(AccountState { account: id.to_string(), budgets: budgets.collect(), rates: rates.collect(), running: None })
}
