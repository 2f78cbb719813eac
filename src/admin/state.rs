//! How the limits of an account stand: what is used, what is held by requests that run, what is left, and when it begins anew.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::money::Usd;
use crate::quota::{Account, AccountId, Accounts, Exceeded, Limits, Period, standing};
use crate::store::StoreError;

/// How an account's limits stand.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountState {
    /// `gateway`, `team:ID`, `project:ID` or a key's id.
    pub account: String,
    /// Its budgets.
    pub budgets: Vec<BudgetState>,
    /// Its rates.
    pub rates: Vec<RateState>,
    /// How many requests it may run at a time.
    pub parallel: Vec<ParallelState>,
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

/// How a limit of requests at a time stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ParallelState {
    /// As an explanation of a key has it: `parallel=20`, `parallel=4@openai/*`.
    pub parallel: String,
    /// The most of them.
    pub limit: u64,
    /// Those that run; null where only the running gateway knows.
    pub running: Option<u64>,
}

/// From the counters of the running gateway where it has them, else from the ledger.
pub async fn of(id: &AccountId, limits: &Limits, accounts: &Accounts) -> Result<AccountState, StoreError> {
    Ok(match accounts.get(id) {
        Some(account) => AccountState::new(&account, true),
        None => AccountState::new(&accounts.at_rest(id, limits).await?, false),
    })
}

// === impl AccountState ===

impl AccountState {
    /// What runs, what it holds, and what a minute had is in the memory of who counts it alone.
    fn new(account: &Account, is_counted_here: bool) -> AccountState {
        let (now, running) = (Timestamp::now(), account.current().meters.running());
        let (account, all) = (account.id().to_string(), standing::of(account));
        let after = |seconds: Option<f64>| now.checked_add(SignedDuration::try_from_secs_f64(seconds?).ok()?).ok();
        let rates = all.iter().filter_map(|standing| {
            let Exceeded::Rate(rate, _) = standing.limit() else { return None };
            let is_known = is_counted_here || rate.per != Period::Minute;
            let resets = match rate.per {
                Period::Minute => after(standing.full_in_seconds),
                per => Some(per.window(now).ends),
            };
            let (left, resets) = (is_known.then_some(standing.left), resets.filter(|_| is_known));
            Some(RateState { rate: standing.limit.clone(), limit: standing.most, left, resets })
        });
        let budgets = all.iter().filter_map(|standing| {
            let Exceeded::Budget { budget, state, .. } = standing.limit() else { return None };
            Some(BudgetState {
                budget: standing.limit.clone(),
                limit_nano_usd: budget.nano_usd.0,
                used_nano_usd: Usd::of_nanos(state.used).0,
                reserved_nano_usd: is_counted_here.then_some(Usd::of_nanos(standing.held).0),
                left_nano_usd: Usd::of_nanos(standing.left).0,
                soft: budget.soft,
                resets: state.window.has_end().then_some(state.window.ends),
            })
        });
        let parallel = all.iter().filter(|standing| matches!(standing.limit(), Exceeded::Parallel(_))).map(|standing| ParallelState {
            parallel: standing.limit.clone(),
            limit: standing.most,
            running: is_counted_here.then_some(standing.held),
        });
        let (budgets, rates, parallel) = (budgets.collect(), rates.collect(), parallel.collect());
        AccountState { account, budgets, rates, parallel, running: is_counted_here.then_some(running) }
    }
}
