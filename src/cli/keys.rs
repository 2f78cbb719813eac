//! `keyward keys …`

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::limits::{self, Clear, LimitArgs, warn};
use super::usage::wait_for_newest;
use super::{CliError, Installation, installation, output};
use crate::admin::explain::{Explanation, Sources};
use crate::admin::keys::{self, Created, KeyChange, KeyView, ListQuery, NewKeyOrder, Overlap, Replaced};
use crate::admin::meant::Meant;
use crate::catalog::Environment;
use crate::config::Config;
use crate::key::{Keyring, Kind, Role};
use crate::money::Usd;
use crate::prompt::Prompts;
use crate::quota::{Exceeded, Standing};
use crate::store::audit::Actor;
use crate::store::{KeyFilter, KeyStore};

/// Make, list, explain, change, rotate and revoke keys
#[derive(Subcommand)]
pub enum Keys {
    /// Make a key; its text is shown this once
    Create(Box<Create>),
    /// List keys, newest first
    List {
        /// Only those of this owner
        #[arg(long)]
        owner: Option<String>,
        /// Only those of this project
        #[arg(long)]
        project: Option<String>,
        /// Only those that are active, disabled, owner_disabled, group_disabled, expired, not_yet_valid, revoked or rotated
        #[arg(long)]
        state: Option<String>,
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
        /// When the new key ends: '30d', '12h' or a time such as 2027-01-31T00:00:00Z [default: when the old one does]
        #[arg(long, value_parser = moment)]
        expires: Option<Timestamp>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a key: its limits are those of all that it replaced and that replaced it
    Update(Box<Update>),
    /// Switch a key off for now, or all keys of an owner, those made later too
    Disable {
        /// Its id
        #[arg(required_unless_present = "owner", conflicts_with = "owner")]
        id: Option<String>,
        /// All keys of this owner
        #[arg(long)]
        owner: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Switch a key on again, or all keys of an owner that are not disabled by themselves
    Enable {
        /// Its id
        #[arg(required_unless_present = "owner", conflicts_with = "owner")]
        id: Option<String>,
        /// All keys of this owner
        #[arg(long)]
        owner: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a key for good, or all keys of an owner, or those that leaked
    Revoke {
        /// Its id
        #[arg(required_unless_present_any = ["owner", "leaked"], conflicts_with_all = ["owner", "leaked"])]
        id: Option<String>,
        /// All keys of this owner
        #[arg(long, conflicts_with = "leaked")]
        owner: Option<String>,
        /// The keys in this file: lines with their texts in them, or an id each; '-' reads standard input
        #[arg(long, value_name = "FILE")]
        leaked: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Change a key; what is not given stays as it is, and rates, budgets and lists that are given take the place of all of their kind
#[derive(Args)]
pub struct Update {
    /// Its id
    id: String,
    /// What to call it
    #[arg(long)]
    name: Option<String>,
    /// Whose it is
    #[arg(long)]
    owner: Option<String>,
    /// The project that it belongs to
    #[arg(long)]
    project: Option<String>,
    /// What an admin key may manage: viewer, admin or owner
    #[arg(long, value_parser = role)]
    role: Option<Role>,
    /// When it begins to be valid: '2h' from now, or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_parser = moment)]
    not_before: Option<Timestamp>,
    /// When it ends: '30d', '12h' or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_parser = moment)]
    expires: Option<Timestamp>,
    #[command(flatten)]
    limits: LimitArgs,
    /// What is to be unlimited again
    #[arg(long, value_enum, value_delimiter = ',')]
    clear: Vec<Clear>,
    /// Print JSON
    #[arg(long)]
    json: bool,
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

// === impl Keys ===

impl Keys {
    /// Runs the command on the store; a running gateway takes notice within a second.
    pub async fn run(self, config: &Config, env: &Environment) -> Result<ExitCode, CliError> {
        let Installation { pepper, store, .. } = match &self {
            Keys::Create(_) => Installation::open(&config.data).await?,
            _ => Installation::existing(&config.data).await?,
        };
        match self {
            Keys::Create(order) => {
                let json = order.json;
                limits::check(&order.limits.clone().change(&[]), config, env).await?;
                let created = keys::create(&store, &store, &pepper, (*order).into(), &Actor::of_process()).await?;
                warn_of(&created.view, config, env).await?;
                if let Err(e) = show_created(&created, &created, json) {
                    let id = &created.view.id;
                    return Err(format!("the key {id} was made and not shown, {e}: end it with 'keyward keys revoke {id}'").into());
                }
            }
            Keys::List { owner, project, state, json } => {
                let query = ListQuery { filter: KeyFilter { owner, project }, state, after: None };
                show_all(&keys::page(&store, &query, usize::MAX).await?.0, json)?
            }
            Keys::Show { id, json } => show(&keys::show(&store, &id).await?, json)?,
            Keys::Explain { key, model, json } => {
                let text = if key == "-" { std::io::read_to_string(std::io::stdin())? } else { key };
                let router = installation::router(config, env).await?;
                wait_for_newest(&config.data, &store).await?;
                if installation::is_running(&config.data) && store.takes_changes().await.is_err_and(|e| e.is_locked()) {
                    eprintln!(
                        "note: the store is locked by another program: until that ends, the gateway refuses keys that it has not in memory, \
                         and whose limits it has to count (503 key_store_unavailable)"
                    );
                }
                let store = Arc::new(store);
                let accounts = Arc::new(installation::accounts(&store));
                let keyring = Keyring::new(pepper, Arc::clone(&store) as Arc<dyn KeyStore>, accounts, config.store.down_for);
                let (prompts, prompts_model) = (&Prompts::read(&config.prompts.folder), config.prompts.model.as_str());
                let (keyring, keys, ledger, audit) = (&keyring, &*store, &*store, &*store);
                let sources = Sources { keyring, is_gateway: false, keys, ledger, audit, router: &router, prompts, prompts_model };
                let explanation = sources.explain(&text, model.as_deref()).await?;
                if json {
                    output::json(&explanation)?
                } else {
                    tell(&explanation)?
                }
                return Ok(if explanation.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Keys::Rotate { id, grace, expires, json } => {
                let overlap = Overlap { grace, expires: expires.map(Some) };
                let rotated = keys::rotate(&store, &pepper, (&id, &Meant::ANY), overlap, &Actor::of_process()).await?;
                if let Err(e) = show_created(&rotated, &rotated.new, json) {
                    return Err(successor_not_shown(&rotated.new.view.id, &rotated.replaces, &e).into());
                }
                eprintln!("note: {}", left_of(&rotated.replaces));
                warn_of(&rotated.new.view, config, env).await?;
            }
            Keys::Update(update) => {
                let json = update.json;
                let clear = update.clear.clone();
                limits::check_clear(&clear, "a key", &[Clear::Project, Clear::NotBefore, Clear::Expires])?;
                let (id, change) = update.change();
                limits::check(&change.limits, config, env).await?;
                let before = keys::show(&store, &id).await?.limits;
                let view = keys::update(&store, &store, (&id, &Meant::ANY), change, &Actor::of_process()).await?;
                limits::tell_replaced(&before, &view.limits, &clear);
                warn(&view.limits, Kind::from_name(view.kind), config, env).await?;
                show(&view, json)?;
            }
            Keys::Disable { id: Some(id), json, .. } => {
                show(&keys::disable(&store, &store, (&id, &Meant::ANY), &Actor::of_process()).await?, json)?
            }
            Keys::Enable { id: Some(id), json, .. } => {
                show(&keys::enable(&store, &store, (&id, &Meant::ANY), &Actor::of_process()).await?, json)?
            }
            Keys::Disable { owner, json, .. } => {
                let owner = owner.unwrap_or_default();
                let switched = keys::switch_owner(&store, &owner, true, &Actor::of_process()).await?;
                match output::harmless(&owner) {
                    owner if switched.is_empty() => eprintln!("warning: {}", keys::unknown_owner(&owner)),
                    owner => eprintln!(
                        "these are all; what is made for '{owner}' later is off too, until 'keyward keys enable --owner' says otherwise"
                    ),
                }
                show_all(&switched, json)?
            }
            Keys::Enable { owner, json, .. } => {
                show_all(&keys::switch_owner(&store, &owner.unwrap_or_default(), false, &Actor::of_process()).await?, json)?
            }
            Keys::Revoke { id: Some(id), json, .. } => show(&keys::revoke(&store, (&id, &Meant::ANY), &Actor::of_process()).await?, json)?,
            Keys::Revoke { owner: Some(owner), json, .. } => {
                let keys = keys::of_known_owner(&store, &owner).await?;
                show_all(&keys::revoke_all(&store, keys, "all of its owner", &Actor::of_process()).await?, json)?
            }
            Keys::Revoke { leaked, json, .. } => {
                let texts = lines(leaked.as_deref().unwrap_or(Path::new("-")))?;
                if texts.is_empty() {
                    return Err("there is no key in what was given, and nothing was done: write one a line".into());
                }
                let leaks = keys::leaked(&store, &pepper, &texts, "command line", config.admin.leaks, &Actor::of_process()).await?;
                let row = |leak: &keys::Leak| vec![leak.id.clone().unwrap_or_default(), leak.outcome.to_owned()];
                if json { output::json(&leaks)? } else { output::table(&["ID", "OUTCOME"], &leaks.iter().map(row).collect::<Vec<_>>())? }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Update {
    fn change(self) -> (String, KeyChange) {
        let clears = |what| self.clear.contains(&what);
        let change = KeyChange {
            name: self.name,
            owner: self.owner,
            project: self.project.map(Some).or_else(|| clears(Clear::Project).then_some(None)),
            role: self.role,
            not_before: self.not_before.map(Some).or_else(|| clears(Clear::NotBefore).then_some(None)),
            expires: self.expires.map(Some).or_else(|| clears(Clear::Expires).then_some(None)),
            disabled: None,
            limits: self.limits.change(&self.clear),
        };
        (self.id, change)
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
            disabled: false,
        }
    }
}

const HEAD: [&str; 7] = ["ID", "NAME", "OWNER", "KIND", "STATE", "MODELS", "ENDS"];

fn row(view: &KeyView) -> Vec<String> {
    let models = if view.limits.models.is_empty() { "all".to_owned() } else { view.limits.models.join(",") };
    // One that was replaced works for its grace period, and no longer.
    let ends = view.works_until.into_iter().chain(view.expires).min().map_or_else(|| "never".to_owned(), |time| time.to_string());
    vec![view.id.clone(), view.name.clone(), view.owner.clone(), view.kind.to_owned(), view.state.clone(), models, ends]
}

fn show(view: &KeyView, json: bool) -> Result<(), CliError> {
    if json { output::json(view) } else { output::table(&HEAD, &[row(view)]) }
}

fn show_all(views: &[KeyView], json: bool) -> Result<(), CliError> {
    if json { output::json(&views) } else { output::table(&HEAD, &views.iter().map(row).collect::<Vec<_>>()) }
}

/// Shows a key's text, which nobody can see later: a reader that has gone away is an error here.
fn show_created<T: Serialize>(told: &T, created: &Created, json: bool) -> Result<(), CliError> {
    let text = match json {
        true => output::as_json(told)?,
        false => format!(
            "{}\n\nThis key is shown once and kept nowhere: put it where it belongs now. Its id is {}.\n",
            created.key, created.view.id
        ),
    };
    output::show(&text).map_err(|e| format!("as standard output takes nothing ({e})").into())
}

/// How long a key that was replaced still works, and how to end it at once.
fn left_of(Replaced { id, works_until }: &Replaced) -> String {
    match *works_until > Timestamp::now() {
        true => format!("{id} works until {works_until}; end it now with 'keyward keys revoke {id}'"),
        false => format!("{id} works no more"),
    }
}

/// Says on standard error what is odd about a key that was just made.
async fn warn_of(view: &KeyView, config: &Config, env: &Environment) -> Result<(), CliError> {
    warn(&view.limits, Kind::from_name(view.kind), config, env).await?;
    let KeyView { id, state, .. } = view;
    match state.as_str() {
        "active" => {}
        "key_disabled" => eprintln!("warning: it is disabled, as the key was whose place it takes: 'keyward keys enable {id}' lets it in"),
        _ => eprintln!("warning: it cannot be used as things are ({state}): 'keyward keys explain {id}' tells why"),
    }
    Ok(())
}

/// What to do about a successor that nobody has seen.
fn successor_not_shown(id: &str, old: &Replaced, why: &CliError) -> String {
    let ends = match old.works_until {
        until if until > Timestamp::now() => format!("ends at {until}"),
        _ => "has ended".to_owned(),
    };
    format!(
        "the key {id} was made and not shown, {why}, and {}, which it takes the place of, {ends}: replace it by 'keyward keys rotate {id} \
         --grace 0s', or end it with 'keyward keys revoke {id}'",
        old.id
    )
}

fn tell(explanation: &Explanation) -> Result<(), CliError> {
    output::say(&explanation.message)?;
    explanation.hint.iter().try_for_each(|hint| output::say(hint))?;
    let Some(view) = &explanation.key else { return Ok(()) };
    show(view, false)?;
    explanation.limits.iter().try_for_each(|standing| output::say(&stands(standing)))?;
    match (&explanation.last_use, &explanation.last_change) {
        (_, Some(last)) => output::say(&format!(
            "It made a change last at {}: {} of {} (entry {} of 'keyward audit'). What it reads has its lines in the gateway's log alone.",
            last.at, last.action, last.subject, last.number
        )),
        (None, None) if view.kind == Kind::Admin.as_str() => {
            output::say("It has changed nothing, as far as the audit list tells. What it reads has its lines in the gateway's log alone.")
        }
        (Some(last), None) => {
            let from = last.from.as_deref().unwrap_or("an address that was not written down");
            let what = format!("{} for {} ({}, {} {})", last.at, last.model, last.operation, last.status, last.outcome);
            output::say(&format!("Last used: {what}, from {from}."))
        }
        (None, None) => output::say("Last used: never, as far as the ledger goes back."),
    }
}

/// How a limit stands that the ledger tells of.
fn stands(standing: &Standing) -> String {
    let Standing { account, limit, most, left, room_in_seconds, .. } = standing;
    let amount = |amount: u64| match standing.limit() {
        Exceeded::Budget { .. } => Usd::of_nanos(amount).to_string(),
        _ => amount.to_string(),
    };
    let room = match room_in_seconds {
        Some(seconds) if *left == 0 && *seconds > 0.0 => format!(", and there is room again in {:.0} s", seconds.ceil()),
        _ => String::new(),
    };
    format!("Limit {limit} of {account}: {} of {} left{room}.", amount(*left), amount(*most))
}

/// The lines of a file that are not empty; of standard input where it is '-'. What is no UTF-8 in them, as in a log, is no part of a key.
fn lines(file: &Path) -> Result<Vec<String>, CliError> {
    let text = match file {
        stdin if stdin == Path::new("-") => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text)?;
            text
        }
        file => std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?,
    };
    Ok(String::from_utf8_lossy(&text).lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text).ok_or_else(|| "it is one of live, test, admin".to_owned())
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| "it is one of viewer, admin, owner".to_owned())
}

/// In seconds.
const DAY: i64 = 24 * 3600;

fn duration(text: &str) -> Result<Duration, String> {
    // Days have 24 hours here: a grace period is no calendar.
    let days =
        text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()).map(|days| SignedDuration::from_secs(days.saturating_mul(DAY)));
    let signed = days.map_or_else(|| text.parse::<SignedDuration>(), Ok).map_err(|_| "write it as '30d', '12h' or '15m'".to_owned())?;
    Duration::try_from(signed).map_err(|_| "it has to be in the future".to_owned())
}

fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    // To the second, as people mean it.
    let now = Timestamp::from_second(Timestamp::now().as_second()).map_err(|e| e.to_string())?;
    let after = duration(text).map_err(|e| format!("{e}, or as a time such as 2027-01-31T00:00:00Z"))?;
    now.checked_add(after).map_err(|_| "no calendar goes that far: leave it out for good".to_owned())
}
