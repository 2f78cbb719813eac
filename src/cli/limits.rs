//! Limits as flags: of keys, teams, projects and the gateway.

use std::num::NonZeroU64;

use clap::{Args, ValueEnum as _};

use super::{CliError, installation, output};
use crate::admin::change::{self, LimitsChange};
use crate::catalog::Environment;
use crate::config::Config;
use crate::key::Kind;
use crate::prompt::Prompts;
use crate::quota::network::Network;
use crate::quota::{Budget, Limits, Parallel, Period, Rate, Unit};

/// What a key, a project, a team or the gateway may do
#[derive(Args, Clone)]
pub struct LimitArgs {
    /// Models that may be used, as globs such as 'openai/*' [default: all]
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// Requests a minute; short for --limit requests/minute=N
    #[arg(long)]
    rpm: Option<NonZeroU64>,
    /// Tokens a minute, in and out; short for --limit tokens/minute=N
    #[arg(long)]
    tpm: Option<NonZeroU64>,
    /// A rate: 'requests/day=1000', 'output-tokens/hour=50000@openai/*'; as often as needed
    #[arg(long = "limit", value_name = "RATE")]
    rates: Vec<Rate>,
    /// Money in USD: '50/month', '5/day:soft', '20/ever@anthropic/*'; as often as needed
    #[arg(long = "budget", value_name = "BUDGET")]
    budgets: Vec<Budget>,
    /// Requests at a time: '20', or '4@openai/*' to some models; as often as needed
    #[arg(long, value_name = "LIMIT")]
    parallel: Vec<Parallel>,
    /// Addresses and networks that requests may come from, such as 10.0.0.0/8 [default: all]
    #[arg(long = "from", value_name = "NETWORK", value_delimiter = ',')]
    addresses: Vec<Network>,
    /// Methods and paths that may be called, as globs such as 'POST /v1/chat/*' [default: all]
    #[arg(long = "path", value_name = "GLOB", value_delimiter = ',')]
    paths: Vec<String>,
    /// MCP tools and operations of REST services that may be called, as globs such as 'github/*', 'prompt/*' or 'weather/get*' [default: all]
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    tools: Vec<String>,
}

/// What is to be unlimited again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Clear {
    Models,
    From,
    Paths,
    Tools,
    Limits,
    Parallel,
    Budgets,
    Project,
    Team,
    NotBefore,
    Expires,
}

/// What can be cleared of whatever has limits.
const OF_LIMITS: [Clear; 7] = [Clear::Models, Clear::From, Clear::Paths, Clear::Tools, Clear::Limits, Clear::Parallel, Clear::Budgets];

/// Refuses to clear what there is nothing of: it would change nothing, and look as if it had.
pub fn check_clear(cleared: &[Clear], of: &str, besides: &[Clear]) -> Result<(), CliError> {
    let may_be = || OF_LIMITS.iter().chain(besides);
    let name = |clear: &Clear| clear.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    match cleared.iter().find(|cleared| !may_be().any(|clear| clear == *cleared)) {
        None => Ok(()),
        Some(wrong) => {
            let right = may_be().map(name).collect::<Vec<_>>().join(", ");
            Err(format!("{of} has no '{}' to clear, and nothing was changed: there are {right}", name(wrong)).into())
        }
    }
}

/// Refuses limits that name an alias: they would count nothing.
pub async fn check(change: &LimitsChange, config: &Config, env: &Environment) -> Result<(), CliError> {
    if change.rates.is_none() && change.budgets.is_none() && change.parallel_by_model.is_none() {
        return Ok(());
    }
    let router = installation::router(config, env).await?;
    change.check_names(&router).map_err(|wrong| wrong.to_string().into())
}

/// Says on standard error which limits hold no more, where nobody asked for that: those that are given take the place of all of their kind.
pub fn tell_replaced(before: &Limits, after: &Limits, cleared: &[Clear]) {
    let has = |what| !cleared.contains(&what);
    let rates = before.rates.iter().filter(|rate| has(Clear::Limits) && !after.rates.iter().any(|other| other.is_alike(rate)));
    let budgets = before.budgets.iter().filter(|budget| has(Clear::Budgets) && !after.budgets.iter().any(|other| other.is_alike(budget)));
    let is_kept = |limit: &Parallel| after.parallels().any(|other| other.models() == limit.models());
    let parallel = before.parallels().filter(|limit| has(Clear::Parallel) && !is_kept(limit)).map(|limit| format!("parallel={limit}"));
    let gone: Vec<String> = rates.map(Rate::to_string).chain(budgets.map(Budget::to_string)).chain(parallel).collect();
    if !gone.is_empty() {
        let gone = output::harmless(&gone.join(", "));
        eprintln!("note: {gone} no longer limits: what is given takes the place of all of its kind");
    }
}

/// Says on standard error which globs name no model that is known, or none for a key of that kind.
pub async fn warn(limits: &Limits, kind: Option<Kind>, config: &Config, env: &Environment) -> Result<(), CliError> {
    let router = installation::router(config, env).await?;
    for warning in change::warnings(limits, kind, &router, &Prompts::read(&config.prompts.folder)) {
        eprintln!("warning: {}", output::harmless(&warning));
    }
    Ok(())
}

// === impl LimitArgs ===

impl LimitArgs {
    /// What is given, and nothing where it is to be cleared.
    pub fn change(self, clear: &[Clear]) -> LimitsChange {
        fn list<T>(given: Vec<T>, is_cleared: bool) -> Option<Vec<T>> {
            (is_cleared || !given.is_empty()).then_some(given)
        }
        let clears = |what| clear.contains(&what);
        let given = Limits::from(self);
        LimitsChange {
            models: list(given.models, clears(Clear::Models)),
            addresses: list(given.addresses, clears(Clear::From)),
            paths: list(given.paths, clears(Clear::Paths)),
            tools: list(given.tools, clears(Clear::Tools)),
            rates: list(given.rates, clears(Clear::Limits)),
            parallel: given.parallel.map(Some).or_else(|| clears(Clear::Parallel).then_some(None)),
            parallel_by_model: list(given.parallel_by_model, clears(Clear::Parallel)),
            budgets: list(given.budgets, clears(Clear::Budgets)),
        }
    }
}

impl From<LimitArgs> for Limits {
    fn from(args: LimitArgs) -> Limits {
        let a_minute = [(Unit::Requests, args.rpm), (Unit::Tokens, args.tpm)];
        let short = a_minute.into_iter().filter_map(|(unit, most)| Some(Rate::new(unit, Period::Minute, most?)));
        // Of two that count all, both would hold.
        let parallel = args.parallel.iter().filter(|limit| limit.models().is_none()).map(Parallel::most).min();
        let by_model = |limit| match limit {
            Parallel::ByModel(limit) => Some(limit),
            Parallel::All(_) => None,
        };
        Limits {
            models: args.models,
            addresses: args.addresses,
            paths: args.paths,
            tools: args.tools,
            rates: short.chain(args.rates).collect(),
            parallel,
            parallel_by_model: args.parallel.into_iter().filter_map(by_model).collect(),
            budgets: args.budgets,
        }
    }
}
