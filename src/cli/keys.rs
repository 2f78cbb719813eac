//! `keyward keys …`

use std::num::{NonZeroU32, NonZeroU64};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::{CliError, Installation, output};
use crate::admin::keys::{self, Created, KeyView, NewKeyOrder};
use crate::config::Config;
use crate::key::{Kind, Role};
use crate::quota::network::Network;
use crate::quota::{Budget, Limits, Period, Rate, Unit};
use crate::store::audit::Actor;

/// Make, list, explain, rotate and revoke keys
#[derive(Subcommand)]
pub enum Keys {
    /// Make a key; its text is shown this once
    Create(Create),
    /// List all keys
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one key
    Show {
        /// Its id
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what a key is, and whether and why it would be refused
    Explain {
        /// A whole key or an id; '-' reads it from standard input, and keeps it out of the shell's history
        key: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a successor with the same rights; the old key works beside it for a while
    Rotate {
        /// Its id
        id: String,
        /// How long the old key still works
        #[arg(long, default_value = "24h", value_parser = duration)]
        grace: Duration,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a key for good
    Revoke {
        /// Its id
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Make a key
#[derive(Args)]
pub struct Create {
    /// What to call it
    #[arg(long, default_value = "unnamed")]
    name: String,
    /// Whose it is
    #[arg(long, default_value = "")]
    owner: String,
    /// live calls models, test calls the simulator only, admin manages
    #[arg(long, default_value = "live", value_parser = kind)]
    kind: Kind,
    /// The project that it belongs to
    #[arg(long)]
    project: Option<String>,
    /// What an admin key may manage: viewer, admin or owner [default: owner]
    #[arg(long, value_parser = role)]
    role: Option<Role>,
    #[command(flatten)]
    limits: LimitArgs,
    /// When it begins to be valid: '2h' from now, or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_parser = moment)]
    not_before: Option<Timestamp>,
    /// When it ends: '30d', '12h' or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_parser = moment)]
    expires: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

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
    /// Requests at a time
    #[arg(long)]
    parallel: Option<NonZeroU32>,
    /// Addresses and networks that requests may come from, such as 10.0.0.0/8 [default: all]
    #[arg(long = "from", value_name = "NETWORK", value_delimiter = ',')]
    addresses: Vec<Network>,
    /// Methods and paths that may be called, as globs such as 'POST /v1/chat/*' [default: all]
    #[arg(long = "path", value_name = "GLOB", value_delimiter = ',')]
    paths: Vec<String>,
}

// === impl LimitArgs ===

impl From<LimitArgs> for Limits {
    fn from(args: LimitArgs) -> Limits {
        let a_minute = [(Unit::Requests, args.rpm), (Unit::Tokens, args.tpm)];
        let short = a_minute.into_iter().filter_map(|(unit, most)| Some(Rate::new(unit, Period::Minute, most?)));
        Limits {
            models: args.models,
            addresses: args.addresses,
            paths: args.paths,
            rates: short.chain(args.rates).collect(),
            parallel: args.parallel,
            budgets: args.budgets,
        }
    }
}

// === impl Keys ===

impl Keys {
    /// Runs the command on the store; a running gateway takes notice within a second.
    pub async fn run(self, config: &Config) -> Result<ExitCode, CliError> {
        let Installation { pepper, store, .. } = Installation::open(&config.data).await?;
        match self {
            Keys::Create(order) => {
                let json = order.json;
                show_created(&keys::create(&store, &store, &pepper, order.into(), &Actor::of_process()).await?, json)?;
            }
            Keys::List { json } => {
                let all = keys::list(&store).await?;
                if json { output::json(&all)? } else { output::table(&HEAD, &all.iter().map(row).collect::<Vec<_>>())? }
            }
            Keys::Show { id, json } => show(&keys::show(&store, &id).await?, json)?,
            Keys::Explain { key, json } => {
                let text = if key == "-" { std::io::read_to_string(std::io::stdin())? } else { key };
                let explanation = keys::explain(&store, &pepper, &text).await?;
                match json {
                    true => output::json(&explanation)?,
                    false => {
                        output::print(&format!("{}\n", explanation.message))?;
                        if let Some(view) = &explanation.key {
                            show(view, false)?;
                        }
                    }
                }
                return Ok(if explanation.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Keys::Rotate { id, grace, json } => {
                show_created(&keys::rotate(&store, &pepper, &id, grace, &Actor::of_process()).await?, json)?
            }
            Keys::Revoke { id, json } => show(&keys::revoke(&store, &id, &Actor::of_process()).await?, json)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl From<Create> for NewKeyOrder {
    fn from(order: Create) -> NewKeyOrder {
        NewKeyOrder {
            name: order.name,
            owner: order.owner,
            kind: order.kind,
            limits: order.limits.into(),
            not_before: order.not_before,
            expires: order.expires,
            project: order.project,
            role: order.role,
        }
    }
}

const HEAD: [&str; 7] = ["ID", "NAME", "OWNER", "KIND", "STATE", "MODELS", "EXPIRES"];

fn row(view: &KeyView) -> Vec<String> {
    let models = if view.limits.models.is_empty() { "all".to_owned() } else { view.limits.models.join(",") };
    let expires = view.expires.map_or_else(|| "never".to_owned(), |time| time.to_string());
    vec![view.id.clone(), view.name.clone(), view.owner.clone(), view.kind.to_owned(), view.state.clone(), models, expires]
}

fn show(view: &KeyView, json: bool) -> Result<(), CliError> {
    if json { output::json(view) } else { output::table(&HEAD, &[row(view)]) }
}

fn show_created(created: &Created, json: bool) -> Result<(), CliError> {
    if json {
        return output::json(created);
    }
    output::print(&format!(
        "{}\n\nThis key is shown once and kept nowhere: put it where it belongs now. Its id is {}.\n",
        created.key, created.view.id
    ))
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text).ok_or_else(|| "it is one of live, test, admin".to_owned())
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| "it is one of viewer, admin, owner".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    // Days have 24 hours here: a grace period is no calendar.
    let hours = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()).map(|days| SignedDuration::from_hours(days * 24));
    let signed = hours.map_or_else(|| text.parse::<SignedDuration>(), Ok).map_err(|_| "write it as '30d', '12h' or '15m'".to_owned())?;
    Duration::try_from(signed).map_err(|_| "it has to be in the future".to_owned())
}

fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    duration(text).map(|after| Timestamp::now() + after).map_err(|e| format!("{e}, or as a time such as 2027-01-31T00:00:00Z"))
}
