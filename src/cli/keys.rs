//! `keyward keys …`

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::{CliError, Installation, output};
use crate::admin::explain::{Explanation, Sources};
use crate::admin::keys::{self, Created, KeyView, NewKeyOrder};
use crate::catalog::{Catalog, Environment};
use crate::config::Config;
use crate::key::{Keyring, Kind, Limits};
use crate::route::Router;
use crate::store::KeyStore;

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
        /// Whether it may use this model
        #[arg(long)]
        model: Option<String>,
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
    /// Models that it may use, as globs such as 'openai/*' [default: all]
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// Requests a minute
    #[arg(long)]
    rpm: Option<NonZeroU32>,
    /// Tokens a minute, in and out
    #[arg(long)]
    tpm: Option<NonZeroU32>,
    /// Requests at a time
    #[arg(long)]
    parallel: Option<NonZeroU32>,
    /// When it ends: '30d', '12h' or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_parser = moment)]
    expires: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

// === impl Keys ===

impl Keys {
    /// Runs the command on the store; a running gateway takes notice within a second.
    pub async fn run(self, config: &Config, env: Environment) -> Result<ExitCode, CliError> {
        let Installation { pepper, store, .. } = Installation::open(&config.data).await?;
        match self {
            Keys::Create(order) => {
                let json = order.json;
                show_created(&keys::create(&store, &pepper, order.into()).await?, json)?;
            }
            Keys::List { json } => {
                let all = keys::list(&store).await?;
                if json { output::json(&all)? } else { output::table(&HEAD, &all.iter().map(row).collect::<Vec<_>>())? }
            }
            Keys::Show { id, json } => show(&keys::show(&store, &id).await?, json)?,
            Keys::Explain { key, model, json } => {
                let text = if key == "-" { std::io::read_to_string(std::io::stdin())? } else { key };
                let router = Router::new(Catalog::load(config.providers.as_deref())?, config, &env);
                let store = Arc::new(store);
                let keyring = Keyring::new(pepper, Arc::clone(&store) as Arc<dyn KeyStore>);
                let sources = Sources { keyring: &keyring, is_gateway: false, keys: &*store, ledger: &*store, router: &router };
                let explanation = sources.explain(&text, model.as_deref()).await?;
                if json {
                    output::json(&explanation)?
                } else {
                    tell(&explanation)?
                }
                return Ok(if explanation.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Keys::Rotate { id, grace, json } => show_created(&keys::rotate(&store, &pepper, &id, grace).await?, json)?,
            Keys::Revoke { id, json } => show(&keys::revoke(&store, &id).await?, json)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl From<Create> for NewKeyOrder {
    fn from(order: Create) -> NewKeyOrder {
        let limits =
            Limits { models: order.models, requests_per_minute: order.rpm, tokens_per_minute: order.tpm, parallel: order.parallel };
        NewKeyOrder { name: order.name, owner: order.owner, kind: order.kind, limits, expires: order.expires }
    }
}

const HEAD: [&str; 7] = ["ID", "NAME", "OWNER", "KIND", "STATE", "MODELS", "EXPIRES"];

fn row(view: &KeyView) -> Vec<String> {
    let models = if view.models.is_empty() { "all".to_owned() } else { view.models.join(",") };
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

fn tell(explanation: &Explanation) -> Result<(), CliError> {
    output::print(&format!("{}\n", explanation.message))?;
    if let Some(hint) = explanation.hint {
        output::print(&format!("{hint}\n"))?;
    }
    let Some(view) = &explanation.key else { return Ok(()) };
    show(view, false)?;
    let limits = [
        (view.requests_per_minute, "requests a minute"),
        (view.tokens_per_minute, "tokens a minute"),
        (view.parallel, "requests at a time"),
    ];
    let limits: Vec<String> = limits.iter().filter_map(|(most, of)| most.map(|most| format!("{most} {of}"))).collect();
    if !limits.is_empty() {
        let told = "POST /admin/v1/keys/explain tells how much of them is left, which the running gateway counts";
        output::print(&format!("Limits: {}; {told}.\n", limits.join(", ")))?;
    }
    match &explanation.last_use {
        Some(last) => {
            let from = last.from.as_deref().unwrap_or("an address that was not written down");
            let what = format!("{} for {} ({}, {} {})", last.at, last.model, last.operation, last.status, last.outcome);
            output::print(&format!("Last used: {what}, from {from}.\n"))
        }
        None => output::print("Last used: never, as far as the ledger goes back.\n"),
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text).ok_or_else(|| "it is one of live, test, admin".to_owned())
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
