//! `keyward teams …`, `keyward projects …` and `keyward limits …`

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::limits::{self, Clear, LimitArgs, warn};
use super::usage::wait_for_newest;
use super::{CliError, Installation, installation, output};
use crate::admin::groups::{self, GroupChange, GroupView};
use crate::admin::meant::Meant;
use crate::admin::state::{self, AccountState};
use crate::catalog::Environment;
use crate::config::Config;
use crate::money::Usd;
use crate::quota::{AccountId, Limits};
use crate::store::audit::Actor;
use crate::store::sqlite::Sqlite;

/// Make, list, show and change teams or projects
#[derive(Subcommand)]
pub enum Groups {
    /// Make one
    Create(Box<Change>),
    /// List all
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one, and what is left of each of its limits
    Show {
        /// Its id
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change one; what is not given stays as it is, and rates, budgets and lists that are given take the place of all of their kind
    Update(Box<Change>),
}

/// Show and set the limits of the whole gateway
#[derive(Subcommand)]
pub enum Whole {
    /// Show them, and what is left of each
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set them; what is not given stays as it is, and rates, budgets and lists that are given take the place of all of their kind
    Set {
        #[command(flatten)]
        limits: Box<LimitArgs>,
        /// What is to be unlimited again
        #[arg(long, value_enum, value_delimiter = ',')]
        clear: Vec<Clear>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What a team or project is to be
#[derive(Args)]
pub struct Change {
    /// Its id: lower-case letters, digits, '-' and '_'
    id: String,
    /// What to call it [default: its id]
    #[arg(long)]
    name: Option<String>,
    /// Of a project: the team that it belongs to
    #[arg(long)]
    team: Option<String>,
    /// Whether none of its keys works for now
    #[arg(long, value_name = "true|false")]
    disabled: Option<bool>,
    #[command(flatten)]
    limits: LimitArgs,
    /// What is to be unlimited again
    #[arg(long, value_enum, value_delimiter = ',')]
    clear: Vec<Clear>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    group: GroupView,
    state: AccountState,
}

const HEAD: [&str; 5] = ["ID", "NAME", "TEAM", "STATE", "BUDGETS"];

// === impl Groups ===

impl Groups {
    /// Runs the command on the store; a running gateway takes notice within a second.
    pub async fn run(self, config: &Config, env: &Environment, kind: fn(Arc<str>) -> AccountId) -> Result<ExitCode, CliError> {
        let store = match &self {
            Groups::Create(_) => Installation::open(&config.data).await?.store,
            _ => Installation::existing(&config.data).await?.store,
        };
        match self {
            Groups::Create(change) => {
                if !change.clear.is_empty() {
                    return Err("what is new has no limits yet, and nothing to clear: leave --clear out".into());
                }
                let (id, json, change) = change.parts();
                let id = kind(id.into());
                limits::check(&change.limits, config, env).await?;
                let group = groups::create(&store, &id, change, &Actor::of_process()).await?;
                changed(&store, &id, group, json, config, env).await?;
            }
            Groups::List { json } => {
                // The name of the kind is in each of its ids.
                let all = groups::list(&store, crate::admin::change::split(&kind("".into())).0).await?;
                if json { output::json(&all)? } else { output::table(&HEAD, &all.iter().map(row).collect::<Vec<_>>())? }
            }
            Groups::Show { id, json } => {
                let id = kind(id.into());
                wait_for_newest(&config.data, &store).await?;
                show(&store, &id, groups::show(&store, &id).await?, json).await?;
            }
            Groups::Update(change) => {
                let clear = change.clear.clone();
                let (id, json, change) = change.parts();
                let id = kind(id.into());
                match id {
                    AccountId::Project(_) => limits::check_clear(&clear, "a project", &[Clear::Team])?,
                    _ => limits::check_clear(&clear, "a team", &[])?,
                }
                limits::check(&change.limits, config, env).await?;
                let before = groups::show(&store, &id).await?.limits;
                let group = groups::update(&store, (&id, &Meant::ANY), change, &Actor::of_process()).await?;
                limits::tell_replaced(&before, &group.limits, &clear);
                changed(&store, &id, group, json, config, env).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

// === impl Whole ===

impl Whole {
    /// Runs the command on the store; a running gateway takes notice within a second.
    pub async fn run(self, config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
        let store = match &self {
            Whole::Set { .. } => Installation::open(&config.data).await?.store,
            Whole::Show { .. } => Installation::existing(&config.data).await?.store,
        };
        let id = AccountId::Gateway;
        match self {
            Whole::Show { json } => {
                wait_for_newest(&config.data, &store).await?;
                show(&store, &id, groups::show(&store, &id).await?, json).await?;
            }
            Whole::Set { limits, clear, json } => {
                limits::check_clear(&clear, "the gateway", &[])?;
                let change = GroupChange { limits: limits.change(&clear), ..GroupChange::default() };
                limits::check(&change.limits, config, env).await?;
                let before = groups::show(&store, &id).await?.limits;
                let group = groups::update(&store, (&id, &Meant::ANY), change, &Actor::of_process()).await?;
                limits::tell_replaced(&before, &group.limits, &clear);
                changed(&store, &id, group, json, config, env).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

// === impl Change ===

impl Change {
    fn parts(self) -> (String, bool, GroupChange) {
        let change = GroupChange {
            name: self.name,
            team: self.team.map(Some).or_else(|| self.clear.contains(&Clear::Team).then_some(None)),
            disabled: self.disabled,
            limits: self.limits.change(&self.clear),
        };
        (self.id, self.json, change)
    }
}

/// Shows what was changed, and says what is odd about it.
async fn changed(store: &Sqlite, id: &AccountId, group: GroupView, json: bool, config: &Config, env: &Environment) -> Result<(), CliError> {
    warn(&group.limits, None, config, env).await?;
    show(store, id, group, json).await
}

async fn show(store: &Sqlite, id: &AccountId, group: GroupView, json: bool) -> Result<(), CliError> {
    let state = state::of(id, &group.limits, &installation::accounts(store)).await?;
    if json {
        return output::json(&Shown { group, state });
    }
    output::table(&HEAD, &[row(&group)])?;
    let resets = |time: Option<jiff::Timestamp>| time.map_or_else(|| "never".to_owned(), |time| time.to_string());
    let budgets = state.budgets.iter().map(|budget| {
        let [used, left] = [budget.used_nano_usd, budget.left_nano_usd].map(|nanos| Usd(nanos).to_string());
        vec![budget.budget.clone(), used, left, resets(budget.resets)]
    });
    // What a minute had and what runs is in the memory of the gateway alone.
    let known = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let rates = state.rates.iter().map(|rate| {
        let resets = if rate.left.is_some() { resets(rate.resets) } else { known(None) };
        vec![rate.rate.clone(), known(rate.left.map(|left| rate.limit.saturating_sub(left))), known(rate.left), resets]
    });
    let parallel = state.parallel.iter().map(|limit| {
        let left = limit.running.map(|running| limit.limit.saturating_sub(running));
        vec![limit.parallel.clone(), known(limit.running), known(left), known(None)]
    });
    let rows: Vec<Vec<String>> = budgets.chain(rates).chain(parallel).collect();
    if !rows.is_empty() {
        output::table(&["LIMIT", "USED", "LEFT", "RESETS"], &rows)?;
    }
    let Limits { models, addresses, paths, tools, .. } = &group.limits;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    for (what, list) in [("Models", models), ("Addresses", &addresses), ("Paths", paths), ("Tools", tools)] {
        if !list.is_empty() {
            output::say(&format!("{what}: {} alone", list.join(", ")))?;
        }
    }
    Ok(())
}

fn row(group: &GroupView) -> Vec<String> {
    let budgets: Vec<String> = group.limits.budgets.iter().map(ToString::to_string).collect();
    let state = if group.disabled { "disabled" } else { "active" };
    vec![group.id.clone(), group.name.clone(), group.team.clone().unwrap_or_default(), state.to_owned(), budgets.join(",")]
}
